"""`ftc enrollment upload`, `delete-upload` and `report`, against a running API."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.api import Tenant, TestApi
from tests.integration.test_api_bulk import file_of, identities, listed
from tests.integration.test_api_cli import Shell


@pytest.fixture
def admin(api: TestApi, tenant: Tenant, tmp_path: Path) -> Shell:
    return Shell(api, tenant.api_key, tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "enrollments.csv"


def test_file_is_uploaded_watched_and_taken_back(
    api: TestApi, tenant: Tenant, admin: Shell, file: Path
) -> None:
    ids = identities(1_200)
    file.write_bytes(file_of(*ids))

    up = admin.run("enrollment", "upload", str(file), "--watch")
    assert listed(api, tenant) == set(ids)
    down = admin.run("enrollment", "delete-upload", str(file), "--watch")

    assert listed(api, tenant) == set()
    for done in (up, down):
        assert done.exit_code == 0, done.stderr
        assert done.stdout.endswith(": 1200 rows, 0 failed\n")


def test_rows_that_fail_exit_1_and_are_in_the_report(admin: Shell, file: Path, tmp_path: Path) -> None:
    good, out = identities(1)[0], tmp_path / "report.csv"
    file.write_bytes(file_of(good, "bad"))

    done = admin.run("enrollment", "upload", str(file), "--watch")
    operation = done.stdout.partition(":")[0]
    printed = admin.run("enrollment", "report", operation)
    admin.run("enrollment", "report", operation.removeprefix("operations/"), "--rows=full", "--out", str(out))

    assert done.exit_code == 1
    assert f"ftc enrollment report {operation}" in done.stderr
    assert printed.stdout_bytes.count(b"\r\n") == 2
    assert b'"bad","400","ENROLLMENT_ID_INVALID"' in printed.stdout_bytes
    assert out.read_bytes().count(b"\r\n") == 3
    assert stat.S_IMODE(out.stat().st_mode) == 0o600, "it has identities"


def test_report_that_is_refused_leaves_the_file_of_before(admin: Shell, tmp_path: Path) -> None:
    out = tmp_path / "report.csv"
    out.write_text("what an earlier run said")

    refused = admin.run("enrollment", "report", "019a0c5e7b1d7c2e8f00112233445566", "--out", str(out))

    assert refused.exit_code == 1
    assert out.read_text() == "what an earlier run said"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["ca.pem", "report.csv"]


def test_validate_only_changes_nothing(api: TestApi, tenant: Tenant, admin: Shell, file: Path) -> None:
    file.write_bytes(file_of(*identities(3)))

    done = admin.run("enrollment", "upload", str(file), "--validate-only", "--watch")

    assert done.exit_code == 0, done.stderr
    assert listed(api, tenant) == set()


def test_request_id_makes_a_repeat_harmless(admin: Shell, file: Path) -> None:
    file.write_bytes(file_of(*identities(3)))
    arguments = (
        *("enrollment", "upload", str(file), "--watch"),
        *("--request-id", "0f9d2f6c-6f38-4a49-a7b1-0a7b3c1d2e4f"),
    )

    first, again = admin.run(*arguments), admin.run(*arguments)

    assert (first.stdout, first.exit_code) == (again.stdout, 0)


def test_without_watch_the_operation_is_told_at_once(admin: Shell, file: Path) -> None:
    file.write_bytes(file_of(*identities(3)))

    done = admin.run("enrollment", "upload", str(file))
    file.write_bytes(file_of(*identities(3)))
    shown = admin.json("enrollment", "upload", str(file), "--validate-only", "--watch")

    assert done.stdout.startswith("operations/")
    assert done.stdout.endswith(": 3 rows to do\n")
    assert shown["metadata"]["status"] == "COMPLETED"
    assert shown["metadata"]["total_count"] == "3"
