"""Two CoAP layers, both client and server, over a network that loses, repeats, delays and reorders."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable

import pytest
from aiocoap.message import Message
from aiocoap.numbers.codes import Code
from hypothesis import given, settings
from hypothesis import strategies as st

from ftc_core.coap.blockwise import BlockwiseLayer
from ftc_core.coap.events import ExchangeFailed, FailureCause, RequestReceived, ResponseReceived
from ftc_core.coap.exchange import ExchangeLayer

Fate = Callable[[int], list[float]]
"""What becomes of the datagram of this number: the delays after which a copy arrives, none if it is lost."""

Layer = ExchangeLayer | BlockwiseLayer


def perfect(number: int) -> list[float]:
    return [0.02]


def losing(*numbers: int) -> Fate:
    return lambda number: [] if number in numbers else [0.02]


def terrible(seed: int, *, loss: float, duplication: float, delay: float) -> Fate:
    draw = random.Random(seed)

    def fate(number: int) -> list[float]:
        copies = 0 if draw.random() < loss else 2 if draw.random() < duplication else 1
        return [draw.random() * delay for _ in range(copies)]

    return fate


class Host:
    """One end: asks what it is told to ask, answers after a while with the request's body reversed."""

    def __init__(self, name: str, layer: Layer, answer_after: Callable[[], float]) -> None:
        self.name = name
        self.layer = layer
        self.answer_after = answer_after
        self.asked: dict[int, bytes] = {}  # exchange → body
        self.outcomes: dict[int, bytes | Code | FailureCause] = {}
        self.delivered: Counter[str] = Counter()  # path → how often
        self.bodies: dict[str, bytes] = {}


class World:
    """Both hosts, the datagrams between them, and the clock."""

    def __init__(
        self,
        make: Callable[[str], Layer],
        fate: Fate,
        answer_after: Callable[[], float],
        rejects: Callable[[], bool] = lambda: False,
    ) -> None:
        """`rejects` says of each request whether its receiver resets it instead of answering."""
        self.hosts = [Host(name, make(name), answer_after) for name in ("device", "server")]
        self.now = 1_000.0
        self.datagrams = 0
        self._fate = fate
        self._rejects = rejects
        self._numbers = itertools.count()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []

    def ask(self, host: Host, path: str, body: bytes) -> None:
        request = Message(code=Code.POST, payload=body, uri_path=("t", path), uri_query=("ep=x",))
        exchange = host.layer.send_request(request, self.now)
        host.asked[exchange] = body

    def run(self) -> None:
        """Until nothing is under way and nothing is due any more."""
        for _ in range(100_000):
            for host, other in (self.hosts, reversed(self.hosts)):
                self._take_events(host)
                for data in host.layer.datagrams_to_send():
                    for delay in self._fate(self.datagrams):
                        self._at(self.now + delay, self._arrival(other, data))
                    self.datagrams += 1
            timers = [host.layer.get_timer() for host in self.hosts]
            due = [t for t in [*timers, self._agenda[0][0] if self._agenda else None] if t is not None]
            if not due:
                return
            self.now = max(self.now, min(due))
            if self._agenda and self._agenda[0][0] <= self.now:
                heapq.heappop(self._agenda)[2]()
            else:
                for host in self.hosts:
                    host.layer.handle_timer(self.now)
        raise AssertionError("the conversation does not end")

    def _at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (when, next(self._numbers), action))

    def _arrival(self, host: Host, data: bytes) -> Callable[[], None]:
        return lambda: host.layer.receive_datagram(data, self.now)

    def _take_events(self, host: Host) -> None:
        while (event := host.layer.next_event()) is not None:
            if isinstance(event, RequestReceived):
                path = event.message.opt.uri_path[1]
                host.delivered[path] += 1
                host.bodies[path] = event.message.payload
                if self._rejects():
                    host.layer.cancel(event.exchange, self.now)
                else:
                    self._at(self.now + host.answer_after(), self._answer(host, event))
            elif isinstance(event, ResponseReceived):
                assert event.exchange not in host.outcomes
                code = event.message.code
                assert code is not None
                host.outcomes[event.exchange] = event.message.payload if code is Code.CHANGED else code
            elif isinstance(event, ExchangeFailed):
                assert event.exchange not in host.outcomes
                host.outcomes[event.exchange] = event.cause

    def _answer(self, host: Host, event: RequestReceived) -> Callable[[], None]:
        response = Message(code=Code.CHANGED, payload=event.message.payload[::-1])

        def answer() -> None:
            host.layer.send_response(event.exchange, response, self.now)

        return answer

    def check(self) -> None:
        """What holds on any network."""
        for host, other in (self.hosts, reversed(self.hosts)):
            assert set(host.outcomes) == set(host.asked)  # each answered or failed, once
            for exchange, outcome in host.outcomes.items():
                if isinstance(outcome, bytes):
                    assert outcome == host.asked[exchange][::-1]
            for path, count in other.delivered.items():
                assert count == 1
                assert other.bodies[path] in host.asked.values()
            assert sum(isinstance(outcome, bytes) for outcome in host.outcomes.values()) <= len(
                other.delivered
            )
            assert leftovers(host.layer) == []


def leftovers(layer: Layer) -> list[str]:
    """The tables that still hold something of a conversation that has ended."""
    exchanges = layer._exchanges if isinstance(layer, BlockwiseLayer) else layer
    tables = {name: getattr(exchanges, name) for name in ("_requests", "_confirmables", "_queue", "_pending")}
    if isinstance(layer, BlockwiseLayer):
        tables |= {name: getattr(layer, name) for name in ("_transfers", "_later_blocks", "_asked")}
    held = [name for name, table in tables.items() if len(table)]
    return held + ["_in_flight"] * exchanges._in_flight + ["timer"] * (layer.get_timer() is not None)


def bare(name: str) -> ExchangeLayer:
    draw = random.Random(name)
    return ExchangeLayer(first_message_id=65_530, token_prefix=name[:4].encode(), random=draw.random)


def blockwise(size: dict[str, int]) -> Callable[[str], Layer]:
    return lambda name: BlockwiseLayer(bare(name), block_size=size[name])


def converse(world: World, bodies: list[bytes]) -> World:
    """Each host asks once per body, all at once."""
    for host in world.hosts:
        for number, body in enumerate(bodies):
            world.ask(host, f"{host.name}{number}", body)
    world.run()
    return world


def answered(world: World) -> bool:
    return all(isinstance(outcome, bytes) for host in world.hosts for outcome in host.outcomes.values())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("delay", [0.0, 6.0])
@pytest.mark.parametrize("duplication", [0.0, 0.4])
@pytest.mark.parametrize("loss", [0.0, 0.2, 0.6])
def test_each_request_is_delivered_at_most_once_and_answered_or_failed(
    seed: int, delay: float, duplication: float, loss: float
) -> None:
    draw = random.Random(seed)
    world = World(
        bare,
        terrible(seed, loss=loss, duplication=duplication, delay=delay),
        lambda: draw.choice([0.0, 0.1, 0.7, 5.0]),
    )
    converse(world, [bytes([n]) * 10 for n in range(6)]).check()
    if loss == 0.0:
        assert answered(world)


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    loss=st.floats(0.0, 0.5),
    duplication=st.floats(0.0, 0.5),
    delay=st.floats(0.0, 8.0),
    answer_after=st.sampled_from([0.0, 0.3, 0.7, 4.0]),
    sizes=st.tuples(st.sampled_from([16, 64, 256]), st.sampled_from([16, 64, 1024])),
    lengths=st.lists(st.integers(0, 400), min_size=1, max_size=3),
)
def test_bodies_arrive_whole_at_most_once_and_nothing_is_left_behind(
    seed: int,
    loss: float,
    duplication: float,
    delay: float,
    answer_after: float,
    sizes: tuple[int, int],
    lengths: list[int],
) -> None:
    draw = random.Random(seed)
    fate = terrible(seed, loss=loss, duplication=duplication, delay=delay)
    size = {"device": sizes[0], "server": sizes[1]}
    world = World(blockwise(size), fate, lambda: answer_after)
    converse(world, [draw.randbytes(length) for length in lengths]).check()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), loss=st.floats(0.0, 0.4), delay=st.floats(0.0, 4.0))
def test_requests_that_the_peer_rejects_end_like_all_others(seed: int, loss: float, delay: float) -> None:
    """A Reset ends the transmission of what it rejects, and frees what waited behind it (RFC 7252 §4.2)."""
    draw = random.Random(seed)
    fate = terrible(seed, loss=loss, duplication=0.2, delay=delay)
    layers = blockwise({"device": 64, "server": 64})
    world = World(layers, fate, lambda: draw.choice([0.0, 0.7]), rejects=lambda: draw.random() < 0.5)
    converse(world, [draw.randbytes(length) for length in (10, 100, 200, 20)]).check()


def test_a_peer_that_rejects_everything_fails_every_request_at_once() -> None:
    world = World(bare, perfect, lambda: 0.0, rejects=lambda: True)
    converse(world, [b"1", b"2", b"3"]).check()
    assert {outcome for host in world.hosts for outcome in host.outcomes.values()} == {FailureCause.RESET}
    assert world.datagrams == 2 * 3 * 2
    assert world.now - 1_000.0 < 1.0


@pytest.mark.parametrize("answer_after", [0.0, 1.0])
@pytest.mark.parametrize("gap", [1, 2, 4])
def test_whichever_datagrams_are_lost_the_conversation_completes(answer_after: float, gap: int) -> None:
    def conversation(fate: Fate) -> World:
        world = World(blockwise({"device": 64, "server": 128}), fate, lambda: answer_after)
        return converse(world, [b"short", bytes(range(200))])

    whole = conversation(perfect)
    whole.check()
    assert answered(whole)
    assert whole.datagrams > 25
    for lost in range(whole.datagrams):
        world = conversation(losing(lost, lost + gap))
        world.check()
        assert answered(world), f"datagrams {lost} and {lost + gap}"


def test_a_dead_peer_fails_every_request_in_turn() -> None:
    world = World(bare, lambda number: [], lambda: 0.0)
    for number in range(3):
        world.ask(world.hosts[0], str(number), b"")
    world.run()
    world.check()
    assert set(world.hosts[0].outcomes.values()) == {FailureCause.TIMED_OUT}
    assert world.datagrams == 3 * 5
    assert 3 * 62 <= world.now - 1_000.0 <= 3 * 93
