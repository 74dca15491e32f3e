"""A backup's archive: what was written comes back, and whatever was done to it is met."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import subprocess
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from ftc_core.application.backup_archive import ArchiveReader, ArchiveWriter
from ftc_core.domain.backup_manifest import (
    MANIFEST_NAME,
    STORE_NAME,
    SUMS_NAME,
    Member,
    encode_manifest,
    parse_sums,
    render_sums,
)
from ftc_core.errors import FtcError, Reason
from tests.backups import CONTENTS, Entry, archive_of, entry, forged, manifest_of, read_back, taken_apart

WHOLE = archive_of()
ENTRIES = taken_apart(WHOLE)
MEMORY = 8 * 1024**2


def refusal_of(backup: bytes) -> FtcError:
    with pytest.raises(FtcError) as refusal:
        read_back(backup)
    return refusal.value


def assert_damaged(backup: bytes, cause: str = "") -> None:
    refusal = refusal_of(backup)
    assert refusal.reason is Reason.BACKUP_DAMAGED
    assert cause in refusal.message


def sealed(entries: list[Entry]) -> bytes:
    """With manifest and digests that fit the entries: a forger has done his work well."""
    contents = {info.name: content for info, content in entries}
    manifest = encode_manifest(manifest_of(contents))
    digests = {name: hashlib.sha256(content).digest() for name, content in contents.items()}
    sums = render_sums({MANIFEST_NAME: hashlib.sha256(manifest).digest(), **digests})
    return forged([entry(MANIFEST_NAME, manifest), *entries, entry(SUMS_NAME, sums)])


def test_what_was_written_comes_back() -> None:
    assert read_back(WHOLE) == CONTENTS
    assert ArchiveReader(io.BytesIO(WHOLE)).manifest == manifest_of(CONTENTS)
    assert sealed(ENTRIES[1:-1]) != WHOLE
    assert read_back(sealed(ENTRIES[1:-1])) == CONTENTS, "nor does it matter who wrote it"


def test_any_tar_unpacks_it_and_sha256sum_verifies_it(tmp_path: Path) -> None:
    subprocess.run(["tar", "--extract", "--gzip"], input=WHOLE, cwd=tmp_path, check=True)
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", SUMS_NAME], cwd=tmp_path, check=True)
    assert {name: (tmp_path / name).read_bytes() for name in CONTENTS} == CONTENTS
    assert (tmp_path / "pki/grpc.key").stat().st_mode & 0o777 == 0o600


def test_the_manifest_is_read_before_anything_else() -> None:
    names = [info.name for info, _ in ENTRIES]
    assert names == [MANIFEST_NAME, *CONTENTS, SUMS_NAME]
    head = WHOLE[: len(WHOLE) // 2]
    assert ArchiveReader(io.BytesIO(head)).manifest.revision == 7


@pytest.mark.parametrize("found", [1, -1], ids=["longer", "shorter"])
def test_a_file_that_changes_while_it_is_read_ends_the_backup(found: int) -> None:
    manifest = manifest_of(CONTENTS)
    with ArchiveWriter(io.BytesIO(), manifest) as archive, pytest.raises(FtcError) as refusal:
        archive.add(manifest.members[0], io.BytesIO(bytes(manifest.members[0].size + found)))
    assert refusal.value.reason is Reason.FILE_UNREADABLE


# --- bytes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "length", [*range(0, len(WHOLE), len(WHOLE) // 40), *range(len(WHOLE) - 20, len(WHOLE))]
)
def test_a_file_that_was_cut_short_is_damaged(length: int) -> None:
    assert_damaged(WHOLE[:length])


@pytest.mark.parametrize(
    "place", [*range(40), *range(40, len(WHOLE) - 8, 97), *range(len(WHOLE) - 8, len(WHOLE))]
)
def test_a_flipped_bit_is_met_or_does_no_harm(place: int) -> None:
    flipped = bytearray(WHOLE)
    for bit in range(8):
        flipped[place] ^= 1 << bit
        try:
            assert read_back(bytes(flipped)) == CONTENTS  # as in gzip's header: its time says nothing
        except FtcError as error:
            assert error.reason in (Reason.BACKUP_DAMAGED, Reason.BACKUP_INCOMPATIBLE)
        flipped[place] ^= 1 << bit


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"root:x:0:0:root:/root:/bin/bash\n",
        bytes(10_240),
        gzip.decompress(WHOLE),
        gzip.compress(b""),
        gzip.compress(b"no tar at all\n" * 100),
        gzip.compress(bytes(10_240)),
    ],
    ids=["empty", "text", "zeros", "no gzip", "empty gzip", "gzip of text", "gzip of zeros"],
)
def test_a_file_that_is_no_backup_is_damaged(file: bytes) -> None:
    assert_damaged(file)


@pytest.mark.parametrize(
    "behind",
    [b"garbage", gzip.compress(b"more"), WHOLE, gzip.compress(bytes(10**6))],
    ids=["garbage", "more gzip", "another backup", "endless zeros"],
)
def test_nothing_may_follow(behind: bytes) -> None:
    assert_damaged(WHOLE + behind)


def test_nothing_may_hide_behind_the_end_of_the_tar() -> None:
    assert_damaged(forged(ENTRIES, raw_end=b"hidden"), "something follows")


# --- members ---------------------------------------------------------------------------------------


def without(name: str) -> list[Entry]:
    return [each for each in ENTRIES if each[0].name != name]


def with_manifest(**changes: object) -> list[Entry]:
    data = msgspec.json.decode(ENTRIES[0][1]) | changes
    return [entry(MANIFEST_NAME, msgspec.json.encode(data)), *ENTRIES[1:]]


def with_sums(change: Callable[[dict[str, bytes]], None]) -> list[Entry]:
    sums = parse_sums(ENTRIES[-1][1])
    change(sums)
    return [*ENTRIES[:-1], entry(SUMS_NAME, render_sums(sums))]


ADDED = entry("pki/added.key", b"theirs")
ALTERED: dict[str, list[Entry]] = {
    "a member is added": [*ENTRIES[:-1], ADDED, ENTRIES[-1]],
    "a member is added at the end": [*ENTRIES, ADDED],
    "a member is added at the beginning": [ADDED, *ENTRIES],
    "a member stands twice": [*ENTRIES[:2], *ENTRIES[1:]],
    "a member is missing": without("ftc.toml"),
    "the store is missing": without(STORE_NAME),
    "the manifest is missing": without(MANIFEST_NAME),
    "the digests are missing": without(SUMS_NAME),
    "the order is another": [ENTRIES[0], ENTRIES[2], ENTRIES[1], *ENTRIES[3:]],
    "a member has another content": [
        *ENTRIES[:2],
        entry("ftc.toml", b"X" + ENTRIES[2][1][1:]),
        *ENTRIES[3:],
    ],
    "a member has another size": [*ENTRIES[:2], entry("ftc.toml", b"X"), *ENTRIES[3:]],
    "the manifest says another revision": with_manifest(revision=8),
    "the manifest is no JSON": [entry(MANIFEST_NAME, b"{"), *ENTRIES[1:]],
    "the manifest is nested without end": [entry(MANIFEST_NAME, b'{"x":' + b"[" * 100_000), *ENTRIES[1:]],
    "the manifest lacks a field": [entry(MANIFEST_NAME, b'{"format": 1}'), *ENTRIES[1:]],
    "the manifest has a time without a zone": with_manifest(created_at="2026-01-31T00:00:00"),
    "the manifest has a negative size": with_manifest(members=[{"name": "FORMAT", "size": -1}]),
    "a digest is wrong": with_sums(lambda sums: sums.update(FORMAT=bytes(32))),
    "a digest is missing": with_sums(lambda sums: sums.pop("FORMAT") and None),
    "a digest too many": with_sums(lambda sums: sums.update(nothing=bytes(32))),
    "the digests are no list": [*ENTRIES[:-1], entry(SUMS_NAME, b"no list\n")],
    "a plain file is a symbolic link": [
        ENTRIES[0],
        entry("FORMAT", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        *ENTRIES[2:],
    ],
}


@pytest.mark.parametrize("entries", ALTERED.values(), ids=ALTERED)
def test_a_backup_that_was_altered_is_damaged(entries: list[Entry]) -> None:
    assert_damaged(forged(entries))


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "pki/../../x",
        "/etc/passwd",
        "",
        ".",
        "..",
        "pki//x",
        "pki/",
        "./FORMAT",
        ".ssh/authorized_keys",
        "store/lock.mdb",
        "store/other/data.mdb",
        "bulk/x/input.csv",
        "instance.lock",
        "endpoints.json",
        MANIFEST_NAME,
        SUMS_NAME,
        "pki\\..\\x",
        "two\nlines",
        "a/" * 20 + "b",
        "x" * 256,
    ],
)
def test_no_name_leads_out_of_the_directory_or_to_what_a_server_keeps_there(name: str) -> None:
    honest = [each for each in ENTRIES[1:-1] if each[0].name != name]
    assert_damaged(sealed([*honest, entry(name, b"theirs")]))


def test_a_file_and_a_folder_cannot_have_one_name() -> None:
    assert_damaged(sealed([*ENTRIES[1:-1], entry("pki", b"theirs")]), "as a file and as a folder")


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        tarfile.DIRTYPE,
        tarfile.CONTTYPE,
        tarfile.GNUTYPE_SPARSE,
    ],
)
@pytest.mark.parametrize("target", ["FORMAT", "/etc/passwd", "../../x"])
def test_nothing_but_plain_files_is_taken(kind: bytes, target: str) -> None:
    special = entry("pki/grpc.pem", type=kind, linkname=target)
    assert_damaged(sealed([*ENTRIES[1:-1], special]))


# --- what would exhaust the machine -------------------------------------------------------------------


def bounded(backup: bytes) -> FtcError:
    """The refusal, which must not take memory that grows with what the file claims."""
    tracemalloc.start()
    try:
        refusal = refusal_of(backup)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
    return refusal


def zeros(count: int) -> bytes:
    """So many zeros in gzip, a member of its own."""
    return gzip.compress(bytes(1 << 20), compresslevel=9) * (count >> 20)


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    "kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, b"Z"]
)
def test_a_bomb_in_the_place_of_the_manifest_is_not_unpacked(kind: bytes) -> None:
    bomb = gzip.compress(header(MANIFEST_NAME, 1 << 33, kind)) + zeros(1 << 28)
    assert bounded(bomb).reason is Reason.BACKUP_DAMAGED


def test_a_member_that_is_larger_than_announced_is_not_unpacked() -> None:
    small = manifest_of({"FORMAT": b"2\n", STORE_NAME: b"x"})
    manifest = encode_manifest(small)
    start = header(MANIFEST_NAME, len(manifest)) + manifest.ljust(-(-len(manifest) // 512) * 512, b"\x00")
    bomb = gzip.compress(start + header("FORMAT", 1 << 33)) + zeros(1 << 28)
    assert "has 8589934592 bytes, expected 2" in bounded(bomb).message


def test_a_negative_size_is_refused() -> None:
    negative = bytearray(header(MANIFEST_NAME, 0))
    negative[124:136] = b"\xff" * 12  # base 256: -1
    negative[148:156] = b" " * 8
    negative[148:156] = b"%06o\x00 " % sum(negative)
    assert bounded(gzip.compress(bytes(negative)) + zeros(1 << 28)).reason is Reason.BACKUP_DAMAGED


def test_an_endless_row_of_extended_headers_is_refused() -> None:
    one = header("x", 11, tarfile.XHDTYPE) + b"11 path=ab\n".ljust(512, b"\x00")
    assert bounded(gzip.compress(one * 20_000)).reason is Reason.BACKUP_DAMAGED


def test_a_gzip_header_without_an_end_is_refused() -> None:
    named = struct.pack("<2sBBLBB", b"\x1f\x8b", 8, 8, 0, 0, 255) + b"n" * 1_000_000
    assert bounded(named).reason is Reason.BACKUP_DAMAGED


def test_large_members_pass_through_in_pieces() -> None:
    size = 64 * 1024**2
    manifest = manifest_of({"FORMAT": b"2\n"})
    manifest = msgspec.structs.replace(manifest, members=(*manifest.members, Member(STORE_NAME, size)))
    out = io.BytesIO()
    tracemalloc.start()
    with ArchiveWriter(out, manifest) as archive, Path("/dev/zero").open("rb", buffering=0) as endless:
        archive.add(manifest.members[0], io.BytesIO(b"2\n"))
        archive.add(manifest.members[1], Limited(endless, size))
        archive.finish()
    out.seek(0)
    read = {
        member.name: sum(len(piece) for piece in pieces) for member, pieces in ArchiveReader(out).members()
    }
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert read == {"FORMAT": 2, STORE_NAME: size}
    assert peak < MEMORY


class Limited:
    """The first `size` bytes of a file."""

    def __init__(self, file: io.RawIOBase | io.FileIO, size: int) -> None:
        self.file, self.left = file, size

    def read(self, size: int, /) -> bytes:
        data = self.file.read(min(size, self.left)) or b""
        self.left -= len(data)
        return data


def test_another_format_is_told_before_anything_is_read() -> None:
    for later in (forged(with_manifest(format=2)), forged(with_manifest(format=2)[:1])):
        refusal = refusal_of(later)
        assert refusal.reason is Reason.BACKUP_INCOMPATIBLE
        assert "format 2; this version of ftc reads 1" in refusal.message


def test_a_field_of_a_later_version_is_passed_over() -> None:
    assert ArchiveReader(io.BytesIO(forged(with_manifest(comment="new")))).manifest.revision == 7
