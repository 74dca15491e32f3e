# ruff: noqa: D102 - the methods are the port's, and documented there
"""Reading: one snapshot, or what a write transaction sees of itself."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self, TypeVar

import lmdb
import msgspec

from ftc_core.domain.account import Account, ApiKey
from ftc_core.domain.bulk import BulkBatch, BulkJob
from ftc_core.domain.certificate import CertificateService, TrustAnchor, TrustedCertificate
from ftc_core.domain.claim import ClaimFacts, ClaimRequest, named_account
from ftc_core.domain.device import Device
from ftc_core.domain.enrollment import Enrollment
from ftc_core.domain.event import Event
from ftc_core.domain.last_bootstrap import LastBootstrap
from ftc_core.limits import TRUST_CANDIDATES_MAX
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.counts import Counts, split_account
from ftc_core.storage.lmdb.denial_reads import LmdbDenialReads
from ftc_core.storage.lmdb.faults import corrupt, translate
from ftc_core.storage.lmdb.ledger_reads import LmdbLedgerReads
from ftc_core.storage.lmdb.records import Codec
from ftc_core.storage.lmdb.scan import rows_under, rows_up
from ftc_core.storage.lmdb.tables import (
    FINGERPRINT_BYTES,
    ID_BYTES,
    NUMBER_BYTES,
    certificate_key,
    endpoint_key,
    number_key,
    pack_id,
    prefix_end,
    unpack_number,
)

__all__ = ["LmdbView"]

T = TypeVar("T")


class LmdbView(LmdbDenialReads, LmdbLedgerReads):
    """The port's `View` over one transaction.

    As a context manager it ends the transaction, and turns LMDB's errors into FtcError INTERNAL_1 or _5.
    An ID that is not 32 lower-case hex characters names nothing.
    """

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._txn.abort()
        del self._txn  # its slot among the readers is free once nobody refers to it
        if isinstance(error, lmdb.Error):
            raise translate(error) from error

    def revision(self) -> int:
        return unpack_number(self._txn.get(b"revision", b"", self._tables.meta))

    # --- accounts ----------------------------------------------------------------------------------

    def get_account(self, account_id: str) -> Account | None:
        stored = self._get(self._tables.accounts, account_id)
        return None if stored is None else _account(stored)

    def list_accounts(self, *, after: str | None, limit: int, descending: bool = False) -> list[Account]:
        page = self._page(self._tables.accounts, b"", after, limit, descending)
        return [_account(stored) for _, stored in page]

    def count_accounts(self) -> int:
        return self._txn.stat(self._tables.accounts)["entries"]

    def get_api_key(self, key_id: str) -> ApiKey | None:
        return _decoded(records.API_KEY, self._get(self._tables.api_keys, key_id))

    def list_api_keys(
        self, account_id: str, *, after: str | None, limit: int, descending: bool = False
    ) -> list[ApiKey]:
        page = self._page_of(self._tables.api_keys_by_account, account_id, after, limit, descending)
        return [self._indexed_api_key(key[ID_BYTES:]) for key, _ in page]

    def count_api_keys(self, account_id: str) -> int:
        return self.counts(account_id).api_keys

    def _indexed_api_key(self, key: bytes) -> ApiKey:
        stored = self._txn.get(key, None, self._tables.api_keys)
        if stored is None:
            raise corrupt(f"api_keys lacks {key.hex()}")
        return records.API_KEY.decode(stored)

    # --- trusted certificates ----------------------------------------------------------------------

    def get_trusted_certificate(self, account_id: str, certificate_id: str) -> TrustedCertificate | None:
        return _decoded(records.CERTIFICATE, self._get(self._tables.certificates, account_id, certificate_id))

    def list_trusted_certificates(
        self, account_id: str, *, after: str | None, limit: int, descending: bool = False
    ) -> list[TrustedCertificate]:
        page = self._page_of(self._tables.certificates, account_id, after, limit, descending)
        return [records.CERTIFICATE.decode(stored) for _, stored in page]

    def count_trusted_certificates(self, account_id: str) -> int:
        return self.counts(account_id).certificates

    def find_trust_anchors(
        self, subjects: Sequence[bytes], fingerprints: Sequence[bytes]
    ) -> list[TrustAnchor]:
        found: dict[bytes, TrustAnchor] = {}
        for fingerprint in self._anchor_candidates(subjects, fingerprints):
            stored = self._txn.get(fingerprint, None, self._tables.trust_anchors)
            if stored is not None:
                found[fingerprint] = TrustAnchor(
                    fingerprint=fingerprint, certificate_der=stored[2 * NUMBER_BYTES :]
                )
                if len(found) == TRUST_CANDIDATES_MAX:
                    break
        return list(found.values())

    def _anchor_candidates(self, subjects: Sequence[bytes], fingerprints: Sequence[bytes]) -> Iterator[bytes]:
        # Fingerprints first: they name the very CA. Then those of the subject, the longest trusted first:
        # look-alikes that somebody uploads later must not crowd out a CA whose devices are in the field.
        yield from (fingerprint for fingerprint in fingerprints if len(fingerprint) == FINGERPRINT_BYTES)
        for subject in subjects:
            prefix = hashlib.sha256(subject).digest()
            for key, _ in rows_under(self._txn, self._tables.trust_anchors_by_subject, prefix):
                yield key[len(prefix) + NUMBER_BYTES :]

    def find_inactive_holders(self, subjects: Sequence[bytes], *, limit: int) -> list[str]:
        accounts = (
            key[len(prefix) : len(prefix) + ID_BYTES].hex()
            for prefix in (hashlib.sha256(subject).digest() for subject in subjects)
            for key, _ in rows_under(self._txn, self._tables.inactive_cas, prefix)
        )
        distinct: dict[str, None] = {}
        for account in accounts:
            if len(distinct) == limit:
                break
            distinct[account] = None
        return list(distinct)

    # --- enrollments -------------------------------------------------------------------------------

    def get_enrollment(self, account_id: str, enrollment_id: str) -> Enrollment | None:
        fingerprint = self._get(self._tables.enrollments_by_account, account_id, enrollment_id)
        return None if fingerprint is None else self._enrollment(fingerprint)

    def find_enrollments(self, fingerprints: Sequence[bytes]) -> list[Enrollment | None]:
        get, table, decode = self._txn.get, self._tables.enrollments, records.ENROLLMENT.decode
        found: list[Enrollment | None] = []
        for fingerprint in fingerprints:  # a loop: most callers ask for one, and a comprehension is a call
            stored = get(fingerprint, None, table) if len(fingerprint) == FINGERPRINT_BYTES else None
            found.append(None if stored is None else decode(stored))
        return found

    def count_enrollments(self, account_id: str) -> int:
        return self.counts(account_id).enrollments

    def count_all_enrollments(self) -> int:
        return self._txn.stat(self._tables.enrollments)["entries"]

    # --- devices -----------------------------------------------------------------------------------

    def get_device(self, account_id: str, device_id: str) -> Device | None:
        return _decoded(records.DEVICE, self._get(self._tables.devices, account_id, device_id))

    def get_last_bootstrap(self, account_id: str, device_id: str) -> LastBootstrap | None:
        stored = self._get(self._tables.last_bootstraps, account_id, device_id)
        return _decoded(records.LAST_BOOTSTRAP, stored)

    def find_devices(self, fingerprints: Sequence[bytes]) -> list[Device | None]:
        return [self._device_of(fingerprint) for fingerprint in fingerprints]

    def count_devices(self, account_id: str) -> int:
        return self.counts(account_id).devices

    def count_all_devices(self) -> int:
        return self._txn.stat(self._tables.devices)["entries"]

    def _device_of(self, fingerprint: bytes) -> Device | None:
        if len(fingerprint) != FINGERPRINT_BYTES:
            return None
        key = self._txn.get(fingerprint, None, self._tables.devices_by_fingerprint)
        return None if key is None else self._device(key)

    # --- claims ------------------------------------------------------------------------------------

    def claim_facts(self, request: ClaimRequest, *, alone: str | None = None) -> ClaimFacts:
        """As the port says. Raises FtcError ENDPOINT_NAME_TOO_LONG or _INVALID for a name no key can hold."""
        [enrollment] = self.find_enrollments((request.fingerprint,))
        device = self._device_of(request.fingerprint)
        if alone is not None:
            enrollment = enrollment if enrollment is not None and enrollment.account_id == alone else None
            device = device if device is not None and device.account_id == alone else None
        account_id = named_account(request, device)
        if account_id is None and enrollment is not None:
            account_id = enrollment.account_id
        if alone is not None and account_id != alone:
            account_id = None
        account = None if account_id is None else self.get_account(account_id)
        certificates: tuple[TrustedCertificate, ...] = ()
        endpoint_holder = None
        if account is not None:
            key = pack_id(account.id)
            certificates = tuple(self.vouching(key, request.issuing_cas))
            name = endpoint_key(key, request.endpoint_name)
            endpoint_holder = self._txn.get(name, None, self._tables.endpoint_names)
        return ClaimFacts(
            request=request,
            enrollment=enrollment,
            account=account,
            certificates=certificates,
            device=device,
            endpoint_holder=endpoint_holder,
            device_blocked=bool(
                self.find_blocked((request.fingerprint,), None if device is None else device.account_id)
            ),
            blocked_cas=self.find_blocked(request.issuing_cas, account_id),
        )

    def vouching(self, account: bytes, fingerprints: Sequence[bytes]) -> Iterator[TrustedCertificate]:
        """The account's certificates with one of `fingerprints`; its ID is packed."""
        for fingerprint in fingerprints:
            for service in CertificateService:
                key = certificate_key(account, fingerprint, service)
                certificate = self._txn.get(key, None, self._tables.certificates_by_fingerprint)
                if certificate is None:
                    continue
                stored = self._txn.get(account + certificate, None, self._tables.certificates)
                if stored is None:
                    raise corrupt(f"certificates lacks {(account + certificate).hex()}")
                yield records.CERTIFICATE.decode(stored)

    # --- bulk jobs ---------------------------------------------------------------------------------

    def get_bulk_job(self, job_id: str) -> BulkJob | None:
        return _decoded(records.BULK_JOB, self._get(self._tables.bulk_jobs, job_id))

    def list_bulk_jobs(self, account_id: str, *, after: str | None, limit: int) -> list[BulkJob]:
        page = self._page_of(self._tables.bulk_jobs_by_account, account_id, after, limit)
        return [self._indexed_bulk_job(key[ID_BYTES:]) for key, _ in page]

    def list_unfinished_bulk_jobs(self) -> list[BulkJob]:
        rows = rows_under(self._txn, self._tables.bulk_unfinished, b"")
        return [self._indexed_bulk_job(key) for key, _ in rows]

    def list_bulk_batches(self, job_id: str, *, start: int, limit: int) -> list[BulkBatch]:
        job = pack_id(job_id)
        rows = rows_up(self._txn, self._tables.bulk_batches, job + number_key(start), prefix_end(job))
        return [records.BULK_BATCH.decode(stored) for _, stored in itertools.islice(rows, limit)]

    def _indexed_bulk_job(self, key: bytes) -> BulkJob:
        stored = self._txn.get(key, None, self._tables.bulk_jobs)
        if stored is None:
            raise corrupt(f"bulk_jobs lacks {key.hex()}")
        return records.BULK_JOB.decode(stored)

    # --- history -----------------------------------------------------------------------------------

    def events(self, *, after_revision: int, limit: int) -> list[Event]:
        rows = rows_up(self._txn, self._tables.events, number_key(max(0, after_revision + 1)), None)
        return [records.EVENT.decode(stored) for _, stored in itertools.islice(rows, max(0, limit))]

    def compacted_revision(self) -> int:
        return unpack_number(self._txn.get(b"compacted", b"", self._tables.meta))

    def count_events(self) -> int:
        """How many are kept."""
        return self._txn.stat(self._tables.events)["entries"]

    # --- keys --------------------------------------------------------------------------------------

    def _get(self, table: lmdb._Database, *ids: str) -> bytes | None:
        """The value under the concatenated `ids`."""
        try:
            key = b"".join(map(pack_id, ids))
        except ValueError:
            return None
        return self._txn.get(key, None, table)

    def counts(self, account_id: str) -> Counts:
        """How many of each the account has; none of an account that there is not."""
        stored = self._get(self._tables.accounts, account_id)
        return Counts() if stored is None else split_account(stored)[0]


def _account(stored: bytes) -> Account:
    counts, record = split_account(stored)
    return msgspec.structs.replace(records.ACCOUNT.decode(record), device_count=counts.devices)


def _decoded(codec: Codec[T], stored: bytes | None) -> T | None:
    return None if stored is None else codec.decode(stored)
