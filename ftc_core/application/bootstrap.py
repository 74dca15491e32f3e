"""Bootstrapping: from a proven certificate to a durable claim and fresh credentials.

The use case behind `POST /bs`. It is driven by callbacks, not by coroutines, because a worker runs
thousands of these at once and the only wait is the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
import structlog

from ftc_core.application.commit import Commit, submit
from ftc_core.application.overload import check_backlog
from ftc_core.credentials.issuer import CredentialIssuer
from ftc_core.credentials.signing_request import judge_signing_request
from ftc_core.domain.certificate import TrustAnchor
from ftc_core.domain.claim import ClaimRequest, decide
from ftc_core.domain.device import Device
from ftc_core.domain.last_bootstrap import BootstrapStep, LastBootstrap
from ftc_core.errors import FtcError, Reason
from ftc_core.lwm2m.sequence import BootstrapGrant
from ftc_core.lwm2m.timeline import Step
from ftc_core.observability.counts import BootstrapCounts
from ftc_core.storage.commands import ClaimDevice, Claimed, MarkBootstrapped, Outcome, RecordBootstrap
from ftc_core.storage.port import Store

__all__ = ["BootstrapService", "Conversation", "ServerFacts"]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What every device is told of our servers: URIs without query, registration terms, certificates in DER.

    `server_ca` is the CA of both, `lwm2m_certificate` the LwM2M server's own; at `valid_until` one of the two
    expires.
    """

    lwm2m_uri: str
    bootstrap_uri: str
    server_ca: bytes
    lwm2m_certificate: bytes
    valid_until: datetime
    short_server_id: int
    lifetime: int
    binding: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """One that has just ended: `ended_at` is on the monotonic clock of its steps, `address` the peer's."""

    steps: tuple[Step, ...]
    ended_at: float
    address: str


class BootstrapService:
    """Claims devices and hands out their credentials. Every call is for the thread that runs the worker.

    `backlog_s` is how long claims wait for their commit, in seconds; with it, claims are put off while that
    is long (`overload`), without it they wait. With `enrolls` a grant has no credential: the device makes its
    key, and asks for the certificate (`enroll`).
    """

    def __init__(
        self,
        store: Store,
        commit: Commit,
        issuer: CredentialIssuer,
        servers: ServerFacts,
        utc_now: Callable[[], datetime],
        new_id: Callable[[], str],
        counts: BootstrapCounts | None = None,
        backlog_s: Callable[[], float] | None = None,
        *,
        enrolls: bool = False,
    ) -> None:
        self.enrolls = enrolls
        self._store = store
        self._commit = commit
        self._issuer = issuer
        self._servers = servers
        self._utc_now = utc_now
        self._new_id = new_id
        self._counts = counts or BootstrapCounts()
        self._backlog_s = backlog_s

    def find_anchors(self, subjects: Sequence[bytes], fingerprints: Sequence[bytes]) -> Sequence[TrustAnchor]:
        """The trusted CAs with these DER subjects or fingerprints, as of now: no cache can be stale."""
        with self._store.view() as view:
            anchors = view.find_trust_anchors(subjects, fingerprints)
            if not anchors:
                withdrawn = view.find_inactive_holders(subjects, limit=1)
                self._counts.untrusted["inactive" if withdrawn else "not_uploaded"] += 1
            return anchors

    def find_blocked(self, fingerprints: Sequence[bytes]) -> Collection[bytes]:
        """Those of the certificates that the operator blocks, as of now."""
        with self._store.view() as view:
            return view.find_blocked(fingerprints)

    def claim(
        self,
        request: ClaimRequest,
        device_certificate: bytes | None,
        answer: Callable[[BootstrapGrant | FtcError], None],
        claimed: Callable[[Device], None] | None = None,
    ) -> None:
        """Judge `request`; claim the device if it may be claimed.

        `answer` gets the refusal, at once and with nothing written, or, once the claim is durable, the
        grant, or why there is no credential; in these two cases `claimed` is told of the device before.
        `device_certificate` is the DER to repeat in the device's bootstrap instance, if any.
        """
        try:
            self._check_servers()
            with self._store.view() as view:
                decide(view.claim_facts(request), self._utc_now()).granted()
            if self._backlog_s is not None:
                check_backlog(self._backlog_s())
        except FtcError as error:
            answer(error)
            return
        command = ClaimDevice(request=request, device_id=self._new_id(), now=self._utc_now())

        def committed(outcome: Outcome | FtcError) -> None:
            if isinstance(outcome, Claimed):
                self._counts.claims["first" if outcome.first_claim else "again"] += 1
                if claimed is not None:
                    claimed(outcome.device)
                answer(self._grant(outcome, device_certificate))
            else:
                answer(outcome if isinstance(outcome, FtcError) else FtcError(Reason.INTERNAL_10))

        submit(self._commit, command, committed)

    def enroll(self, request: ClaimRequest, device: Device, csr: bytes) -> bytes:
        """The certificate (DER) that `device`, which was claimed by `request`, asks for by `csr` (PKCS#10).

        The claim is judged once more, as a new one would be, and changes nothing: a device that was released,
        transferred or blocked since gets none. Raises FtcError: the reason of the claim decision,
        CREDENTIALS_RELEASED, SIGNING_REQUEST_INVALID, or INTERNAL_4.
        """
        now = self._utc_now()
        with self._store.view() as view:
            granted = decide(view.claim_facts(request), now).granted()
        if (granted.account_id, granted.device_id) != (device.account_id, device.id):
            raise FtcError(Reason.CREDENTIALS_RELEASED)
        names = {
            "endpoint_name": device.endpoint_name,
            "device_id": device.id,
            "account_id": device.account_id,
        }
        key = judge_signing_request(csr, **names)
        try:
            certificate = self._issuer.certify(key, **names, now=now)
        except FtcError as error:
            _log.error("certificate not issued", device=device.id, reason=error.reason, **error.metadata)
            raise
        self._counts.credentials += 1
        return certificate

    def bootstrapped(self, account_id: str, device_id: str, conversation: Conversation) -> None:
        """The device acknowledged Bootstrap-Finish: record it.

        Nobody waits for this. A device that was released in the meantime stays released.
        """
        now = self._utc_now()
        self._record(MarkBootstrapped(account_id, device_id, now, _dated(conversation, now)))

    def finished(self, account_id: str, device_id: str) -> None:
        """As `bootstrapped`, while the conversation goes on with the device's certificate."""
        self._record(MarkBootstrapped(account_id, device_id, self._utc_now()))

    def enrolled(self, account_id: str, device_id: str, conversation: Conversation) -> None:
        """The device has its certificate, too: record how it came to it. Nobody waits for this."""
        self._record(RecordBootstrap(account_id, device_id, _dated(conversation, self._utc_now())))

    def failed(self, account_id: str, device_id: str, conversation: Conversation, error: FtcError) -> None:
        """The bootstrap of a claimed device failed: record how far it got. Nobody waits for this."""
        failed = msgspec.structs.replace(
            _dated(conversation, self._utc_now()), reason=error.reason.value, error=error.message
        )
        self._record(RecordBootstrap(account_id, device_id, failed))

    def _record(self, command: MarkBootstrapped | RecordBootstrap) -> None:
        def committed(outcome: Outcome | FtcError) -> None:
            if isinstance(outcome, FtcError):
                _log.warning("bootstrap not recorded", device=command.device_id, reason=outcome.reason)

        submit(self._commit, command, committed)

    def _check_servers(self) -> None:
        """Raises FtcError INTERNAL_6 if a claim would end at an LwM2M server that the device cannot trust."""
        if self._utc_now() >= self._servers.valid_until:
            raise FtcError(
                Reason.INTERNAL_6,
                f"the LwM2M server's certificate or its CA expired at {self._servers.valid_until:%Y-%m-%d}",
            )

    def _grant(self, claimed: Claimed, device_certificate: bytes | None) -> BootstrapGrant | FtcError:
        device, servers = claimed.device, self._servers
        credential, issuing_ca = None, None
        if self.enrolls:
            issuing_ca = self._issuer.authority_der
        else:
            try:
                credential = self._issuer.issue(
                    endpoint_name=device.endpoint_name,
                    device_id=device.id,
                    account_id=device.account_id,
                    now=self._utc_now(),
                )
            except FtcError as error:
                # The claim stands; the device's next attempt resumes here.
                _log.error("credential not issued", device=device.id, reason=error.reason, **error.metadata)
                return error
            self._counts.credentials += 1
        return BootstrapGrant(
            account_id=device.account_id,
            device_id=device.id,
            endpoint_name=device.endpoint_name,
            lwm2m_uri=servers.lwm2m_uri,
            lwm2m_server_certificate=servers.server_ca,
            lwm2m_end_entity_certificate=servers.lwm2m_certificate,
            client_certificate=None if credential is None else credential.certificate_der,
            client_key=None if credential is None else credential.private_key_der,
            issuing_certificate=issuing_ca,
            bootstrap_uri=servers.bootstrap_uri,
            bootstrap_server_certificate=servers.server_ca,
            device_certificate=device_certificate,
            short_server_id=servers.short_server_id,
            lifetime=servers.lifetime,
            binding=servers.binding,
        )


def _dated(conversation: Conversation, now: datetime) -> LastBootstrap:
    """The conversation, which has ended just `now`, with its times on the calendar."""

    def date(at: float) -> datetime:
        return now - timedelta(seconds=conversation.ended_at - at)

    steps = (
        BootstrapStep(
            step.name,
            date(step.started_at),
            None if step.ended_at is None else date(step.ended_at),
            step.code,
        )
        for step in conversation.steps
    )
    return LastBootstrap(steps=tuple(steps), ended_at=now, address=conversation.address)
