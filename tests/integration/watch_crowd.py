"""A process with many watch streams: `python -m tests.integration.watch_crowd ENDPOINT CONNECTIONS EACH [S]`.

The API key is in FTC_API_KEY, the CA comes on standard input. Says `ready` once all streams have begun; then
waits for an event on each, and says the set of their revisions, and how many progress marks came before, of
which one is due after S seconds of silence.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import cast

import grpc
from grpc import aio

from ftc_grpc._gen.ftc.v1.device_enrollment_service_pb2_grpc import DeviceEnrollmentServiceStub
from ftc_grpc._gen.ftc.v1.watch_pb2 import WatchDeviceEnrollmentsRequest, WatchDeviceEnrollmentsResponse
from ftc_grpc.bearer import bearer_metadata

Stream = AsyncIterator[WatchDeviceEnrollmentsResponse]


async def first_event(stream: Stream) -> tuple[int, int]:
    """Its revision, and the marks before it."""
    marks = 0
    while not (response := await anext(stream)).events:
        marks += 1
    return response.events[0].revision, marks


async def main(endpoint: str, ca_pem: bytes, connections: int, each: int, progress_s: int | None) -> None:
    request = WatchDeviceEnrollmentsRequest()
    if progress_s is not None:
        request.progress_interval.FromSeconds(progress_s)
    credentials = grpc.ssl_channel_credentials(ca_pem)
    key = bearer_metadata(os.environ["FTC_API_KEY"])
    channels, streams = [], []
    for _ in range(connections):
        # Else gRPC would share one connection among all channels to one address.
        options = [("grpc.use_local_subchannel_pool", 1)]
        channel = aio.secure_channel(endpoint, credentials, options=options)
        stub = DeviceEnrollmentServiceStub(channel)  # type: ignore[arg-type] # the stubs know sync ones only
        calls = [stub.WatchDeviceEnrollments(request, metadata=key) for _ in range(each)]
        begun = [cast("Stream", aiter(call)) for call in calls]  # type: ignore[call-overload]
        # One connection after the other: gRPC cancels calls of a burst when 1,000 wait to be accepted.
        await asyncio.gather(*map(anext, begun))
        channels.append(channel)
        streams += begun
    os.write(1, b"ready\n")
    seen = await asyncio.gather(*map(first_event, streams))
    revisions = {revision for revision, _ in seen}
    os.write(1, f"{revisions}\n{sum(marks for _, marks in seen)}\n".encode())
    for channel in channels:
        await channel.close()


if __name__ == "__main__":
    _, where, connections, each, *progress = sys.argv
    asyncio.run(
        main(
            where,
            sys.stdin.buffer.read(),
            int(connections),
            int(each),
            int(progress[0]) if progress else None,
        )
    )
