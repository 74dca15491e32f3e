"""Session resumption (RFC 5077): yesterday's key exchange, today's verdict.

A ticket holds the session's secret and the device's certificate, sealed under keys that OpenSSL makes at
random for each context. They are in memory, never on disk, and a new context brings new ones
(`ticket_generations`). Whoever presents a ticket proves by its Finished that it
has the secret of a session in which it once proved the certificate's key.

What a ticket does not hold is a verdict. OpenSSL walks no chain when it resumes, so a server that leaves it
at that lets in a device whose CA was removed since. Ours asks the path verifier again, as soon as OpenSSL has
opened the ticket and before its answer leaves:

    ClientHello with ticket ─ opened ─ certificate judged as of now ─ good: abbreviated handshake
                            │                                       └ bad: heard again by a connection
                            │                                              that resumes nothing ─┐
                            └ not ours, too old ─────────────────────────────────────────────────┴ full one

So a refusal has the same alert as ever, and a ticket that is no use costs its device nothing but itself.

A session holds the leaf alone. The intermediates with which it was presented are remembered here, bounded; a
device whose intermediates are forgotten makes a full handshake.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

from ftc_core.limits import PRESENTED_CHAINS_KEPT_MAX

__all__ = ["PresentedChains"]


class PresentedChains:
    """The intermediates that devices presented, by the leaf's SHA-256; the `limit` last used are kept."""

    def __init__(self, limit: int = PRESENTED_CHAINS_KEPT_MAX) -> None:
        self._limit = limit
        self._intermediates: OrderedDict[bytes, tuple[bytes, ...]] = OrderedDict()

    def remember(self, chain_der: Sequence[bytes]) -> None:
        """Note a chain in DER, leaf first, that was found good. A leaf alone needs no memory."""
        leaf, *intermediates = chain_der
        key = hashlib.sha256(leaf).digest()
        if not intermediates:
            self._intermediates.pop(key, None)
            return
        self._intermediates[key] = tuple(intermediates)
        self._intermediates.move_to_end(key)
        if len(self._intermediates) > self._limit:
            self._intermediates.popitem(last=False)

    def recall(self, leaf_der: bytes) -> list[bytes]:
        """The chain that `leaf_der` was last presented with; the leaf alone if that is all that is known."""
        key = hashlib.sha256(leaf_der).digest()
        if key not in self._intermediates:
            return [leaf_der]
        self._intermediates.move_to_end(key)
        return [leaf_der, *self._intermediates[key]]
