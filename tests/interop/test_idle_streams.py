"""Ten thousand watch streams that have nothing to say: what they cost, and what is left for others."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ftc_core.domain.identity import format_enrollment_id
from ftc_grpc._gen.ftc.v1.device_enrollment_pb2 import DeviceEnrollment
from ftc_grpc._gen.ftc.v1.device_enrollment_service_pb2 import CreateDeviceEnrollmentRequest
from ftc_grpc._gen.ftc.v1.device_service_pb2 import ListDevicesRequest
from ftc_grpc.client import ApiClient
from tests.interop.instance import Account, Instance

CONNECTIONS, EACH = 100, 100  # as many streams as a connection may have
PROGRESS_S = 10
IDLE_S = 12.0
CALLS = 200


def api_process(instance: Instance) -> int:
    processes: dict[str, int] = json.loads((instance.data_directory / "endpoints.json").read_text())[
        "processes"
    ]
    return processes["api"]


def resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


def cpu_s(pid: int) -> float:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def median_ms(api: ApiClient) -> float:
    """Of calls one after the other."""
    seconds = []
    for _ in range(CALLS):
        started = time.perf_counter()
        api.call(api.devices.ListDevices, ListDevicesRequest())
        seconds.append(time.perf_counter() - started)
    assert max(seconds) < 1, "a call while others watch"
    return statistics.median(seconds) * 1e3


@pytest.mark.timeout(180)
def test_ten_thousand_idle_streams_leave_the_api_as_quick_as_before(
    account: Account, tell: Callable[[str], None]
) -> None:
    instance, streams = account.instance, CONNECTIONS * EACH
    pid, endpoint = api_process(instance), f"localhost:{instance.ports['grpc']}"
    ca_pem = instance.ca.read_bytes()
    with ApiClient(endpoint, api_key=account.api_key, ca_pem=ca_pem) as api:
        alone_ms, before_kib = median_ms(api), resident_kib(pid)
        crowd = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.integration.watch_crowd", endpoint),
                *(str(CONNECTIONS), str(EACH), str(PROGRESS_S)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "FTC_API_KEY": account.api_key},
        )
        with crowd:
            assert crowd.stdin is not None
            assert crowd.stdout is not None
            crowd.stdin.write(ca_pem)
            crowd.stdin.close()
            assert crowd.stdout.readline() == b"ready\n"
            used = cpu_s(pid)
            time.sleep(IDLE_S)  # each stream gets a mark, at least
            used = cpu_s(pid) - used
            each_kib = (resident_kib(pid) - before_kib) / streams
            beside_ms = median_ms(api)
            wanted = DeviceEnrollment(enrollment_identity=format_enrollment_id(os.urandom(32)))
            request = CreateDeviceEnrollmentRequest(device_enrollment=wanted)
            started = time.perf_counter()
            created = api.call(api.device_enrollments.CreateDeviceEnrollment, request)
            assert crowd.stdout.readline() == b"{%d}\n" % int(created.etag.strip('"')), "the event, on each"
            reached_s = time.perf_counter() - started
            marks = int(crowd.stdout.readline())
        assert crowd.returncode == 0

    assert marks >= streams
    assert each_kib < 100
    assert used / IDLE_S < 0.9, "CPUs, with a thousand marks a second"
    tell(
        f"{streams:,} idle watch streams: {each_kib:.0f} KiB each; {used / IDLE_S:.0%} of a CPU for a mark"
        f" on each every {PROGRESS_S} s; a call {alone_ms:.1f} ms alone, {beside_ms:.1f} ms beside them"
        f" (medians); an event reached all in {reached_s:.1f} s"
    )
