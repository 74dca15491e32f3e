"""Making a data directory: keys, secrets, an empty store with its first operator, and a settings file."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from datetime import datetime
from pathlib import Path
from typing import get_args

from ftc_core.application.authentication import bootstrap_operator
from ftc_core.application.context import ApplicationContext
from ftc_core.config_template import render_config
from ftc_core.credentials.data_directory import FORMAT_VERSION, SECRET_BYTES, DataDirectory, ServerName
from ftc_core.credentials.ledger_keys import LedgerKeyFiles
from ftc_core.credentials.pki import Identity, create_authority, create_server_identity
from ftc_core.errors import FtcError, Reason
from ftc_core.files import PRIVATE, sync_directory, write_new_file
from ftc_core.listen import is_host_name
from ftc_core.settings import Settings
from ftc_core.storage.commands import Outcome, Submission
from ftc_core.storage.engines import open_store
from ftc_core.storage.port import Store

__all__ = ["ISSUING_CA_NAME", "SERVER_CA_NAME", "initialise"]

SERVER_CA_NAME = "FtC"
ISSUING_CA_NAME = "FtC LwM2M"
"""Short, for each device is sent the first twice and the second once: its LwM2M Security instance is to fit
into one block (docs/performance.md)."""
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


async def initialise(settings: Settings, *, host_name: str, now: datetime) -> DataDirectory:
    """Make `settings.data_dir`, whole or not at all: it is built beside its place and then renamed.

    The server identities are valid for localhost, `host_name` (this machine's) and `settings.public_host`.
    `now` is aware, UTC. Raises FtcError FILE_EXISTS if there is something in its place already, and what
    the store raises.
    """
    target = settings.data_dir.absolute()
    building = _begin(target)
    try:
        await _fill(DataDirectory(building), settings, host_name=host_name, now=now)
        _publish(building, target)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return DataDirectory.open(settings.data_dir)


def _begin(target: Path) -> Path:
    if DataDirectory(target).format_file.exists():
        raise FtcError(
            Reason.FILE_EXISTS,
            f"{target} is a data directory already, for `ftc serve` to run; it is never overwritten",
        )
    if target.exists() or target.is_symlink():
        raise FtcError(Reason.FILE_EXISTS, f"{target} exists; a data directory is never overwritten")
    target.parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))  # mode 0700


def _publish(building: Path, target: Path) -> None:
    for directory in (building, *(path for path in building.rglob("*") if path.is_dir())):
        sync_directory(directory)
    building.rename(target)
    sync_directory(target.parent)


async def _fill(directory: DataDirectory, settings: Settings, *, host_name: str, now: datetime) -> None:
    for part in (directory.pki, directory.secrets):
        part.mkdir(mode=0o700)
    LedgerKeyFiles(directory).create()
    _write_pki(directory, (*_LOCAL_HOSTS, host_name, settings.public_host), now)
    write_new_file(directory.api_key_pepper_file, secrets.token_bytes(SECRET_BYTES), PRIVATE)
    write_new_file(directory.cookie_secret_file, secrets.token_bytes(SECRET_BYTES), PRIVATE)
    write_new_file(directory.config_file, render_config(settings).encode(), PRIVATE)
    await _create_operator(directory, settings, now)
    write_new_file(directory.format_file, f"{FORMAT_VERSION}\n".encode())


def _write_pki(directory: DataDirectory, hosts: tuple[str, ...], now: datetime) -> None:
    server_ca = create_authority(SERVER_CA_NAME, now=now)
    identities: dict[str, Identity] = {
        "server-ca": server_ca,
        "issuing-ca": create_authority(ISSUING_CA_NAME, now=now),
    }
    # A machine may call itself something that is no DNS name; then only the other names are certified.
    certified = [host for host in hosts if ":" in host or is_host_name(host)]
    for name in get_args(ServerName):
        identities[name] = create_server_identity(
            server_ca, f"First-to-Claim {name} server", hosts=certified, now=now
        )
    for name, identity in identities.items():
        write_new_file(directory.key_file(name), identity.private_key_pem, PRIVATE)
        write_new_file(directory.certificate_file(name), identity.certificate_pem)


async def _create_operator(directory: DataDirectory, settings: Settings, now: datetime) -> None:
    store = open_store(settings.storage_url or f"lmdb://{directory.store}", create=True)
    try:
        context = ApplicationContext(
            store=store, commit=_DirectCommit(store), pepper=directory.api_key_pepper, now=lambda: now
        )
        operator = await bootstrap_operator(context)
    finally:
        store.close()
    write_new_file(directory.operator_key, f"{operator.secret}\n".encode(), PRIVATE)


class _DirectCommit:
    """Commits each submission at once: nobody else is there to share a transaction with."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def execute(self, submission: Submission) -> Outcome:
        (outcome,) = self._store.write([submission])
        if isinstance(outcome, FtcError):
            raise outcome
        return outcome
