"""The storage port: what every engine does, in batches.

Reading goes through a `View`, a consistent snapshot that never blocks. Writing goes through
`Store.write`: a batch of submissions becomes one durable transaction, in which each command succeeds or
fails on its own, and a failing one changes nothing. Every rule that needs "at most one" is decided here,
inside that transaction, never by a caller that looked before.

Revisions: a store-wide counter, assigned inside the commit and raised by one for each event, and for each
record that changes without one (an account, a key, a certificate, a renewed claim, a registration's update),
so that a record's revision is its etag. It has no gaps; events are a subsequence of it, in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

import msgspec

from ftc_core.domain.account import Account, ApiKey
from ftc_core.domain.certificate import TrustAnchor, TrustedCertificate
from ftc_core.domain.claim import ClaimFacts, ClaimRequest, Granted
from ftc_core.domain.device import Device
from ftc_core.domain.enrollment import Enrollment
from ftc_core.domain.event import Event
from ftc_core.domain.ledger import LedgerEntry
from ftc_core.errors import FtcError

__all__ = [
    "ClaimDevice",
    "Claimed",
    "Command",
    "CreateAccount",
    "CreateApiKey",
    "CreateEnrollments",
    "CreateTrustedCertificate",
    "Created",
    "DeleteEnrollment",
    "DeregisterDevice",
    "Done",
    "ExpireEnrollments",
    "ExpireRegistrations",
    "IdempotencyKey",
    "MarkBootstrapped",
    "Outcome",
    "RegisterDevice",
    "Store",
    "Submission",
    "Swept",
    "UpdateRegistration",
    "View",
]


# --- commands: each is one change, atomic on its own -----------------------------------------------


class CreateAccount(msgspec.Struct, frozen=True, tag=True):
    """Add an account → Created(account). RESOURCE_ALREADY_EXISTS if its ID is taken."""

    account: Account


class CreateApiKey(msgspec.Struct, frozen=True, tag=True):
    """Add an API key → Created(key). RESOURCE_NOT_FOUND if its account does not exist."""

    key: ApiKey


class CreateTrustedCertificate(msgspec.Struct, frozen=True, tag=True):
    """Add a CA to an account → Created(certificate).

    CERTIFICATE_ALREADY_EXISTS if the account holds one with this fingerprint and service already;
    RESOURCE_NOT_FOUND if the account does not exist.
    """

    certificate: TrustedCertificate


class CreateEnrollments(msgspec.Struct, frozen=True, tag=True):
    """Add enrollments, all or none → Created for one, Created with the tuple for several.

    ENROLLMENT_ALREADY_EXISTS (metadata `index` = position in the batch) if any fingerprint stands on any
    account's list or twice in the batch; an expired, unclaimed enrollment in the way is removed first (with
    its ENROLLMENT_EXPIRED event). RESOURCE_NOT_FOUND if an account does not exist. Each gives an
    ENROLLMENT_CREATED event.
    """

    enrollments: tuple[Enrollment, ...]
    now: datetime


class DeleteEnrollment(msgspec.Struct, frozen=True, tag=True):
    """Remove an enrollment and release its device → Done.

    The device record goes, with its endpoint name and its quota count; the ledger gets RELEASED; events
    ENROLLMENT_DELETED and, if a device was released, DEVICE_RELEASED. RESOURCE_NOT_FOUND if the account
    holds no such enrollment; ETAG_MISMATCH if `revision` is given and differs.
    """

    account_id: str
    enrollment_id: str
    now: datetime
    revision: int | None = None


class ClaimDevice(msgspec.Struct, frozen=True, tag=True):
    """Judge a Bootstrap-Request and, if granted, claim → Claimed. Raises the decision's reason if refused.

    One step writes device, endpoint index, quota count, enrollment, ledger entry (CLAIMED, at first claim
    only) and events (ENROLLMENT_CLAIMED and DEVICE_CLAIMED, at first claim only; a pre-assigned device that
    was enrolled since gets its ENROLLMENT_CLAIMED then). A re-claim by the same certificate in the same
    account keeps device ID and claimed_at, sets the state to CLOUD_ENROLLING and the endpoint name to the
    request's. If the enrollment now stands in another account than the device's
    owner, the device leaves the old owner (RELEASED, DEVICE_RELEASED) in the same step.
    `device_id` is used for a new device.
    """

    request: ClaimRequest
    device_id: str
    now: datetime


class MarkBootstrapped(msgspec.Struct, frozen=True, tag=True):
    """Bootstrap-Finish was acknowledged → Done; state BOOTSTRAPPED, event DEVICE_BOOTSTRAPPED.

    A device whose registration overtook this stays REGISTERED.
    RESOURCE_NOT_FOUND if the account no longer owns the device.
    """

    account_id: str
    device_id: str
    now: datetime


class RegisterDevice(msgspec.Struct, frozen=True, tag=True):
    """An LwM2M Register → Created(device); state REGISTERED, event DEVICE_REGISTERED.

    CREDENTIALS_RELEASED if the account no longer owns the device or its endpoint name is another one.
    """

    account_id: str
    device_id: str
    endpoint_name: str
    lifetime: int
    lwm2m_version: str
    binding: str
    object_links: str
    client_version: str
    address: str
    now: datetime


class UpdateRegistration(msgspec.Struct, frozen=True, tag=True):
    """An LwM2M Update → Created(device); absent fields keep their value.

    CREDENTIALS_RELEASED as in RegisterDevice; REGISTRATION_NOT_FOUND if the device is not registered.
    """

    account_id: str
    device_id: str
    address: str
    now: datetime
    lifetime: int | None = None
    binding: str | None = None
    object_links: str | None = None


class DeregisterDevice(msgspec.Struct, frozen=True, tag=True):
    """An LwM2M De-register → Done; state DEREGISTERED, event DEVICE_DEREGISTERED.

    CREDENTIALS_RELEASED and REGISTRATION_NOT_FOUND as in UpdateRegistration.
    """

    account_id: str
    device_id: str
    now: datetime


class ExpireEnrollments(msgspec.Struct, frozen=True, tag=True):
    """Remove up to `limit` unclaimed enrollments with expires_at ≤ now → Swept; ENROLLMENT_EXPIRED events."""

    now: datetime
    limit: int = 1_000


class ExpireRegistrations(msgspec.Struct, frozen=True, tag=True):
    """De-register up to `limit` devices whose lifetime ended by `now` → Swept; DEVICE_DEREGISTERED events."""

    now: datetime
    limit: int = 1_000


Command = (
    CreateAccount
    | CreateApiKey
    | CreateTrustedCertificate
    | CreateEnrollments
    | DeleteEnrollment
    | ClaimDevice
    | MarkBootstrapped
    | RegisterDevice
    | UpdateRegistration
    | DeregisterDevice
    | ExpireEnrollments
    | ExpireRegistrations
)


# --- results ---------------------------------------------------------------------------------------


class Created(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The records as written, their revision filled in; exactly one of the fields is set."""

    account: Account | None = None
    key: ApiKey | None = None
    certificate: TrustedCertificate | None = None
    enrollments: tuple[Enrollment, ...] = ()
    device: Device | None = None


class Claimed(msgspec.Struct, frozen=True, tag=True):
    """A durable claim: the grant, the device as written, and whether ownership changed by it."""

    grant: Granted
    device: Device
    first_claim: bool


class Done(msgspec.Struct, frozen=True, tag=True):
    """The command took effect; there is nothing more to tell."""

    revision: int


class Swept(msgspec.Struct, frozen=True, tag=True):
    """How many rows a sweep changed; `more` if the limit stopped it."""

    count: int
    more: bool


Outcome = Created | Claimed | Done | Swept


class IdempotencyKey(msgspec.Struct, frozen=True):
    """A caller's request_id.

    `scope` is the account and method, `digest` that of the request (32 bytes).
    """

    scope: str
    request_id: str
    digest: bytes
    now: datetime


class Submission(msgspec.Struct, frozen=True):
    """A command on its way to the store.

    With `idempotency`, a repeat of the same request within REQUEST_ID_TTL_S gets the stored outcome without
    a second effect, and another request under the same ID gets REQUEST_ID_REUSED. With `validate_only`, the
    outcome is computed and nothing is kept.
    """

    command: Command
    idempotency: IdempotencyKey | None = None
    validate_only: bool = False


class View(Protocol):
    """A consistent snapshot. Microseconds per call; not to be held across an await.

    Lists raise FtcError PAGE_TOKEN_INVALID if `after` is not an ID.
    """

    def revision(self) -> int:
        """The revision of the newest change in this snapshot."""
        ...

    def get_account(self, account_id: str) -> Account | None:
        """The account, or None. An ID of the wrong form names nothing, here and below."""
        ...

    def list_accounts(self, *, after: str | None, limit: int) -> list[Account]:
        """In order of ID (creation), from the first past `after`."""
        ...

    def count_accounts(self) -> int:
        """How many there are."""
        ...

    def get_api_key(self, key_id: str) -> ApiKey | None:
        """The key, or None."""
        ...

    def get_trusted_certificate(self, account_id: str, certificate_id: str) -> TrustedCertificate | None:
        """The account's certificate, or None."""
        ...

    def list_trusted_certificates(
        self, account_id: str, *, after: str | None, limit: int
    ) -> list[TrustedCertificate]:
        """In order of ID, from the first past `after`."""
        ...

    def count_trusted_certificates(self, account_id: str) -> int:
        """How many the account has."""
        ...

    def find_trust_anchors(
        self, subjects: Sequence[bytes], fingerprints: Sequence[bytes]
    ) -> list[TrustAnchor]:
        """ACTIVE BOOTSTRAP CAs of any account with one of the DER `subjects` or one of the `fingerprints`.

        Each CA once, however many accounts hold it; those named by fingerprint first; at most
        TRUST_CANDIDATES_MAX.
        """
        ...

    def get_enrollment(self, account_id: str, enrollment_id: str) -> Enrollment | None:
        """The account's enrollment, or None; an expired one is there until it is swept."""
        ...

    def find_enrollments(self, fingerprints: Sequence[bytes]) -> list[Enrollment | None]:
        """One answer per fingerprint, in order, whichever account holds it."""
        ...

    def list_enrollments(self, account_id: str, *, after: str | None, limit: int) -> list[Enrollment]:
        """In order of ID, from the first past `after`."""
        ...

    def count_enrollments(self, account_id: str) -> int:
        """How many the account has."""
        ...

    def get_device(self, account_id: str, device_id: str) -> Device | None:
        """The account's device, or None."""
        ...

    def find_devices(self, fingerprints: Sequence[bytes]) -> list[Device | None]:
        """One answer per fingerprint, in order, whichever account owns it."""
        ...

    def list_devices(self, account_id: str, *, after: str | None, limit: int) -> list[Device]:
        """In order of ID, from the first past `after`."""
        ...

    def count_devices(self, account_id: str) -> int:
        """How many the account owns."""
        ...

    def claim_facts(self, request: ClaimRequest) -> ClaimFacts:
        """What `domain.claim.decide` needs, as of this snapshot.

        Raises FtcError ENDPOINT_NAME_TOO_LONG or ENDPOINT_NAME_INVALID for a name that cannot be held.
        """
        ...

    def ledger(self, fingerprint: bytes) -> list[LedgerEntry]:
        """The whole ownership history of one certificate, oldest first."""
        ...

    def events(self, *, after_revision: int, limit: int) -> list[Event]:
        """Events with a revision above `after_revision`, in order."""
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
