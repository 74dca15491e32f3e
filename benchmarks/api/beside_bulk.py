"""Bootstraps per second alone, and while a bulk job runs: what an upload takes from the devices.

    python -m benchmarks.api.beside_bulk [--devices N] [--rounds N]

A real instance with one bootstrap worker, a fleet in this process over real DTLS, and an upload through the
API that is larger than the turn lasts. Both turns of a round have the same number of new devices; which comes
first changes from round to round. The machine's cores are shared by the worker, the fleet and the API.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import uvloop
from google.longrunning.operations_pb2 import CancelOperationRequest, GetOperationRequest, Operation

from benchmarks.api.account import Administrator, create_account
from benchmarks.fleet import Fleet
from ftc_core.domain.identity import format_enrollment_id
from ftc_grpc._gen.ftc.v1.bulk_pb2 import BulkCreateDeviceEnrollmentsRequest, BulkOperationMetadata
from ftc_grpc.client import ApiClient
from ftc_storm.instance import Instance, running_instance

__all__ = ["Round", "run"]

_CHUNK_ROWS = 2_500


@dataclass(frozen=True)
class Round:
    """Bootstraps per second, each way, and the rows per second of the job beside them."""

    alone_per_s: float
    beside_per_s: float
    rows_per_s: float

    @property
    def lost(self) -> float:
        """Share of the throughput that the job takes."""
        return 1 - self.beside_per_s / self.alone_per_s


def run(devices: int = 600, rows: int = 400_000, rounds: int = 6, concurrency: int = 32) -> list[Round]:
    """`rounds` pairs of turns of `devices` bootstraps; each job has `rows` rows, and is cancelled."""
    with running_instance(workers=1) as instance:
        return uvloop.run(_rounds(instance, devices, rows, rounds, concurrency))


async def _rounds(instance: Instance, devices: int, rows: int, rounds: int, concurrency: int) -> list[Round]:
    administrator = await asyncio.to_thread(create_account, instance, "Bulk")
    await (await Fleet.enrolled(instance, min(devices, 50))).onboard(concurrency)  # pages and caches
    results = []
    for number in range(rounds):
        per_s, rows_per_s = [0.0, 0.0], 0.0
        for beside in (False, True) if number % 2 == 0 else (True, False):
            fleet = await Fleet.enrolled(instance, devices)
            if beside:
                async with _job(administrator, rows) as job:
                    before, started = await job.processed(), time.perf_counter()
                    await fleet.onboard(concurrency)
                    elapsed = time.perf_counter() - started
                    rows_per_s = (await job.processed() - before) / elapsed
                    if await job.done():
                        raise RuntimeError("the job ended before the devices: give it more rows")
            else:
                started = time.perf_counter()
                await fleet.onboard(concurrency)
                elapsed = time.perf_counter() - started
            per_s[beside] = devices / elapsed
        results.append(Round(per_s[False], per_s[True], rows_per_s))
    return results


@dataclass(frozen=True)
class _Job:
    api: ApiClient
    name: str

    async def processed(self) -> int:
        metadata = BulkOperationMetadata()
        (await self._get()).metadata.Unpack(metadata)
        return metadata.processed_count

    async def done(self) -> bool:
        return (await self._get()).done

    async def _get(self) -> Operation:
        request = GetOperationRequest(name=self.name)
        return await asyncio.to_thread(self.api.call, self.api.operations.GetOperation, request)


@asynccontextmanager
async def _job(administrator: Administrator, rows: int) -> AsyncIterator[_Job]:
    """A job at work, cancelled at the end."""
    with administrator.client() as api:
        method = api.device_enrollments.BulkCreateDeviceEnrollments
        operation = await asyncio.to_thread(api.upload, method, _csv(rows))
        job = _Job(api, operation.name)
        while not await job.processed():
            pass  # each look is a call
        yield job
        cancel = CancelOperationRequest(name=operation.name)
        await asyncio.to_thread(api.call, api.operations.CancelOperation, cancel)


def _csv(rows: int) -> Iterator[BulkCreateDeviceEnrollmentsRequest]:
    yield BulkCreateDeviceEnrollmentsRequest(data=b"enrollment_id\n")
    for _ in range(rows // _CHUNK_ROWS):
        lines = "\n".join(format_enrollment_id(os.urandom(32)) for _ in range(_CHUNK_ROWS))
        yield BulkCreateDeviceEnrollmentsRequest(data=f"{lines}\n".encode())


def main() -> None:
    """Print each round, and the median."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=600)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=6)
    arguments = parser.parse_args()
    results = run(arguments.devices, arguments.rows, arguments.rounds)
    for result in results:
        print(
            f"alone {result.alone_per_s:4.0f}/s, beside a job of {result.rows_per_s:6,.0f} rows/s"
            f" {result.beside_per_s:4.0f}/s: {result.lost:.0%} lost"
        )
    print(f"median {statistics.median(result.lost for result in results):.0%} lost")


if __name__ == "__main__":
    main()
