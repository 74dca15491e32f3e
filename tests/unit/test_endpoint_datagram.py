"""The datagram endpoint on loopback sockets: peers come, go, fail and wait, and none disturbs another."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from time import monotonic

import pytest
from aiocoap.numbers.codes import Code

from ftc_core.coap.blockwise import BlockwiseLayer
from ftc_core.coap.events import Event, RequestReceived
from ftc_core.dtls.association import CloseCause
from ftc_core.dtls.trust import VerifiedPath
from ftc_core.endpoint.coap_layer import new_coap_layer
from ftc_core.endpoint.datagram import DatagramEndpoint
from ftc_core.endpoint.peer import Session
from ftc_core.endpoint.udp import Origin, UdpSocket, bind_group
from ftc_core.lwm2m.messages import response
from tests.certificates import Manufacturer
from tests.dtls_pair import device_verifier, fragments, gate, server_authority
from tests.raw_peer import GET, RawPeer, uri


class Talker:
    """A session that answers each request, and does with some of them what its path asks for."""

    def __init__(
        self, path: VerifiedPath, origin: Origin, coap: BlockwiseLayer, wake: Callable[[], None], now: float
    ) -> None:
        self.name = path.common_name
        self.finished = False
        self.closings = 0
        self.fired: list[float] = []
        self.deadline: float | None = None
        self._coap = coap
        self._wake = wake
        if self.name == "unmakeable":
            raise ValueError("a bug in the making of a session")

    def handle_event(self, event: Event, now: float) -> None:
        assert isinstance(event, RequestReceived)
        (verb,) = event.message.opt.uri_path
        if verb == "later":
            asyncio.get_running_loop().call_later(0.05, self._answer_later, event.exchange)
            return
        self._coap.send_response(event.exchange, response(Code.CONTENT, payload=self.name.encode()), now)
        match verb:
            case "fail":
                raise ValueError("a bug in a session")
            case "finish":
                self.finished = True
            case "timer" | "bad-timer" | "soured":
                self.deadline = now + 0.1
                self.name = verb
            case "bad-deadline" | "bad-end":
                self.name = verb
            case _:
                pass

    def get_timer(self) -> float | None:
        soured = self.name == "soured" and self.deadline is not None and monotonic() > self.deadline
        if self.name == "bad-deadline" or soured:
            raise ValueError("a bug in a deadline")
        return self.deadline

    def handle_timer(self, now: float) -> None:
        if self.deadline is None or now < self.deadline:
            return
        if self.name == "bad-timer":
            raise ValueError("a bug in a timer")
        self.fired.append(now - self.deadline)
        self.deadline = None

    def association_closed(self, now: float) -> None:
        self.closings += 1
        if self.name == "bad-end":
            raise ValueError("a bug at the end")

    def _answer_later(self, exchange: int) -> None:
        message = response(Code.CONTENT, payload=b"later")
        self._coap.send_response(exchange, message, monotonic())
        self._wake()


class Bench:
    """An endpoint with two sockets' worth of room, its sessions, and peers that speak to it."""

    def __init__(self, manufacturer: Manufacturer, stack: ExitStack, max_associations: int) -> None:
        (sock,) = bind_group("127.0.0.1", 0, 1)
        self.address: tuple[str, int] = sock.getsockname()
        self.sessions: list[Talker] = []
        self.endpoint = DatagramEndpoint(
            [UdpSocket(sock)],
            gate(),
            device_verifier(manufacturer),
            new_coap_layer,
            self._new_session,
            max_associations=max_associations,
        )
        self.endpoint.start()
        self._manufacturer = manufacturer
        self._stack = stack

    def _new_session(
        self, path: VerifiedPath, origin: Origin, coap: BlockwiseLayer, wake: Callable[[], None], now: float
    ) -> Session:
        self.sessions.append(Talker(path, origin, coap, wake, now))
        return self.sessions[-1]

    def peer(self, name: str) -> RawPeer:
        """One that has not begun."""
        device = self._manufacturer.device(name)
        peer = RawPeer(self.address, device.certificate, device.private_key, server_authority().der)
        return self._stack.enter_context(peer)

    async def connected(self, name: str) -> RawPeer:
        return await asyncio.to_thread(self.peer(name).connect)

    async def comes_to(self, count: int) -> None:
        """Wait until the endpoint has `count` peers."""
        async with asyncio.timeout(5):
            while len(self.endpoint) != count:  # noqa: ASYNC110 - the endpoint gives no sign
                await asyncio.sleep(0.005)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as resources:
        yield resources


@pytest.fixture
async def bench(manufacturer: Manufacturer, stack: ExitStack) -> AsyncIterator[Bench]:
    made = Bench(manufacturer, stack, max_associations=4)
    yield made
    await made.endpoint.drain(0)


async def say(peer: RawPeer, verb: str, *, patience_s: float = 5.0) -> bytes | None:
    """The payload of the answer to `GET /verb`."""
    answer = await asyncio.to_thread(peer.try_to_ask, GET, uri(verb), patience_s=patience_s)
    return None if answer is None else bytes(answer.payload)


async def test_each_peer_has_a_session_of_its_own(bench: Bench) -> None:
    one, two = await bench.connected("one"), await bench.connected("two")

    assert await say(one, "hello") == b"one"
    assert await say(two, "hello") == b"two"
    assert [session.name for session in bench.sessions] == ["one", "two"]
    assert len(bench.endpoint) == 2


async def test_session_that_raises_is_dropped_alone(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = await bench.connected("good"), await bench.connected("bad")

    assert await say(bad, "fail", patience_s=0.3) is None

    assert len(bench.endpoint) == 1
    assert await say(good, "hello") == b"good"
    assert await say(bad, "hello", patience_s=0.3) is None, "its session is gone"
    assert "a bug in a session" in capsys.readouterr().out


async def test_session_that_cannot_be_made_is_dropped_alone(bench: Bench) -> None:
    good = await bench.connected("good")
    bad = bench.peer("unmakeable")

    await asyncio.to_thread(bad.pump, lambda: False, patience_s=0.3)

    assert len(bench.endpoint) == 1
    assert await say(good, "hello") == b"good"


@pytest.mark.parametrize("failure", ["bad-timer", "soured"])
async def test_session_whose_timer_raises_is_dropped_alone_and_other_timers_go_on(
    failure: str, bench: Bench
) -> None:
    bad, good = await bench.connected("bad"), await bench.connected("good")
    await say(bad, failure)
    await say(good, "timer")

    await bench.comes_to(1)
    await asyncio.sleep(0.15)

    assert len(bench.sessions[1].fired) == 1
    assert await say(good, "hello") == b"timer"


async def test_session_whose_deadline_raises_is_dropped_alone(bench: Bench) -> None:
    good, bad = await bench.connected("good"), await bench.connected("bad")

    await say(bad, "bad-deadline", patience_s=0.3)

    assert len(bench.endpoint) == 1
    assert await say(good, "hello") == b"good"


async def test_peer_that_was_dropped_may_come_again_from_the_same_port(bench: Bench) -> None:
    peer = await bench.connected("bad")
    await say(peer, "fail", patience_s=0.3)
    assert len(bench.endpoint) == 0

    peer.association = peer.new_association()
    await asyncio.to_thread(peer.connect)

    assert await say(peer, "hello") == b"bad"


async def test_timer_fires_at_its_time_and_once(bench: Bench) -> None:
    peer = await bench.connected("patient")
    for _ in range(3):
        assert await say(peer, "timer")
        await asyncio.sleep(0.2)

    (session,) = bench.sessions
    assert len(session.fired) == 3
    # Never before its time; a busy machine may be late.
    assert all(0 <= late < 0.1 for late in session.fired), session.fired


async def test_answer_that_comes_later_wakes_its_peer(bench: Bench) -> None:
    peer = await bench.connected("slow")

    assert await say(peer, "later") == b"later"


async def test_finished_session_says_close_notify_and_is_forgotten(bench: Bench) -> None:
    peer = await bench.connected("brief")

    assert await say(peer, "finish") == b"brief"

    closed = await asyncio.to_thread(peer.closed)
    assert closed.cause is CloseCause.CLOSE_NOTIFY
    await bench.comes_to(0)
    assert bench.sessions[0].closings == 1


async def test_memory_of_a_finished_session_goes_without_the_collector(bench: Bench) -> None:
    peer = await bench.connected("brief")
    session = weakref.ref(bench.sessions.pop())
    gc.disable()
    try:
        assert await say(peer, "finish") == b"brief"
        await bench.comes_to(0)
        assert session() is None
    finally:
        gc.enable()


async def test_peer_that_says_close_notify_is_forgotten(bench: Bench) -> None:
    peer = await bench.connected("leaving")
    peer.association.close()
    for datagram in peer.association.datagrams_to_send():
        peer.sock.send(datagram)

    await bench.comes_to(0)
    assert bench.sessions[0].closings == 1


async def test_nothing_is_kept_before_an_address_is_proven(bench: Bench) -> None:
    for number in range(10):
        peer = bench.peer(f"unproven-{number}")
        peer.sock.send(peer.first_flight(peer.association))
        assert await asyncio.to_thread(peer.receive) is not None
        peer.sock.send(b"\x17\xfe\xfd" + bytes(30))

    assert len(bench.endpoint) == 0
    assert bench.sessions == []


async def test_full_endpoint_keeps_whom_it_has_and_lets_these_begin_again(bench: Bench) -> None:
    peers = [await bench.connected(f"early-{number}") for number in range(4)]
    late = bench.peer("late")

    assert not await asyncio.to_thread(late.pump, lambda: late.association.established, patience_s=0.5)
    assert [await say(peer, "hello") for peer in peers] == [f"early-{n}".encode() for n in range(4)]

    peers[0].association = peers[0].new_association()
    await asyncio.to_thread(peers[0].connect)
    assert await say(peers[0], "hello") == b"early-0"
    assert len(bench.endpoint) == 4


async def test_replaced_session_learns_that_its_association_is_gone(bench: Bench) -> None:
    peer = await bench.connected("restarted")

    peer.association = peer.new_association()
    await asyncio.to_thread(peer.connect)

    assert await say(peer, "hello") == b"restarted"
    assert len(bench.endpoint) == 1
    assert [session.closings for session in bench.sessions] == [1, 0]


async def test_fragments_of_a_client_hello_reach_the_association_that_it_begins_not_the_one_it_replaces(
    bench: Bench,
) -> None:
    peer = await bench.connected("peer")
    again = peer.new_association()
    peer.sock.send(peer.first_flight(again))
    verify_request = await asyncio.to_thread(peer.receive)
    assert verify_request is not None
    again.receive_datagram(verify_request, monotonic())
    for fragment in fragments(peer.first_flight(again), 100):
        peer.sock.send(fragment)  # the endpoint, on this loop, finds all of them at its next turn

    flight = await asyncio.to_thread(peer.receive, 0.5)  # less than what a retransmission would wait

    assert flight is not None
    assert len(flight) > 500  # ServerHello to ServerHelloDone


async def test_answer_for_a_replaced_session_goes_to_nobody(bench: Bench) -> None:
    peer = await bench.connected("impatient")
    peer.sock.send(peer.record(b"\x40\x01\x00\x01\xb5later"))
    peer.association = peer.new_association()
    await asyncio.to_thread(peer.connect)
    await asyncio.sleep(0.1)

    assert await say(peer, "hello") == b"impatient"


async def test_drain_without_peers_is_done_at_once(manufacturer: Manufacturer, stack: ExitStack) -> None:
    bench = Bench(manufacturer, stack, max_associations=4)
    began = time.monotonic()

    await bench.endpoint.drain(30)

    assert time.monotonic() - began < 1


async def test_drain_waits_for_sessions_and_admits_nobody(
    manufacturer: Manufacturer, stack: ExitStack
) -> None:
    bench = Bench(manufacturer, stack, max_associations=4)
    peer = await bench.connected("under way")
    drain = asyncio.create_task(bench.endpoint.drain(30))
    await asyncio.sleep(0.05)

    newcomer = bench.peer("newcomer")
    newcomer.sock.send(newcomer.first_flight(newcomer.association))
    assert await asyncio.to_thread(newcomer.is_silent)
    assert await say(peer, "hello") == b"under way"
    assert not drain.done()

    assert await say(peer, "finish") == b"under way"
    await asyncio.wait_for(drain, 5)


async def test_drain_cuts_off_with_close_notify_who_is_not_done_in_time(
    manufacturer: Manufacturer, stack: ExitStack
) -> None:
    bench = Bench(manufacturer, stack, max_associations=4)
    peer = await bench.connected("endless")

    await bench.endpoint.drain(0.1)

    assert (await asyncio.to_thread(peer.closed)).cause is CloseCause.CLOSE_NOTIFY
    assert bench.sessions[0].closings == 1
    assert len(bench.endpoint) == 0


async def test_session_that_raises_at_the_end_does_not_keep_others_from_theirs(
    manufacturer: Manufacturer, stack: ExitStack
) -> None:
    bench = Bench(manufacturer, stack, max_associations=4)
    bad, good = await bench.connected("bad"), await bench.connected("good")
    await say(bad, "bad-end")

    await bench.endpoint.drain(0)

    assert (await asyncio.to_thread(good.closed)).cause is CloseCause.CLOSE_NOTIFY
    assert [session.closings for session in bench.sessions] == [1, 1]


async def test_silent_half_open_peer_is_no_obstacle_to_a_drain_without_grace(
    manufacturer: Manufacturer, stack: ExitStack
) -> None:
    bench = Bench(manufacturer, stack, max_associations=4)
    peer = bench.peer("half open")
    for _ in range(2):
        peer.sock.send(peer.first_flight(peer.association))
        answer = await asyncio.to_thread(peer.receive)
        assert answer is not None
        peer.association.receive_datagram(answer, time.monotonic())
    assert len(bench.endpoint) == 1

    await bench.endpoint.drain(0)

    assert len(bench.endpoint) == 0
