"""What is put in its place by one rename: whole or absent, and what a killed maker leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ftc_core.errors import FtcError, Reason
from ftc_core.staging import remove_leftovers, staged_directory, staged_file

MAKER = """
import sys, time
from pathlib import Path
from ftc_core import staging
kind, target = sys.argv[1], Path(sys.argv[2])
with staging.staged_file(target, replace=False) if kind == "file" else staging.staged_directory(target):
    print("under way", flush=True)
    time.sleep(60)
"""


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_file_appears_when_it_is_whole_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    target = tmp_path / "backup"
    with staged_file(target, replace=False) as file:
        file.write(b"whole")
        assert not target.exists()
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"whole", 0o600)
    assert names(tmp_path) == ["backup"]


def test_a_file_that_was_not_finished_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), staged_file(tmp_path / "backup", replace=False) as file:
        file.write(b"half")
        raise RuntimeError
    assert names(tmp_path) == []


def test_what_is_there_is_replaced_only_on_demand_and_at_once(tmp_path: Path) -> None:
    target = tmp_path / "backup"
    target.write_bytes(b"old")
    with pytest.raises(FileExistsError), staged_file(target, replace=False):
        pytest.fail("it is refused before anything is written")
    with staged_file(target, replace=True) as file:
        file.write(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == ["backup"]


def test_what_came_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "backup"
    with pytest.raises(FileExistsError), staged_file(target, replace=False) as file:
        file.write(b"late")
        target.write_bytes(b"first")
    assert target.read_bytes() == b"first"
    assert names(tmp_path) == ["backup"]


def test_a_link_that_leads_nowhere_is_something(tmp_path: Path) -> None:
    (tmp_path / "backup").symlink_to("nowhere")
    with pytest.raises(FileExistsError), staged_file(tmp_path / "backup", replace=False):
        pytest.fail("it is refused before anything is written")


def test_a_directory_appears_when_it_is_whole_also_in_the_place_of_an_empty_one(tmp_path: Path) -> None:
    for target in (tmp_path / "new", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with staged_directory(target) as building:
            (building / "part").mkdir()
            (building / "part" / "file").write_bytes(b"whole")
            assert not (target / "part").exists()
        assert (target / "part" / "file").read_bytes() == b"whole"
        assert target.stat().st_mode & 0o777 == 0o700
    assert names(tmp_path) == ["empty", "new"]


def test_a_directory_that_is_not_empty_stays_as_it_is(tmp_path: Path) -> None:
    target = tmp_path / "data"
    with pytest.raises(OSError, match="not empty"), staged_directory(target):
        target.mkdir()
        (target / "theirs").touch()
    assert names(tmp_path) == ["data"]
    assert names(target) == ["theirs"]


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_a_killed_maker_left_is_removed_and_told_by_the_next(kind: str, tmp_path: Path) -> None:
    target = tmp_path / "it [1]"
    maker = subprocess.Popen([sys.executable, "-c", MAKER, kind, str(target)], stdout=subprocess.PIPE)
    with maker:
        assert maker.stdout is not None
        assert maker.stdout.readline() == b"under way\n"
        (left,) = names(tmp_path)
        assert left.startswith(".it [1].")
        assert left.endswith(".ftc-partial")
        assert remove_leftovers(target) == [], "its maker lives"
        assert names(tmp_path) == [left]
        maker.send_signal(signal.SIGKILL)
    assert names(tmp_path) == [left]
    assert remove_leftovers(tmp_path / "other") == []

    assert remove_leftovers(target) == [tmp_path / left]

    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_a_full_disk_is_told_and_nothing_is_left(kind: str, tmp_path: Path) -> None:
    target = tmp_path / "it"
    with pytest.raises(FtcError) as refusal:
        if kind == "file":
            with staged_file(target, replace=False) as file:
                os.dup2(os.open("/dev/full", os.O_WRONLY), file.fileno())
                file.write(b"x")
        else:
            with staged_directory(target), Path("/dev/full").open("wb", buffering=0) as full:
                full.write(b"x")
    assert refusal.value.reason is Reason.DISK_FULL
    assert str(target) in refusal.value.message
    assert names(tmp_path) == []
