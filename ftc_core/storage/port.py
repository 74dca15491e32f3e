"""The storage port: what every engine does, in batches. `commands` has what can be written.

Reading goes through a `View`, a consistent snapshot that never blocks. Writing goes through
`Store.write`: a batch of submissions becomes one durable transaction, in which each command succeeds or
fails on its own, and a failing one changes nothing. Every rule that needs "at most one" is decided here,
inside that transaction, never by a caller that looked before.

Revisions: a store-wide counter, assigned inside the commit and raised by one for each event, and for each
record that changes without one (an account, a key, a certificate, a renewed claim, a registration's update),
so that a record's revision is its etag. It has no gaps but where a store was restored (`epoch_commands`);
events are a subsequence of it, in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from ftc_core.domain.account import Account, ApiKey
from ftc_core.domain.bulk import BulkBatch, BulkJob
from ftc_core.domain.certificate import TrustAnchor, TrustedCertificate
from ftc_core.domain.claim import ClaimFacts, ClaimRequest
from ftc_core.domain.device import Device, DeviceTime
from ftc_core.domain.enrollment import Enrollment
from ftc_core.domain.event import Event
from ftc_core.domain.last_bootstrap import LastBootstrap
from ftc_core.errors import FtcError
from ftc_core.storage.block_view import BlockView
from ftc_core.storage.commands import Outcome, Submission
from ftc_core.storage.denial_view import DenialView
from ftc_core.storage.ledger_view import LedgerView
from ftc_core.storage.transfer_view import TransferView

__all__ = ["Store", "View"]


class View(TransferView, BlockView, DenialView, LedgerView, Protocol):
    """A consistent snapshot. Microseconds per call; not to be held across an await.

    Lists raise FtcError PAGE_TOKEN_INVALID if `after` is not an ID.
    """

    def revision(self) -> int:
        """The revision of the newest change in this snapshot."""
        ...

    def get_account(self, account_id: str) -> Account | None:
        """The account, or None. An ID of the wrong form names nothing, here and below."""
        ...

    def list_accounts(self, *, after: str | None, limit: int, descending: bool = False) -> list[Account]:
        """In order of ID (creation), from the first past `after`; `descending` from the last, downwards."""
        ...

    def count_accounts(self) -> int:
        """How many there are."""
        ...

    def get_api_key(self, key_id: str) -> ApiKey | None:
        """The key, or None."""
        ...

    def list_api_keys(
        self, account_id: str, *, after: str | None, limit: int, descending: bool = False
    ) -> list[ApiKey]:
        """As `list_accounts`, of one account."""
        ...

    def count_api_keys(self, account_id: str) -> int:
        """How many the account has."""
        ...

    def get_trusted_certificate(self, account_id: str, certificate_id: str) -> TrustedCertificate | None:
        """The account's certificate, or None."""
        ...

    def list_trusted_certificates(
        self, account_id: str, *, after: str | None, limit: int, descending: bool = False
    ) -> list[TrustedCertificate]:
        """As `list_accounts`, of one account."""
        ...

    def count_trusted_certificates(self, account_id: str) -> int:
        """How many the account has."""
        ...

    def find_trust_anchors(
        self, subjects: Sequence[bytes], fingerprints: Sequence[bytes]
    ) -> list[TrustAnchor]:
        """ACTIVE BOOTSTRAP CAs of any account with one of the DER `subjects` or one of the `fingerprints`.

        Each CA once, however many accounts hold it; those named by fingerprint first, then the longest
        trusted, so that nobody's later look-alikes crowd out another's CA; at most TRUST_CANDIDATES_MAX.
        """
        ...

    def find_inactive_holders(self, subjects: Sequence[bytes], *, limit: int) -> list[str]:
        """Accounts that hold an INACTIVE BOOTSTRAP CA with one of the DER `subjects`: up to `limit` IDs."""
        ...

    def get_enrollment(self, account_id: str, enrollment_id: str) -> Enrollment | None:
        """The account's enrollment, or None; an expired one is there until it is swept."""
        ...

    def find_enrollments(self, fingerprints: Sequence[bytes]) -> list[Enrollment | None]:
        """One answer per fingerprint, in order, whichever account holds it."""
        ...

    def list_enrollments(
        self, account_id: str, *, after: str | None, limit: int, descending: bool = False
    ) -> list[Enrollment]:
        """As `list_accounts`, of one account."""
        ...

    def list_waiting_enrollments(
        self, account_id: str, *, after: str | None, limit: int, descending: bool = False
    ) -> list[Enrollment]:
        """As `list_enrollments`, those alone that no device has claimed."""
        ...

    def list_enrollments_by_claim(
        self,
        account_id: str,
        *,
        after: str | None,
        limit: int,
        descending: bool = False,
        with_waiting: bool = True,
    ) -> list[Enrollment]:
        """In order of claimed_at, from the first past the position `after` (`domain.enrollment`).

        Those that no device has claimed stand before all others, or are left out.
        """
        ...

    def list_all_enrollments(
        self, *, after: str | None, limit: int, descending: bool = False
    ) -> list[Enrollment]:
        """Of every account, in order of account and ID; `after` has both, the account's first."""
        ...

    def count_enrollments(self, account_id: str) -> int:
        """How many the account has."""
        ...

    def count_all_enrollments(self) -> int:
        """How many all accounts have."""
        ...

    def get_device(self, account_id: str, device_id: str) -> Device | None:
        """The account's device, or None."""
        ...

    def get_last_bootstrap(self, account_id: str, device_id: str) -> LastBootstrap | None:
        """Of the account's device, the last bootstrap that got beyond its claim; None if there was none."""
        ...

    def find_devices(self, fingerprints: Sequence[bytes]) -> list[Device | None]:
        """One answer per fingerprint, in order, whichever account owns it."""
        ...

    def list_devices(
        self, account_id: str, *, after: str | None, limit: int, descending: bool = False
    ) -> list[Device]:
        """As `list_accounts`, of one account."""
        ...

    def list_devices_by_name(
        self, account_id: str, *, after: str | None, limit: int, descending: bool = False, prefix: str = ""
    ) -> list[Device]:
        """In order of endpoint names that begin with `prefix`, past the position `after`."""
        ...

    def list_devices_by_time(
        self,
        account_id: str,
        which: DeviceTime,
        *,
        after: str | None,
        limit: int,
        descending: bool = False,
    ) -> list[Device]:
        """In order of one of their times, from the first past the position `after` (`domain.device`)."""
        ...

    def list_all_devices(self, *, after: str | None, limit: int, descending: bool = False) -> list[Device]:
        """Of every account, in order of account and ID; `after` has the account's ID, then the device's."""
        ...

    def count_devices(self, account_id: str) -> int:
        """How many the account owns."""
        ...

    def count_all_devices(self) -> int:
        """How many all accounts own."""
        ...

    def claim_facts(self, request: ClaimRequest, *, alone: str | None = None) -> ClaimFacts:
        """What `domain.claim.decide` needs, as of this snapshot; as if the account `alone` were the only one.

        Raises FtcError ENDPOINT_NAME_TOO_LONG or ENDPOINT_NAME_INVALID for a name that cannot be held.
        """
        ...

    def get_bulk_job(self, job_id: str) -> BulkJob | None:
        """The job, or None."""
        ...

    def list_bulk_jobs(self, account_id: str, *, after: str | None, limit: int) -> list[BulkJob]:
        """In order of ID, from the first past `after`."""
        ...

    def list_unfinished_bulk_jobs(self) -> list[BulkJob]:
        """Of every account, in order of ID."""
        ...

    def list_bulk_batches(self, job_id: str, *, start: int, limit: int) -> list[BulkBatch]:
        """What was done of a job, in order, from the first batch that begins at byte `start` or later."""
        ...

    def events(self, *, after_revision: int, limit: int) -> list[Event]:
        """Events with a revision above `after_revision`, in order."""
        ...

    def compacted_revision(self) -> int:
        """The revision of the newest event that was removed, 0 if none was: those above are all there."""
        ...


class Store(Protocol):
    """An engine. Thread-safe for reading; `write` is called from one thread at a time."""

    def view(self) -> AbstractContextManager[View]:
        """A snapshot as of now. Raises FtcError INTERNAL_1 (unavailable) or INTERNAL_5 (corrupt)."""
        ...

    def write(self, submissions: Sequence[Submission]) -> list[Outcome | FtcError]:
        """One durable transaction; answers in order. Returns only after the commit is on disk.

        Raises FtcError INTERNAL_1, _2 (full), _3 (commit lost) or _5 if the transaction as a whole failed:
        then no submission took effect.
        """
        ...

    def close(self) -> None:
        """Let go of everything; idempotent."""
        ...
