"""Devices behind narrow paths, and devices that come back, over real datagrams and one whole instance."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path as File
from urllib.request import urlopen
from uuid import uuid4

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ftc_core.dtls.alert import Alert
from ftc_core.lwm2m.messages import dotted
from ftc_grpc._gen.ftc.v1.trusted_certificate_pb2 import TrustedCertificate
from ftc_grpc._gen.ftc.v1.trusted_certificate_service_pb2 import (
    ListTrustedCertificatesRequest,
    UpdateTrustedCertificateRequest,
)
from tests.certificates import Credential, Manufacturer
from tests.instance import Instance, Tenant, eventually, make_data_directory, running_instance
from tests.raw_peer import POST, RawPeer, uri
from tests.relay import Direction, relay
from tests.things import Thing, enrolled_thing

IPV4_LEAST, IPV6_LEAST = 576 - 28, 1_280 - 48


@pytest.fixture
def factory() -> Manufacturer:
    """A CA that no other account holds."""
    return Manufacturer(f"Factory {uuid4()}")


@pytest.fixture
def tenant(instance: Instance, factory: Manufacturer) -> Tenant:
    tenant = instance.tenant()
    tenant.trust(factory)
    return tenant


def peer_of(instance: Instance, device: Credential, **how: object) -> RawPeer:
    return RawPeer(
        instance.address("bootstrap"),
        device.certificate,
        device.private_key,
        instance.server_ca,
        tickets=True,
        intermediates=device.intermediates,
        **how,  # type: ignore[arg-type]
    )


def bootstrap_request(peer: RawPeer, endpoint_name: str) -> str:
    return dotted(peer.connect().ask(POST, uri("/bs", b"ep=" + endpoint_name.encode())))


# --- narrow paths -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [IPV4_LEAST, IPV6_LEAST])
def test_a_device_is_bootstrapped_over_a_path_that_drops_large_datagrams(
    limit: int, tenant: Tenant, factory: Manufacturer
) -> None:
    """Nobody is told of what is dropped. Up to 1,280 bytes of MTU nothing is; below, each side finds out."""
    dropped: list[int] = []

    def narrow(_direction: Direction, _number: int, datagram: bytes) -> bool:
        if len(datagram) > limit:
            dropped.append(len(datagram))
        return len(datagram) <= limit

    thing = enrolled_thing(tenant, factory)
    with relay(tenant.instance.address("bootstrap"), narrow) as address:
        outcome = asyncio.run(thing.claimed(uri="coaps://{}:{}".format(*address)))
    assert outcome.device_id
    # The server's flight and perhaps the device's, at most twice each; then the CoAP blocks fit, too.
    assert len(dropped) in (range(1, 5) if limit == IPV4_LEAST else (0,))


def test_a_small_mtu_that_is_set_holds_for_all_that_we_send(tmp_path: File, factory: Manufacturer) -> None:
    largest = dict.fromkeys(("to server", "to client"), 0)

    def watched(direction: Direction, _number: int, datagram: bytes) -> bool:
        largest[direction] = max(largest[direction], len(datagram))
        return True

    with running_instance(make_data_directory(tmp_path / "data"), f"--dtls-mtu={IPV4_LEAST}") as instance:
        tenant = instance.tenant()
        tenant.trust(factory)
        thing = enrolled_thing(tenant, factory)
        with relay(instance.address("bootstrap"), watched) as address:
            asyncio.run(thing.claimed(uri="coaps://{}:{}".format(*address)))
    assert IPV4_LEAST - 256 < largest["to client"] <= IPV4_LEAST


# --- devices that come back ---------------------------------------------------------------------------------


@pytest.fixture
def device(tenant: Tenant, factory: Manufacturer) -> Credential:
    """Enrolled, behind one intermediate."""
    made = Manufacturer("Lower", issuer=factory).device(f"back-{uuid4().hex}")
    tenant.enroll(made.certificate)
    return made


@pytest.fixture
def peer(instance: Instance, device: Credential) -> Iterator[RawPeer]:
    with peer_of(instance, device) as raw:
        yield raw


def name_of(device: Credential) -> str:
    [attribute] = device.certificate.subject
    return str(attribute.value)


def set_status(tenant: Tenant, status: TrustedCertificate.Status.ValueType) -> None:
    api = tenant.instance.api
    listing = ListTrustedCertificatesRequest(parent=tenant.name)
    [certificate] = api.call(api.trusted_certificates.ListTrustedCertificates, listing).trusted_certificates
    wanted = TrustedCertificate(name=certificate.name, status=status)
    request = UpdateTrustedCertificateRequest(trusted_certificate=wanted)
    api.call(api.trusted_certificates.UpdateTrustedCertificate, request)


def resumptions(instance: Instance) -> float:
    """`ftc_client_hellos_total` of the bootstrap server for resumed sessions."""
    [address] = json.loads(instance.endpoints_file.read_text())["metrics"]
    with urlopen(f"http://{address}/metrics") as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.labels == {"server": "bootstrap", "answer": "resumed"}
        )


def test_a_device_that_comes_back_is_bootstrapped_on_its_resumed_session(
    peer: RawPeer, device: Credential, tenant: Tenant
) -> None:
    assert bootstrap_request(peer, name_of(device)) == "2.04"
    for _ in range(2):
        peer.resume()
        assert bootstrap_request(peer, name_of(device)) == "2.04"
        assert peer.association.resumed
    assert tenant.device_count() == 1
    eventually(lambda: resumptions(tenant.instance) >= 2, "both in the metrics")


def test_a_device_that_restarts_without_a_word_may_resume_on_the_same_port(
    peer: RawPeer, device: Credential
) -> None:
    """A new ClientHello beside a live association, with that association's own ticket."""
    assert bootstrap_request(peer, name_of(device)) == "2.04"
    before = peer.association
    peer.association = peer.new_association(before.session)
    assert bootstrap_request(peer, name_of(device)) == "2.04"
    assert peer.association.resumed


def test_a_ticket_does_not_outlive_the_trust_in_its_ca(
    peer: RawPeer, device: Credential, tenant: Tenant
) -> None:
    assert bootstrap_request(peer, name_of(device)) == "2.04"
    set_status(tenant, TrustedCertificate.INACTIVE)
    peer.resume()
    assert peer.closed().alert == Alert.UNKNOWN_CA


def test_a_resumed_device_is_judged_by_the_claim_decision(
    instance: Instance, tenant: Tenant, factory: Manufacturer
) -> None:
    thing = Thing.of(instance, factory)
    enrollment = tenant.enroll(thing.credential.certificate)
    with peer_of(instance, thing.credential) as peer:
        assert bootstrap_request(peer, thing.endpoint_name) == "2.04"
        tenant.release(enrollment)
        peer.resume()
        assert bootstrap_request(peer, thing.endpoint_name) == "4.03"
        assert peer.association.resumed


def test_a_ticket_is_worth_nothing_at_the_other_server(
    instance: Instance, peer: RawPeer, device: Credential
) -> None:
    """The LwM2M server has keys of its own, and trusts our issuing CA alone."""
    bootstrap_request(peer, name_of(device))
    session = peer.association.session
    peer.sock.close()
    peer.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.sock.connect(instance.address("lwm2m"))
    peer.events.clear()
    peer.association = peer.new_association(session)
    assert peer.closed().alert == Alert.UNKNOWN_CA


def test_a_device_may_change_its_mind_in_mid_handshake(peer: RawPeer, device: Credential) -> None:
    """It has the server's flight, and begins again from the same port without a word."""
    for _ in range(3):
        association = peer.new_association()
        peer.sock.send(peer.first_flight(association))
        verify_request = peer.receive()
        assert verify_request is not None
        association.receive_datagram(verify_request, time.monotonic())
        peer.sock.send(peer.first_flight(association))
        assert (peer.receive() or bytes(14))[13] == 2, "ServerHello"
    while not peer.is_silent():
        pass
    peer.association = peer.new_association()
    assert bootstrap_request(peer, name_of(device)) == "2.04"


def test_close_notify_of_the_device_is_answered_with_ours(peer: RawPeer) -> None:
    """RFC 5246 §7.2.1: whoever gets a close_notify sends its own and closes at once."""
    peer.connect()
    peer.association.close()
    for datagram in peer.association.datagrams_to_send():
        peer.sock.send(datagram)
    answer = peer.receive()
    assert answer is not None
    assert (answer[0], answer[3:5]) == (21, b"\x00\x01")
    peer.association = peer.new_association()
    peer.events.clear()
    peer.connect()
    assert peer.still_works()
