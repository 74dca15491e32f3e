"""What OpenSSL calls a context's ticket keys: the name that begins each ticket of theirs (RFC 5077 §4).

It is random, made with the keys, and OpenSSL tells it to nobody but the peers. So a peer is played: the
context makes a handshake with a client in memory, whose next ClientHello presents the ticket.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from cryptography import x509
from OpenSSL import SSL, crypto

from ftc_core.dtls.client_hello import ticket_of
from ftc_core.dtls.context import PrivateKey, client_context, new_connection
from ftc_core.dtls.memory_bio import read_flight, write_datagram
from ftc_core.dtls.record import client_hello_message
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import DTLS_MTU_BYTES

__all__ = ["KEY_NAME_BYTES", "learn_key_name"]

KEY_NAME_BYTES = 16
"""RFC 5077 §4, which OpenSSL follows."""

_ROUNDS = 4
"""ClientHello twice, for the cookie exchange, the client's last flight, and what it makes of the server's
(RFC 6347 §4.2.4)."""


def learn_key_name(
    context: SSL.Context, certificate_chain: Sequence[x509.Certificate], private_key: PrivateKey
) -> bytes:
    """The name of the ticket keys of `context`, KEY_NAME_BYTES long.

    `context` is a `server_context` that resumes sessions; chain and key are its own, and serve the client,
    too. Raises FtcError INTERNAL_6 if the handshake gives no ticket.
    """
    ours = client_context(certificate_chain, private_key, tickets=True)
    client, server = _connection(ours), _connection(context)
    client.set_connect_state()
    server.set_accept_state()
    for _ in range(_ROUNDS):
        _step(client, to=server)
        _step(server, to=client)
    again = _connection(ours)
    again.set_connect_state()
    if session := client.get_session():
        again.set_session(session)
    with contextlib.suppress(SSL.WantReadError):
        again.do_handshake()
    ticket = ticket_of(client_hello_message(read_flight(again)))
    if len(ticket) < KEY_NAME_BYTES:
        raise FtcError(Reason.INTERNAL_6, "the server's own certificate and key make no handshake")
    return ticket[:KEY_NAME_BYTES]


def _connection(context: SSL.Context) -> SSL.Connection:
    return new_connection(context, _Anybody(), DTLS_MTU_BYTES)


def _step(one: SSL.Connection, *, to: SSL.Connection) -> None:
    with contextlib.suppress(SSL.Error):  # a failure shows by its lack of a ticket
        one.do_handshake()
    for_the_other = read_flight(one)
    if for_the_other:
        write_datagram(to, for_the_other)


class _Anybody:
    """Lets any peer in (`context.ConnectionOwner`): both are we."""

    def make_cookie(self) -> bytes:
        return b"\x00"

    def check_cookie(self, cookie: bytes) -> bool:
        return True

    def walk_certificate(self, certificate: crypto.X509, depth: int, *, passed: bool) -> bool:
        return True

    def note_alert(self, description: int, *, sent: bool, fatal: bool) -> None:
        pass
