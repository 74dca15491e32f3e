"""One simulated device's life in a storm: bootstrap, register, and come back after a failure.

No sockets and no clock here: `fleet` opens an attempt when it is due, feeds it, and asks `conclude` what
comes next. The conversations are those of `ftc_core.device`, on the same core as the server's.

    OFF ──▶ BOOTSTRAPPING ──▶ REGISTERING ──▶ ONBOARDED
              │   ▲              │   ▲  │
              └───┘ back-off     └───┘  └─▶ BOOTSTRAPPING (credentials refused)
              └─▶ STOPPED (a refusal that the client takes for final)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from functools import lru_cache
from random import Random

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key

from ftc_core.coap.blockwise import BlockwiseLayer
from ftc_core.device.client import BootstrapClient, BootstrapFailed, Succeeded
from ftc_core.device.drivers import BootstrapClientDriver, RegistrationClientDriver
from ftc_core.device.model import IZUMA
from ftc_core.device.opening import coap_factory, server_verifier
from ftc_core.device.parameters import account_id_of
from ftc_core.device.registration import OperationDone, OperationFailed, RegistrationClient
from ftc_core.device.retry import BACKOFF_FIRST_S, Reaction, after_bootstrap, backoff_s
from ftc_core.dtls.association import Association, CloseCause, Closed
from ftc_core.dtls.context import client_context
from ftc_core.dtls.trust import PathVerifier, VerifiedPath
from ftc_core.endpoint.peer import Peer, Session, SessionFactory
from ftc_core.endpoint.udp import Origin
from ftc_core.lwm2m.objects import SecurityInstance, SecurityMode
from ftc_storm.agenda import Rank
from ftc_storm.plan import PlannedDevice
from ftc_storm.site import EnrolledIdentity

__all__ = ["Attempt", "ClientStack", "Stage", "StormDevice"]

Outcome = Succeeded | BootstrapFailed | OperationDone | OperationFailed

_SERVER_CHAINS = 16
"""Chains of servers whose verdict all devices share: there are two, and no storm outlasts them."""


class Stage(Enum):
    """Where a device stands."""

    OFF = auto()
    BOOTSTRAPPING = auto()
    REGISTERING = auto()
    ONBOARDED = auto()
    STOPPED = auto()


class ClientStack:
    """What all devices of a fleet share, so that a device at rest costs next to nothing.

    One DTLS context, one judgement of each server's certificate, the pool of bootstrap keys, parsed once.
    `server_ca` is DER, `keys` are PKCS#8 in DER; `certificate` is any device's of the first key.
    """

    def __init__(self, server_ca: bytes, keys: tuple[bytes, ...], certificate: bytes) -> None:
        self.server_ca = server_ca
        self._keys = {der: _load_key(der) for der in keys}
        leaf = x509.load_der_x509_certificate(certificate)
        self._context = client_context([leaf], self._keys[keys[0]])
        judged = lru_cache(maxsize=_SERVER_CHAINS)(server_verifier(server_ca))
        self._verify_path: PathVerifier = lambda chain: judged(tuple(chain))
        self._new_coap = coap_factory(IZUMA)

    def open(
        self,
        account: SecurityInstance,
        origin: Origin,
        new_session: SessionFactory,
        now: float,
        handshake_timeout_s: float,
    ) -> Peer:
        """Begin a handshake with `account`, from `origin`; the ClientHello is ready to be sent."""
        if account.server_public_key != self.server_ca:
            raise ValueError("a server certificate that is not the instance's CA")
        der = account.secret_key or b""
        key = self._keys.get(der) or _load_key(der)
        certificate = x509.load_der_x509_certificate(account.public_key or b"")
        association = Association.connect(
            self._context,
            self._verify_path,
            now,
            identity=(certificate, key),
            handshake_timeout_s=handshake_timeout_s,
        )
        return Peer(origin, association, self._new_coap, new_session, _never_wakes)


class Attempt:
    """One association of a device, from ClientHello at `now` to its end; patience ends at `deadline`."""

    __slots__ = (
        "answered",
        "armed",
        "deadline",
        "device",
        "gave_up",
        "handshake_completed",
        "inbox",
        "key",
        "outcome",
        "patience_s",
        "peer",
    )

    def __init__(self, device: StormDevice, key: tuple[int, Origin], now: float, patience_s: float) -> None:
        self.device = device
        self.key = key
        self.patience_s = patience_s
        self.deadline = now + patience_s
        self.outcome: Outcome | None = None
        self.handshake_completed = False
        self.gave_up = False
        """Whether the device lost its patience: what its client says of the end is then of no interest."""
        self.answered = False
        """Whether the server was heard at all."""
        self.inbox: deque[tuple[bytes, float]] = deque()
        """Datagrams that have come and when, until its turn comes."""
        self.armed: tuple[Rank, float] | None = None
        """By which rank and when the fleet looks at it next, unless a datagram comes before."""
        self.peer: Peer = device.open(self)

    @property
    def over(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.outcome is not None or self.peer.closed

    @property
    def rank(self) -> Rank:
        """How near its end the next piece of work brings the device."""
        if self.device.stage is Stage.REGISTERING:
            return Rank.REGISTERING
        if self.handshake_completed:
            return Rank.BOOTSTRAPPING
        return Rank.SHAKING_HANDS if self.answered else Rank.KNOCKING

    def hear(self, payload: bytes, now: float) -> None:
        """Take a datagram."""
        self.answered = True
        self.peer.receive_datagram(payload, now)

    def release(self) -> None:
        """Let go of the association, some 100 KB, which an attempt and its session hold in a circle: the
        agenda may name an attempt for as long as its patience would have lasted.
        """
        del self.peer


class StormDevice:
    """A device. Times are seconds on the clock of the `now` that it is given; None before they come."""

    __slots__ = (
        "_account_id",
        "_device_id",
        "_identity",
        "_lwm2m",
        "_now",
        "_stack",
        "_uri",
        "attempts",
        "bootstrapped_at",
        "datagrams_in",
        "datagrams_out",
        "failures",
        "handshakes",
        "heard",
        "onboarded_at",
        "plan",
        "powered_on_at",
        "refusal",
        "refused_at",
        "stage",
    )

    def __init__(self, plan: PlannedDevice, identity: EnrolledIdentity, stack: ClientStack) -> None:
        self.plan = plan
        self.stage = Stage.OFF
        self.attempts = 0
        self.handshakes = 0
        self.failures = 0
        self.datagrams_in = 0
        """Sent to it so far, for `Weather.fate`; `datagrams_out` are those that it sent."""
        self.datagrams_out = 0
        self.heard = 0
        """Datagrams that reached it."""
        self.powered_on_at: float | None = None
        self.bootstrapped_at: float | None = None
        self.onboarded_at: float | None = None
        self.refused_at: float | None = None
        self.refusal = ""
        self._identity = identity
        self._stack = stack
        self._uri = identity.bootstrap_uri
        self._device_id = identity.device_id
        self._account_id = ""
        self._lwm2m: SecurityInstance | None = None
        self._now = 0.0

    @property
    def settled(self) -> bool:
        """Whether the storm may end as far as this device is concerned."""
        if self.plan.kind.welcome:
            return self.stage in (Stage.ONBOARDED, Stage.STOPPED)
        return self.refused_at is not None

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of its bootstrap certificate."""
        return self._identity.fingerprint

    @property
    def device_id(self) -> str:
        """What the server called it last; "" if it was never told."""
        return self._device_id

    @property
    def account_id(self) -> str:
        """The account that the last bootstrap gave it to; "" before."""
        return self._account_id

    @property
    def next_rank(self) -> Rank:
        """Of its next attempt: one that is bootstrapped is on its way, one that failed begins again."""
        underway = self._lwm2m is not None and not self.failures
        return Rank.REGISTERING if underway else Rank.POWERING_ON

    def server_uri(self) -> str:
        """Where its next attempt goes."""
        return self._uri if self._lwm2m is None else self._lwm2m.server_uri

    def begin(self, key: tuple[int, Origin], now: float, patience_s: float) -> Attempt:
        """Open the next attempt, from this address."""
        self._now = now
        if self.powered_on_at is None:
            self.powered_on_at = now
        self.stage = Stage.BOOTSTRAPPING if self._lwm2m is None else Stage.REGISTERING
        self.attempts += 1
        return Attempt(self, key, now, patience_s)

    def open(self, attempt: Attempt) -> Peer:
        """The association of an attempt, with the session that this stage needs."""
        if self._lwm2m is None:
            return self._open_bootstrap(attempt, self._bootstrap_account())
        return self._open_registration(attempt, self._lwm2m)

    def power_lost(self) -> None:
        """What was not written to flash is gone; what a completed bootstrap wrote stays."""
        self.stage = Stage.OFF

    def conclude(self, attempt: Attempt, now: float, backoff_first_s: float, random: Random) -> float | None:
        """Take the end of an attempt: seconds until the next one is due, None if none is.

        `backoff_first_s` scales the back-off; a wait that the server asked for is kept as it is.
        """
        asked_s = 0
        if attempt.handshake_completed:
            self.handshakes += 1
        match None if attempt.gave_up else attempt.outcome:
            case Succeeded(outcome):
                self.failures = 0
                self.bootstrapped_at = now
                self._uri = outcome.bootstrap.server_uri
                self._account_id = account_id_of(self._uri) or ""
                self._device_id = outcome.device_id
                self._lwm2m = outcome.lwm2m
                return 0.0
            case OperationDone():
                self.failures = 0
                self.stage, self.onboarded_at, self._lwm2m = Stage.ONBOARDED, now, None
                return None
            case BootstrapFailed(code, text, _, asked_s):
                self._note_refusal(code, f"{code} {text}", now)
                if after_bootstrap(code) is Reaction.STOP:
                    self.stage = Stage.STOPPED
                    return None
            case OperationFailed(_, code, text, reaction):
                self._note_refusal(code, f"{code} {text}", now)
                if reaction is Reaction.BOOTSTRAP_AGAIN:
                    self._lwm2m = None
            case None:
                closed = None if attempt.gave_up else attempt.peer.closed_cause
                alert = closed is not None and closed.cause is CloseCause.ALERT_RECEIVED
                self._note_refusal("alert" if alert else "", _describe(closed), now)
        self.failures += 1
        wait = backoff_s(self.failures, random.uniform(-1.0, 1.0))
        return max(wait * backoff_first_s / BACKOFF_FIRST_S, asked_s)

    def _note_refusal(self, code: str, text: str, now: float) -> None:
        """`code` is "" if the server did not refuse, but was not heard."""
        self.refusal = text.strip()
        if code and self.refused_at is None:
            self.refused_at = now

    def _bootstrap_account(self) -> SecurityInstance:
        return SecurityInstance(
            server_uri=self._uri,
            bootstrap_server=True,
            mode=SecurityMode.CERTIFICATE,
            public_key=self._identity.certificate,
            server_public_key=self._stack.server_ca,
            secret_key=self._identity.key,
        )

    def _open_bootstrap(self, attempt: Attempt, account: SecurityInstance) -> Peer:
        client = BootstrapClient(self._identity.endpoint_name, account, device_id=self._device_id)

        def new_session(
            path: VerifiedPath, origin: Origin, coap: BlockwiseLayer, wake: Callable[[], None], now: float
        ) -> Session:
            attempt.handshake_completed = True
            return BootstrapClientDriver(client, coap, ended, 0.0, now)

        def ended(outcome: Outcome) -> None:
            attempt.outcome = outcome

        return self._stack.open(account, attempt.key[1], new_session, self._now, attempt.patience_s)

    def _open_registration(self, attempt: Attempt, account: SecurityInstance) -> Peer:
        client = RegistrationClient(self._identity.endpoint_name, self._account_id)

        def new_session(
            path: VerifiedPath, origin: Origin, coap: BlockwiseLayer, wake: Callable[[], None], now: float
        ) -> Session:
            attempt.handshake_completed = True
            client.register()
            driver = RegistrationClientDriver(client, coap, lambda _: None, ended)
            driver.perform(now)
            return driver

        def ended(outcome: Outcome) -> None:
            attempt.outcome = outcome

        return self._stack.open(account, attempt.key[1], new_session, self._now, attempt.patience_s)


def _describe(closed: Closed | None) -> str:
    if closed is None:
        return "out of patience"
    return (closed.detail if closed.cause is CloseCause.ALERT_RECEIVED else "") or closed.cause.value.lower()


def _load_key(der: bytes) -> ec.EllipticCurvePrivateKey:
    key = load_der_private_key(der, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("a device key that is not of an elliptic curve")
    return key


def _never_wakes(_: Peer) -> None:
    """These sessions speak only when they are spoken to, or when their time has come."""
