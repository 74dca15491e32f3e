"""Restoring: a backup becomes a data directory once everything in it is proven, and not before.

It is unpacked beside its place, proven there, first byte by byte and then as an instance, and renamed as the
very last step. So a directory that is there is whole, whenever the machine or the command stopped.

Its revisions go on far above those of the backup: the numbers between belong to changes that are lost, which
watchers and holders of etags may have seen.
"""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from ftc_core.application.backup import Progress
from ftc_core.application.backup_archive import ArchiveReader
from ftc_core.application.check import check_instance
from ftc_core.credentials.data_directory import FORMAT_VERSION, DataDirectory
from ftc_core.domain.backup_manifest import BackupManifest, is_public
from ftc_core.domain.integrity import CheckReport, Finding, FindingKind
from ftc_core.errors import FtcError, Reason
from ftc_core.files import PRIVATE, PUBLIC
from ftc_core.limits import BACKUP_HEADROOM_BYTES, REVISIONS_A_SECOND
from ftc_core.staging import staged_directory
from ftc_core.storage.commands import Submission
from ftc_core.storage.engines import open_store
from ftc_core.storage.epoch_commands import BeginEpoch

__all__ = ["foreign_store", "restore", "verify"]

_NO_DAMAGE = frozenset({FindingKind.CERTIFICATE_EXPIRED, FindingKind.INPUT_MISSING})
"""Findings that were as true of the instance when it was backed up, or became true with time."""


def restore(
    source: BinaryIO, target: Path, *, now: datetime, progress: Progress | None = None
) -> BackupManifest:
    """Make the data directory `target` of the backup in `source`; gives what is in it.

    `now` is aware, UTC. Raises FtcError RESTORE_TARGET_NOT_EMPTY, BACKUP_DAMAGED, BACKUP_INCOMPATIBLE,
    DISK_FULL: then there is nothing in `target`.
    """
    place = _empty_place(target)
    place.parent.mkdir(parents=True, exist_ok=True)
    reader = _opened(source)
    try:
        with staged_directory(place) as building:
            _unpack(reader, building, progress)
            _prove(building, reader.manifest)
            _begin_epoch(building, reader.manifest.revision, now)
    except OSError as error:
        if place.is_dir() and any(place.iterdir()):
            raise _not_empty(target) from error
        raise
    return reader.manifest


def verify(source: BinaryIO, place: Path, *, progress: Progress | None = None) -> BackupManifest:
    """Prove the backup in `source` as `restore` does, in the empty directory `place`. Raises as it does."""
    reader = _opened(source)
    _unpack(reader, place, progress)
    _prove(place, reader.manifest)
    return reader.manifest


def foreign_store(target: Path) -> str | None:
    """The `storage_url` in the settings file of `target`, if it has one: there the restored store is not."""
    try:
        settings = tomllib.loads(DataDirectory(target).config_file.read_text())
    except (OSError, ValueError):
        return None
    return settings.get("storage_url") or None


def _opened(source: BinaryIO) -> ArchiveReader:
    reader = ArchiveReader(source)
    manifest = reader.manifest
    if manifest.data_directory_format != FORMAT_VERSION:
        raise FtcError(
            Reason.BACKUP_INCOMPATIBLE,
            f"the backup, by ftc {manifest.ftc_version}, has data directory format "
            f"{manifest.data_directory_format!r}; this version reads {FORMAT_VERSION!r}",
        )
    return reader


def _empty_place(target: Path) -> Path:
    """Where `target` really is. Raises FtcError RESTORE_TARGET_NOT_EMPTY."""
    place = target.resolve()
    if place.is_dir() and not any(place.iterdir()):
        if place.is_mount():
            raise FtcError(
                Reason.RESTORE_TARGET_NOT_EMPTY,
                f"{target} is a mount point, which nothing can be renamed to: name a directory in it",
            )
    elif os.path.lexists(place):
        raise _not_empty(target)
    return place


def _not_empty(target: Path) -> FtcError:
    return FtcError(Reason.RESTORE_TARGET_NOT_EMPTY, f"{target} is not empty")


def _unpack(reader: ArchiveReader, place: Path, progress: Progress | None) -> None:
    """Write every member, and put it on disk."""
    total = reader.manifest.size
    free = shutil.disk_usage(place).free
    if free < total + BACKUP_HEADROOM_BYTES:
        raise FtcError(Reason.DISK_FULL, f"the backup takes {total} bytes in {place.parent}, {free} are free")
    done = 0
    for member, pieces in reader.members():
        path = place / member.name
        for folder in reversed(path.relative_to(place).parents[:-1]):
            (place / folder).mkdir(mode=0o700, exist_ok=True)
        for size in _write(path, pieces, PUBLIC if is_public(member.name) else PRIVATE):
            done += size
            if progress is not None:
                progress(total, done)


def _write(path: Path, pieces: Iterator[bytes], mode: int) -> Iterator[int]:
    """Writes a new file; gives the size of each piece once it is written."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)  # whatever the umask takes away
        for piece in pieces:
            file.write(piece)
            yield len(piece)
        file.flush()
        os.fsync(descriptor)


def _prove(place: Path, manifest: BackupManifest) -> None:
    """Raises FtcError BACKUP_DAMAGED unless an instance can be served from `place`, as it was backed up."""
    try:
        report = check_instance(place)
    except FtcError as error:
        if error.reason is not Reason.DATA_DIRECTORY_INCOMPATIBLE:
            raise
        message = f"the backup was made by ftc {manifest.ftc_version}, whose store this version cannot read"
        raise FtcError(Reason.BACKUP_INCOMPATIBLE, message) from error
    faults = [finding for finding in report.findings if finding.kind not in _NO_DAMAGE]
    if faults or len(report.findings) < report.findings_count:
        raise FtcError(Reason.BACKUP_DAMAGED, _findings_message(faults, report))
    if report.revision != manifest.revision:
        raise FtcError(
            Reason.BACKUP_DAMAGED,
            f"the backup is damaged: its store is at revision {report.revision}, not {manifest.revision}",
        )


def _begin_epoch(place: Path, revision: int, now: datetime) -> None:
    """Number changes from above all that the instance can have numbered since the backup."""
    beyond = max(int(now.timestamp()) * REVISIONS_A_SECOND, revision + 1)
    store = open_store(f"lmdb://{DataDirectory(place).store}")
    try:
        [outcome] = store.write([Submission(BeginEpoch(beyond))])
    finally:
        store.close()
    if isinstance(outcome, FtcError):
        raise outcome


def _findings_message(faults: list[Finding], report: CheckReport) -> str:
    more = f", and {report.findings_count - 1} more" if report.findings_count > 1 else ""
    return f"the backup is what was written, but the instance in it is not whole: {faults[0].text}{more}"
