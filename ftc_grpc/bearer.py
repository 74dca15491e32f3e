"""The caller's API key on every call, as metadata (RFC 6750 §2.1).

gRPC's own `access_token_call_credentials` would do the same in a plugin, and its threads enter Python for
each call of that and for its end. With locks of theirs held, they may then wait for the interpreter while
that waits for them, and the whole process stands still for good (grpc/grpc#42247, open).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import grpc

__all__ = ["BearerKey", "bearer_metadata"]

Metadata = Sequence[tuple[str, str | bytes]]


def bearer_metadata(api_key: str) -> tuple[tuple[str, str]]:
    """What to send with a call made with this key. Never over a channel without TLS."""
    return (("authorization", f"Bearer {api_key}"),)


class _Details(NamedTuple):
    """`grpc.ClientCallDetails`, which is an interface without a constructor."""

    method: str
    timeout: float | None
    metadata: Metadata | None
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: Any


class BearerKey(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[type-arg] # generic in the stubs alone
    grpc.UnaryStreamClientInterceptor,  # type: ignore[type-arg] # generic in the stubs alone
    grpc.StreamUnaryClientInterceptor,  # type: ignore[type-arg] # generic in the stubs alone
    grpc.StreamStreamClientInterceptor,  # type: ignore[type-arg] # generic in the stubs alone
):
    """Adds the key to the calls of a channel, which has to be one with TLS."""

    def __init__(self, api_key: str) -> None:
        self._metadata = bearer_metadata(api_key)

    def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        """See grpc."""
        return continuation(self._with_key(details), request)

    def intercept_unary_stream(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        """See grpc."""
        return continuation(self._with_key(details), request)

    def intercept_stream_unary(
        self, continuation: Callable[..., Any], details: Any, requests: Iterator[Any]
    ) -> Any:
        """See grpc."""
        return continuation(self._with_key(details), requests)

    def intercept_stream_stream(
        self, continuation: Callable[..., Any], details: Any, requests: Iterator[Any]
    ) -> Any:
        """See grpc."""
        return continuation(self._with_key(details), requests)

    def _with_key(self, details: Any) -> _Details:
        return _Details(
            details.method,
            details.timeout,
            (*(details.metadata or ()), *self._metadata),
            details.credentials,
            details.wait_for_ready,
            details.compression,
        )
