"""Commands on accounts and API keys."""

from __future__ import annotations

import msgspec

from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.counts import Counts, join_account
from ftc_core.storage.lmdb.tables import pack_id
from ftc_core.storage.lmdb.writer import Writer
from ftc_core.storage.port import CreateAccount, CreateApiKey, Created

__all__ = ["create_account", "create_api_key"]


def create_account(writer: Writer, command: CreateAccount) -> Created:
    """See the command."""
    account = msgspec.structs.replace(command.account, device_count=0, revision=writer.next_revision())
    value = join_account(Counts(), records.ACCOUNT.encode(account))
    writer.add(writer.tables.accounts, pack_id(account.id), value)
    return Created(account=account)


def create_api_key(writer: Writer, command: CreateApiKey) -> Created:
    """See the command."""
    writer.count(command.key.account_id)  # nothing: it says whether the account exists
    key = msgspec.structs.replace(command.key, revision=writer.next_revision())
    writer.add(writer.tables.api_keys, pack_id(key.id), records.API_KEY.encode(key))
    return Created(key=key)
