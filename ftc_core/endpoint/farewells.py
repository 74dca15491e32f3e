"""The last words to peers that have gone: said again if the peer shows that it did not hear them.

A device that answers Bootstrap-Finish by a message of its own waits for the acknowledgement, and we end the
association with it (RFC 6347 §4.1.2.7 asks no answer to close_notify). If both are lost, the device says its
answer again to somebody who has forgotten it: for 93 s, and then it bootstraps once more. So the records that
went out with the end are kept as they were, without any of the state that made them: a few hundred bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ftc_core.coap.parameters import RFC7252
from ftc_core.dtls.record import is_application_data
from ftc_core.endpoint.doorway import PeerKey
from ftc_core.limits import FAREWELLS_MAX

__all__ = ["Farewells"]


class _Farewell(msgspec.Struct):
    datagrams: Sequence[bytes]
    until: float
    left: int


class Farewells:
    """Those of one endpoint, `max_kept` at most: the oldest go first. Times are monotonic seconds."""

    def __init__(self, max_kept: int = FAREWELLS_MAX) -> None:
        self._max_kept = max_kept
        self._kept: dict[PeerKey, _Farewell] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, key: PeerKey, datagrams: Sequence[bytes], now: float) -> None:
        """Remember what was sent with the end of an association, in order.

        For as long, and for as many times, as the peer sends a confirmable message again (RFC 7252 §4.8.2).
        """
        self._kept.pop(key, None)
        if len(self._kept) >= self._max_kept:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = _Farewell(datagrams, now + RFC7252.max_transmit_wait, RFC7252.max_retransmit)

    def again(self, key: PeerKey, datagram: bytes, now: float) -> Sequence[bytes]:
        """What to send in answer to a datagram of an association that has ended here; mostly nothing.

        Only application data is answered, and each farewell a few times in all: whoever writes another's
        address on such a datagram makes us send him some hundred bytes, no more.
        """
        farewell = self._kept.get(key)
        if farewell is None or not is_application_data(datagram):
            return ()
        if farewell.left == 0 or now > farewell.until:
            del self._kept[key]
            return ()
        farewell.left -= 1
        return farewell.datagrams
