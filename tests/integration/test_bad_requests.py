"""Requests that a bootstrap server must refuse, byte by byte over a real association."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ftc_core.lwm2m.messages import dotted
from tests.certificates import Manufacturer
from tests.instance import Instance, Tenant
from tests.raw_peer import DELETE, GET, POST, PUT, RawPeer, uri
from tests.things import Thing, enrolled_thing


@pytest.fixture
def thing(owner: Tenant, manufacturer: Manufacturer) -> Thing:
    return enrolled_thing(owner, manufacturer)


@pytest.fixture
def peer(instance: Instance, thing: Thing) -> Iterator[RawPeer]:
    credential = thing.credential
    address = instance.address("bootstrap")
    with RawPeer(address, credential.certificate, credential.private_key, instance.server_ca) as raw:
        yield raw.connect()


BAD_REQUESTS = {
    "no ep": (POST, uri("/bs"), "4.00 ep is missing"),
    "ep without value": (POST, uri("/bs", b"ep="), "4.00 ep is missing"),
    "ep without equals sign": (POST, uri("/bs", b"ep"), "4.00 ep is missing"),
    "ep of 300 bytes": (POST, uri("/bs", b"ep=" + b"n" * 300), "4.00 ep is longer than 256 bytes"),
    "ep of 257 bytes": (POST, uri("/bs", b"ep=" + b"n" * 257), "4.00 ep is longer than 256 bytes"),
    "ep of 256 bytes": (POST, uri("/bs", b"ep=" + b"n" * 256), "4.00 ep does not match the certificate"),
    "ep not UTF-8": (POST, uri("/bs", b"ep=\xff\xfe"), "4.00 ep is not valid UTF-8"),
    "ep cut within a character": (POST, uri("/bs", b"ep=thing-\xc3"), "4.00 ep is not valid UTF-8"),
    "ep with a line break": (
        POST,
        uri("/bs", b"ep=thing\n"),
        "4.00 ep has a character that is not printable",
    ),
    "ep twice": (POST, uri("/bs", b"ep=one", b"ep=two"), "4.00 ep is given twice"),
    "ep of another device": (
        POST,
        uri("/bs", b"ep=somebody-else"),
        "4.00 ep does not match the certificate",
    ),
    "unknown path": (POST, uri("/nowhere", b"ep=x"), "4.04 No such resource"),
    "path below ours": (POST, uri("/bs/more", b"ep=x"), "4.04 No such resource"),
    "Bootstrap-Pack of another": (GET, uri("/bspack", b"ep=x"), "4.00 ep does not match the certificate"),
    "Bootstrap-Pack without ep": (GET, uri("/bspack"), "4.00 ep is missing"),
    "Bootstrap-Pack by POST": (POST, uri("/bspack", b"ep=x"), "4.05 Method not allowed: GET"),
    "GET": (GET, uri("/bs", b"ep=x"), "4.05 Method not allowed"),
    "PUT": (PUT, uri("/bs", b"ep=x"), "4.05 Method not allowed"),
    "DELETE": (DELETE, uri("/bs", b"ep=x"), "4.05 Method not allowed"),
    "pct that we do not write": (POST, uri("/bs", b"ep=x", b"pct=50"), "4.15 pct is not supported"),
    "pct that is no number": (POST, uri("/bs", b"ep=x", b"pct=tlv"), "4.15 pct is not supported"),
    "If-None-Match": (POST, [(5, b""), *uri("/bs", b"ep=x")], "4.02 Critical option 5 not understood"),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_bad_request_is_told_what_is_wrong_and_changes_nothing(
    name: str, peer: RawPeer, thing: Thing, owner: Tenant
) -> None:
    code, options, expected = BAD_REQUESTS[name]
    before = owner.everything()

    answer = peer.ask(code, options)

    assert f"{dotted(answer)} {answer.payload.decode()}" == expected
    assert owner.everything() == before
    assert thing.instance.stored_device(thing.fingerprint) is None
    assert peer.still_works()


def test_request_is_answered_once_however_often_it_arrives(peer: RawPeer) -> None:
    first = peer.ask(POST, uri("/bs"), mid=700)
    again = peer.ask(POST, uri("/bs"), mid=700)

    assert (again.mid, again.code, again.payload) == (first.mid, first.code, first.payload)


def test_a_good_request_after_bad_ones_is_granted_on_the_same_association(
    peer: RawPeer, thing: Thing, owner: Tenant
) -> None:
    assert dotted(peer.ask(POST, uri("/bs"))) == "4.00"

    answer = peer.ask(POST, uri("/bs", b"ep=" + thing.endpoint_name.encode()))

    assert dotted(answer) == "2.04"
    assert answer.payload == b""
    device = owner.device(thing.endpoint_name)
    assert device is not None
