"""Archives of backups: any content comes back, and no change to any byte brings anything else."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ftc_core.domain.backup_manifest import (
    STORE_NAME,
    decode_manifest,
    encode_manifest,
    is_member_name,
    parse_sums,
    render_sums,
)
from ftc_core.errors import FtcError, Reason
from tests.backups import CONTENTS, archive_of, manifest_of, read_back

PARTS = st.text(min_size=1, max_size=40).filter(lambda part: is_member_name(f"pki/{part}"))
CONTENT = st.binary(max_size=3_000)
WHOLE = archive_of()


@st.composite
def directories(draw: st.DrawFn) -> dict[str, bytes]:
    """Files that a data directory may have."""
    folders = draw(st.lists(st.sampled_from(["pki/", "secrets/", "other/deep/"]), max_size=4))
    files = {f"{folder}{draw(PARTS)}": draw(CONTENT) for folder in folders}
    return {"FORMAT": b"2\n", **files, STORE_NAME: draw(CONTENT)}


@given(directories())
def test_what_goes_in_comes_out(contents: dict[str, bytes]) -> None:
    assert read_back(archive_of(contents)) == contents
    manifest = manifest_of(contents)
    assert decode_manifest(encode_manifest(manifest)) == manifest


@st.composite
def altered(draw: st.DrawFn) -> bytes:
    """A backup to which something was done: bytes changed, removed, repeated or put in."""
    data = bytearray(WHOLE)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 700)))
        data[start:end] = draw(st.one_of(st.binary(max_size=20), st.just(bytes(data[start:end]) * 2)))
    return bytes(data)


@settings(max_examples=500)
@given(altered())
def test_whatever_is_done_to_a_backup_it_is_refused_or_what_it_was(backup: bytes) -> None:
    try:
        assert read_back(backup) == CONTENTS
    except FtcError as error:
        assert error.reason in (Reason.BACKUP_DAMAGED, Reason.BACKUP_INCOMPATIBLE)


@given(st.binary(max_size=2_000))
def test_no_manifest_and_no_list_of_digests_surprises(data: bytes) -> None:
    for parse in (decode_manifest, parse_sums):
        try:
            parse(data)
        except FtcError as error:
            assert error.reason in (Reason.BACKUP_DAMAGED, Reason.BACKUP_INCOMPATIBLE)


@given(st.dictionaries(PARTS, st.binary(min_size=32, max_size=32)))
def test_digests_come_back(digests: dict[str, bytes]) -> None:
    assert parse_sums(render_sums(digests)) == digests
