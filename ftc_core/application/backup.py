"""Backing up: the store as of one moment, and the files of the data directory that belong to it.

The store is read in one read transaction, beside a running instance: nobody waits for it, and LMDB reuses no
page that is freed until it ends, so the store's file grows by what is written meanwhile. The keys are read
within that transaction and proven against it, since they may be rotated in between.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, get_args

import msgspec

from ftc_core.application.backup_archive import ArchiveWriter, Readable
from ftc_core.application.bulk_input import BulkInputs
from ftc_core.credentials.data_directory import FORMAT_VERSION, DataDirectory, ServerName
from ftc_core.credentials.ledger_keys import LedgerKeyFiles
from ftc_core.credentials.pki import Identity
from ftc_core.domain.backup_manifest import (
    BACKUP_FORMAT,
    STORE_NAME,
    BackupManifest,
    Member,
    is_member_name,
)
from ftc_core.errors import FtcError, Reason
from ftc_core.files import read_file
from ftc_core.limits import BACKUP_ATTEMPTS, BACKUP_RETRY_S
from ftc_core.settings import Settings
from ftc_core.storage.engines import open_snapshot
from ftc_core.storage.port import View
from ftc_core.storage.snapshot import StoreSnapshot

__all__ = ["Progress", "back_up", "left_out"]

Progress = Callable[[str, int, int], None]
"""Told, again and again, what is being done, how much of it is done, and how much there is."""

_ACCOUNTS_READ = 1_000


def back_up(
    settings: Settings, out: BinaryIO, *, now: datetime, version: str, progress: Progress | None = None
) -> BackupManifest:
    """Write a backup of the instance in `settings.data_dir` to `out`; gives what is in it.

    `now` is aware, UTC; `version` is ftc's. Raises FtcError DATA_DIRECTORY_MISSING or _INCOMPATIBLE (also if
    keys and store do not belong together), FILE_UNREADABLE, INTERNAL_1 or _5: then `out` is no backup.
    """
    directory = DataDirectory.open(settings.data_dir)
    with _consistent(directory, settings) as (snapshot, files):
        inputs = _bulk_inputs(directory, snapshot.view)
        members = [Member(name, len(content)) for name, content in files.items()]
        members += [Member(name, path.stat().st_size) for name, path in inputs.items()]
        described = _describe(snapshot, now, version)
        with snapshot.copy() as copy:
            members.append(Member(STORE_NAME, copy.size))
            manifest = msgspec.structs.replace(described, members=tuple(members))
            total = manifest.size
            tell = None if progress is None else lambda done: progress("packing", done, total)
            with ArchiveWriter(out, manifest, progress=tell) as archive:
                for member in members[:-1]:
                    with _opened(member.name, files, inputs) as content:
                        archive.add(member, content)
                archive.add(members[-1], copy)
                archive.finish()
    return manifest


def left_out(settings: Settings) -> list[Path]:
    """Files that the settings name and that lie elsewhere: they are in no backup."""
    named = settings.mtls_client_ca
    return [named] if named is not None and _name_within(settings.data_dir, named) is None else []


@contextmanager
def _consistent(
    directory: DataDirectory, settings: Settings
) -> Iterator[tuple[StoreSnapshot, dict[str, bytes]]]:
    """A snapshot of the store, and the small files that fit it, by name."""
    for attempt in range(1, BACKUP_ATTEMPTS + 1):
        with open_snapshot(settings.store_url) as snapshot:
            try:
                files = _small_files(directory, settings)
                _check_identities(files)
                files["pki/ledger.key"] = _ledger_key(directory, snapshot.view)
            except FtcError:
                if attempt == BACKUP_ATTEMPTS:
                    raise
            else:
                # The input of a job that was unfinished then and is forgotten by now: a later snapshot knows.
                if attempt == BACKUP_ATTEMPTS or not _lacks_input(directory, snapshot.view):
                    yield snapshot, files
                    return
        time.sleep(BACKUP_RETRY_S)


def _small_files(directory: DataDirectory, settings: Settings) -> dict[str, bytes]:
    """All but the store and the inputs of bulk jobs. What is hidden is a file that is being written."""
    paths = [directory.format_file]
    paths += [path for path in (directory.config_file, directory.operator_key) if path.exists()]
    for folder in (directory.pki, directory.secrets):
        paths += sorted(path for path in folder.iterdir() if path.is_file())
    if settings.mtls_client_ca is not None:
        paths.append(settings.mtls_client_ca)
    named = {_name_within(directory.root, path): path for path in paths}
    return {
        name: read_file(path)
        for name, path in named.items()
        if name is not None and name != "pki/ledger.next.key" and is_member_name(name)
    }


def _name_within(root: Path, path: Path) -> str | None:
    """The path from `root`, if it lies there."""
    try:
        return path.absolute().relative_to(root.absolute()).as_posix()
    except ValueError:
        return None


def _check_identities(files: Mapping[str, bytes]) -> None:
    """Raises FtcError FILE_UNREADABLE unless each certificate that a server needs is there with its key."""
    for name in ("issuing-ca", *get_args(ServerName)):
        try:
            Identity.from_pem(files[f"pki/{name}.pem"], files[f"pki/{name}.key"])
        except (KeyError, ValueError, TypeError) as error:  # TypeError: an encrypted key
            cause = f"{error.args[0]} is missing" if isinstance(error, KeyError) else f"pki/{name}: {error}"
            raise FtcError(Reason.FILE_UNREADABLE, cause) from error


def _ledger_key(directory: DataDirectory, view: View) -> bytes:
    """What signs the ledger as of `view`. Raises FtcError DATA_DIRECTORY_INCOMPATIBLE, FILE_UNREADABLE."""
    keys = LedgerKeyFiles(directory)
    first, statements = keys.first_public_key(), view.list_ledger_keys()
    newest = statements[-1].public_key if statements else first
    pem = keys.pem_of(newest)
    if pem is None or (statements and statements[0].public_key != first):
        raise FtcError(
            Reason.DATA_DIRECTORY_INCOMPATIBLE,
            f"the keys in {directory.pki} are not those of the store's ledger: they do not belong together",
        )
    return pem


def _bulk_inputs(directory: DataDirectory, view: View) -> dict[str, Path]:
    """Of every job that `view` knows: one that is done needs its input for its report."""
    known = (job for job in BulkInputs(directory.bulk).job_ids() if view.get_bulk_job(job) is not None)
    names = (f"bulk/{job}/input.csv" for job in known)
    return {name: directory.root / name for name in names if (directory.root / name).is_file()}


def _lacks_input(directory: DataDirectory, view: View) -> bool:
    present = _bulk_inputs(directory, view)
    return any(f"bulk/{job.id}/input.csv" not in present for job in view.list_unfinished_bulk_jobs())


def _describe(snapshot: StoreSnapshot, now: datetime, version: str) -> BackupManifest:
    """The manifest but for its members."""
    view = snapshot.view
    accounts = enrollments = 0
    after = None
    while page := view.list_accounts(after=after, limit=_ACCOUNTS_READ):
        accounts += len(page)
        enrollments += sum(view.count_enrollments(account.id) for account in page)
        after = page[-1].id
    return BackupManifest(
        format=BACKUP_FORMAT,
        ftc_version=version,
        created_at=now,
        data_directory_format=FORMAT_VERSION,
        engine=snapshot.kind.engine,
        store_format=snapshot.kind.format,
        revision=view.revision(),
        accounts=accounts,
        enrollments=enrollments,
        devices=view.count_all_devices(),
        members=(),
    )


@contextmanager
def _opened(name: str, files: Mapping[str, bytes], inputs: Mapping[str, Path]) -> Iterator[Readable]:
    if name in files:
        yield io.BytesIO(files[name])
        return
    try:
        file = inputs[name].open("rb")
    except FileNotFoundError as error:
        message = f"{inputs[name]} was removed while the backup was made: try again"
        raise FtcError(Reason.FILE_UNREADABLE, message) from error
    with file:
        yield file
