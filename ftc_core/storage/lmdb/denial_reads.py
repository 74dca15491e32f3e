# ruff: noqa: D102 - the methods are the port's, and documented there
"""Reading: denials."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence

from ftc_core.domain.certificate import TrustedCertificate
from ftc_core.domain.denial import Denial
from ftc_core.domain.ordering import TIME_BYTES
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.block_reads import LmdbBlockReads, party_key
from ftc_core.storage.lmdb.faults import corrupt
from ftc_core.storage.lmdb.scan import above, read_page, read_position, rows_under
from ftc_core.storage.lmdb.tables import FINGERPRINT_BYTES, ID_BYTES, pack_id, unpack_number

__all__ = ["LmdbDenialReads"]

_ALL_POSITION_BYTES = (TIME_BYTES, TIME_BYTES + ID_BYTES)
"""Of a time alone, from which a list may begin, and of a time and a party."""


class LmdbDenialReads(LmdbBlockReads):
    """A part of the port's `View` over one transaction. An ID of the wrong form names nothing."""

    __slots__ = ()

    def get_denial(self, account_id: str | None, denial_id: str) -> Denial | None:
        try:
            key = party_key(account_id) + pack_id(denial_id)
        except ValueError:
            return None
        stored = self._txn.get(key, None, self._tables.denials)
        return None if stored is None else records.DENIAL.decode(stored)

    def list_denials(
        self, account_id: str | None, *, after: str | None, limit: int, descending: bool = False
    ) -> list[Denial]:
        position = read_position(after, value_bytes=(TIME_BYTES,))
        return [
            self._denial(party + key[-ID_BYTES:])
            for party in self._party(account_id)
            for key, _ in read_page(
                self._txn,
                self._tables.denials_by_time,
                party,
                above(party),
                after=None if position is None else party + position,
                limit=limit,
                descending=descending,
            )
        ]

    def count_denials(self, account_id: str | None) -> int:
        [*parties] = self._party(account_id)
        return sum(unpack_number(self._txn.get(party, b"", self._tables.denial_counts)) for party in parties)

    def list_all_denials(self, *, after: str | None, limit: int, descending: bool = False) -> list[Denial]:
        page = read_page(
            self._txn,
            self._tables.denial_expiry,
            b"",
            above(b""),
            after=read_position(after, value_bytes=_ALL_POSITION_BYTES),
            limit=limit,
            descending=descending,
        )
        return [self._denial(key[TIME_BYTES:]) for key, _ in page]

    def count_all_denials(self) -> int:
        return self._txn.stat(self._tables.denials)["entries"]

    def find_inactive_cas(self, subjects: Sequence[bytes], *, limit: int) -> list[TrustedCertificate]:
        keys = (
            key[FINGERPRINT_BYTES:]
            for subject in subjects
            for key, _ in rows_under(self._txn, self._tables.inactive_cas, hashlib.sha256(subject).digest())
        )
        return [self._certificate(key) for key in itertools.islice(keys, limit)]

    def find_ca_holders(self, fingerprints: Sequence[bytes]) -> Iterator[TrustedCertificate]:
        """Every account's certificates of devices' CAs with one of `fingerprints`, in their order."""
        for fingerprint in fingerprints:
            for key, _ in rows_under(self._txn, self._tables.ca_holders, fingerprint):
                yield self._certificate(key[FINGERPRINT_BYTES:])

    def _certificate(self, key: bytes) -> TrustedCertificate:
        stored = self._txn.get(key, None, self._tables.certificates)
        if stored is None:
            raise corrupt(f"certificates lacks {key.hex()}")
        return records.CERTIFICATE.decode(stored)

    def _denial(self, key: bytes) -> Denial:
        stored = self._txn.get(key, None, self._tables.denials)
        if stored is None:
            raise corrupt(f"denials lacks {key.hex()}")
        return records.DENIAL.decode(stored)
