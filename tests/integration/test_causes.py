"""Every cause of docs/troubleshooting.md: provoked for real, seen by the device, counted on its own.

A bootstrap worker runs in the test's process, over real sockets. Each row of `CAUSES` is a row of the page's
tables; what it does stands in the function that the row names.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from pathlib import Path
from time import monotonic

import pytest
from aiocoap.message import Message
from aiocoap.numbers.codes import Code
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from prometheus_client import REGISTRY

from ftc_core.application import overload as overload_rule
from ftc_core.application.context import utc_now
from ftc_core.coap.codec import decode
from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.credentials.pki import Identity, create_authority, create_server_identity
from ftc_core.device.client import BootstrapFailed
from ftc_core.domain.account import Account, AccountStatus
from ftc_core.domain.block import Block, BlockedKind
from ftc_core.domain.certificate import CertificateStatus
from ftc_core.domain.claim_secret import claim_verifier
from ftc_core.domain.device import DeviceState
from ftc_core.domain.identity import fingerprint_of
from ftc_core.dtls.events import ApplicationData
from ftc_core.endpoint.datagram import DatagramEndpoint
from ftc_core.lwm2m import bootstrap as bootstrap_session
from ftc_core.storage.block_commands import PlaceBlock
from ftc_core.storage.lmdb import claims
from tests.certificates import Credential, Manufacturer
from tests.est_peer import EstPeer
from tests.faults import damaged_lock_file, data_file_writes_to, flipped_bytes, writer_that_sleeps
from tests.raw_peer import POST, RawPeer, coap_request, uri
from tests.signing_requests import signing_request
from tests.worker import HOST, LocalThing, Workshop

PAGE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"

Provoke = Callable[[Workshop, pytest.MonkeyPatch], Awaitable[str]]


@dataclass(frozen=True)
class Cause:
    """A row: its name on the page, what the device sees, and the sample that rises by one."""

    name: str
    seen: str
    sample: str
    labels: Mapping[str, str]
    provoke: Provoke

    @property
    def metric(self) -> str:
        """As PromQL selects it."""
        labels = ", ".join(f'{name}="{value}"' for name, value in self.labels.items())
        return f"{self.sample}{{{labels}}}"

    def count(self) -> float:
        """The sample as of now."""
        return REGISTRY.get_sample_value(self.sample, dict(self.labels)) or 0.0


CAUSES: list[Cause] = []


def handshake(alert: str) -> tuple[str, Mapping[str, str]]:
    return "ftc_handshakes_total", {"server": "bootstrap", "outcome": "alert_sent", "alert": alert}


def issuer(cause: str) -> tuple[str, Mapping[str, str]]:
    return "ftc_untrusted_issuers_total", {"cause": cause}


def refused(reason: str) -> tuple[str, Mapping[str, str]]:
    return "ftc_bootstraps_total", {"outcome": "refused", "reason": reason}


def failed(reason: str) -> tuple[str, Mapping[str, str]]:
    return "ftc_bootstraps_total", {"outcome": "failed", "reason": reason}


def cause(name: str, seen: str, metric: tuple[str, Mapping[str, str]]) -> Callable[[Provoke], Provoke]:
    """Make the function that follows a row."""

    def note(provoke: Provoke) -> Provoke:
        CAUSES.append(Cause(name, seen, *metric, provoke))
        return provoke

    return note


# --- the handshake -----------------------------------------------------------------------------------


@cause("CA never uploaded", "Secure Connection Failed: unknown_ca", issuer("not_uploaded"))
async def ca_never_uploaded(workshop: Workshop, _: pytest.MonkeyPatch) -> str:
    thing = workshop.enroll(workshop.thing(ca=Manufacturer("Nobody's CA")))
    async with workshop.running():
        return await thing.sees()


@cause("CA inactive", "Secure Connection Failed: unknown_ca", issuer("inactive"))
async def ca_inactive(workshop: Workshop, _: pytest.MonkeyPatch) -> str:
    withdrawn = Manufacturer("Withdrawn CA")
    workshop.trust(withdrawn, status=CertificateStatus.INACTIVE)
    thing = workshop.enroll(workshop.thing(ca=withdrawn))
    async with workshop.running():
        return await thing.sees()


@cause(
    "Device certificate expired",
    "Secure Connection Failed: certificate_expired",
    handshake("certificate_expired"),
)
async def certificate_expired(workshop: Workshop, _: pytest.MonkeyPatch) -> str:
    thing = workshop.enroll(workshop.thing(not_after=utc_now() - timedelta(days=1)))
    async with workshop.running():
        return await thing.sees()


@cause("Wrong signature", "Secure Connection Failed: bad_certificate", handshake("bad_certificate"))
async def wrong_signature(workshop: Workshop, _: pytest.MonkeyPatch) -> str:
    """Another key has signed in the name of the trusted CA."""
    impostor = Manufacturer()
    assert impostor.certificate.subject == workshop.manufacturer.certificate.subject
    thing = workshop.enroll(workshop.thing(ca=impostor))
    async with workshop.running():
        return await thing.sees()


@cause("No certificate", "Secure Connection Failed: handshake_failure", handshake("handshake_failure"))
async def no_certificate(workshop: Workshop, _: pytest.MonkeyPatch) -> str:
    peer = workshop.thing().peer
    async with workshop.running():
        return await asyncio.to_thread(_without_certificate, peer())


def _without_certificate(peer: RawPeer) -> str:
    bare = SSL.Context(SSL.DTLS_METHOD)
    bare.set_cipher_list(b"ECDHE+AESGCM")
    bare.set_verify(SSL.VERIFY_NONE)
    connection = SSL.Connection(bare, None)
    connection.set_connect_state()
    with peer:
        for _ in range(20):
            try:
                connection.do_handshake()
            except SSL.WantReadError:
                pass
            except SSL.Error as error:
                return f"Secure Connection Failed: {_alert_of(error)}"
            while True:
                try:
                    peer.sock.send(connection.bio_read(65_535))
                except SSL.WantReadError:
                    break
            arrived = peer.receive(2.0)
            assert arrived is not None, "silence"
            connection.bio_write(arrived)
    raise AssertionError("the handshake does not end")


def _alert_of(error: SSL.Error) -> str:
    """OpenSSL's own words for the alert that it was sent."""
    words = re.search(r"alert (.+?)'", str(error))
    assert words is not None, error
    return words[1].replace(" ", "_")


# --- the claim ---------------------------------------------------------------------------------------


@cause("Enrollment ID not registered", "4.03 Enrollment ID not registered", refused("ENROLLMENT_NOT_FOUND"))
async def not_registered(workshop: Workshop, _: pytest.MonkeyPatch) -> str:
    thing = workshop.thing()
    async with workshop.running():
        return await thing.sees()


@cause(
    "Corresponding trusted certificate not in account",
    "4.00 Corresponding trusted certificate not in account",
    refused("CA_NOT_IN_ACCOUNT"),
)
async def ca_not_in_account(workshop: Workshop, _: pytest.MonkeyPatch) -> str:
    thing = workshop.enroll(workshop.thing(), workshop.scene.account())
    async with workshop.running():
        return await thing.sees()


@cause("Account suspended", "4.03 Account suspended", refused("ACCOUNT_SUSPENDED"))
async def account_suspended(workshop: Workshop, _: pytest.MonkeyPatch) -> str:
    suspended = workshop.scene.account(status=AccountStatus.SUSPENDED)
    workshop.trust(workshop.manufacturer, suspended, enrollment_mode=True)
    thing = workshop.enroll(workshop.thing(), suspended)
    async with workshop.running():
        return await thing.sees()


@cause(
    "Duplicated device endpoint name", "4.03 Duplicated device endpoint name", refused("DUPLICATE_ENDPOINT")
)
async def duplicate_endpoint(workshop: Workshop, _: pytest.MonkeyPatch) -> str:
    first, second = (workshop.enroll(workshop.thing("pump")) for _ in range(2))
    async with workshop.running():
        assert await first.sees() == "claimed"
        return await second.sees()


@cause("Account device quota reached", "4.03 Account device quota reached", refused("QUOTA_REACHED"))
async def quota_reached(workshop: Workshop, _: pytest.MonkeyPatch) -> str:
    small = workshop.scene.account(quota=1)
    workshop.trust(workshop.manufacturer, small)
    first, second = (workshop.enroll(workshop.thing(), small) for _ in range(2))
    async with workshop.running():
        assert await first.sees() == "claimed"
        return await second.sees()


def block(workshop: Workshop, certificate: Credential | Manufacturer, account: Account | None) -> None:
    kind = BlockedKind.DEVICE if isinstance(certificate, Credential) else BlockedKind.CERTIFICATE_AUTHORITY
    placed = Block(
        fingerprint=fingerprint_of(certificate.der),
        kind=kind,
        account_id=None if account is None else account.id,
        blocked_at=utc_now(),
    )
    workshop.scene.run(PlaceBlock(placed))


@cause(
    "Blocked by the operator",
    "Secure Connection Failed: certificate_revoked",
    handshake("certificate_revoked"),
)
async def blocked_by_operator(workshop: Workshop, _: pytest.MonkeyPatch) -> str:
    thing = workshop.enroll(workshop.thing())
    block(workshop, thing.credential, None)
    async with workshop.running():
        return await thing.sees()


@cause("Device blocked", "4.03 Device blocked", refused("DEVICE_BLOCKED"))
async def blocked_by_owner(workshop: Workshop, _: pytest.MonkeyPatch) -> str:
    thing = workshop.enroll(workshop.thing())
    async with workshop.running():
        assert await thing.sees() == "claimed"
    block(workshop, thing.credential, workshop.account)
    async with workshop.running():
        return await thing.sees()


@cause("Issuing certificate blocked", "4.03 Issuing certificate blocked", refused("CERTIFICATE_BLOCKED"))
async def ca_blocked_by_account(workshop: Workshop, _: pytest.MonkeyPatch) -> str:
    thing = workshop.enroll(workshop.thing())
    block(workshop, workshop.manufacturer, workshop.account)
    async with workshop.running():
        return await thing.sees()


SECRET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def guarded(workshop: Workshop, **changes: datetime) -> LocalThing:
    """A device whose enrollment has a claim secret."""
    thing = workshop.thing()
    return workshop.enroll(thing, claim_verifier=claim_verifier(SECRET, thing.fingerprint), **changes)


@cause("Enrollment is not open yet", "4.03 Enrollment is not open yet", refused("CLAIM_TOO_EARLY"))
async def too_early(workshop: Workshop, _: pytest.MonkeyPatch) -> str:
    thing = guarded(workshop, claim_not_before=utc_now() + timedelta(hours=1))
    async with workshop.running():
        return await thing.sees(claim_secret=SECRET)


@cause("Claim secret not proved", "4.03 Claim secret not proved", refused("CLAIM_PROOF_REQUIRED"))
async def secret_not_proved(workshop: Workshop, _: pytest.MonkeyPatch) -> str:
    thing = guarded(workshop)
    async with workshop.running():
        return await thing.sees()


@cause("Claim secret does not match", "4.03 Claim secret does not match", refused("CLAIM_PROOF_INVALID"))
async def another_secret(workshop: Workshop, _: pytest.MonkeyPatch) -> str:
    thing = guarded(workshop)
    async with workshop.running():
        return await thing.sees(claim_secret=SECRET[::-1])


@cause(
    "Enrollment has no claim secret", "4.03 Enrollment has no claim secret", refused("CLAIM_SECRET_MISSING")
)
async def enrolled_without_secret(workshop: Workshop, _: pytest.MonkeyPatch) -> str:
    thing = workshop.enroll(workshop.thing())
    async with workshop.running():
        return await thing.sees(claim_secret=SECRET)


# --- our own failures --------------------------------------------------------------------------------


async def told_and_healed(workshop: Workshop, fault: Callable[[], AbstractContextManager[None]]) -> str:
    """What a device is told during the fault; behind it, the same worker claims the same device."""
    thing = workshop.enroll(workshop.thing())
    async with workshop.running():
        with fault():
            seen = await thing.sees()
        assert await thing.sees() == "claimed"
    return seen


@cause("Internal error #1", "5.00 Internal error #1", refused("INTERNAL_1"))
async def store_unavailable(workshop: Workshop, _: pytest.MonkeyPatch) -> str:
    store = workshop.directory.store
    return await told_and_healed(workshop, lambda: damaged_lock_file(store))


@cause("Internal error #2", "5.00 Internal error #2", refused("INTERNAL_2"))
async def store_full(workshop: Workshop, _: pytest.MonkeyPatch) -> str:
    store = workshop.directory.store
    return await told_and_healed(workshop, lambda: data_file_writes_to(store, Path("/dev/full"), os.O_WRONLY))


@cause("Internal error #3", "5.00 Internal error #3", refused("INTERNAL_3"))
async def commit_lost(workshop: Workshop, _: pytest.MonkeyPatch) -> str:
    store = workshop.directory.store
    return await told_and_healed(
        workshop, lambda: data_file_writes_to(store, store / "data.mdb", os.O_RDONLY)
    )


@cause("Internal error #4", "5.00 Internal error #4", refused("INTERNAL_4"))
async def issuer_failed(workshop: Workshop, _: pytest.MonkeyPatch) -> str:
    """The issuing CA expired yesterday; the claim stands, with its reason on the device's page."""
    expired = create_authority("Issuing CA", now=utc_now() - timedelta(days=9), validity=timedelta(days=8))
    _replace_identity(workshop.directory, "issuing-ca", expired)
    thing = workshop.enroll(workshop.thing())
    async with workshop.running():
        seen = await thing.sees()
    device, last = workshop.found(thing)
    assert device is not None
    assert last is not None
    assert (device.state, last.reason) == (DeviceState.CLOUD_ENROLLING, "INTERNAL_4")
    return seen


@cause("Internal error #5", "5.00 Internal error #5", refused("INTERNAL_5"))
async def index_corrupt(workshop: Workshop, _: pytest.MonkeyPatch) -> str:
    """A byte of the device's enrollment changes on the disk under the running worker."""
    thing = workshop.enroll(workshop.thing())
    async with workshop.running():
        flipped_bytes(workshop.directory.store, thing.fingerprint, behind=b"\x01", flipped=b"\xee")
        return await thing.sees()


@cause("Internal error #6", "5.00 Internal error #6", refused("INTERNAL_6"))
async def configuration_invalid(workshop: Workshop, _: pytest.MonkeyPatch) -> str:
    """The LwM2M server's certificate expired: nothing is claimed for it."""
    directory = workshop.directory
    authority = Identity.from_pem(
        directory.certificate_file("server-ca").read_bytes(), directory.key_file("server-ca").read_bytes()
    )
    expired = create_server_identity(
        authority, "lwm2m", hosts=[HOST], now=utc_now() - timedelta(days=9), validity=timedelta(days=8)
    )
    _replace_identity(directory, "lwm2m", expired)
    thing = workshop.enroll(workshop.thing())
    async with workshop.running():
        seen = await thing.sees()
    assert workshop.found(thing) == (None, None)
    return seen


def _replace_identity(directory: DataDirectory, name: str, identity: Identity) -> None:
    directory.certificate_file(name).write_bytes(identity.certificate_pem)
    directory.key_file(name).write_bytes(identity.private_key_pem)


@cause("Internal error #10", "5.00 Internal error #10", refused("INTERNAL_10"))
async def bug(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> str:
    """Nothing that we know of raises what nobody expects, so a line that does is put in."""

    def add_device(*_: object) -> None:
        raise ZeroDivisionError

    @contextmanager
    def fault() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(claims, "add_device", add_device)
            yield

    return await told_and_healed(workshop, fault)


@cause("Internal error #9", "5.00 Internal error #9", refused("INTERNAL_9"))
async def claim_timed_out(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> str:
    """Another process sits on the store for longer than a bootstrap may take."""

    @contextmanager
    def fault() -> Iterator[None]:
        with monkeypatch.context() as patch, writer_that_sleeps(workshop.directory.store):
            patch.setattr(bootstrap_session, "BOOTSTRAP_SESSION_TIMEOUT_S", 0.3)
            yield

    return await told_and_healed(workshop, fault)


@cause("Overload, put off", "5.03 Overloaded", refused("OVERLOADED"))
async def put_off(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> str:
    """Another process sits on the store: who was there before waits, who comes then is put off."""
    monkeypatch.setattr(overload_rule, "OVERLOAD_BACKLOG_S", 0.3)
    first, second = (workshop.enroll(workshop.thing()) for _ in range(2))
    async with workshop.running(overload_answer="5.03"):
        with writer_that_sleeps(workshop.directory.store):
            since = monotonic()
            delayed = asyncio.create_task(first.sees())
            await asyncio.sleep(0.6)
            refusal = await second.bootstrap()
            waited_s = monotonic() - since
            assert not delayed.done()
        assert await delayed == "claimed"
        assert await second.sees() == "claimed"
    assert isinstance(refusal, BootstrapFailed)
    assert 1 <= refusal.retry_after_s <= ceil(waited_s)
    return f"{refusal.code} {refusal.text}"


# --- what happens behind the claim: the device is past the point where it could be told ----------------


async def given_up(
    workshop: Workshop, misbehave: Callable[[Message], bytes | None], reason: str, *, patience_s: float = 0.2
) -> str:
    """What a device hears that answers the first Bootstrap-Write as `misbehave` does.

    The claim stands, its page has `reason` with the step, and the next attempt completes.
    """
    thing = workshop.enroll(workshop.thing())
    async with workshop.running():
        heard = await asyncio.to_thread(_converse, thing, misbehave, patience_s)
    device, last = workshop.found(thing)
    assert device is not None
    assert device.state is DeviceState.CLOUD_ENROLLING
    assert last is not None
    assert last.reason == reason
    assert last.error.startswith("Bootstrap-Write /0/0: ")
    assert [(step.name, step.code) for step in last.steps][:2] == [
        ("Bootstrap-Request", "2.04"),
        ("Bootstrap-Delete /0", "2.02"),
    ]
    async with workshop.running():
        assert await thing.sees() == "claimed"
    assert workshop.found(thing)[1].completed  # type: ignore[union-attr]
    return heard


def _converse(thing: LocalThing, misbehave: Callable[[Message], bytes | None], patience_s: float) -> str:
    with thing.peer() as peer:
        peer.connect()
        request = coap_request(POST, uri("/bs", b"ep=" + thing.endpoint_name.encode()), 1)
        # With a token of four bytes it is one of Izuma's family, which is asked for nothing.
        peer.association.send(b"\x44" + request[1:4] + bytes(4) + request[6:])
        assert peer.pump(lambda: _answered(peer, misbehave)), "no Bootstrap-Write"
        heard = peer.pump(
            lambda: any(isinstance(e, ApplicationData) for e in peer.events), patience_s=patience_s
        )
        return "more requests" if heard else "silence"


def _answered(peer: RawPeer, misbehave: Callable[[Message], bytes | None]) -> bool:
    """Take the requests that have come; whether the first Bootstrap-Write was among them."""
    while peer.events:
        event = peer.events.pop(0)
        if not isinstance(event, ApplicationData):
            continue
        message = decode(event.data)
        if message.code == Code.DELETE:
            say(peer, reply(message, Code.DELETED))
        elif message.code == Code.PUT:
            if (answer := misbehave(message)) is not None:
                say(peer, answer)
            return True
    return False


def say(peer: RawPeer, message: bytes) -> None:
    """Send at once."""
    peer.sock.send(peer.record(message))


def reply(message: Message, code: Code) -> bytes:
    """A piggy-backed response (RFC 7252 §5.2.1)."""
    return bytes((0x60 | len(message.token), code)) + message.mid.to_bytes(2, "big") + message.token


def reset(message: Message) -> bytes:
    """RFC 7252 §4.2."""
    return b"\x70\x00" + message.mid.to_bytes(2, "big")


@cause("Internal error #7", "silence", failed("INTERNAL_7"))
async def session_lost(workshop: Workshop, _: pytest.MonkeyPatch) -> str:
    return await given_up(workshop, reset, "INTERNAL_7")


@cause("Internal error #8", "silence", failed("INTERNAL_8"))
async def write_rejected(workshop: Workshop, _: pytest.MonkeyPatch) -> str:
    return await given_up(workshop, lambda message: reply(message, Code.BAD_REQUEST), "INTERNAL_8")


@cause("Internal error #9, device silent", "silence", failed("INTERNAL_9"))
async def device_silent(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> str:
    """It would be waited for by retransmissions, and 120 s at most; here for less than the first of them."""
    monkeypatch.setattr(bootstrap_session, "BOOTSTRAP_SESSION_TIMEOUT_S", 1.0)
    return await given_up(workshop, lambda _: None, "INTERNAL_9", patience_s=1.4)


# --- the certificate by EST ----------------------------------------------------------------------------


def est(outcome: str, reason: str) -> tuple[str, Mapping[str, str]]:
    return "ftc_est_enrolments_total", {"outcome": outcome, "reason": reason}


async def enrolling(thing: LocalThing, say: Callable[[EstPeer], str]) -> str:
    """What the device makes of its bootstrap, once it has all but its certificate."""

    def converse() -> str:
        with thing.peer() as peer:
            return say(EstPeer(peer.connect()).bootstrap(thing.endpoint_name))

    return await asyncio.to_thread(converse)


async def failed_at_the_certificate(workshop: Workshop, say: Callable[[EstPeer], str], reason: str) -> str:
    """What the device sees; its page has `reason`, and its next attempt completes."""
    thing = workshop.enroll(workshop.thing())
    async with workshop.running(lwm2m_credentials="est"):
        seen = await enrolling(thing, say)
    device, last = workshop.found(thing)
    assert device is not None
    assert last is not None
    assert device.state is DeviceState.BOOTSTRAPPED
    assert (last.reason, last.steps[-1].name) == (reason, "EST enrolment")
    async with workshop.running(lwm2m_credentials="est"):
        assert await thing.sees() == "claimed"
    assert workshop.found(thing)[1].completed  # type: ignore[union-attr]
    return seen


@cause("Certificate request refused", "4.00 CSR key is not P-256", est("refused", "SIGNING_REQUEST_INVALID"))
async def certificate_request_refused(workshop: Workshop, _: pytest.MonkeyPatch) -> str:
    csr = signing_request(key=ec.generate_private_key(ec.SECP384R1()))
    return await failed_at_the_certificate(
        workshop, lambda device: device.told(csr), "SIGNING_REQUEST_INVALID"
    )


@cause("Certificate never asked for", "silence", est("missing", "CERTIFICATE_NOT_REQUESTED"))
async def certificate_never_asked_for(workshop: Workshop, _: pytest.MonkeyPatch) -> str:
    """A client that takes whatever is written, and leaves as it does where it has been given a key."""
    return await failed_at_the_certificate(workshop, lambda device: "silence", "CERTIFICATE_NOT_REQUESTED")


@cause(
    "Certificate request without a bootstrap",
    "4.03 No bootstrap waits for a certificate",
    est("refused", "BOOTSTRAP_REQUIRED"),
)
async def certificate_request_without_bootstrap(workshop: Workshop, _: pytest.MonkeyPatch) -> str:
    thing = workshop.enroll(workshop.thing())

    def converse() -> str:
        with thing.peer() as peer:
            return EstPeer(peer.connect()).told(signing_request())

    async with workshop.running(lwm2m_credentials="est"):
        return await asyncio.to_thread(converse)


# --- overload ----------------------------------------------------------------------------------------


@cause("Overload", "silence", ("ftc_shed_total", {"server": "bootstrap", "cause": "associations"}))
async def overload(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> str:
    """A worker with room for one: the second waits unanswered until the first has gone, and then gets in."""
    monkeypatch.setitem(DatagramEndpoint.__init__.__kwdefaults__, "max_associations", 1)
    first, second = workshop.thing(), workshop.enroll(workshop.thing())
    async with workshop.running():
        with first.peer() as peer:
            await asyncio.to_thread(peer.connect)
            waiting = asyncio.create_task(second.sees())
            await asyncio.wait({waiting}, timeout=0.5)
            seen = waiting.result() if waiting.done() else "silence"
        assert await waiting == "claimed"
    return seen


# --- the table ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", CAUSES, ids=lambda row: row.name)
async def test_cause_is_seen_by_the_device_and_counted_on_its_own(
    row: Cause, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [other.count() for other in CAUSES]

    seen = await row.provoke(workshop, monkeypatch)

    assert seen == row.seen
    risen = {other.name for other, count in zip(CAUSES, before, strict=True) if other.count() > count}
    assert risen == {row.name}


async def test_trusted_ca_that_has_expired_looks_like_an_expired_device(workshop: Workshop) -> None:
    past = utc_now() - timedelta(days=1)
    expired = Manufacturer("Expired CA", not_before=past - timedelta(days=9), not_after=past)
    workshop.trust(expired)
    thing = workshop.enroll(workshop.thing(ca=expired))

    async with workshop.running():
        assert await thing.sees() == "Secure Connection Failed: certificate_expired"


async def test_device_that_vanishes_in_mid_bootstrap_leaves_the_same_mark_as_one_that_resets(
    workshop: Workshop,
) -> None:
    thing = workshop.enroll(workshop.thing())
    async with workshop.running():
        # At the end of `_converse` it closes its association.
        await asyncio.to_thread(_converse, thing, lambda _: None, 0.0)
        await asyncio.sleep(0.1)
    _, last = workshop.found(thing)
    assert last is not None
    assert (last.reason, last.error) == ("INTERNAL_7", "Bootstrap-Write /0/0: the association was lost")


def test_page_has_each_cause_with_its_metric_and_what_the_device_sees() -> None:
    rows = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 5:
            rows[cells[0]] = cells
    rows = {name: cells for name, cells in rows.items() if name not in ("cause", "---")}

    assert set(rows) == {row.name for row in CAUSES}
    for row in CAUSES:
        _, seen, meaning, todo, metric = rows[row.name]
        assert seen == f"`{row.seen}`"
        assert metric == f"`{row.metric}`"
        assert meaning
        assert todo
