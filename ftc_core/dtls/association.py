"""One peer over OpenSSL memory BIOs: datagrams and time in, datagrams and events out.

The caller owns socket and clock (sans-IO): after each `receive_datagram`, `send`, `handle_timer` or `close`
it sends `datagrams_to_send()`, drains `next_event()`, and arranges for `handle_timer` at `get_timer()`.

Rules that OpenSSL's memory BIO, a byte stream, imposes: a datagram is written alone and processed until
OpenSSL wants more before the next one is written, or a truncated one would swallow its successor; what
OpenSSL writes is a whole flight, cut into records and packed into datagrams here.

Time: OpenSSL retransmits by the real clock (1 s, doubled at each expiry up to 60 s; RFC 6347 §4.2.4.1) and
tells only how long is left. `get_timer(now)` adds that to the caller's `now`; `handle_timer` lets OpenSSL
look at its own clock again, and does nothing if the time has not really passed. The handshake's end alone
runs on the caller's clock.

Path MTU: flights leave in datagrams of at most the given MTU. When a handshake sends one again for the second
time, it is cut into datagrams of DTLS_MTU_FALLBACK_BYTES at most, as is all that follows (RFC 6347 §4.1.1.1):
a path that drops larger ones tells nobody.

Until it is authenticated, a peer may cost HANDSHAKE_MAX_BYTES, HANDSHAKE_MAX_DATAGRAMS and
HANDSHAKE_TIMEOUT_S; OpenSSL's own limit of 100 KiB of certificates cannot be set from Python.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import deque

import msgspec
from cryptography import x509
from OpenSSL import SSL

from ftc_core.domain.claim_secret import CHANNEL_BINDING_BYTES
from ftc_core.dtls.alert import alert_name, with_description
from ftc_core.dtls.client_hello import asked_record_limit
from ftc_core.dtls.context import PrivateKey, new_connection
from ftc_core.dtls.cookie import Proven
from ftc_core.dtls.events import ApplicationData, CloseCause, Closed, Event, HandshakeCompleted
from ftc_core.dtls.memory_bio import read_flight, read_plaintext, write_datagram, write_plaintext
from ftc_core.dtls.record import (
    DATAGRAM_PROCESSED_MAX_BYTES,
    BadRecord,
    client_hello_message,
    cut_flight,
    is_client_hello,
    is_one_record,
    split_records,
)
from ftc_core.dtls.resumption import PresentedChains
from ftc_core.dtls.trust import PathVerifier
from ftc_core.dtls.verification import PeerVerification
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import (
    DTLS_MTU_BYTES,
    DTLS_MTU_FALLBACK_BYTES,
    HANDSHAKE_MAX_BYTES,
    HANDSHAKE_MAX_DATAGRAMS,
    HANDSHAKE_TIMEOUT_S,
)

__all__ = ["ApplicationData", "Association", "CloseCause", "Closed", "Event", "HandshakeCompleted"]

_PLAINTEXT_MAX_BYTES = 2**14
"""RFC 6347 §4.1."""

_BINDING_LABEL = b"EXPERIMENTAL-ftc-claim-1"
"""What RFC 5705 §4 calls a disambiguating label; its registry leaves these for private use."""

_NARROW_PATH_SIGNS = 2
"""Retransmissions of one handshake after which its path is held for a narrow one."""


class Association:
    """A DTLS session and its handshake. Make one with `accept` or `connect`."""

    def __init__(
        self,
        connection: SSL.Connection,
        verification: PeerVerification,
        now: float,
        mtu: int,
        proven: Proven | None = None,
        handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S,
    ) -> None:
        self._connection = connection
        self._verification = verification
        self._mtu = mtu
        self._retransmissions = 0
        self._proven = proven  # until OpenSSL has answered it
        self._hello_fragments: list[bytes] = []
        """Datagrams that came between the ClientHello's first fragment and our answer."""
        asked = asked_record_limit(proven.client_hello) if proven else None
        self._record_limit = asked or _PLAINTEXT_MAX_BYTES
        self._client_hello_digest = _digest(proven.client_hello if proven else b"")
        self._handshake_deadline = now + handshake_timeout_s
        self._handshake_bytes = len(proven.client_hello) if proven else 0
        self._handshake_datagrams = 1 if proven else 0
        self._established = False
        self._resumed = False
        self._closed = False
        self._max_plaintext_bytes = 0
        self._outbox: list[bytes] = []
        self._events: deque[Event] = deque()
        self._pump()

    @classmethod
    def accept(
        cls,
        proven: Proven,
        verify_path: PathVerifier,
        now: float,
        *,
        chains: PresentedChains | None = None,
    ) -> Association:
        """The server's side, for a ClientHello that the gate let through; its answer is ready to be sent.

        `chains` is where all associations of a server remember what resumed devices had presented.
        """
        verification = PeerVerification(verify_path, chains)
        proven.connection.set_app_data(verification)
        return cls(proven.connection, verification, now, proven.mtu, proven)

    @classmethod
    def connect(
        cls,
        context: SSL.Context,
        verify_path: PathVerifier,
        now: float,
        *,
        mtu: int = DTLS_MTU_BYTES,
        session: SSL.Session | None = None,
        identity: tuple[x509.Certificate, PrivateKey] | None = None,
        handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S,
    ) -> Association:
        """The client's side under a `client_context`; its ClientHello is ready to be sent.

        `session` is that of an earlier association under the same context, to be resumed. `identity` takes
        the place of the context's own certificate and key: many devices may share one context, since making
        one costs more than all the rest that comes before the first flight. `handshake_timeout_s` is how many
        seconds this client goes on with its handshake.
        """
        verification = PeerVerification(verify_path)
        connection = new_connection(context, verification, mtu)
        if identity is not None:
            connection.use_certificate(identity[0])
            connection.use_privatekey(identity[1])
        if session is not None:
            connection.set_session(session)
        connection.set_connect_state()
        return cls(connection, verification, now, mtu, handshake_timeout_s=handshake_timeout_s)

    @property
    def established(self) -> bool:
        """Whether the peer is authenticated and the association open."""
        return self._established and not self._closed

    @property
    def max_plaintext_bytes(self) -> int:
        """Largest `send` that fits the MTU under the negotiated suite, and that the device has room for.

        0 until established.
        """
        return self._max_plaintext_bytes

    @property
    def resumed(self) -> bool:
        """Whether an earlier session was resumed: known to the server with its answer to the ClientHello."""
        return self._resumed

    @property
    def session(self) -> SSL.Session | None:
        """What `connect` takes to resume this association's session, once it is established.

        It is good only if this association ends with `close` before it is freed (SSL_clear(3)).
        """
        return self._connection.get_session() if self._established else None

    def owns_client_hello(self, datagram: bytes) -> bool:
        """Whether `datagram` is the ClientHello that began this association, sent once more.

        If so, it belongs here; any other epoch-0 ClientHello from this address belongs to the gate
        (RFC 6347 §4.2.8, which OpenSSL leaves to its caller).
        """
        try:
            return _digest(client_hello_message(datagram)) == self._client_hello_digest
        except BadRecord:
            return False

    def receive_datagram(self, datagram: bytes, now: float) -> None:
        """Take one datagram from the peer's address. Garbage is dropped, as is all that follows the end."""
        if self._closed or not 0 < len(datagram) <= DATAGRAM_PROCESSED_MAX_BYTES:
            return
        if not self._established and not self._admit(datagram, now):
            return
        if not self._established and is_client_hello(datagram):
            self._send_flight_again()  # our answer to it was lost
        if self._proven is not None:
            self._hello_fragments.append(datagram)
        write_datagram(self._connection, datagram)
        self._pump(sole_record=self._established and is_one_record(datagram))

    def send(self, plaintext: bytes) -> None:
        """Encrypt one message into one datagram.

        Raises FtcError INTERNAL_7 if the association is not open, ValueError if `plaintext` is empty or over
        `max_plaintext_bytes`.
        """
        if not self.established:
            raise FtcError(Reason.INTERNAL_7)
        if not 0 < len(plaintext) <= self._max_plaintext_bytes:
            raise ValueError(f"{len(plaintext)} bytes do not fit a datagram of {self._mtu}")
        write_plaintext(self._connection, plaintext)
        self._collect_output()

    def close(self) -> None:
        """End: with close_notify if the peer is authenticated, in silence otherwise. Idempotent.

        Data that the peer sent before and that was not yet taken is discarded; the next event is `Closed`.
        """
        if not self._closed:
            self._events.clear()
            self._end(Closed(CloseCause.CLOSED_HERE), say_goodbye=True)

    def datagrams_to_send(self) -> list[bytes]:
        """Take what is to be sent, in order; each fits the MTU."""
        datagrams, self._outbox = self._outbox, []
        return datagrams

    def next_event(self) -> Event | None:
        """Take the next event, or None."""
        return self._events.popleft() if self._events else None

    def get_timer(self, now: float) -> float | None:
        """When to call `handle_timer`, on the clock of `now`; None if nothing is pending."""
        if self._established or self._closed:
            return None
        remaining = self._connection.DTLSv1_get_timeout()
        if remaining is None:
            return self._handshake_deadline
        return min(self._handshake_deadline, now + remaining)

    def handle_timer(self, now: float) -> None:
        """Retransmit what is due, or give the handshake up. Harmless if called early."""
        if self._established or self._closed:
            return
        if now >= self._handshake_deadline:
            self._end(Closed(CloseCause.HANDSHAKE_TIMEOUT))
            return
        if self._connection.DTLSv1_get_timeout() == 0:
            self._send_flight_again()
        try:
            self._connection.DTLSv1_handle_timeout()
        except SSL.Error as error:
            self._end(Closed(CloseCause.HANDSHAKE_TIMEOUT, detail=_reason(error)))
            return
        self._collect_output()

    def _send_flight_again(self) -> None:
        """Note that OpenSSL is about to, and whether it shall cut it smaller."""
        self._retransmissions += 1
        if self._retransmissions == _NARROW_PATH_SIGNS:
            self._mtu = min(self._mtu, DTLS_MTU_FALLBACK_BYTES)
            self._connection.set_ciphertext_mtu(self._mtu)

    def _admit(self, datagram: bytes, now: float) -> bool:
        self._handshake_bytes += len(datagram)
        self._handshake_datagrams += 1
        if now >= self._handshake_deadline:
            self._end(Closed(CloseCause.HANDSHAKE_TIMEOUT))
        elif (
            self._handshake_bytes > HANDSHAKE_MAX_BYTES or self._handshake_datagrams > HANDSHAKE_MAX_DATAGRAMS
        ):
            self._end(Closed(CloseCause.HANDSHAKE_TOO_LARGE))
        return not self._closed

    def _pump(self, *, sole_record: bool = False) -> None:
        """Let OpenSSL work until it wants another datagram.

        With `sole_record`, that is so as soon as it has given application data: there was nothing else.
        """
        try:
            if not self._established:
                self._continue_handshake()
            while self.established:
                self._events.append(ApplicationData(read_plaintext(self._connection)))
                if sole_record:
                    return
        except SSL.WantReadError:
            self._collect_output()
        except SSL.ZeroReturnError:
            # RFC 5246 §7.2.1: the other party responds with a close_notify of its own.
            self._end(Closed(CloseCause.CLOSE_NOTIFY), say_goodbye=True)
        except SSL.Error as error:
            self._collect_output()
            self._end(self._cause_of(error))
        except Exception:
            # A bug below a callback: nothing of this connection may be used again.
            self._end(Closed(CloseCause.FAILED, detail="internal error"))
            raise

    def _continue_handshake(self) -> None:
        """Raises WantReadError unless this completes it."""
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            if self._proven is None or self._may_resume():
                raise
            self._begin_again(self._proven)
            self._connection.do_handshake()
        self._complete_handshake()

    def _may_resume(self) -> bool:
        """False if OpenSSL is about to resume the session of a peer that is not to be trusted (any more).

        A server knows its peer's certificate before the walk over a chain only if it has opened a ticket.
        """
        leaf = self._connection.get_peer_certificate()
        self._resumed = leaf is not None and self._verification.admits_resumed(leaf)
        return leaf is None or self._resumed

    def _begin_again(self, proven: Proven) -> None:
        self._proven = None
        self._connection = proven.heard_again(self._verification)
        for fragment in self._hello_fragments:
            with contextlib.suppress(SSL.WantReadError):
                self._connection.do_handshake()
            write_datagram(self._connection, fragment)

    def _complete_handshake(self) -> None:
        leaf = self._connection.get_peer_certificate()
        if leaf is not None and self._verification.pending:
            # A client that resumed: only now is it certain that the server did, too.
            self._resumed = self._verification.admits_resumed(leaf)
        path = None if leaf is None else self._verification.vouches_for(leaf)
        if path is None:
            self._end(Closed(CloseCause.UNVERIFIED))
            return
        self._established = True
        self._verification.presented = ()
        self._max_plaintext_bytes = min(self._connection.get_cleartext_mtu(), self._record_limit)
        binding = self._connection.export_keying_material(_BINDING_LABEL, CHANNEL_BINDING_BYTES)
        bound = msgspec.structs.replace(path, channel_binding=binding)
        self._events.append(HandshakeCompleted(bound, self._connection.get_cipher_name() or ""))

    def _collect_output(self) -> None:
        flight = read_flight(self._connection)
        if flight:
            self._proven, self._hello_fragments = None, []
        if self._verification.refusal is not None:
            alert = self._verification.refusal.alert
            flight = b"".join(with_description(sent, alert) for sent in split_records(flight))
        self._outbox += cut_flight(flight, self._mtu)

    def _end(self, closed: Closed, *, say_goodbye: bool = False) -> None:
        if say_goodbye and self._established:
            with contextlib.suppress(SSL.Error):  # the peer would notice by its own timers
                self._connection.shutdown()
            self._collect_output()
        self._closed = True
        self._events.append(closed)

    def _cause_of(self, error: SSL.Error) -> Closed:
        verification = self._verification
        presented = verification.presented
        if (refusal := verification.refusal) is not None:
            alert = int(refusal.alert)
            return Closed(CloseCause.ALERT_SENT, alert, refusal.detail, refusal.reason, presented)
        if (received := verification.fatal_alert_received) is not None:
            return Closed(CloseCause.ALERT_RECEIVED, received, alert_name(received))
        if (sent := verification.fatal_alert_sent) is not None:
            detail = f"{alert_name(sent)}: {_reason(error)}"
            return Closed(CloseCause.ALERT_SENT, sent, detail, presented=presented)
        return Closed(CloseCause.FAILED, detail=_reason(error))


def _digest(client_hello: bytes) -> bytes:
    return hashlib.sha256(client_hello).digest()


def _reason(error: SSL.Error) -> str:
    """The reasons on OpenSSL's error queue, oldest first; or the system error's text."""
    if error.args and isinstance(error.args[0], list):
        return "; ".join(entry[-1] for entry in error.args[0])
    return ", ".join(str(part) for part in error.args)
