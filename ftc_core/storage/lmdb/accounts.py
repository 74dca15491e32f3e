"""Commands on accounts."""

from __future__ import annotations

import msgspec

from ftc_core.domain.account import Account
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.commands import CreateAccount, Created, DeleteAccount, Done, UpdateAccount
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.api_keys import remove_api_key
from ftc_core.storage.lmdb.block_reads import party_key
from ftc_core.storage.lmdb.counts import Counts, join_account
from ftc_core.storage.lmdb.denials import remove_denials_of
from ftc_core.storage.lmdb.preconditions import check_revision
from ftc_core.storage.lmdb.tables import pack_id
from ftc_core.storage.lmdb.writer import Writer

__all__ = ["create_account", "delete_account", "update_account"]


def create_account(writer: Writer, command: CreateAccount) -> Created:
    """See the command."""
    account = msgspec.structs.replace(command.account, device_count=0, revision=writer.next_revision())
    value = join_account(Counts(), records.ACCOUNT.encode(account))
    writer.add(writer.tables.accounts, pack_id(account.id), value)
    return Created(account=account)


def update_account(writer: Writer, command: UpdateAccount) -> Created:
    """See the command."""
    account = command.changes.applied_to(_find(writer, command.account_id, command.revision))
    account = msgspec.structs.replace(account, updated_at=command.now, revision=writer.next_revision())
    value = join_account(writer.view.counts(account.id), records.ACCOUNT.encode(account))
    writer.put(writer.tables.accounts, pack_id(account.id), value)
    return Created(account=account)


def delete_account(writer: Writer, command: DeleteAccount) -> Done:
    """See the command."""
    account = _find(writer, command.account_id, command.revision)
    counts = writer.view.counts(account.id)
    if counts.devices or counts.enrollments or counts.certificates:
        raise FtcError(
            Reason.ACCOUNT_NOT_EMPTY,
            f"account is not empty: it has {counts.devices} device(s), {counts.enrollments} enrollment(s)"
            f" and {counts.certificates} trusted certificate(s)",
        )
    for key in writer.view.list_api_keys(account.id, after=None, limit=counts.api_keys):
        remove_api_key(writer, key)
    writer.delete_prefix(writer.tables.blocks, party_key(account.id))
    remove_denials_of(writer, account.id)
    writer.delete(writer.tables.accounts, pack_id(account.id))
    return Done(writer.next_revision())


def _find(writer: Writer, account_id: str, revision: int | None) -> Account:
    account = writer.view.get_account(account_id)
    if account is None:
        raise FtcError(Reason.RESOURCE_NOT_FOUND, "account not found")
    check_revision(account.revision, revision)
    return account
