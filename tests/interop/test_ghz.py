"""ghz, a load generator in Go that knows the API by reflection alone: nothing fails, and what that costs."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ftc_core.domain.identity import format_enrollment_id
from tests.interop.instance import BIN, Account

CALLS = 3_000


def load(account: Account, directory: Path, method: str, requests: list[dict[str, Any]]) -> dict[str, Any]:
    """ghz's own report on CALLS calls, 40 at once over 4 connections: the `requests` in turn."""
    data, metadata = directory / "requests.json", directory / "metadata.json"
    data.write_text(json.dumps(requests))
    metadata.write_text(json.dumps({"authorization": f"Bearer {account.api_key}"}))
    amount = [f"--total={CALLS}", "--connections=4", "--concurrency=40", "--disable-template-data"]
    files = [f"--data-file={data}", f"--metadata-file={metadata}", f"--cacert={account.instance.ca}"]
    done = subprocess.run(
        [
            *(BIN / "ghz", *amount, *files, "--format=json", f"--call=ftc.v1.{method}"),
            f"localhost:{account.instance.ports['grpc']}",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def figures(what: str, report: dict[str, Any]) -> str:
    at = {each["percentage"]: each["latency"] / 1e6 for each in report["latencyDistribution"]}
    return f"ghz: {what}: {report['rps']:,.0f} calls/s, median {at[50]:.1f} ms, p99 {at[99]:.1f} ms"


def test_thousands_of_creates_and_look_ups_at_once_all_succeed(
    account: Account, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    identities = [format_enrollment_id(os.urandom(32)) for _ in range(CALLS)]
    creates = [{"device_enrollment": {"enrollment_identity": identity}} for identity in identities]
    look_ups = [{"enrollment_identity": identity} for identity in identities]

    created = load(account, tmp_path, "DeviceEnrollmentService/CreateDeviceEnrollment", creates)
    found = load(account, tmp_path, "DeviceEnrollmentService/LookupDeviceEnrollment", look_ups)

    for report in (created, found):
        assert report["statusCodeDistribution"] == {"OK": CALLS}, report["errorDistribution"]
    listed = account.ftc("enrollment", "list", "--limit", str(2 * CALLS))
    assert {each["enrollment_identity"] for each in listed} == set(identities)
    tell(figures("CreateDeviceEnrollment", created))
    tell(figures("LookupDeviceEnrollment", found))


def test_key_that_is_none_of_ours_fails_each_call_and_no_other_way(account: Account, tmp_path: Path) -> None:
    stranger = Account(account.instance, account.id, "ftc_" + "0" * 32 + "_" + "0" * 64)

    report = load(stranger, tmp_path, "DeviceService/ListDevices", [{}])

    assert report["statusCodeDistribution"] == {"Unauthenticated": CALLS}
