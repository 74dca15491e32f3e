"""A bare grpc.aio server over TLS, in a process of its own: the least that an API in this stack can cost.

    python -m benchmarks.api.echo CERTIFICATE KEY < ANSWER

It answers every call of any unary method with the bytes on its standard input, so that it moves the same
bytes as the method that it stands for, and does nothing else: no interceptor, no parsing, no log. The event
loop is the API's. It says its port, and stops with SIGTERM.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import uvloop
from grpc import aio

__all__ = ["Echo", "running_echo"]


@dataclass(frozen=True)
class Echo:
    """Where it listens, and its process ID."""

    endpoint: str
    pid: int


@contextmanager
def running_echo(certificate: Path, key: Path, answer: bytes) -> Iterator[Echo]:
    """A server with this identity (PEM files) that always gives `answer`; stopped by SIGTERM at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.api.echo", str(certificate), str(key)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(answer)
        process.stdin.close()
        yield Echo(f"127.0.0.1:{int(process.stdout.readline())}", process.pid)
    finally:
        process.terminate()
        process.wait(10)


if TYPE_CHECKING:
    _GenericHandler = grpc.GenericRpcHandler[Any, Any]
else:
    _GenericHandler = grpc.GenericRpcHandler  # generic in the stubs only


class _AnyMethod(_GenericHandler):
    def __init__(self, answer: bytes) -> None:
        async def echo(request: bytes, context: Any) -> bytes:
            return answer

        self._handler = grpc.unary_unary_rpc_method_handler(echo)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The same for every method."""
        return self._handler


async def _serve(certificate: bytes, key: bytes, answer: bytes) -> None:
    server = aio.server(handlers=[_AnyMethod(answer)], options=[("grpc.so_reuseport", 0)])
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(
        _serve(Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]).read_bytes(), sys.stdin.buffer.read())
    )
