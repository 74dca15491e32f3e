"""The store's commands and their outcomes: everything that can be changed, and how.

A command is one change, atomic on its own: it takes effect as a whole, or raises and changes nothing. What
each answers stands after the arrow.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from ftc_core.domain.account import Account, ApiKey
from ftc_core.domain.certificate import TrustedCertificate, TrustedCertificateChanges
from ftc_core.domain.claim import ClaimRequest, Granted
from ftc_core.domain.device import Device
from ftc_core.domain.enrollment import Enrollment
from ftc_core.domain.last_bootstrap import LastBootstrap
from ftc_core.storage.account_commands import (
    CreateAccount,
    CreateApiKey,
    DeleteAccount,
    DeleteApiKey,
    RecordApiKeyUses,
    UpdateAccount,
)
from ftc_core.storage.block_commands import BlockWritten, LiftBlock, PlaceBlock
from ftc_core.storage.bulk_commands import (
    AdvanceBulkJob,
    BulkSwept,
    BulkWritten,
    CreateBulkJob,
    DeleteBulkJob,
    EndBulkJob,
    ExpireBulkJobs,
)
from ftc_core.storage.denial_commands import DenialsRecorded, ForgetDenials, RecordDenials
from ftc_core.storage.epoch_commands import BeginEpoch
from ftc_core.storage.ledger_commands import AddCheckpoint, AddLedgerKey
from ftc_core.storage.transfer_commands import (
    AcceptTransfer,
    CancelTransfer,
    CreateTransfer,
    ExpireTransfers,
    ForgetTransfers,
    RejectTransfer,
    TransferWritten,
)

__all__ = [
    "AnnounceExpiries",
    "ClaimDevice",
    "Claimed",
    "Command",
    "CompactEvents",
    "CreateAccount",
    "CreateApiKey",
    "CreateEnrollments",
    "CreateTrustedCertificate",
    "Created",
    "DeleteAccount",
    "DeleteApiKey",
    "DeleteEnrollment",
    "DeleteTrustedCertificate",
    "DeregisterDevice",
    "Done",
    "ExpireEnrollments",
    "ExpireRegistrations",
    "IdempotencyKey",
    "MarkBootstrapped",
    "Outcome",
    "RecordApiKeyUses",
    "RecordBootstrap",
    "RegisterDevice",
    "Submission",
    "Swept",
    "UpdateAccount",
    "UpdateRegistration",
    "UpdateTrustedCertificate",
]


class CreateTrustedCertificate(msgspec.Struct, frozen=True, tag=True):
    """Add a CA to an account → Created(certificate).

    CERTIFICATE_ALREADY_EXISTS if the account holds one with this fingerprint and service already;
    RESOURCE_NOT_FOUND if the account does not exist; CERTIFICATE_BLOCKED if the operator blocks this CA.
    """

    certificate: TrustedCertificate


class UpdateTrustedCertificate(msgspec.Struct, frozen=True, tag=True):
    """Change the given fields of a CA → Created(certificate); the trust index follows in the same step.

    RESOURCE_NOT_FOUND; ETAG_MISMATCH if `revision` is given and differs.
    """

    account_id: str
    certificate_id: str
    changes: TrustedCertificateChanges
    now: datetime
    revision: int | None = None


class DeleteTrustedCertificate(msgspec.Struct, frozen=True, tag=True):
    """Remove a CA, whether or not devices were claimed under it → Done; the trust index follows.

    RESOURCE_NOT_FOUND; ETAG_MISMATCH if `revision` is given and differs.
    """

    account_id: str
    certificate_id: str
    revision: int | None = None


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

    A device whose registration overtook this stays REGISTERED. `bootstrap` is kept as the device's last; with
    None, what is kept stays.
    RESOURCE_NOT_FOUND if the account no longer owns the device.
    """

    account_id: str
    device_id: str
    now: datetime
    bootstrap: LastBootstrap | None = None


class RecordBootstrap(msgspec.Struct, frozen=True, tag=True):
    """A bootstrap ended, but not with Bootstrap-Finish → Done; `bootstrap` is kept as the device's last.

    It failed after its claim, or went on to a certificate (EST). The device's state stays, and there is no
    event. RESOURCE_NOT_FOUND if the account no longer owns the device.
    """

    account_id: str
    device_id: str
    bootstrap: LastBootstrap


class RegisterDevice(msgspec.Struct, frozen=True, tag=True):
    """An LwM2M Register → Created(device); state REGISTERED, event DEVICE_REGISTERED.

    CREDENTIALS_RELEASED if the account no longer owns the device or its endpoint name is another one;
    DEVICE_BLOCKED or CERTIFICATE_BLOCKED if the operator or the account blocks it, or a CA that vouched for
    it.
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

    CREDENTIALS_RELEASED, DEVICE_BLOCKED and CERTIFICATE_BLOCKED as in RegisterDevice; REGISTRATION_NOT_FOUND
    if the device is not registered.
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


class AnnounceExpiries(msgspec.Struct, frozen=True, tag=True):
    """Tell that up to `limit` unclaimed enrollments expire by `until`, of each once → Swept.

    ENROLLMENT_EXPIRING events. One that has expired by `now` is passed over: its ENROLLMENT_EXPIRED comes.
    The enrollments keep their revisions.
    """

    now: datetime
    until: datetime
    limit: int = 1_000


class ExpireEnrollments(msgspec.Struct, frozen=True, tag=True):
    """Remove up to `limit` unclaimed enrollments with expires_at ≤ now → Swept; ENROLLMENT_EXPIRED events."""

    now: datetime
    limit: int = 1_000


class ExpireRegistrations(msgspec.Struct, frozen=True, tag=True):
    """De-register up to `limit` devices whose lifetime ended by `now` → Swept; DEVICE_DEREGISTERED events."""

    now: datetime
    limit: int = 1_000


class CompactEvents(msgspec.Struct, frozen=True, tag=True):
    """Remove the oldest events, up to `limit`: those before `before` or not of the newest `keep` → Swept.

    They go in the order of their revisions, and up to the first that is to be kept, so that what is left has
    no gap. The store's revision does not rise.
    """

    before: datetime
    keep: int
    limit: int


Command = (
    CreateAccount
    | UpdateAccount
    | DeleteAccount
    | CreateApiKey
    | DeleteApiKey
    | RecordApiKeyUses
    | CreateTrustedCertificate
    | UpdateTrustedCertificate
    | DeleteTrustedCertificate
    | CreateEnrollments
    | DeleteEnrollment
    | ClaimDevice
    | MarkBootstrapped
    | RecordBootstrap
    | RegisterDevice
    | UpdateRegistration
    | DeregisterDevice
    | AnnounceExpiries
    | ExpireEnrollments
    | ExpireRegistrations
    | CompactEvents
    | CreateBulkJob
    | AdvanceBulkJob
    | EndBulkJob
    | DeleteBulkJob
    | ExpireBulkJobs
    | CreateTransfer
    | AcceptTransfer
    | RejectTransfer
    | CancelTransfer
    | ExpireTransfers
    | ForgetTransfers
    | PlaceBlock
    | LiftBlock
    | AddCheckpoint
    | AddLedgerKey
    | RecordDenials
    | ForgetDenials
    | BeginEpoch
)


# --- results ---------------------------------------------------------------------------------------


class Created(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The records as written, new or changed, their revision filled in; exactly one of the fields is set."""

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


Outcome = (
    Created
    | Claimed
    | Done
    | Swept
    | BulkWritten
    | BulkSwept
    | TransferWritten
    | BlockWritten
    | DenialsRecorded
)


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
