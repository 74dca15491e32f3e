"""The least that uvloop and pyOpenSSL can do: a DTLS handshake with client certificate, and one answer.

    python -m benchmarks.peers.bare CERTIFICATE KEY DEVICES_CA

A server with no cookie, no path check of its own, no retransmission, no deduplication, no bound of any kind
and no store: what is left is the stack itself, so that the distance to it is what our own code takes. It
answers each CoAP request with 2.05 and three bytes. It says its port, and stops with SIGTERM.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop
from aiocoap.message import Message
from aiocoap.numbers.codes import Code
from aiocoap.numbers.types import Type
from OpenSSL import SSL

__all__: list[str] = []

_MTU = 1_200
_READ_MAX = 16_384


class _Bare(asyncio.DatagramProtocol):
    def __init__(self, context: SSL.Context) -> None:
        self._context = context
        self._connections: dict[tuple[str, int], SSL.Connection] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        connection = self._connections.get(addr)
        if connection is None:
            connection = self._connections[addr] = SSL.Connection(self._context, None)
            connection.set_ciphertext_mtu(_MTU)
            connection.set_accept_state()
        connection.bio_write(data)
        try:
            while True:
                asked = Message.decode(connection.recv(_READ_MAX))
                if not asked.code.is_request():
                    continue
                answer = Message(code=Code.CONTENT, payload=b"ftc")
                answer.mtype, answer.mid, answer.token = Type.ACK, asked.mid, asked.token
                connection.send(answer.encode())
        except SSL.WantReadError:
            pass
        except (SSL.Error, SSL.ZeroReturnError):
            del self._connections[addr]
        try:
            while True:
                self._transport.sendto(connection.bio_read(_READ_MAX), addr)
        except SSL.WantReadError:
            pass


def _context(certificate: str, key: str, devices_ca: str) -> SSL.Context:
    context = SSL.Context(SSL.DTLS_SERVER_METHOD)
    context.use_certificate_chain_file(certificate)
    context.use_privatekey_file(key)
    context.load_verify_locations(devices_ca)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_QUERY_MTU)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    return context


async def _serve(context: SSL.Context) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Bare(context), ("127.0.0.1", 0))
    print(transport.get_extra_info("sockname")[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(_context(*sys.argv[1:])))
