"""Transmission parameters of the CoAP message layer (RFC 7252 §4.8) and the times derived from them."""

from __future__ import annotations

import msgspec

__all__ = ["RFC7252", "TransmissionParameters"]


class TransmissionParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds; the defaults are RFC 7252's (§4.8, table 2), and ours where it leaves the choice."""

    ack_timeout: float = 2.0
    """Least time to wait for the first acknowledgement; doubles with each retransmission (§4.2)."""
    ack_random_factor: float = 1.5
    """The first wait is drawn from `ack_timeout` to `ack_timeout × ack_random_factor` (§4.2)."""
    max_retransmit: int = 4
    """Retransmissions after the first transmission (§4.2)."""
    nstart: int = 1
    """Confirmable messages of ours that may await their acknowledgement at once (§4.7)."""
    max_latency: float = 100.0
    """Longest time that a datagram may be under way (§4.8.2)."""
    processing_delay: float = 0.5
    """A request not answered by then gets an empty acknowledgement, and later a separate response (§5.2.2).
    Well below the peer's least retransmission wait of 2 s, and above the time of a durable claim."""
    response_wait: float = 93.0
    """How long an acknowledged request waits for its separate response. The RFC sets no bound; this is its
    MAX_TRANSMIT_WAIT, in which a peer that answers at once has spent all retransmissions."""

    @property
    def max_transmit_span(self) -> float:
        """First to last transmission of a confirmable message (§4.8.2): 45 s."""
        return self.ack_timeout * ((1 << self.max_retransmit) - 1) * self.ack_random_factor

    @property
    def max_transmit_wait(self) -> float:
        """First transmission to giving up on its acknowledgement (§4.8.2): 93 s."""
        return self.ack_timeout * ((2 << self.max_retransmit) - 1) * self.ack_random_factor

    @property
    def exchange_lifetime(self) -> float:
        """How long the message ID of a confirmable message is taken (§4.8.2): 247 s.

        The RFC's PROCESSING_DELAY, which is part of it, is ACK_TIMEOUT: what a *peer* may take.
        """
        return self.max_transmit_span + 2 * self.max_latency + self.ack_timeout

    @property
    def non_lifetime(self) -> float:
        """How long the message ID of a non-confirmable message is taken (§4.8.2): 145 s."""
        return self.max_transmit_span + self.max_latency


RFC7252 = TransmissionParameters()
