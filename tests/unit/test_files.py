"""Files appear whole or not at all, whatever ends the writing."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from ftc_core.errors import FtcError, Reason
from ftc_core.files import PRIVATE, replace_file, whole_file, write_new_file
from tests.faults import no_file_longer_than


def test_a_file_takes_its_place_at_the_end_of_the_block(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    path.write_bytes(b"old")
    with whole_file(path, PRIVATE) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
        (beside,) = set(tmp_path.iterdir()) - {path}
        assert stat.S_IMODE(beside.stat().st_mode) == PRIVATE

    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_ends_the_block_leaves_all_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), whole_file(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_no_room_leaves_all_as_it_was_and_names_the_file(tmp_path: Path) -> None:
    path, other = tmp_path / "report.csv", tmp_path / "other"
    path.write_bytes(b"old")
    with no_file_longer_than(10):
        with pytest.raises(OSError, match=r"File too large: '.*/report.csv'"), whole_file(path) as file:
            file.write(bytes(100))
        with pytest.raises(OSError, match=r"File too large: '.*/report.csv'"):
            replace_file(path, bytes(100))
        with pytest.raises(OSError, match=r"File too large: '.*/other'"):
            write_new_file(other, bytes(100))

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_is_not_there_is_named_as_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "none" / "report.csv"
    with pytest.raises(FileNotFoundError) as caught, whole_file(path):
        pass
    assert caught.value.filename == str(path)


def test_what_a_link_leads_to_is_replaced(tmp_path: Path) -> None:
    link, target = tmp_path / "latest", tmp_path / "elsewhere" / "report.csv"
    target.parent.mkdir()
    target.write_bytes(b"old")
    link.symlink_to(target)
    with whole_file(link) as file:
        file.write(b"new")

    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_what_is_no_file_is_written_to(tmp_path: Path) -> None:
    fifo, got = tmp_path / "fifo", list[bytes]()
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    with whole_file(fifo) as file:
        file.write(b"new")
    reader.join()
    with whole_file(Path("/dev/null")) as file:
        file.write(b"new")

    assert got == [b"new"]
    assert fifo.is_fifo()
    assert Path("/dev/null").is_char_device()


def test_a_new_file_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "ca.key"
    write_new_file(path, b"old", PRIVATE)
    with pytest.raises(FtcError) as caught:
        write_new_file(path, b"new")

    assert caught.value.reason is Reason.FILE_EXISTS
    assert path.read_bytes() == b"old"
