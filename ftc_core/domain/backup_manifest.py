"""What a backup says about itself: the manifest at its beginning, the digests at its end.

The manifest names every member and its size, so that whoever restores knows what comes, and how much of it,
before he writes a byte. The digests are known only once everything was read; they come last, in the format of
`sha256sum`, and a file that was cut short has none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from ftc_core.errors import FtcError, Reason

__all__ = [
    "BACKUP_FORMAT",
    "MANIFEST_NAME",
    "STORE_NAME",
    "SUMS_NAME",
    "BackupManifest",
    "Member",
    "decode_manifest",
    "encode_manifest",
    "is_member_name",
    "is_public",
    "parse_sums",
    "render_sums",
]

BACKUP_FORMAT = 1
"""Of the archive and its manifest; another one is refused."""
MANIFEST_NAME = "MANIFEST.json"
SUMS_NAME = "SHA256SUMS"
STORE_NAME = "store/data.mdb"

_RUN_TIME = frozenset({"instance.lock", "endpoints.json"})
_BULK_INPUT = re.compile(r"bulk/[0-9a-f]{32}/input\.csv")
_NAME_MAX_BYTES = 255
_DEPTH_MAX = 8
_SUM = re.compile(r"([0-9a-f]{64})  ([^\n]+)\n")

Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Member(msgspec.Struct, frozen=True):
    """A file of the data directory: its path there, with `/`, and its size in bytes."""

    name: str
    size: Count


class BackupManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a backup, whose members follow it in this order.

    `engine` and `store_format` are the store's. `revision` is that of its newest change, and the counts are
    what it holds at it.
    """

    format: int
    ftc_version: str
    created_at: datetime
    data_directory_format: str
    engine: str
    store_format: str
    revision: Count
    accounts: Count
    enrollments: Count
    devices: Count
    members: tuple[Member, ...]

    @property
    def size(self) -> int:
        """Bytes of all members together, unpacked."""
        return sum(member.size for member in self.members)


class _Format(msgspec.Struct, frozen=True):
    format: int


def encode_manifest(manifest: BackupManifest) -> bytes:
    """JSON, for programs and people."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def decode_manifest(data: bytes) -> BackupManifest:
    """The manifest. Raises FtcError BACKUP_INCOMPATIBLE (another format), BACKUP_DAMAGED (makes no sense)."""
    try:
        found = msgspec.json.decode(data, type=_Format).format
        if found != BACKUP_FORMAT:
            raise FtcError(
                Reason.BACKUP_INCOMPATIBLE,
                f"the backup has format {found}; this version of ftc reads {BACKUP_FORMAT}",
            )
        manifest = msgspec.json.decode(data, type=BackupManifest)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _damaged(str(error)) from error
    if manifest.created_at.tzinfo is None:
        raise _damaged("its time has no zone")
    _check_names([member.name for member in manifest.members])
    return manifest


def is_member_name(name: str) -> bool:
    """Whether a backup may hold a file of this name: a plain relative path, and none of a running server.

    Nothing that begins with a dot, and of `store` and `bulk` nothing but the store itself and inputs of jobs.
    """
    parts = name.split("/")
    if len(parts) > _DEPTH_MAX or not all(map(_is_plain, parts)):
        return False
    if parts[0] == "store":
        return name == STORE_NAME
    if parts[0] == "bulk":
        return _BULK_INPUT.fullmatch(name) is not None
    return name not in _RUN_TIME | {MANIFEST_NAME, SUMS_NAME}


def is_public(name: str) -> bool:
    """Whether anyone may read the member once restored: a certificate, a public key, the layout's number."""
    return name == "FORMAT" or (name.startswith("pki/") and name.endswith((".pem", ".pub")))


def render_sums(digests: Mapping[str, bytes]) -> bytes:
    """SHA-256 digests by name, as `sha256sum` prints and checks them."""
    return "".join(f"{digest.hex()}  {name}\n" for name, digest in digests.items()).encode()


def parse_sums(data: bytes) -> dict[str, bytes]:
    """What `render_sums` made. Raises FtcError BACKUP_DAMAGED."""
    text, sums, place = data.decode(errors="replace"), dict[str, bytes](), 0
    while match := _SUM.match(text, place):
        sums[match[2]] = bytes.fromhex(match[1])
        place = match.end()
    if place != len(text):
        raise _damaged(f"{SUMS_NAME} is no list of digests")
    return sums


def _is_plain(part: str) -> bool:
    """Whether it is the name of a file that no file system and no program takes for anything else."""
    return (
        part.isprintable()  # no control characters, and no surrogates, so that it can be encoded
        and not part.startswith((".", " "))
        and part != ""
        and "\\" not in part
        and len(part.encode()) <= _NAME_MAX_BYTES
    )


def _check_names(names: list[str]) -> None:
    """Raises FtcError BACKUP_DAMAGED unless these can be the files of one data directory."""
    for name in names:
        if not is_member_name(name):
            raise _damaged(f"it names {name!r}, which is no file of a data directory")
    if len(set(names)) != len(names):
        raise _damaged("it names a file twice")
    folders = {name[:place] for name in names for place, sign in enumerate(name) if sign == "/"}
    if mixed := folders.intersection(names):
        raise _damaged(f"it names {min(mixed)!r} as a file and as a folder")
    for required in ("FORMAT", STORE_NAME):
        if required not in names:
            raise _damaged(f"it has no {required}")


def _damaged(cause: str) -> FtcError:
    return FtcError(Reason.BACKUP_DAMAGED, f"the backup's manifest is damaged: {cause}")
