"""CreateDeviceEnrollment against a bare grpc.aio server that moves the same bytes.

    python -m benchmarks.api.unary [--calls N] [--rounds N]

Both are processes of their own, both serve TLS, and the same callers, in this process, call them in turns.
What is judged is the server's CPU per call, user and kernel, all threads: on a machine with two cores the
callers in Python are the slower side, so the time on the wall says more about them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from dataclasses import dataclass

import uvloop

from benchmarks.api.account import Administrator, create_account
from benchmarks.api.echo import running_echo
from benchmarks.api.load import Callers
from ftc_core.domain.identity import format_enrollment_id
from ftc_grpc._gen.ftc.v1.device_enrollment_pb2 import DeviceEnrollment
from ftc_grpc._gen.ftc.v1.device_enrollment_service_pb2 import CreateDeviceEnrollmentRequest
from ftc_storm.instance import cpu_seconds, running_instance

__all__ = ["Round", "run"]

_METHOD = "/ftc.v1.DeviceEnrollmentService/CreateDeviceEnrollment"


@dataclass(frozen=True)
class Round:
    """Of one turn of each: server CPU in microseconds per call, calls per second, median in milliseconds."""

    create_us: float
    echo_us: float
    create_per_s: float
    echo_per_s: float
    create_ms: float
    echo_ms: float

    @property
    def cpu_ratio(self) -> float:
        """Server CPU of a create ÷ that of an echo."""
        return self.create_us / self.echo_us

    @property
    def time_ratio(self) -> float:
        """Time on the wall of a create ÷ that of an echo, all callers at work."""
        return self.echo_per_s / self.create_per_s


def run(calls: int = 6_000, rounds: int = 5) -> list[Round]:
    """`rounds` turns of `calls` creates and as many echoes."""
    with running_instance() as instance:
        administrator = create_account(instance, "Unary")
        pki = instance.data_dir / "pki"
        answer = _answer(administrator)
        with running_echo(pki / "grpc.pem", pki / "grpc.key", answer) as echo:
            creating = administrator.callers()
            echoing = Callers(echo.endpoint, instance.server_ca_pem, administrator.api_key)
            pids = instance.processes["api"], echo.pid
            uvloop.run(_turn(creating, echoing, pids, min(calls, 500)))  # pages and caches
            return [uvloop.run(_turn(creating, echoing, pids, calls)) for _ in range(rounds)]


def _answer(administrator: Administrator) -> bytes:
    """What a create answers, as bytes."""
    request = CreateDeviceEnrollmentRequest.FromString(_requests(1)[0])
    with administrator.client() as api:
        return api.call(api.device_enrollments.CreateDeviceEnrollment, request).SerializeToString()


def _requests(count: int) -> list[bytes]:
    identities = (format_enrollment_id(os.urandom(32)) for _ in range(count))
    return [
        CreateDeviceEnrollmentRequest(
            device_enrollment=DeviceEnrollment(enrollment_identity=identity)
        ).SerializeToString()
        for identity in identities
    ]


async def _turn(creating: Callers, echoing: Callers, pids: tuple[int, int], calls: int) -> Round:
    requests = _requests(calls)
    figures = []
    for callers, pid in zip((creating, echoing), pids, strict=True):
        used = cpu_seconds(pid)
        started = time.perf_counter()
        seconds = await callers.call(_METHOD, requests)
        elapsed = time.perf_counter() - started
        used = cpu_seconds(pid) - used
        figures.append((used / calls * 1e6, calls / elapsed, statistics.median(seconds) * 1e3))
    (create_us, create_per_s, create_ms), (echo_us, echo_per_s, echo_ms) = figures
    return Round(create_us, echo_us, create_per_s, echo_per_s, create_ms, echo_ms)


def main() -> None:
    """Print each round, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=6_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    results = run(arguments.calls, arguments.rounds)
    for result in results:
        print(
            f"create {result.create_us:4.0f} µs, {result.create_per_s:5.0f}/s, {result.create_ms:5.1f} ms;"
            f" echo {result.echo_us:4.0f} µs, {result.echo_per_s:5.0f}/s, {result.echo_ms:5.1f} ms;"
            f" CPU ratio {result.cpu_ratio:.2f}, time ratio {result.time_ratio:.2f}"
        )
    print(
        f"median CPU ratio {statistics.median(result.cpu_ratio for result in results):.2f},"
        f" time ratio {statistics.median(result.time_ratio for result in results):.2f}"
    )


if __name__ == "__main__":
    main()
