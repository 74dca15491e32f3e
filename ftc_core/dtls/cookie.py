"""The gate: no state and no public-key work for an address that has not proven itself (RFC 6347 §4.2.1).

All parsing on which a decision hangs is OpenSSL's. One listening connection is reused for every ClientHello:
`DTLSv1_listen` clears it, reads one datagram, asks our callbacks for the cookie, and writes a
HelloVerifyRequest or reports that the cookie is good. Only then does the connection leave the gate, with the
ClientHello still inside, and become an association's; a fresh listener takes its place. Reuse was tried
against truncated, bit-flipped, doubled and random datagrams: each consumes itself and leaves nothing in front
of the next, as long as a datagram is not larger than OpenSSL's read (`DATAGRAM_PROCESSED_MAX_BYTES`); larger
ones are dropped here.

The cookie is an HMAC over the peer's address and a ticking epoch under a secret that all workers share, so
that any worker verifies what any other gave. It is good in the tick in which it was given and the next one.
It does not cover the ClientHello's parameters, as the RFC suggests it might: `DTLSv1_listen` does not show
them, and the cookie's purpose, that the peer receives at its address, does not need them.

A HelloVerifyRequest is 44 bytes, and OpenSSL answers nothing under 61 bytes (a ClientHello up to its cookie),
so amplification is below one. Of a ClientHello in fragments it reads the first alone, so the cookie must be
in that one; the others then belong to the association.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from OpenSSL import SSL, crypto

from ftc_core.dtls.client_hello import cookie_of, ticket_of
from ftc_core.dtls.context import ConnectionOwner, new_connection
from ftc_core.dtls.record import (
    DATAGRAM_PROCESSED_MAX_BYTES,
    BadRecord,
    client_hello_message,
    cut_flight,
)
from ftc_core.dtls.ticket_key_name import KEY_NAME_BYTES
from ftc_core.limits import COOKIE_EPOCH_S, DTLS_MTU_BYTES

__all__ = ["SECRET_BYTES", "CookieGate", "Proven", "Rejected", "Reply"]

SECRET_BYTES = 32
"""Least length of the shared secret: that of the hash (RFC 2104 §3)."""
_COOKIE_BYTES = 16
"""HMAC-SHA-256 cut to half its length, as far as RFC 2104 §5 allows: a shorter reply, 2^128 to guess."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Not a ClientHello that OpenSSL reads: to be dropped in silence."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A HelloVerifyRequest to send back; nothing was kept."""

    datagrams: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Proven:
    """A ClientHello with a good cookie, and the connection that holds it (for `Association.accept`).

    `datagram` is what it came in; the association sends datagrams of at most `mtu` bytes.
    """

    connection: SSL.Connection
    client_hello: bytes
    datagram: bytes
    mtu: int

    def heard_again(self, owner: ConnectionOwner) -> SSL.Connection:
        """Another connection that holds the same ClientHello, and that resumes no session whatever it says.

        `owner` is asked about the cookie once more.
        """
        connection = new_connection(self.connection.get_context(), owner, self.mtu)
        connection.set_options(SSL.OP_NO_TICKET)
        return _hear(connection, self.datagram)


class CookieGate:
    """Answers ClientHellos without keeping anything, until one brings back its cookie.

    `context` is a `server_context`; a ticket under keys that `opening` names is given to the context of that
    name. `secret` has SECRET_BYTES or more and is the same in all workers of a host. Raises ValueError for a
    shorter one. `mtu` is the largest UDP payload to send, in bytes.
    """

    def __init__(
        self,
        context: SSL.Context,
        secret: bytes,
        *,
        opening: Mapping[bytes, SSL.Context] = MappingProxyType({}),
        mtu: int = DTLS_MTU_BYTES,
    ) -> None:
        if len(secret) < SECRET_BYTES:
            raise ValueError(f"cookie secret of {len(secret)} bytes, {SECRET_BYTES} needed")
        self._context = context
        self._opening = opening
        self._secret = secret
        self._mtu = mtu
        self._address = b""
        self._tick = 0
        self._listener = self._new_listener()

    def renew(self, context: SSL.Context, opening: Mapping[bytes, SSL.Context]) -> None:
        """Accept under these from now on. Associations go on; tickets of a context that is gone do not."""
        self._context = context
        self._opening = opening
        self._listener = self._new_listener()

    def receive(self, datagram: bytes, address: bytes, now: float) -> Rejected | Reply | Proven:
        """Judge a datagram from `address`, any bytes that are one peer's address in one form.

        `now` is seconds on a clock that all workers share (CLOCK_MONOTONIC is the host's).
        """
        try:
            client_hello = client_hello_message(datagram)
        except BadRecord:
            return Rejected()
        if len(datagram) > DATAGRAM_PROCESSED_MAX_BYTES:
            return Rejected()
        self._address, self._tick = address, int(now // COOKIE_EPOCH_S)
        listener = self._listener
        listener.bio_write(datagram)
        try:
            listener.DTLSv1_listen()
        except SSL.WantReadError:
            return self._reply()
        except SSL.Error:
            self._listener = self._new_listener()
            return Rejected()
        self._listener = self._new_listener()
        return Proven(self._opener(listener, client_hello, datagram), client_hello, datagram, self._mtu)

    def recognises(self, datagram: bytes, address: bytes, now: float) -> bool:
        """Whether `datagram` brings back the cookie of `address`: a look, far cheaper than `receive`.

        For choosing whom to serve first. Only `receive` lets anybody through.
        """
        try:
            cookie = cookie_of(client_hello_message(datagram))
        except BadRecord:
            return False
        if len(cookie) != _COOKIE_BYTES:
            return False
        self._address, self._tick = address, int(now // COOKIE_EPOCH_S)
        return self.check_cookie(cookie)

    def make_cookie(self) -> bytes:
        """For OpenSSL: the cookie of the address being judged."""
        return self._cookie(self._tick)

    def check_cookie(self, cookie: bytes) -> bool:
        """For OpenSSL: whether the address being judged was given this cookie, in this tick or the last."""
        return any(hmac.compare_digest(cookie, self._cookie(tick)) for tick in (self._tick, self._tick - 1))

    def walk_certificate(self, certificate: crypto.X509, depth: int, *, passed: bool) -> bool:
        """Never asked of a listener, which sees no certificate."""
        return False

    def note_alert(self, description: int, *, sent: bool, fatal: bool) -> None:
        """Never told to a listener, which speaks no alerts."""

    def _cookie(self, tick: int) -> bytes:
        message = tick.to_bytes(8, "big", signed=True) + self._address
        return hmac.digest(self._secret, message, hashlib.sha256)[:_COOKIE_BYTES]

    def _reply(self) -> Rejected | Reply:
        try:
            flight = self._listener.bio_read(DATAGRAM_PROCESSED_MAX_BYTES)
        except SSL.WantReadError:
            return Rejected()
        return Reply(tuple(cut_flight(flight, self._mtu)))

    def _opener(self, listener: SSL.Connection, client_hello: bytes, datagram: bytes) -> SSL.Connection:
        """A connection that has heard what `listener` has, and can open its ticket if one of ours can.

        Of a ClientHello in fragments the first may not hold the ticket: then the listener's context is tried.
        """
        context = self._opening.get(ticket_of(client_hello)[:KEY_NAME_BYTES], self._context)
        if context is self._context:
            return listener
        return _hear(new_connection(context, self, self._mtu), datagram)

    def _new_listener(self) -> SSL.Connection:
        listener = new_connection(self._context, self, self._mtu)
        listener.set_accept_state()
        return listener


def _hear(connection: SSL.Connection, datagram: bytes) -> SSL.Connection:
    """`connection` with a ClientHello inside whose cookie is good."""
    connection.set_accept_state()
    connection.bio_write(datagram)
    connection.DTLSv1_listen()
    return connection
