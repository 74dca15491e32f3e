"""CreateDeviceEnrollment against a bare grpc.aio server that moves the same bytes.

    python -m benchmarks.api.unary [--calls N] [--rounds N]

Both are processes of their own, both serve TLS, and the same callers, in this process, call them in turns:
many short ones, and each of the two begins every other, so that what else the machine does meets both alike.
A ratio is that of one turn of each, one right behind the other; the median of all is what counts.
What is judged is the server's CPU per call, user and kernel, all threads: on a machine with two cores the
callers in Python are the slower side, so the time on the wall says more about them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass

import uvloop

from benchmarks.api.account import Administrator, create_account
from benchmarks.api.echo import running_echo
from benchmarks.api.load import Call, Callers
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


def run(calls: int = 1_000, rounds: int = 60) -> list[Round]:
    """`rounds` turns of `calls` creates and as many echoes."""
    with running_instance() as instance:
        administrator = create_account(instance, "Unary")
        pki = instance.data_dir / "pki"
        answer = _answer(administrator)
        with running_echo(pki / "grpc.pem", pki / "grpc.key", answer) as echo:
            creating = administrator.callers()
            echoing = Callers(echo.endpoint, instance.server_ca_pem, administrator.api_key)
            pids = instance.processes["api"], echo.pid
            return uvloop.run(_rounds(creating, echoing, pids, calls, rounds))


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


async def _rounds(
    creating: Callers, echoing: Callers, pids: tuple[int, int], calls: int, rounds: int
) -> list[Round]:
    async with creating.connected() as create, echoing.connected() as echo:
        sides = tuple(zip((create, echo), pids, strict=True))
        for call, pid in sides:
            await _turn(call, pid, min(calls, 500))  # pages and caches
        measured = []
        for number in range(rounds):
            if number % 2:
                echoed, created = [await _turn(call, pid, calls) for call, pid in reversed(sides)]
            else:
                created, echoed = [await _turn(call, pid, calls) for call, pid in sides]
            (create_us, create_per_s, create_ms), (echo_us, echo_per_s, echo_ms) = created, echoed
            measured.append(Round(create_us, echo_us, create_per_s, echo_per_s, create_ms, echo_ms))
        return measured


async def _turn(call: Call, pid: int, calls: int) -> tuple[float, float, float]:
    """Server CPU in microseconds per call, calls per second, median in milliseconds."""
    requests = _requests(calls)
    used = cpu_seconds(pid)
    started = time.perf_counter()
    seconds = await call(_METHOD, requests)
    elapsed = time.perf_counter() - started
    used = cpu_seconds(pid) - used
    return used / calls * 1e6, calls / elapsed, statistics.median(seconds) * 1e3


def _spread(ratios: Iterable[float]) -> str:
    """The median, and between which the middle half lies."""
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{middle:.2f} (middle half {low:.2f} to {high:.2f})"


def main() -> None:
    """Print each round, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=60)
    arguments = parser.parse_args()
    results = run(arguments.calls, arguments.rounds)
    for result in results:
        print(
            f"create {result.create_us:4.0f} µs, {result.create_per_s:5.0f}/s, {result.create_ms:5.1f} ms;"
            f" echo {result.echo_us:4.0f} µs, {result.echo_per_s:5.0f}/s, {result.echo_ms:5.1f} ms;"
            f" CPU ratio {result.cpu_ratio:.2f}, time ratio {result.time_ratio:.2f}"
        )
    print(
        f"median of paired ratios: CPU {_spread(result.cpu_ratio for result in results)},"
        f" time {_spread(result.time_ratio for result in results)}"
    )


if __name__ == "__main__":
    main()
