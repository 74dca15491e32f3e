"""`ftc enrollment upload`, `delete-upload` and `report`, against a running API."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from ftc_core.domain.bulk import BulkStatus
from ftc_core.errors import Reason
from ftc_core.storage.bulk_commands import CreateBulkJob, EndBulkJob
from ftc_core.storage.commands import Submission
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
    assert f"ftc operation wait {done.stdout.partition(':')[0]}" in done.stderr
    assert shown["metadata"]["status"] == "COMPLETED"
    assert shown["metadata"]["total_count"] == "3"


def test_upload_is_followed_by_its_name_or_id(admin: Shell, file: Path) -> None:
    file.write_bytes(file_of(identities(1)[0], "bad"))
    name = admin.run("enrollment", "upload", str(file)).stdout.partition(":")[0]
    ident = name.removeprefix("operations/")

    waited = admin.run("operation", "wait", ident)
    shown, row = admin.run("operation", "get", name), admin.run("operation", "list").stdout.splitlines()[1]

    assert (waited.exit_code, waited.stdout) == (1, f"{name}: 2 rows, 1 failed\n")
    assert f"ftc enrollment report {name}" in waited.stderr
    assert "COMPLETED" in shown.stdout
    assert row.split()[:6] == [name, "CREATE", "COMPLETED", "2", "2", "1"]
    assert admin.json("operation", "get", ident)["metadata"]["errors_count"] == "1"


def test_operations_are_listed_by_a_filter(admin: Shell, file: Path) -> None:
    file.write_bytes(file_of(*identities(2)))
    names = [
        admin.json("enrollment", verb, str(file), "--watch")["name"] for verb in ("upload", "delete-upload")
    ]

    def listed_by(text: str, *more: str) -> list[str]:
        return [each["name"] for each in admin.json("operation", "list", "--filter", text, *more)]

    assert listed_by("metadata.kind = DELETE") == names[1:]
    assert listed_by("done = true") == names
    assert listed_by("done = true", "--limit=1") == names[:1]
    assert listed_by("done = false") == []


def test_operation_is_cancelled_and_forgotten(admin: Shell, file: Path) -> None:
    file.write_bytes(file_of(*identities(30_000)))
    name = admin.run("enrollment", "upload", str(file)).stdout.partition(":")[0]

    running = admin.run("operation", "delete", name)
    cancelled = admin.run("operation", "cancel", name)
    waited, shown = admin.run("operation", "wait", name), admin.run("operation", "get", name)
    deleted = admin.run("operation", "delete", name)

    assert "operation is not finished" in running.stderr
    assert " of 30000 rows are done, and stay" in cancelled.stdout
    assert (waited.exit_code, "operation was cancelled" in waited.stderr) == (1, True)
    assert "error  operation was cancelled" in shown.stdout
    assert deleted.exit_code == 0
    assert admin.run("operation", "get", name).exit_code == 1
    assert admin.json("operation", "list") == []


def test_operation_that_failed_says_why(api: TestApi, tenant: Tenant, admin: Shell, file: Path) -> None:
    file.write_bytes(file_of(*identities(3)))
    name = admin.run("enrollment", "upload", str(file), "--watch").stdout.partition(":")[0]
    with api.context.store.view() as view:
        job = view.get_bulk_job(name.removeprefix("operations/"))
    assert job is not None
    failed = msgspec.structs.replace(job, id="0" * 32, status=BulkStatus.NEW, completed_at=None, offset=0)

    async def end() -> None:
        await api.context.commit.execute(Submission(CreateBulkJob(failed, 100)))
        await api.context.commit.execute(
            Submission(EndBulkJob(failed.id, Reason.INTERNAL_1, api.context.now()))
        )

    api.run(end())
    waited = admin.run("operation", "wait", failed.id)

    assert waited.exit_code == 1
    assert "error: Internal error #1 / what to do: The store is unavailable" in waited.stderr


def test_enrollments_of_an_upload_expire_when_it_says(
    api: TestApi, tenant: Tenant, admin: Shell, file: Path
) -> None:
    file.write_bytes(file_of(*identities(2)))

    done = admin.json("enrollment", "upload", str(file), "--watch", "--expires-at", "2099-01-01")

    assert done["metadata"]["expires_at"] == "2099-01-01T00:00:00Z"
    with api.context.store.view() as view:
        found = view.list_enrollments(tenant.id, after=None, limit=10)
    assert [each.expires_at for each in found] == [datetime(2099, 1, 1, tzinfo=UTC)] * 2


def test_file_without_a_row_is_told_for_it_may_be_the_wrong_one(admin: Shell, file: Path) -> None:
    file.write_bytes(b"PK\x03\x04 a spreadsheet")
    for more in ((), ("--watch",)):
        done = admin.run("enrollment", "upload", str(file), *more)
        assert done.exit_code == 0
        assert done.stderr.startswith("note: no rows were found; a CSV file is expected")
