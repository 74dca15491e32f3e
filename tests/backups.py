"""Backups as the product writes them, and as somebody else would: taken apart, put together again."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from ftc_core.application.backup_archive import ArchiveReader, ArchiveWriter
from ftc_core.domain.backup_manifest import (
    BACKUP_FORMAT,
    STORE_NAME,
    BackupManifest,
    Member,
)

__all__ = ["CONTENTS", "Entry", "archive_of", "entry", "forged", "manifest_of", "read_back", "taken_apart"]

Entry = tuple[tarfile.TarInfo, bytes]

CONTENTS: Mapping[str, bytes] = {
    "FORMAT": b"2\n",
    "ftc.toml": b"# settings\n" * 60,
    "pki/grpc.key": bytes(range(256)) * 5,
    STORE_NAME: b"".join(number.to_bytes(4, "big") * 128 for number in range(50)),
}


def manifest_of(contents: Mapping[str, bytes], **changes: Any) -> BackupManifest:
    """Of a backup that holds `contents`."""
    made = BackupManifest(
        format=BACKUP_FORMAT,
        ftc_version="0.1.0",
        created_at=datetime(2026, 1, 31, tzinfo=UTC),
        data_directory_format="2",
        engine="lmdb 0.9",
        store_format="2",
        revision=7,
        accounts=1,
        enrollments=2,
        devices=3,
        members=tuple(Member(name, len(content)) for name, content in contents.items()),
    )
    return msgspec.structs.replace(made, **changes)


def archive_of(contents: Mapping[str, bytes] = CONTENTS) -> bytes:
    """As the product writes it."""
    out, manifest = io.BytesIO(), manifest_of(contents)
    with ArchiveWriter(out, manifest) as archive:
        for member in manifest.members:
            archive.add(member, io.BytesIO(contents[member.name]))
        archive.finish()
    return out.getvalue()


def read_back(backup: bytes) -> dict[str, bytes]:
    """As the product reads it: what is in it, once it is proven."""
    return {member.name: b"".join(pieces) for member, pieces in ArchiveReader(io.BytesIO(backup)).members()}


def taken_apart(backup: bytes) -> list[Entry]:
    """Every entry of the tar, manifest and digests included."""
    with tarfile.open(fileobj=io.BytesIO(backup)) as tar:
        return [(info, (tar.extractfile(info) or io.BytesIO()).read()) for info in tar]


def entry(name: str, content: bytes = b"", **attributes: Any) -> Entry:
    """One of a forger's; `attributes` are a TarInfo's."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    return info, content


def forged(entries: Sequence[Entry], *, raw_end: bytes = b"") -> bytes:
    """A tar in gzip with these entries, and `raw_end` behind the tar's end."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(out.getvalue() + raw_end, compresslevel=1)
