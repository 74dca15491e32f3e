"""The archive of a backup: a tar (POSIX.1-2001) in gzip, written and read in one pass from end to end.

    MANIFEST.json   what comes: names and sizes (`domain.backup_manifest`)
    …               the members, in that order, as they lie in the data directory
    SHA256SUMS      the digests of all of the above

Any tar unpacks it, and `sha256sum --check SHA256SUMS` verifies it. We read it with less trust: nothing is
taken that the manifest does not name, in its order and size, no link, device or sparse file is; no header is
read that is larger than ours, and nothing may follow. Memory does not grow with the archive.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import IO, BinaryIO, Protocol, Self, cast

from ftc_core.domain.backup_manifest import (
    MANIFEST_NAME,
    SUMS_NAME,
    BackupManifest,
    Member,
    decode_manifest,
    encode_manifest,
    is_public,
    parse_sums,
    render_sums,
)
from ftc_core.errors import FtcError, Reason
from ftc_core.files import PRIVATE, PUBLIC
from ftc_core.limits import BACKUP_COMPRESSION_LEVEL, BACKUP_IO_BYTES, BACKUP_LIST_MAX_BYTES

__all__ = ["ArchiveReader", "ArchiveWriter", "Readable"]

_GAP_MAX_BYTES = tarfile.BLOCKSIZE
"""Between the end of a member and the next header."""
_END_MAX_BYTES = 64 * 1024
"""Zeros at the end: two blocks, filled up to a record of 10 KiB."""
_DAMAGE = (
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    ValueError,
    OverflowError,
    RecursionError,
)
"""What the libraries raise on bytes that make no sense; an OSError that is none of these is the disk's.

tarfile recurses from one extended header to the next.
"""


class Readable(Protocol):
    """A file, or what reads like one: fewer bytes than asked for are the last ones."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes."""
        ...


class ArchiveWriter:
    """Writes the archive of `manifest` to `out`: `add` its members in order, then `finish`.

    As a context manager it lets go of what it holds; without `finish`, `out` is no backup. `progress` is
    told the bytes of members so far.
    """

    def __init__(
        self, out: BinaryIO, manifest: BackupManifest, *, progress: Callable[[int], None] | None = None
    ) -> None:
        self._progress = progress or (lambda done: None)
        self._at = int(manifest.created_at.timestamp())
        self._digests: dict[str, bytes] = {}
        self._done = 0
        self._gzip = gzip.GzipFile(
            filename="", mode="wb", fileobj=out, compresslevel=BACKUP_COMPRESSION_LEVEL, mtime=self._at
        )
        self._tar = tarfile.TarFile(
            fileobj=self._gzip, mode="w", format=tarfile.PAX_FORMAT, copybufsize=BACKUP_IO_BYTES
        )
        self._add(MANIFEST_NAME, encode_manifest(manifest))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._gzip.close()
        except OSError:  # a full disk has been met, and told, before
            if error is None:
                raise

    def add(self, member: Member, content: Readable) -> None:
        """The next member. Raises FtcError FILE_UNREADABLE if `content` has not the size that was said."""
        digesting = _Digesting(content, lambda size: self._progress(self._done + size))
        try:
            self._tar.addfile(self._info(member), cast(IO[bytes], digesting))
        except OSError as error:
            if digesting.size < member.size and error.errno is None:  # tarfile's own
                raise _changed(member) from error
            raise
        if content.read(1):
            raise _changed(member)
        self._digests[member.name] = digesting.digest()
        self._done += member.size

    def finish(self) -> None:
        """The end. Only now is it a backup."""
        self._add(SUMS_NAME, render_sums(self._digests))
        self._tar.close()
        self._gzip.close()

    def _add(self, name: str, content: bytes) -> None:
        self._tar.addfile(self._info(Member(name, len(content))), io.BytesIO(content))
        self._digests[name] = hashlib.sha256(content).digest()

    def _info(self, member: Member) -> tarfile.TarInfo:
        info = tarfile.TarInfo(member.name)
        info.size = member.size
        info.mtime = self._at
        info.mode = PUBLIC if is_public(member.name) else PRIVATE
        return info


class ArchiveReader:
    """Reads the archive in `source`, once, from its beginning.

    Raises FtcError BACKUP_DAMAGED, BACKUP_INCOMPATIBLE; an OSError of `source` passes.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._stream = _Forward(gzip.GzipFile(fileobj=source, mode="rb"))
        self._digests: dict[str, bytes] = {}
        with _damage():
            self._tar = tarfile.TarFile(fileobj=cast(IO[bytes], self._stream), mode="r")
            data = self._whole(MANIFEST_NAME)
        self.manifest = decode_manifest(data)

    def members(self) -> Iterator[tuple[Member, Iterator[bytes]]]:
        """Each member with its content in pieces, which are to be taken before the next.

        Once it has ended, everything is proven to be what was written.
        """
        for member in self.manifest.members:
            yield member, self._pieces(self._next(member.name, member.size))
        expected = dict(self._digests)
        with _damage():
            found = parse_sums(self._whole(SUMS_NAME))
            self._check_end()
        if found != expected:
            differing = sorted(dict(found.items() ^ expected.items()))
            raise _damaged(f"{differing[0]} is not what was written")

    def _next(self, name: str, size: int | None) -> tarfile.TarInfo:
        with _damage():
            info = self._tar.next()
            self._tar.members.clear()  # type: ignore[attr-defined] # it keeps all that it met
            if info is None:
                raise _damaged(f"{name} is missing: the file was cut short, or changed")
            _data_filter(info)
            if info.name != name or info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.issparse():
                raise _damaged(f"{info.name!r} stands where the file {name} should")
            sizes = range(BACKUP_LIST_MAX_BYTES + 1) if size is None else (size,)
            if info.size not in sizes:
                raise _damaged(f"{name} has {info.size} bytes, expected {sizes[-1]}")
            return info

    def _whole(self, name: str) -> bytes:
        return b"".join(self._pieces(self._next(name, None)))

    def _pieces(self, info: tarfile.TarInfo) -> Iterator[bytes]:
        digest, left = hashlib.sha256(), info.size
        while left:
            with _damage():
                piece = self._stream.read(min(left, BACKUP_IO_BYTES))
                if not piece:
                    raise _damaged(f"it ends within {info.name}")
            left -= len(piece)
            digest.update(piece)
            yield piece
        self._digests[info.name] = digest.digest()

    def _check_end(self) -> None:
        """Nothing but zeros behind the last member, and gzip's own checksum over all of it."""
        left = _END_MAX_BYTES
        while rest := self._stream.read(BACKUP_IO_BYTES):
            left -= len(rest)
            if left < 0 or rest.strip(b"\x00"):
                raise _damaged("something follows its end")


class _Digesting:
    """Passes on what it reads, and digests it."""

    def __init__(self, content: Readable, progress: Callable[[int], None]) -> None:
        self.size = 0
        self._content = content
        self._progress = progress
        self._digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._content.read(size)
        self._digest.update(data)
        self.size += len(data)
        self._progress(self.size)
        return data

    def digest(self) -> bytes:
        return self._digest.digest()


class _Forward:
    """The unpacked stream as tarfile reads it: forwards, and never much at once.

    tarfile takes an extended header into memory whatever its size, and passes over what it does not know.
    """

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        if not 0 <= size <= BACKUP_IO_BYTES:
            raise tarfile.ReadError("a header is too large")
        return self._stream.read(size)

    def tell(self) -> int:
        return self._stream.tell()

    def seek(self, position: int) -> int:
        if not 0 <= position - self.tell() <= _GAP_MAX_BYTES:
            raise tarfile.ReadError("a header leads astray")
        self.read(position - self.tell())
        return self.tell()


def _data_filter(info: tarfile.TarInfo) -> None:
    """The standard library's own refusal of what must not be unpacked (PEP 706); Python 3.11.4 has it.

    What comes after it in `_next` is stricter.
    """
    check = getattr(tarfile, "data_filter", None)
    if check is not None:
        check(info, "/nowhere")


@contextmanager
def _damage() -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise _damaged(str(error) or "it ends too early") from error


def _damaged(cause: str) -> FtcError:
    return FtcError(Reason.BACKUP_DAMAGED, f"the backup is damaged: {cause}")


def _changed(member: Member) -> FtcError:
    return FtcError(Reason.FILE_UNREADABLE, f"{member.name} has not the size that it had: try again")
