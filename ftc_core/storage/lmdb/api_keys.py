"""Commands on API keys."""

from __future__ import annotations

import msgspec

from ftc_core.domain.account import ApiKey
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.commands import CreateApiKey, Created, DeleteApiKey, Done, RecordApiKeyUses
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.preconditions import check_revision
from ftc_core.storage.lmdb.tables import pack_id
from ftc_core.storage.lmdb.writer import Writer

__all__ = ["create_api_key", "delete_api_key", "record_api_key_uses", "remove_api_key"]


def create_api_key(writer: Writer, command: CreateApiKey) -> Created:
    """See the command."""
    writer.count(command.key.account_id, api_keys=1)
    key = msgspec.structs.replace(command.key, revision=writer.next_revision())
    writer.add(writer.tables.api_keys, pack_id(key.id), records.API_KEY.encode(key))
    writer.put(writer.tables.api_keys_by_account, pack_id(key.account_id) + pack_id(key.id))
    return Created(key=key)


def delete_api_key(writer: Writer, command: DeleteApiKey) -> Done:
    """See the command."""
    key = writer.view.get_api_key(command.key_id)
    if key is None or key.account_id != command.account_id:
        raise FtcError(Reason.RESOURCE_NOT_FOUND, "API key not found")
    check_revision(key.revision, command.revision)
    remove_api_key(writer, key)
    return Done(writer.next_revision())


def record_api_key_uses(writer: Writer, command: RecordApiKeyUses) -> Done:
    """See the command."""
    for key_id, used_at in command.uses.items():
        key = writer.view.get_api_key(key_id)
        if key is not None and (key.last_used_at is None or key.last_used_at < used_at):
            used = msgspec.structs.replace(key, last_used_at=used_at)
            writer.put(writer.tables.api_keys, pack_id(key.id), records.API_KEY.encode(used))
    return Done(writer.revision)


def remove_api_key(writer: Writer, key: ApiKey) -> None:
    """Take away the record, its place in the index and in the account's count."""
    writer.delete(writer.tables.api_keys, pack_id(key.id))
    writer.delete(writer.tables.api_keys_by_account, pack_id(key.account_id) + pack_id(key.id))
    writer.count(key.account_id, api_keys=-1)
