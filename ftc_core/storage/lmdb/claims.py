"""The claim: facts, decision and every effect in one step."""

from __future__ import annotations

from datetime import datetime

import msgspec

from ftc_core.domain.claim import ClaimFacts, Granted, decide
from ftc_core.domain.device import Device, DeviceState
from ftc_core.domain.event import EventKind
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.commands import ClaimDevice, Claimed, Done, MarkBootstrapped, RecordBootstrap
from ftc_core.storage.lmdb.devices import (
    add_device,
    change_device,
    emit_device,
    keep_last_bootstrap,
    release_device,
)
from ftc_core.storage.lmdb.enrollments import claim_enrollment
from ftc_core.storage.lmdb.writer import Writer

__all__ = ["claim_device", "mark_bootstrapped", "record_bootstrap"]


def claim_device(writer: Writer, command: ClaimDevice) -> Claimed:
    """See the command."""
    facts = writer.view.claim_facts(command.request)
    grant = decide(facts, command.now).granted()
    owned = facts.device
    if owned is not None and owned.id == grant.device_id:
        _claim_enrollment(writer, facts, grant, owned.id, command.now)
        return _claim_again(writer, command, grant, owned, facts.vouching_cas)
    if owned is not None:
        release_device(writer, owned, command.now)
    _claim_enrollment(writer, facts, grant, command.device_id, command.now)
    return _claim_first(writer, command, grant, facts.vouching_cas)


def mark_bootstrapped(writer: Writer, command: MarkBootstrapped) -> Done:
    """See the command. A device that was quicker to register stays REGISTERED."""
    before = _owned(writer, command.account_id, command.device_id)
    registered = before.state is DeviceState.REGISTERED
    revision = emit_device(writer, EventKind.DEVICE_BOOTSTRAPPED, command.now, before)
    after = msgspec.structs.replace(
        before,
        state=before.state if registered else DeviceState.BOOTSTRAPPED,
        bootstrapped_at=command.now,
        revision=revision,
    )
    change_device(writer, before, after)
    if command.bootstrap is not None:
        keep_last_bootstrap(writer, after, command.bootstrap)
    return Done(revision)


def record_bootstrap(writer: Writer, command: RecordBootstrap) -> Done:
    """See the command."""
    before = _owned(writer, command.account_id, command.device_id)
    after = msgspec.structs.replace(before, revision=writer.next_revision())
    change_device(writer, before, after)
    keep_last_bootstrap(writer, after, command.bootstrap)
    return Done(after.revision)


def _owned(writer: Writer, account_id: str, device_id: str) -> Device:
    device = writer.view.get_device(account_id, device_id)
    if device is None:
        raise FtcError(Reason.RESOURCE_NOT_FOUND)
    return device


def _claim_enrollment(
    writer: Writer, facts: ClaimFacts, grant: Granted, device_id: str, now: datetime
) -> None:
    """Mark the granted enrollment as this device's, unless it is already."""
    enrollment = facts.enrollment
    if enrollment is None or grant.enrollment_id is None or enrollment.enrolled_device_id == device_id:
        return
    claimed = msgspec.structs.replace(enrollment, claimed_at=now, enrolled_device_id=device_id)
    revision = writer.emit_enrollment(EventKind.ENROLLMENT_CLAIMED, now, claimed)
    claim_enrollment(writer, enrollment, msgspec.structs.replace(claimed, revision=revision))


def _claim_first(
    writer: Writer, command: ClaimDevice, grant: Granted, vouching_cas: tuple[bytes, ...]
) -> Claimed:
    request, now = command.request, command.now
    device = Device(
        id=command.device_id,
        account_id=grant.account_id,
        endpoint_name=request.endpoint_name,
        fingerprint=request.fingerprint,
        trusted_certificate_id=grant.trusted_certificate_id,
        enrollment_id=grant.enrollment_id,
        created_at=now,
        claimed_at=now,
        last_seen_at=now,
        client_version=request.client_version,
        last_address=request.address,
        issuing_cas=vouching_cas,
    )
    revision = emit_device(writer, EventKind.DEVICE_CLAIMED, now, device)
    device = msgspec.structs.replace(device, revision=revision)
    add_device(writer, device)
    return Claimed(grant, device, first_claim=True)


def _claim_again(
    writer: Writer,
    command: ClaimDevice,
    grant: Granted,
    before: Device,
    vouching_cas: tuple[bytes, ...],
) -> Claimed:
    request = command.request
    after = msgspec.structs.replace(
        before,
        endpoint_name=request.endpoint_name,
        trusted_certificate_id=grant.trusted_certificate_id,
        enrollment_id=grant.enrollment_id,
        state=DeviceState.CLOUD_ENROLLING,
        last_seen_at=command.now,
        client_version=request.client_version or before.client_version,
        last_address=request.address,
        issuing_cas=vouching_cas,
        revision=writer.next_revision(),
    )
    change_device(writer, before, after)
    return Claimed(grant, after, first_claim=False)
