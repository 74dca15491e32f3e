"""A CoAP layer that tells of each message which passes through it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from ftc_core.coap.blockwise import BlockwiseLayer
from ftc_core.coap.description import describe
from ftc_core.coap.exchange import ExchangeLayer

__all__ = ["LayerMaker", "Tracer"]

LayerMaker = Callable[..., BlockwiseLayer]
"""Called like `BlockwiseLayer`."""


class Tracer:
    """Tells `say` a line for each message: when (ms since the first), `->` sent or `<-` received, and what.

    Repetitions are messages, too. `clock` gives seconds that never go back.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._say = say
        self._clock = clock
        self._began: float | None = None

    @property
    def new_layer(self) -> LayerMaker:
        """What makes a traced layer in the place of a plain one."""
        return partial(_TracedLayer, tracer=self)

    def tell(self, arrow: str, messages: Iterable[bytes]) -> None:
        """These messages pass now."""
        for message in messages:
            now = self._clock()
            self._began = now if self._began is None else self._began
            self._say(f"{(now - self._began) * 1e3:9.1f} ms {arrow} {describe(message)}")


class _TracedLayer(BlockwiseLayer):
    def __init__(self, exchanges: ExchangeLayer, *, block_size: int, tracer: Tracer) -> None:
        super().__init__(exchanges, block_size=block_size)
        self._tracer = tracer

    def receive_datagram(self, data: bytes, now: float) -> None:
        self._tracer.tell("<-", [data])
        super().receive_datagram(data, now)

    def datagrams_to_send(self) -> list[bytes]:
        datagrams = super().datagrams_to_send()
        self._tracer.tell("->", datagrams)
        return datagrams
