"""`ftc backup` and `ftc restore` as commands: killed, short of disk, misled, and what they leave behind."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from ftc_core.application.backup import back_up
from ftc_core.application.backup_archive import ArchiveReader
from ftc_core.application.check import check_instance
from ftc_core.application.context import new_id, utc_now
from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.credentials.ledger_keys import LedgerKeyFiles
from ftc_core.domain.backup_manifest import MANIFEST_NAME, SUMS_NAME
from ftc_core.domain.enrollment import Enrollment
from ftc_core.endpoint.serve_process import ServeProcess
from ftc_core.errors import CATALOGUE, FtcError, Reason
from ftc_core.settings import Settings
from ftc_core.storage.commands import CreateEnrollments, Submission
from ftc_core.storage.engines import open_store
from tests.backups import CONTENTS, entry, forged, manifest_of, taken_apart
from tests.certificates import Manufacturer
from tests.instance import FTC, eventually, make_data_directory

ROWS = 12_000
PATIENCE_S = 60


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> DataDirectory:
    """A data directory whose store has some megabytes."""
    directory = make_data_directory(tmp_path_factory.mktemp("full") / "data")
    store = open_store(f"lmdb://{directory.store}")
    with store.view() as view:
        [account] = view.list_accounts(after=None, limit=1)
    rows = [
        Enrollment(id=new_id(), account_id=account.id, fingerprint=os.urandom(32), created_at=utc_now())
        for _ in range(ROWS)
    ]
    commands = [CreateEnrollments(tuple(rows[at : at + 1_000]), utc_now()) for at in range(0, ROWS, 1_000)]
    answers = store.write([Submission(command) for command in commands])
    assert not any(isinstance(answer, FtcError) for answer in answers)
    store.close()
    return directory


@pytest.fixture(scope="module")
def backup(full: DataDirectory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of it."""
    file = tmp_path_factory.mktemp("backup") / "full.backup"
    assert done("backup", file, "--data-dir", full.root).startswith("backup made")
    return file


def started(*arguments: object, limit_kib: int | None = None, **options: object) -> subprocess.Popen[str]:
    command = [*FTC, *map(str, arguments)]
    if limit_kib is not None:  # of the size of each file that it writes
        command = ["bash", "-c", 'ulimit -f "$0" && exec "$@"', str(limit_kib), *command]
    pipe = subprocess.PIPE
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        command, **{"stdout": pipe, "stderr": pipe, "text": True, **options}
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err


def done(*arguments: object, **options: object) -> str:
    """What a command prints that must succeed, and complain of nothing."""
    status, out, err = ended(started(*arguments, **options))
    assert (status, err) == (0, "")
    return out


def refused(reason: Reason, *arguments: object, **options: object) -> str:
    """The line of a command that must be refused for this reason."""
    status, out, err = ended(started(*arguments, **options))
    assert (status, out) == (1, "")
    (line,) = err.splitlines()
    assert line.endswith(CATALOGUE[reason].action)
    return line


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def partial(directory: Path) -> Path | None:
    return next(iter(directory.glob(".*.ftc-partial")), None)


# --- backup ----------------------------------------------------------------------------------------


def test_a_backup_tells_what_is_in_it_and_nobody_else_may_read_it(
    full: DataDirectory, tmp_path: Path
) -> None:
    file = tmp_path / "backup"

    told = done("backup", file, "--data-dir", full.root, umask=0)

    assert told.splitlines()[0] == f"backup made: {file}"
    assert f": 1 accounts, {ROWS} enrollments, 0 devices" in told
    assert file.stat().st_mode & 0o777 == 0o600
    assert names(tmp_path) == ["backup"]


def test_a_backup_holds_what_belongs_to_the_instance_and_nothing_of_a_running_server(
    manufacturer: Manufacturer, tmp_path: Path
) -> None:
    directory = make_data_directory(tmp_path / "data")
    (directory.root / "client-ca.pem").write_bytes(manufacturer.pem)
    (directory.root / "notes.txt").write_text("not ours")
    (directory.pki / ".grpc.key.x7").write_text("being written")
    with directory.config_file.open("a") as config:
        config.write('mtls_listen = "127.0.0.1:0"\nmtls_client_ca = "client-ca.pem"\n')
    server = ServeProcess(directory.root, "--workers=1", log=directory.root / "serve.log")
    try:
        eventually((directory.root / "endpoints.json").exists, "it begins to serve")
        done("backup", tmp_path / "backup", "--data-dir", directory.root)
    finally:
        server.stop()

    kept = {info.name for info, _ in taken_apart((tmp_path / "backup").read_bytes())}
    everything = {
        path.relative_to(directory.root).as_posix() for path in directory.root.rglob("*") if path.is_file()
    }
    assert everything - kept == {
        "instance.lock",
        "notes.txt",
        "pki/.grpc.key.x7",
        "serve.log",
        "store/lock.mdb",
    }
    assert kept - everything == {MANIFEST_NAME, SUMS_NAME}


def test_what_the_settings_name_elsewhere_is_told_to_be_missing(tmp_path: Path) -> None:
    directory = make_data_directory(tmp_path / "data")
    (tmp_path / "ca.pem").write_text("theirs")
    with directory.config_file.open("a") as config:
        config.write(f'mtls_listen = "127.0.0.1:0"\nmtls_client_ca = "{tmp_path}/ca.pem"\n')
    _, _, err = ended(started("backup", tmp_path / "backup", "--data-dir", directory.root))
    assert err == f"warning: {tmp_path}/ca.pem lies outside the data directory and is not in the backup\n"


def test_a_store_elsewhere_is_in_the_backup_and_the_setting_that_leads_away_from_it_is_told(
    tmp_path: Path,
) -> None:
    directory = make_data_directory(tmp_path / "data")
    directory.store.rename(tmp_path / "elsewhere")
    with directory.config_file.open("a") as config:
        config.write(f'storage_url = "lmdb://{tmp_path}/elsewhere"\n')
    done("backup", tmp_path / "backup", "--data-dir", directory.root)

    _, _, err = ended(started("restore", tmp_path / "backup", "--data-dir", tmp_path / "restored"))

    assert err.startswith(f"warning: storage_url in {tmp_path}/restored/ftc.toml is lmdb://{tmp_path}/else")
    assert (tmp_path / "restored" / "store" / "data.mdb").is_file()


def test_a_file_is_overwritten_by_force_alone(full: DataDirectory, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    file.write_text("precious")
    assert str(file) in refused(Reason.BACKUP_EXISTS, "backup", file, "--data-dir", full.root)
    assert file.read_text() == "precious"
    done("backup", file, "--data-dir", full.root, "--force")
    done("restore", file, "--verify-only")
    assert names(tmp_path) == ["backup"]


def test_no_backup_is_made_of_what_is_no_instance(tmp_path: Path) -> None:
    refused(Reason.DATA_DIRECTORY_MISSING, "backup", tmp_path / "backup", "--data-dir", tmp_path / "none")
    assert names(tmp_path) == []


@pytest.mark.parametrize("change", ["ledger.key", "ledger.pub", "grpc.key"])
def test_keys_that_are_not_the_stores_are_in_no_backup(change: str, tmp_path: Path) -> None:
    directory, other = (make_data_directory(tmp_path / name) for name in ("data", "other"))
    shutil.copy(other.pki / change, directory.pki / change)
    reason = Reason.FILE_UNREADABLE if change == "grpc.key" else Reason.DATA_DIRECTORY_INCOMPATIBLE
    refused(reason, "backup", tmp_path / "backup", "--data-dir", directory.root)
    assert names(tmp_path) == ["data", "other"]


def test_a_rotation_that_was_cut_short_has_ended_in_the_backup(tmp_path: Path) -> None:
    directory = make_data_directory(tmp_path / "data")
    # As one that was killed after the store had its new key, which is in the place of the next one.
    directory.key_file("ledger").rename(directory.key_file("ledger.next"))
    other = make_data_directory(tmp_path / "other")
    shutil.copy(other.key_file("ledger"), directory.key_file("ledger"))

    done("backup", tmp_path / "backup", "--data-dir", directory.root)
    done("restore", tmp_path / "backup", "--data-dir", tmp_path / "restored")

    keys = LedgerKeyFiles(DataDirectory(tmp_path / "restored"))
    assert keys.held() == [keys.first_public_key()]


def test_a_backup_goes_through_a_pipe_and_comes_back(full: DataDirectory, tmp_path: Path) -> None:
    writing = started("backup", "-", "--data-dir", full.root)
    assert writing.stdout is not None
    told = done("restore", "-", "--data-dir", tmp_path / "restored", stdin=writing.stdout)
    writing.stdout.close()
    assert writing.stderr is not None
    assert writing.stderr.read().startswith("backup made: standard output\n")
    assert (writing.wait(PATIENCE_S), writing.stderr.close()) == (0, None)
    assert f"{ROWS} enrollments" in told
    assert check_instance(tmp_path / "restored").passed


def test_no_backup_goes_to_a_terminal(full: DataDirectory) -> None:
    ours, theirs = pty.openpty()
    process = started("backup", "-", "--data-dir", full.root, stdout=theirs)
    os.close(theirs)
    status, _, err = ended(process)
    os.close(ours)
    assert status == 2
    assert "does not go to a terminal" in err


# --- restore ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0, 0o077])
def test_a_restored_directory_is_whole_and_its_secrets_are_the_owners_alone(
    umask: int, backup: Path, full: DataDirectory, tmp_path: Path
) -> None:
    told = done("restore", backup, "--data-dir", tmp_path / "deep" / "data", umask=umask)

    root = tmp_path / "deep" / "data"
    assert told.splitlines()[0] == f"restored: {root}"
    assert told.splitlines()[-1] == f"next: ftc serve --data-dir {root}"
    assert names(tmp_path / "deep") == ["data"]
    modes = {path.relative_to(root).as_posix(): path.stat().st_mode & 0o777 for path in root.rglob("*")}
    assert {mode for name, mode in modes.items() if (root / name).is_dir()} == {0o700}
    open_to_all = {name for name, mode in modes.items() if mode & 0o077}
    assert open_to_all == {
        "FORMAT",
        "pki/ledger.pub",
        *(f"pki/{path.name}" for path in full.pki.glob("*.pem")),
    }
    assert root.stat().st_mode & 0o777 == 0o700
    report = check_instance(root)
    assert report.passed
    assert report.counts["enrollments"] == ROWS


def test_an_empty_directory_is_taken_and_anything_else_is_left_alone(backup: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to("missing")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "theirs").touch()
    for taken in ("file", "used"):
        refused(Reason.RESTORE_TARGET_NOT_EMPTY, "restore", backup, "--data-dir", tmp_path / taken)
    assert names(tmp_path) == ["file", "nowhere", "used"]
    assert names(tmp_path / "used") == ["theirs"]

    (tmp_path / "empty").mkdir()
    done("restore", backup, "--data-dir", tmp_path / "empty")
    assert check_instance(tmp_path / "empty").passed


def test_a_verified_backup_leaves_nothing_even_of_one_that_was_killed(backup: Path, tmp_path: Path) -> None:
    elsewhere = {**os.environ, "TMPDIR": str(tmp_path)}
    process = started("restore", backup, "--verify-only", env=elsewhere)
    eventually(lambda: (place := partial(tmp_path)) and (place / "pki").is_dir(), "keys are unpacked")
    process.kill()
    ended(process)
    left = partial(tmp_path)

    status, out, err = ended(started("restore", backup, "--verify-only", env=elsewhere))

    assert (status, err) == (0, f"warning: removed {left}: left by a command that was killed\n")
    assert out.startswith("whole: revision ")
    assert names(tmp_path) == []


@pytest.mark.parametrize("arguments", [[], ["--verify-only", "--data-dir", "x"]])
def test_one_says_what_is_to_be_made(arguments: list[str], backup: Path) -> None:
    status, _, err = ended(started("restore", backup, *arguments))
    assert status == 2
    assert "name the directory to make with --data-dir, or give --verify-only" in err


def damaged(backup: Path, kind: str) -> bytes:
    whole = backup.read_bytes()
    match kind:
        case "cut short":
            return whole[:-100]
        case "flipped":
            middle = len(whole) // 2
            return whole[:middle] + bytes([whole[middle] ^ 0x10]) + whole[middle + 1 :]
        case "text":
            return b"not a backup\n"
        case "empty":
            return b""
        case "another store":
            entries = taken_apart(whole)
            return forged([(info, content) for info, content in entries if info.name != "pki/ledger.pub"])
        case "link":
            return forged([*taken_apart(whole), entry("x", type=tarfile.SYMTYPE, linkname="/etc/passwd")])
    raise ValueError(kind)


@pytest.mark.parametrize("kind", ["cut short", "flipped", "text", "empty", "another store", "link"])
def test_a_damaged_backup_leaves_nothing(kind: str, backup: Path, tmp_path: Path) -> None:
    file = tmp_path / "damaged"
    file.write_bytes(damaged(backup, kind))
    refused(Reason.BACKUP_DAMAGED, "restore", file, "--data-dir", tmp_path / "restored")
    refused(
        Reason.BACKUP_DAMAGED, "restore", file, "--verify-only", env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    assert names(tmp_path) == ["damaged"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("format", 2), ("data_directory_format", "3"), ("engine", "lmdb 1.0"), ("store_format", "3")],
)
def test_a_backup_of_another_format_is_refused_before_anything_is_unpacked(
    field: str, value: object, tmp_path: Path
) -> None:
    manifest = msgspec.to_builtins(manifest_of(CONTENTS)) | {field: value}
    (tmp_path / "later").write_bytes(forged([entry(MANIFEST_NAME, msgspec.json.encode(manifest))]))
    line = refused(Reason.BACKUP_INCOMPATIBLE, "restore", tmp_path / "later", "--data-dir", tmp_path / "data")
    assert str(value) in line
    assert names(tmp_path) == ["later"]


# --- kill -9 ---------------------------------------------------------------------------------------


def size_of(path: Path | None) -> int:
    try:
        return -1 if path is None else path.stat().st_size
    except FileNotFoundError:
        return -1


@pytest.mark.parametrize("bytes_written", [0, 500_000, 1_500_000])
def test_a_backup_that_is_killed_leaves_nothing_under_its_name(
    bytes_written: int, full: DataDirectory, tmp_path: Path
) -> None:
    process = started("backup", tmp_path / "backup", "--data-dir", full.root)
    eventually(lambda: size_of(partial(tmp_path)) >= bytes_written, "it is so far")
    process.kill()
    assert ended(process)[0] == -signal.SIGKILL
    left = partial(tmp_path)
    assert left is not None
    assert names(tmp_path) == [left.name]

    status, _, err = ended(started("backup", tmp_path / "backup", "--data-dir", full.root))

    assert (status, err) == (0, f"warning: removed {left}: left by a command that was killed\n")
    done("restore", tmp_path / "backup", "--verify-only")
    assert names(tmp_path) == ["backup"]


MOMENTS: dict[str, Callable[[Path, int], bool]] = {
    "begun": lambda place, size: True,
    "keys written": lambda place, size: (place / "pki").is_dir(),
    "within the store": lambda place, size: size_of(place / "store" / "data.mdb") > size / 4,
    "being proven": lambda place, size: size_of(place / "store" / "data.mdb") == size,
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_restore_that_is_killed_leaves_nothing_under_its_name(
    moment: str, backup: Path, tmp_path: Path
) -> None:
    target = tmp_path / "data"
    with backup.open("rb") as file:
        size = ArchiveReader(file).manifest.members[-1].size  # the store's
    process = started("restore", backup, "--data-dir", target)
    eventually(lambda: (place := partial(tmp_path)) and MOMENTS[moment](place, size), f"it is {moment}")
    process.kill()
    assert ended(process)[0] == -signal.SIGKILL
    left = partial(tmp_path)
    assert left is not None
    assert names(tmp_path) == [left.name]

    status, _, err = ended(started("restore", backup, "--data-dir", target))

    assert (status, err) == (0, f"warning: removed {left}: left by a command that was killed\n")
    assert names(tmp_path) == ["data"]
    assert check_instance(target).passed


@pytest.mark.parametrize("delay_s", [0.5, 0.7, 0.9, 1.1, 1.3])
def test_at_any_moment_there_is_nothing_or_the_whole(delay_s: float, backup: Path, tmp_path: Path) -> None:
    process = started("restore", backup, "--data-dir", tmp_path / "data")
    time.sleep(delay_s)
    process.kill()
    ended(process)
    if (tmp_path / "data").exists():
        assert check_instance(tmp_path / "data").passed


# --- full disks ------------------------------------------------------------------------------------


def test_a_backup_that_finds_no_room_says_so_and_leaves_nothing(full: DataDirectory, tmp_path: Path) -> None:
    line = refused(Reason.DISK_FULL, "backup", tmp_path / "backup", "--data-dir", full.root, limit_kib=2_000)
    assert f"no room for {tmp_path / 'backup'}" in line
    assert names(tmp_path) == []


def test_a_restore_that_finds_no_room_says_so_and_leaves_nothing(backup: Path, tmp_path: Path) -> None:
    line = refused(Reason.DISK_FULL, "restore", backup, "--data-dir", tmp_path / "data", limit_kib=2_000)
    assert f"no room for {tmp_path / 'data'}" in line
    assert names(tmp_path) == []


def test_what_a_backup_takes_is_known_before_it_is_unpacked(tmp_path: Path) -> None:
    """A small file may say that it takes more than any disk has."""
    whole = make_data_directory(tmp_path / "data")
    out = (tmp_path / "backup").open("w+b")
    with out:
        manifest = back_up(Settings(data_dir=whole.root), out, now=utc_now(), version="this one")
        out.seek(0)
        entries = taken_apart(out.read())
    assert manifest.members[-1].name == "store/data.mdb"
    text = entries[0][1].replace(b'"size": %d' % manifest.members[-1].size, b'"size": %d' % 2**60)
    (tmp_path / "huge").write_bytes(forged([entry(MANIFEST_NAME, text), *entries[1:]]))

    line = refused(Reason.DISK_FULL, "restore", tmp_path / "huge", "--data-dir", tmp_path / "restored")

    assert "the backup takes 1152921504606" in line
    assert names(tmp_path) == ["backup", "data", "huge"]
