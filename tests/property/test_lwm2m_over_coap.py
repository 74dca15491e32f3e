"""A whole bootstrap through both CoAP layers and a terrible network, time simulated, each run from a seed."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from types import MappingProxyType

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key

from ftc_core.coap.blockwise import BlockwiseLayer
from ftc_core.coap.events import (
    Event,
    ExchangeFailed,
    RequestReceived,
    ResponseAcknowledged,
    ResponseHandedOut,
    ResponseLost,
    ResponseReceived,
)
from ftc_core.coap.exchange import ExchangeLayer
from ftc_core.credentials.issuer import CredentialIssuer
from ftc_core.credentials.pki import create_authority
from ftc_core.credentials.signing_request import judge_signing_request
from ftc_core.device.client import BootstrapClient, BootstrapFailed, Succeeded
from ftc_core.device.effects import Ignore, RespondSeparately
from ftc_core.device.model import IZUMA, VERSION_1_2, ClientModel
from ftc_core.device.parameters import load_key_pair
from ftc_core.lwm2m.bootstrap import BootstrapSession, Claim, Completed, Enroll, Failed, Finished
from ftc_core.lwm2m.discovery import VERSION_1_1
from ftc_core.lwm2m.effects import Cancel, Respond, SendRequest
from ftc_core.lwm2m.objects import SecurityInstance
from ftc_core.lwm2m.sequence import BootstrapGrant

GRANT = BootstrapGrant(
    account_id="a" * 32,
    device_id="d" * 32,
    endpoint_name="dev-1",
    lwm2m_uri="coaps://l:5684",
    lwm2m_server_certificate=bytes(700),
    lwm2m_end_entity_certificate=b"lwm2m server",
    client_certificate=bytes(600),
    client_key=bytes(121),
    bootstrap_uri="coaps://b:5784",
    bootstrap_server_certificate=bytes(700),
)
NOW = datetime(2026, 11, 29, tzinfo=UTC)
ISSUER = CredentialIssuer(create_authority("Issuing CA", now=NOW), timedelta(days=1))
EST_GRANT = replace(GRANT, client_certificate=None, client_key=None, issuing_certificate=ISSUER.authority_der)
OWN = SecurityInstance(
    server_uri="coaps://b:5784",
    bootstrap_server=True,
    mode=2,
    public_key=b"c",
    server_public_key=b"a",
    secret_key=b"k",
)


class World:
    """Server and device, and datagrams under way between them."""

    def __init__(
        self,
        seed: int,
        *,
        loss: float,
        block_size: int,
        claim_s: float,
        again: Mapping[int, float] = MappingProxyType({}),
        lost: int | None = None,
        grant: BootstrapGrant = GRANT,
        model: ClientModel = IZUMA,
    ) -> None:
        """`again` says after how many seconds a second copy of a datagram, by its number, arrives; the one of
        number `lost` does not.
        """
        self.random = Random(seed)
        self.again = again
        self.lost = lost
        self.grant = grant
        self.datagrams = 0
        self.said: list[bytes] = []
        """All datagrams of both sides, as they are above DTLS."""
        self.claims = 0
        self.loss = loss
        self.claim_s = claim_s
        self.now = 0.0
        self.numbers = count()
        self.agenda: list[tuple[float, int, str, bytes]] = []
        self.coap = {
            name: BlockwiseLayer(
                ExchangeLayer(
                    first_message_id=first, token_prefix=bytes(token_bytes - 4), random=self.random.random
                ),
                block_size=size,
            )
            for name, first, size, token_bytes in (
                ("server", 7, 1024, 8),
                ("device", 65_530, block_size, model.token_bytes),
            )
        }
        self.server = BootstrapSession(enrolls=grant.enrolls)
        self.finishes = 0
        self.certificates: list[bytes] = []
        self.device = BootstrapClient("dev-1", OWN, model=model)
        self.overtaken = 0
        self.ended: Completed | Failed | None = None
        self.outcome: Succeeded | BootstrapFailed | None = None

    def run(self) -> None:
        self.device.start(self.now)
        while self.ended is None or self.outcome is None:
            self.settle()
            timers = [self.coap[name].get_timer() for name in self.coap]
            timers += [self.server.get_timer(), self.device.get_timer()]
            due = [timer for timer in timers if timer is not None]
            if self.agenda:
                due.append(self.agenda[0][0])
            if not due:
                break
            self.now = max(self.now, min(due))
            assert self.now < 1_000
            while self.agenda and self.agenda[0][0] <= self.now:
                _, _, target, datagram = heapq.heappop(self.agenda)
                if target == "claim":
                    self.server.claim_granted(self.grant, self.now)
                else:
                    self.coap[target].receive_datagram(datagram, self.now)
            for layer in self.coap.values():
                layer.handle_timer(self.now)
            self.server.handle_timer(self.now)
            self.device.handle_timer(self.now)

    def later(self, delay: float, target: str, datagram: bytes = b"") -> None:
        heapq.heappush(self.agenda, (self.now + delay, next(self.numbers), target, datagram))

    def settle(self) -> None:
        for name, peer in (("server", "device"), ("device", "server")):
            while (event := self.coap[name].next_event()) is not None:
                self.feed(name, event)
            (self.perform_server if name == "server" else self.perform_device)()
            for datagram in self.coap[name].datagrams_to_send():
                number, self.datagrams = self.datagrams, self.datagrams + 1
                self.said.append(datagram)
                if number in self.again:
                    self.later(self.again[number], peer, datagram)
                if number == self.lost:
                    continue
                for _ in range(1 + (self.random.random() < self.loss)):  # as many duplicates as losses
                    if self.random.random() >= self.loss:
                        self.later(self.random.uniform(0.01, 0.5 if self.loss else 0.01), peer, datagram)

    def feed(self, name: str, event: Event) -> None:
        session = self.server if name == "server" else self.device
        match event:
            case RequestReceived():
                session.request_received(event.exchange, event.message, self.now)
            case ResponseReceived():
                session.response_received(event.exchange, event.message, self.now)
            case ExchangeFailed():
                session.exchange_failed(event.exchange, event.cause, self.now)
            case ResponseHandedOut():
                self.server.response_out(event.exchange, self.now)
            case ResponseAcknowledged() if name == "device":
                self.device.response_acknowledged(event.exchange, self.now)
            case ResponseLost() if name == "device":
                self.device.response_lost(event.exchange, self.now)

    def perform_server(self) -> None:
        coap = self.coap["server"]
        while (effect := self.server.next_effect()) is not None:
            match effect:
                case SendRequest():
                    self.server.request_sent(effect.label, coap.send_request(effect.message, self.now))
                case Respond():
                    if coap.send_response(effect.exchange, effect.message, self.now):
                        self.server.response_out(effect.exchange, self.now)
                case Cancel():
                    coap.cancel(effect.exchange, self.now)
                case Claim():
                    self.claims += 1
                    self.later(self.claim_s, "claim")
                case Finished():
                    self.finishes += 1
                case Enroll(csr):
                    names = {"endpoint_name": "dev-1", "device_id": "d" * 32, "account_id": "a" * 32}
                    key = judge_signing_request(csr, **names)
                    self.certificates.append(ISSUER.certify(key, **names, now=NOW))
                    self.server.certificate_issued(self.certificates[-1], self.now)
                case Completed() | Failed():
                    self.ended = effect

    def perform_device(self) -> None:
        coap = self.coap["device"]
        while (effect := self.device.next_effect()) is not None:
            match effect:
                case SendRequest():
                    self.device.request_sent(effect.label, coap.send_request(effect.message, self.now))
                case Respond():
                    coap.send_response(effect.exchange, effect.message, self.now)
                case RespondSeparately():
                    coap.acknowledge(effect.exchange)
                    coap.send_response(effect.exchange, effect.message, self.now)
                case Ignore():
                    self.overtaken += 1
                    coap.ignore(effect.exchange)
                case Succeeded() | BootstrapFailed():
                    self.outcome = effect


MODELS = {
    "Izuma's": IZUMA,
    "Izuma's, token of 8 bytes": replace(IZUMA, token_bytes=8),
    "1.0": ClientModel(),
    "1.0 without Discover": ClientModel(discovers=False, bootstrap_instance=1),
    "1.1": ClientModel(version=VERSION_1_1, content_format=112),
    "1.2": ClientModel(version=VERSION_1_2, content_format=11544),
    "1.2 by pack": ClientModel(version=VERSION_1_2, packs=True),
}
ROUND_TRIPS = {
    "Izuma's": 5.5,
    "1.0": 6.5,
    "1.0 without Discover": 6.5,
    "1.1": 6.5,
    "1.2": 6.5,
    "1.2 by pack": 1,
}
"""Of messages that fit one block each, until the server has the answer to Finish, or the device its pack.

The request takes half of one, since the Delete leaves with its answer; Delete, Discover (not of Izuma's
family), three writes and Finish take one each."""

SMALL = replace(
    GRANT,
    lwm2m_server_certificate=b"lwm2m ca",
    lwm2m_end_entity_certificate=b"lwm2m server",
    client_certificate=b"client certificate",
    bootstrap_server_certificate=b"bootstrap ca",
)


def trusted_by(model: ClientModel) -> bytes:
    """What the model's client is to hold as resource 4 in the end."""
    by_the_book = model.discovers and model.version < VERSION_1_1
    return GRANT.lwm2m_end_entity_certificate if by_the_book else GRANT.lwm2m_server_certificate


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("block_size", [1024, 256, 64, 16])
@pytest.mark.parametrize("claim_s", [0.005, 3.0], ids=["quick commit", "slow commit"])
def test_over_a_good_network_every_block_size_goes_through(
    block_size: int, claim_s: float, model: ClientModel
) -> None:
    world = World(1, loss=0.0, block_size=block_size, claim_s=claim_s, model=model)
    world.run()
    assert isinstance(world.ended, Completed)
    assert isinstance(world.outcome, Succeeded)
    account = world.outcome.outcome.lwm2m
    assert account.secret_key == GRANT.client_key
    assert account.server_public_key == trusted_by(model)
    assert world.outcome.outcome.bootstrap.secret_key == b"k"


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_a_bootstrap_takes_no_more_round_trips_than_it_has_requests(name: str) -> None:
    world = World(1, loss=0.0, block_size=1024, claim_s=0.0, model=MODELS[name], grant=SMALL)
    world.run()
    assert isinstance(world.ended, Completed)
    assert isinstance(world.outcome, Succeeded)
    ended = world.outcome.steps[-1] if world.ended.lingers else world.ended.steps[-1]
    assert ended.ended_at == pytest.approx(ROUND_TRIPS[name] * 0.02)  # 10 ms each way


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("claim_s", [0.005, 0.7], ids=["answer in the ACK", "separate answer"])
def test_the_loss_of_any_one_message_is_made_good(claim_s: float, model: ClientModel) -> None:
    whole = World(1, loss=0.0, block_size=256, claim_s=claim_s, model=model)
    whole.run()
    for number in range(whole.datagrams):
        world = World(1, loss=0.0, block_size=256, claim_s=claim_s, model=model, lost=number)
        world.run()
        assert isinstance(world.ended, Completed), number
        assert isinstance(world.outcome, Succeeded), number
        outcome = world.outcome.outcome
        assert outcome.lwm2m.server_public_key == trusted_by(model), number
        assert outcome.bootstrap.secret_key == b"k", number


@pytest.mark.parametrize("again_after_s", [0.005, 0.012, 0.025, 0.08])
@pytest.mark.parametrize("claim_s", [0.005, 0.7], ids=["answer in the ACK", "separate answer"])
def test_a_second_copy_of_any_one_message_changes_nothing(again_after_s: float, claim_s: float) -> None:
    """RFC 7252 §4.5. DTLS would drop the copy of a record: here, above it, a copy is a retransmission."""

    def bootstrap(again: Mapping[int, float]) -> tuple[World, list[tuple[str, str]]]:
        world = World(1, loss=0.0, block_size=64, claim_s=claim_s, again=again)
        world.run()
        assert isinstance(world.ended, Completed), again
        assert isinstance(world.outcome, Succeeded), again
        assert world.outcome.outcome.lwm2m == GRANT.lwm2m_security(), again
        return world, [(step.name, step.code) for step in world.outcome.steps]

    whole, steps = bootstrap({})
    assert whole.datagrams >= 30
    for number in range(whole.datagrams):
        world, steps_again = bootstrap({number: again_after_s})
        assert steps_again == steps, number
        assert world.claims == 1, number


def terrible(seed: int, model: ClientModel = IZUMA) -> World:
    """One in seven datagrams lost, as many doubled, any order; the claim is answered in the ACK or later."""
    world = World(seed, loss=0.15, block_size=512, claim_s=0.1 if seed % 2 else 0.7, model=model)
    world.run()
    return world


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("seed", range(40))
def test_over_a_terrible_network_both_sides_end_and_agree(seed: int, name: str) -> None:
    world = terrible(seed, MODELS[name])
    assert world.ended is not None
    assert world.outcome is not None
    if isinstance(world.outcome, Succeeded):
        # The server may know of a success that the device does not, never the other way round.
        assert isinstance(world.ended, Completed)
        assert world.outcome.outcome.lwm2m.secret_key == GRANT.client_key
        assert world.outcome.outcome.bootstrap.secret_key == b"k"


def test_most_bootstraps_survive_a_terrible_network_also_when_writes_overtake_the_answer() -> None:
    worlds = [terrible(seed) for seed in range(40)]
    succeeded = [world for world in worlds if isinstance(world.outcome, Succeeded)]
    assert len(succeeded) >= 36
    assert any(world.overtaken for world in succeeded)


# --- with a certificate by EST ---------------------------------------------------------------------------

EST_MODELS = {
    name: model
    for name, model in {
        **MODELS,
        "1.1, DER wanted": replace(MODELS["1.1"], certificate_format=287),
        "1.2, nothing wanted": replace(MODELS["1.2"], certificate_format=None),
    }.items()
    if model.enrolls
}


def check_enrolled(world: World, case: object = None) -> None:
    """Both ends agree on one certificate, for a key that the server has never seen."""
    assert isinstance(world.ended, Completed), (case, world.ended)
    assert isinstance(world.outcome, Succeeded), (case, world.outcome)
    assert world.ended.enrolled
    assert world.finishes == 1, case
    account = world.outcome.outcome.lwm2m
    assert [account.public_key] == world.certificates, case
    load_key_pair(account.public_key or b"", account.secret_key or b"")
    for steps in (world.ended.steps, world.outcome.steps):
        assert (steps[-1].name, steps[-1].code) == ("EST enrolment", "2.04"), case


@pytest.mark.parametrize("model", EST_MODELS.values(), ids=EST_MODELS)
@pytest.mark.parametrize("block_size", [1024, 512, 256, 128, 64, 16])
def test_a_device_enrolls_whatever_its_block_size(block_size: int, model: ClientModel) -> None:
    """Both ways: its request goes out, and the answer comes in, in blocks of that size."""
    world = World(1, loss=0.0, block_size=block_size, claim_s=0.005, model=model, grant=EST_GRANT)
    world.run()
    check_enrolled(world)


@pytest.mark.parametrize("model", EST_MODELS.values(), ids=EST_MODELS)
@pytest.mark.parametrize("block_size", [1024, 256])
def test_the_loss_of_any_one_message_of_an_enrolment_is_made_good(
    block_size: int, model: ClientModel
) -> None:
    whole = World(1, loss=0.0, block_size=block_size, claim_s=0.005, model=model, grant=EST_GRANT)
    whole.run()
    for number in range(whole.datagrams):
        world = World(
            1, loss=0.0, block_size=block_size, claim_s=0.005, model=model, lost=number, grant=EST_GRANT
        )
        world.run()
        check_enrolled(world, number)


@pytest.mark.parametrize("again_after_s", [0.005, 0.025, 0.08])
def test_a_second_copy_of_any_one_message_of_an_enrolment_makes_no_second_certificate(
    again_after_s: float,
) -> None:
    whole = World(1, loss=0.0, block_size=64, claim_s=0.005, grant=EST_GRANT)
    whole.run()
    for number in range(whole.datagrams):
        world = World(
            1, loss=0.0, block_size=64, claim_s=0.005, again={number: again_after_s}, grant=EST_GRANT
        )
        world.run()
        check_enrolled(world, number)


@pytest.mark.parametrize("name", EST_MODELS)
@pytest.mark.parametrize("seed", range(20))
def test_over_a_terrible_network_both_sides_end_and_agree_on_the_certificate(seed: int, name: str) -> None:
    world = World(seed, loss=0.15, block_size=512, claim_s=0.1, model=EST_MODELS[name], grant=EST_GRANT)
    world.run()
    assert world.ended is not None
    assert world.outcome is not None
    assert len(world.certificates) <= 1
    if isinstance(world.outcome, Succeeded):
        check_enrolled(world)


@pytest.mark.parametrize("model", EST_MODELS.values(), ids=EST_MODELS)
def test_no_private_key_is_said_by_either_side(model: ClientModel) -> None:
    world = World(1, loss=0.0, block_size=1024, claim_s=0.005, model=model, grant=EST_GRANT)
    world.run()
    assert isinstance(world.outcome, Succeeded)
    key = load_der_private_key(world.outcome.outcome.lwm2m.secret_key or b"", None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    secret = key.private_numbers().private_value.to_bytes(32, "big")
    public = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert any(public in datagram for datagram in world.said), "datagrams are whole enough to find a key in"
    assert not any(secret in datagram for datagram in world.said)
