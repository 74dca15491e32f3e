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
from typing import BinaryIO, NamedTuple

import msgspec

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
from ftc_core.storage.engines import READABLE_KINDS, open_store
from ftc_core.storage.epoch_commands import BeginEpoch
from ftc_core.storage.snapshot import StoreKind

__all__ = ["Restored", "foreign_store", "restore", "verify"]

_MENDABLE = frozenset(
    {
        FindingKind.CERTIFICATE_EXPIRED,
        FindingKind.CERTIFICATE_INVALID,
        FindingKind.FILE_EXPOSED,
        FindingKind.FILE_INVALID,
        FindingKind.INPUT_MISSING,
    }
)
"""Findings about single files, which the digests prove to be as they were when they were backed up: whoever
needs his instance back mends them afterwards. What is wrong with the store, nobody can mend.
"""


class Restored(NamedTuple):
    """What is in a backup, and what is to be mended in it: files that were no better when it was made."""

    manifest: BackupManifest
    to_mend: list[Finding]


def restore(source: BinaryIO, target: Path, *, now: datetime, progress: Progress | None = None) -> Restored:
    """Make the data directory `target` of the backup in `source`; gives what is in it.

    `now` is aware, UTC. Raises FtcError RESTORE_TARGET_NOT_EMPTY, BACKUP_DAMAGED, BACKUP_INCOMPATIBLE,
    DISK_FULL: then there is nothing in `target`.
    """
    place = _empty_place(target)
    reader = _opened(source)
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with staged_directory(place) as building:
            _unpack(reader, building, progress)
            restored = _proven(building, reader.manifest, progress)
            _begin_epoch(building, reader.manifest.revision, now)
    except OSError as error:
        if place.is_dir() and any(place.iterdir()):
            raise _not_empty(target) from error
        raise
    return restored


def verify(source: BinaryIO, place: Path, *, progress: Progress | None = None) -> Restored:
    """Prove the backup in `source` as `restore` does, in the empty directory `place`. Raises as it does."""
    reader = _opened(source)
    _unpack(reader, place, progress)
    return _proven(place, reader.manifest, progress)


def foreign_store(target: Path) -> str | None:
    """The `storage_url` in the settings file of `target`, if it has one: there the restored store is not."""
    try:
        settings = tomllib.loads(DataDirectory(target).config_file.read_text())
    except (OSError, ValueError):
        return None
    url = settings.get("storage_url")
    return url if url and url != f"lmdb://{DataDirectory(target.absolute()).store}" else None


def _opened(source: BinaryIO) -> ArchiveReader:
    reader = ArchiveReader(source)
    manifest = reader.manifest
    if manifest.data_directory_format != FORMAT_VERSION:
        raise FtcError(
            Reason.BACKUP_INCOMPATIBLE,
            f"the backup, by ftc {manifest.ftc_version}, has data directory format "
            f"{manifest.data_directory_format!r}; this version reads {FORMAT_VERSION!r}",
        )
    if StoreKind(manifest.engine, manifest.store_format) not in READABLE_KINDS:
        raise FtcError(
            Reason.BACKUP_INCOMPATIBLE,
            f"the backup, by ftc {manifest.ftc_version}, has a store of {manifest.engine}, format "
            f"{manifest.store_format!r}, which this version cannot read",
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
                progress("unpacking", done, total)


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


def _proven(place: Path, manifest: BackupManifest, progress: Progress | None) -> Restored:
    """Raises FtcError BACKUP_DAMAGED unless an instance can be served from `place`, as it was backed up."""
    try:
        report = check_instance(
            place,
            storage_url=f"lmdb://{DataDirectory(place).store}",
            progress=progress and _checking(progress),
        )
    except FtcError as error:
        if error.reason is not Reason.DATA_DIRECTORY_INCOMPATIBLE:
            raise
        message = f"the backup was made by ftc {manifest.ftc_version}, whose store this version cannot read"
        raise FtcError(Reason.BACKUP_INCOMPATIBLE, message) from error
    faults = [finding for finding in report.findings if finding.kind not in _MENDABLE]
    if faults or len(report.findings) < report.findings_count:
        raise FtcError(Reason.BACKUP_DAMAGED, _findings_message(faults, report))
    if report.revision != manifest.revision:
        raise FtcError(
            Reason.BACKUP_DAMAGED,
            f"the backup is damaged: its store is at revision {report.revision}, not {manifest.revision}",
        )
    to_mend = [finding for finding in report.findings if finding.kind in _MENDABLE]
    return Restored(manifest, [_as_named_by(place, finding) for finding in to_mend])


def _checking(progress: Progress) -> Progress:
    return lambda stage, done, total: progress(f"checking {stage}", done, total)


def _as_named_by(place: Path, finding: Finding) -> Finding:
    """With the path in the data directory, whose own is another in a moment."""
    return msgspec.structs.replace(finding, where=finding.where.removeprefix(f"{place}/"))


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
