"""Callers of an API: connections of their own, so many calls in flight on each, ready-made bytes to send."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from grpc import aio

from ftc_core.limits import RPC_MESSAGE_MAX_BYTES

__all__ = ["Call", "Callers"]

Call = Callable[[str, Iterable[bytes]], Awaitable[list[float]]]
"""Calls a method with each of the requests, as fast as answers come; gives the seconds that each call took.

Raises what a call raises.
"""

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

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Call]:
        """Open the connections for the body, which gets what calls on them."""
        credentials = grpc.ssl_channel_credentials(self.ca_pem)
        async with AsyncExitStack() as stack:
            channels = [
                await stack.enter_async_context(
                    aio.secure_channel(self.endpoint, credentials, options=_OPTIONS)
                )
                for _ in range(self.connections)
            ]
            for channel in channels:
                await channel.channel_ready()
            yield functools.partial(self._call, channels)

    async def call(self, method: str, requests: Iterable[bytes]) -> list[float]:
        """As a `Call`, on connections of its own."""
        async with self.connected() as call:
            return await call(method, requests)

    async def _call(
        self, channels: Sequence[aio.Channel], method: str, requests: Iterable[bytes]
    ) -> list[float]:
        metadata = (("authorization", f"Bearer {self.api_key}"),)
        waiting = iter(requests)
        seconds: list[float] = []

        async def one_after_another(unary: Any) -> None:
            for request in waiting:
                started = time.perf_counter()
                await unary(request, metadata=metadata)
                seconds.append(time.perf_counter() - started)

        unaries = [channel.unary_unary(method, None, None) for channel in channels]
        await asyncio.gather(*map(one_after_another, unaries * self.in_flight))
        return seconds
