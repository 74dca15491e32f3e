"""Callers of an API: connections of their own, so many calls in flight on each, ready-made bytes to send."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import grpc
from grpc import aio

from ftc_core.limits import RPC_MESSAGE_MAX_BYTES

__all__ = ["Callers"]

_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),  # else channels to one address share one connection
    ("grpc.max_send_message_length", RPC_MESSAGE_MAX_BYTES),
    ("grpc.max_receive_message_length", RPC_MESSAGE_MAX_BYTES),
)


@dataclass(frozen=True)
class Callers:
    """Whom they call and as whom, over TLS; `connections` of them with `in_flight` calls each."""

    endpoint: str
    ca_pem: bytes
    api_key: str
    connections: int = 4
    in_flight: int = 16

    async def call(self, method: str, requests: Iterable[bytes]) -> list[float]:
        """Make the calls, as fast as answers come; the seconds that each took. Raises what a call raises."""
        credentials = grpc.ssl_channel_credentials(self.ca_pem)
        metadata = (("authorization", f"Bearer {self.api_key}"),)
        waiting = iter(requests)
        seconds: list[float] = []

        async def one_after_another(unary: Any) -> None:
            for request in waiting:
                started = time.perf_counter()
                await unary(request, metadata=metadata)
                seconds.append(time.perf_counter() - started)

        async with AsyncExitStack() as channels:
            callers = []
            for _ in range(self.connections):
                channel = aio.secure_channel(self.endpoint, credentials, options=_OPTIONS)
                await channels.enter_async_context(channel)
                await channel.channel_ready()
                callers += [channel.unary_unary(method, None, None)] * self.in_flight
            await asyncio.gather(*map(one_after_another, callers))
        return seconds
