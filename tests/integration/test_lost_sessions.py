"""A session whose worker dies, or that reaches another worker: the device begins again and gets in."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftc_core.device import runner
from ftc_core.device.client import BootstrapFailed, Succeeded
from ftc_core.lwm2m.messages import dotted
from tests.certificates import Manufacturer
from tests.instance import Instance, Tenant, eventually, make_data_directory, running_instance
from tests.raw_peer import POST, RawPeer, uri
from tests.relay import Direction, relay
from tests.things import Thing, enrolled_thing


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Instance]:
    """An instance that the test may break."""
    with running_instance(
        make_data_directory(tmp_path / "data"), "--workers=2", "--shutdown-grace-s=0"
    ) as running:
        yield running


@pytest.fixture
def tenant(own: Instance, manufacturer: Manufacturer) -> Tenant:
    made = own.tenant()
    made.trust(manufacturer)
    return made


def kill_workers(instance: Instance) -> None:
    """Both bootstrap workers die, and their successors serve."""
    before = instance.processes()
    names = [name for name in before if name.startswith("bootstrap")]
    assert len(names) == 2
    for name in names:
        os.kill(before[name], signal.SIGKILL)
    eventually(
        lambda: (
            set(names) <= (now := instance.processes()).keys()  # not, while its successor begins
            and all(now[name] != before[name] for name in names)
        ),
        "both are restarted",
    )


async def test_device_whose_worker_dies_in_mid_handshake_times_out_and_is_onboarded_on_its_next_attempt(
    own: Instance, tenant: Tenant, manufacturer: Manufacturer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The successor is silent, for it does not know the association; the device's patience is cut here."""
    monkeypatch.setattr(runner, "DEVICE_HANDSHAKE_TIMEOUT_S", 3.0)
    thing = enrolled_thing(tenant, manufacturer)
    killed = []

    def path(direction: Direction, number: int, datagram: bytes) -> bool:
        # Its third flight, with the certificate: by then the server has an association.
        if direction == "to server" and number == 2:
            killed.append(True)
            kill_workers(own)
        return True

    with relay(own.address("bootstrap"), path) as (host, port):
        began = time.monotonic()
        first = await thing.bootstrap(uri=f"coaps://{host}:{port}")
        took_s = time.monotonic() - began
        again = await thing.bootstrap()

    assert killed
    assert isinstance(first, BootstrapFailed)
    assert first.code == "", "it was not refused, and will try again"
    assert took_s < 20
    assert isinstance(again, Succeeded)
    assert tenant.device_count() == 1


def test_session_that_another_worker_hears_is_met_with_silence_and_begins_again(
    own: Instance, tenant: Tenant, manufacturer: Manufacturer
) -> None:
    """As after a NAT's rebinding, or a change of the number of workers: same device, another port."""
    thing = enrolled_thing(tenant, manufacturer)
    credential = thing.credential
    claimed = []
    with RawPeer(
        own.address("bootstrap"), credential.certificate, credential.private_key, own.server_ca
    ) as peer:
        peer.connect()
        for _ in range(6):  # of two workers, it meets both
            answer = peer.ask(POST, uri("/bs", b"ep=" + thing.endpoint_name.encode()))
            claimed.append(dotted(answer))
            peer.sock.close()
            peer.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            peer.sock.connect(own.address("bootstrap"))
            peer.sock.send(peer.record(b"\x40\x01\x00\x01\xb2bs"))
            assert peer.is_silent()
            peer.association = peer.new_association()
            peer.events.clear()
            peer.connect()

    assert claimed == ["2.04"] * 6
    assert asyncio.run(thing.claimed()).device_id
    assert tenant.device_count() == 1


def test_workers_take_each_others_cookies(own: Instance, manufacturer: Manufacturer) -> None:
    """A cookie that one worker gave proves the same address to its successor."""
    device = Thing.of(own, manufacturer).credential
    with RawPeer(own.address("bootstrap"), device.certificate, device.private_key, own.server_ca) as peer:
        peer.sock.send(peer.first_flight(peer.association))
        challenge = peer.receive()
        assert challenge is not None
        peer.association.receive_datagram(challenge, time.monotonic())
        kill_workers(own)
        peer.sock.send(peer.first_flight(peer.association))

        answer = peer.receive()

    assert answer is not None
    assert answer[13] == 2, "ServerHello (RFC 5246 §7.4), not another HelloVerifyRequest"


async def test_device_that_did_not_hear_the_end_is_told_again(
    own: Instance, tenant: Tenant, manufacturer: Manufacturer
) -> None:
    """The acknowledgement of its answer to Bootstrap-Finish and the close_notify behind it are both lost."""
    said: list[int] = []

    def heard(direction: Direction, number: int, datagram: bytes) -> bool:
        if direction == "to client":
            said.append(number)
        return True

    with relay(own.address("bootstrap"), heard) as (host, port):
        first = await enrolled_thing(tenant, manufacturer).bootstrap(uri=f"coaps://{host}:{port}")
    last = max(said)

    def path(direction: Direction, number: int, datagram: bytes) -> bool:
        return direction == "to server" or number not in {last - 1, last}

    with relay(own.address("bootstrap"), path) as (host, port):
        began = time.monotonic()
        second = await enrolled_thing(tenant, manufacturer).bootstrap(uri=f"coaps://{host}:{port}")
        took_s = time.monotonic() - began

    assert isinstance(first, Succeeded)
    assert isinstance(second, Succeeded)
    assert 1.9 < took_s < 10, "one retransmission (RFC 7252 §4.2), not all of them"
