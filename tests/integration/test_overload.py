"""More devices than a worker can serve: a small fleet has its turns beside a crowd, and nothing stalls."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.peers.governor import governed
from ftc_core.device.client import Succeeded
from tests.certificates import Manufacturer
from tests.instance import Instance, make_data_directory, running_instance
from tests.raw_peer import RawPeer
from tests.things import Thing, enrolled_thing

WORKER_SHARE = 0.1
"""Of a core, in CPU time, so that the worker is overloaded by what a test can make, on any machine."""
CROWD_PER_S = 600
FLEET, FLEET_PER_S = 40, 8
PATIENCE_S = 8.0


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Instance]:
    directory = make_data_directory(tmp_path / "data")
    with running_instance(directory, "--workers=1", "--shutdown-grace-s=0") as running:
        yield running


@contextmanager
def in_background(run: threading.Thread, left: threading.Event) -> Iterator[None]:
    run.start()
    try:
        yield
    finally:
        left.set()
        run.join()


@dataclass
class Crowd:
    """How many of its devices have come, and how many were answered with a handshake."""

    came: int = 0
    answered: int = 0


@contextmanager
def crowd(instance: Instance, device: Thing) -> Iterator[Crowd]:
    """Devices of another network that prove their addresses, one after the other, and end no handshake."""
    left, seen = threading.Event(), Crowd()
    address, credential = instance.address("bootstrap"), device.credential

    def come(stack: ExitStack) -> RawPeer:
        peer = RawPeer(address, credential.certificate, credential.private_key, instance.server_ca)
        peer.sock.close()
        peer.sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        peer.sock.bind((f"127.66.0.{seen.came % 250 + 1}", 0))
        peer.sock.connect(address)
        peer.sock.setblocking(False)
        peer.sock.send(peer.first_flight(peer.association))
        return peer

    def storm() -> None:
        began = time.monotonic()
        challenged: list[RawPeer] = []
        proven: list[RawPeer] = []
        with ExitStack() as stack:
            while not left.wait(0.01):
                while seen.came < (time.monotonic() - began) * CROWD_PER_S:
                    challenged.append(come(stack))
                    seen.came += 1
                for peer in challenged[:]:
                    if (answer := heard(peer)) is not None:
                        peer.association.receive_datagram(answer, time.monotonic())
                        peer.sock.send(peer.first_flight(peer.association))
                        challenged.remove(peer)
                        proven.append(peer)
                for peer in proven[:]:
                    if heard(peer) is not None:
                        seen.answered += 1
                        proven.remove(peer)

    with in_background(threading.Thread(target=storm), left):
        yield seen


def heard(peer: RawPeer) -> bytes | None:
    try:
        return peer.sock.recv(2_048)
    except BlockingIOError:
        return None


async def test_small_fleet_is_onboarded_beside_a_crowd_that_the_worker_cannot_serve(
    own: Instance, manufacturer: Manufacturer
) -> None:
    tenant = own.tenant()
    tenant.trust(manufacturer)
    things = [enrolled_thing(tenant, manufacturer) for _ in range(FLEET)]
    latencies: list[float] = []

    async def power_on(number: int, thing: Thing) -> None:
        await asyncio.sleep(number / FLEET_PER_S)
        began = time.monotonic()
        async with asyncio.timeout(2 * PATIENCE_S):
            assert isinstance(await thing.bootstrap(), Succeeded)
        latencies.append(time.monotonic() - began)

    worker = own.processes()["bootstrap-0"]
    with governed(worker, WORKER_SHARE), crowd(own, Thing.of(own, manufacturer)) as others:
        await asyncio.sleep(1)
        await asyncio.gather(*(power_on(number, thing) for number, thing in enumerate(things)))

    assert sorted(latencies)[int(0.9 * FLEET)] < PATIENCE_S, latencies
    assert others.answered < others.came / 2, "that was no overload"
    assert tenant.device_count() == FLEET
