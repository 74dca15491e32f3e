"""`ftc check` beside a running instance, and on one that is stopped: what it says, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftc_core.credentials.data_directory import DataDirectory
from tests.certificates import Manufacturer
from tests.instance import FTC, Instance, make_data_directory, running_instance
from tests.things import claimed_thing
from tests.whole_store import StoreHands


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """Of its own: these tests look at all that is in it."""
    with running_instance(make_data_directory(tmp_path_factory.mktemp("check") / "data")) as instance:
        yield instance


@pytest.fixture
def stopped(tmp_path: Path) -> DataDirectory:
    return make_data_directory(tmp_path / "data")


def check(directory: DataDirectory, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [*FTC, "check", "--data-dir", str(directory.root), *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


async def test_a_running_instance_is_checked_and_not_disturbed(
    running: Instance, manufacturer: Manufacturer
) -> None:
    tenant = running.tenant()
    tenant.trust(manufacturer)
    await claimed_thing(tenant, manufacturer)
    lock = running.directory.root / "instance.lock"
    before = (lock.read_text(), lock.stat().st_mtime_ns, running.processes())

    done = check(running.directory)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 accounts, 1 trusted certificate, 1 enrollment, 1 device, 1 change of ownership" in done.stdout
    assert done.stdout.endswith("; no fault found\n")
    assert "every page" not in done.stdout
    assert "note: PAGES_NOT_PROVEN" in done.stderr
    assert before == (lock.read_text(), lock.stat().st_mtime_ns, running.processes())
    await claimed_thing(tenant, manufacturer)


def test_damage_of_a_running_instance_is_found(running: Instance) -> None:
    """Somebody wrote into its store behind its back."""
    hands = StoreHands(running.directory.store)
    key, value = hands.first("api_keys_by_account")
    hands.delete("api_keys_by_account", key)
    found = check(running.directory)
    hands.put("api_keys_by_account", key, value)
    assert found.returncode == 1
    assert f"ENTRY_MISSING: api_keys_by_account {key.hex()}" in found.stdout
    assert check(running.directory).returncode == 0


def test_a_stopped_instance_is_proven_page_by_page(stopped: DataDirectory) -> None:
    done = check(stopped)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "checked at revision 2: 1 account, every page of the file; no fault found\n"


def test_what_is_wrong_is_a_line_each_and_what_to_do_about_it(stopped: DataDirectory) -> None:
    stopped.operator_key.chmod(0o644)
    (stopped.secrets / "cookie-secret").write_bytes(b"short")
    done = check(stopped)
    first, second, *actions, summary = done.stdout.splitlines()
    assert done.returncode == 1
    assert first.startswith("FILE_INVALID: ")
    assert second == f"FILE_EXPOSED: {stopped.operator_key}: expected mode 0600; found mode 0644"
    assert [action.partition(":")[0] for action in actions] == [
        "what to do about FILE_INVALID",
        "what to do about FILE_EXPOSED",
    ]
    assert summary.endswith("faults found: 2")
    assert done.stderr.startswith(f"error: {stopped.root} is not whole: 2 faults / what to do: ")


def test_json_has_all_of_it(stopped: DataDirectory) -> None:
    whole = json.loads(check(stopped, "--json").stdout)
    assert (whole["whole"], whole["pages_proven"], whole["findings"], whole["counts"]["accounts"]) == (
        True,
        True,
        [],
        1,
    )
    stopped.operator_key.chmod(0o604)
    done = check(stopped, "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert (report["whole"], report["findings_count"]) == (False, 1)
    [finding] = report["findings"]
    assert finding.pop("action").startswith("Others could read a secret")
    assert finding == {
        "kind": "FILE_EXPOSED",
        "where": str(stopped.operator_key),
        "record": "",
        "expected": "mode 0600",
        "found": "mode 0604",
    }


def test_a_store_that_is_cut_ends_no_process(stopped: DataDirectory) -> None:
    os.truncate(stopped.store / "data.mdb", 20_000)
    done = check(stopped)
    assert done.returncode == 1
    assert "PAGE_DAMAGED: " in done.stdout


def test_an_instance_that_was_killed_leaves_whole_data(tmp_path: Path) -> None:
    directory = make_data_directory(tmp_path / "data")
    with running_instance(directory) as instance:
        instance.tenant()
        os.kill(instance.processes()["api"], signal.SIGKILL)
    done = check(directory)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every page" in done.stdout


def test_what_is_no_data_directory_is_refused(tmp_path: Path) -> None:
    done = check(DataDirectory(tmp_path))
    assert done.returncode == 1
    assert "Run `ftc init` first." in done.stderr
    wrong = subprocess.run([*FTC, "check", "--wrong"], capture_output=True, timeout=60, check=False)
    assert wrong.returncode == 2
