"""The peer's messages, remembered by message ID so that none is processed twice (RFC 7252 §4.5)."""

from __future__ import annotations

from ftc_core import limits
from ftc_core.coap.parameters import TransmissionParameters

__all__ = ["Received", "ReceivedMessages"]


class Received:
    """A message of the peer.

    `reply` is the datagram that acknowledged or reset it, if any: its duplicates get the very same bytes.
    For a request, `exchange` and `token` say what it asks, and `deadline` when its empty ACK is due.
    """

    __slots__ = ("confirmable", "deadline", "exchange", "expires", "mid", "reply", "token")

    def __init__(self, mid: int, confirmable: bool, expires: float) -> None:
        self.mid = mid
        self.confirmable = confirmable
        self.expires = expires
        self.reply: bytes | None = None
        self.deadline: float | None = None
        self.exchange = 0
        self.token = b""


class ReceivedMessages:
    """A bounded memory of one peer's message IDs.

    Forgetting one before its time is safe: DTLS lets no datagram in twice (RFC 6347 §4.1.2.6), so a duplicate
    is the peer's own retransmission, made within 45 s.
    """

    def __init__(self, parameters: TransmissionParameters) -> None:
        self._confirmable_lifetime = parameters.exchange_lifetime
        self._non_lifetime = parameters.non_lifetime
        self._by_mid: dict[int, Received] = {}  # oldest first

    def __len__(self) -> int:
        return len(self._by_mid)

    def find(self, mid: int, now: float) -> Received | None:
        """The message that bore this ID, if the ID cannot have been used again since."""
        received = self._by_mid.get(mid)
        if received is None or now < received.expires:
            return received
        del self._by_mid[mid]
        return None

    def forget(self, mid: int) -> None:
        """Let the next message with this ID count as new."""
        self._by_mid.pop(mid, None)

    def remember(self, mid: int, confirmable: bool, now: float) -> Received:
        """Note an ID that `find` did not know; the expired and, beyond the bound, the oldest make room."""
        by_mid = self._by_mid
        while by_mid:
            oldest = next(iter(by_mid.values()))
            if now < oldest.expires and len(by_mid) < limits.COAP_DEDUPLICATION_MAX:
                break
            del by_mid[oldest.mid]
        lifetime = self._confirmable_lifetime if confirmable else self._non_lifetime
        by_mid[mid] = received = Received(mid, confirmable, now + lifetime)
        return received
