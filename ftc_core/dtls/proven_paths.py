"""A memory of certificate paths that were checked: what a device that comes again need not cost once more.

Whether a path from these bytes to that anchor holds (signatures, names, constraints, profile) depends on
nothing but the bytes and the time, and on time only through the validity of its certificates. So a path found
good once is good whenever all of them are valid. Whether the anchor is trusted is not kept here: it is asked
every time.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import datetime

from cryptography import x509

from ftc_core.limits import PROVEN_PATHS_KEPT_MAX

__all__ = ["ProvenPaths", "path_key"]


def path_key(anchor_fingerprint: bytes, presented_fingerprints: Iterable[bytes]) -> bytes:
    """Names an anchor and all that was presented with it, leaf first, by their SHA-256 over DER."""
    return hashlib.sha256(b"".join((anchor_fingerprint, *presented_fingerprints))).digest()


class ProvenPaths:
    """Paths that were found good, by `path_key`, and when; the `limit` last used are kept."""

    def __init__(self, limit: int = PROVEN_PATHS_KEPT_MAX) -> None:
        self._limit = limit
        self._validity: OrderedDict[bytes, tuple[datetime, datetime]] = OrderedDict()

    def holds(self, key: bytes, now: datetime) -> bool:
        """Whether the path was found good and each certificate of it is valid at `now` (aware).

        Both ends of a validity belong to it (RFC 5280 §4.1.2.5).
        """
        validity = self._validity.get(key)
        if validity is None:
            return False
        self._validity.move_to_end(key)
        return validity[0] <= now <= validity[1]

    def note(self, key: bytes, path: Sequence[x509.Certificate]) -> None:
        """Remember a good path, from leaf to anchor."""
        try:
            self._validity[key] = (
                max(certificate.not_valid_before_utc for certificate in path),
                min(certificate.not_valid_after_utc for certificate in path),
            )
        except ValueError:  # a date that OpenSSL reads and `cryptography` does not
            return
        if len(self._validity) > self._limit:
            self._validity.popitem(last=False)
