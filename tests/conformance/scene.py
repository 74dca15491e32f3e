"""Records and commands for storage tests, with IDs and times that are the same in every run."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from ftc_core.domain.account import Account, AccountStatus, ApiKey, Role
from ftc_core.domain.certificate import TrustedCertificate
from ftc_core.domain.claim import ClaimRequest
from ftc_core.domain.device import Device
from ftc_core.domain.enrollment import Enrollment
from ftc_core.domain.event import Event
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.commands import (
    ClaimDevice,
    Claimed,
    Command,
    CreateAccount,
    Created,
    CreateEnrollments,
    CreateTrustedCertificate,
    DeleteEnrollment,
    Done,
    IdempotencyKey,
    Outcome,
    RegisterDevice,
    Submission,
)
from ftc_core.storage.port import Store

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
"""With microseconds, which no engine may lose."""
HOUR = timedelta(hours=1)
CA_DER, OTHER_CA_DER = b"a CA", b"another CA"
CA, OTHER_CA = hashlib.sha256(CA_DER).digest(), hashlib.sha256(OTHER_CA_DER).digest()


def fingerprint(number: int) -> bytes:
    """Of the device certificate number `number`."""
    return hashlib.sha256(b"device %d" % number).digest()


class Scene:
    """A store, fresh IDs, and verbs that write one record each."""

    def __init__(self, store: Store, first_id: int = 1) -> None:
        self.store = store
        self._next_id = first_id

    def new_id(self) -> str:
        """32 hex characters, rising."""
        self._next_id += 1
        return f"{self._next_id - 1:032x}"

    # --- writing -----------------------------------------------------------------------------------

    def try_all(self, *commands: Command) -> list[Outcome | FtcError]:
        """The answers to one batch."""
        return self.store.write([Submission(command) for command in commands])

    def run(
        self, command: Command, *, idempotency: IdempotencyKey | None = None, validate_only: bool = False
    ) -> Outcome:
        """The outcome of one command. Raises FtcError if it is refused."""
        [answer] = self.store.write([Submission(command, idempotency, validate_only)])
        if isinstance(answer, FtcError):
            raise answer
        return answer

    def refused(self, command: Command, **options: Any) -> FtcError:
        """The refusal of a command, which must have changed nothing."""
        before = self.snapshot()
        [answer] = self.store.write([Submission(command, **options)])
        assert isinstance(answer, FtcError), answer
        assert self.snapshot() == before
        return answer

    def account(self, *, quota: int | None = None, status: AccountStatus = AccountStatus.ACTIVE) -> Account:
        account = Account(
            id=self.new_id(),
            display_name="Account",
            device_quota=quota,
            status=status,
            created_at=NOW,
            updated_at=NOW,
        )
        outcome = self.run(CreateAccount(account))
        assert isinstance(outcome, Created)
        assert outcome.account is not None
        return outcome.account

    def trusting_account(self, *, quota: int | None = None, ca: bytes = CA, **options: Any) -> Account:
        """An account that trusts `ca` for first-to-claim devices."""
        account = self.account(quota=quota)
        self.certificate(account, ca=ca, **options)
        return account

    def certificate(self, account: Account, **options: Any) -> TrustedCertificate:
        outcome = self.run(CreateTrustedCertificate(self.new_certificate(account.id, **options)))
        assert isinstance(outcome, Created)
        assert outcome.certificate is not None
        return outcome.certificate

    def enrollment(self, account: Account, number: int, *, expires_at: datetime | None = None) -> Enrollment:
        outcome = self.run(self.create_enrollment(account, number, expires_at=expires_at))
        assert isinstance(outcome, Created)
        [enrollment] = outcome.enrollments
        return enrollment

    def claim(self, number: int, *, now: datetime = NOW, **request: Any) -> Claimed:
        outcome = self.run(self.claim_command(number, now=now, **request))
        assert isinstance(outcome, Claimed)
        return outcome

    def registered(self, number: int, *, lifetime: int = 300, now: datetime = NOW) -> Device:
        """Claims and registers a device that is enrolled."""
        device = self.claim(number, now=now).device
        outcome = self.run(self.register_command(device, lifetime=lifetime, now=now))
        assert isinstance(outcome, Created)
        assert outcome.device is not None
        return outcome.device

    def release(self, enrollment: Enrollment, *, now: datetime = NOW) -> Done:
        outcome = self.run(DeleteEnrollment(enrollment.account_id, enrollment.id, now))
        assert isinstance(outcome, Done)
        return outcome

    # --- records and commands ----------------------------------------------------------------------

    def new_key(self, account_id: str) -> ApiKey:
        return ApiKey(
            id=self.new_id(), account_id=account_id, role=Role.ADMIN, secret_hash=bytes(32), created_at=NOW
        )

    def new_certificate(
        self,
        account_id: str,
        *,
        ca: bytes = CA,
        subject: bytes = b"subject",
        enrollment_mode: bool = True,
        **more: Any,
    ) -> TrustedCertificate:
        return TrustedCertificate(
            id=self.new_id(),
            account_id=account_id,
            display_name="CA",
            enrollment_mode=enrollment_mode,
            certificate="-----BEGIN CERTIFICATE-----\n",
            certificate_der={CA: CA_DER, OTHER_CA: OTHER_CA_DER}.get(ca, b"DER of " + ca),
            fingerprint=ca,
            subject="CN=CA",
            subject_der=subject,
            issuer="CN=CA",
            not_before=NOW - HOUR,
            not_after=NOW + HOUR,
            created_at=NOW,
            updated_at=NOW,
            **more,
        )

    def new_enrollment(
        self, account_id: str, number: int, *, expires_at: datetime | None = None, created_at: datetime = NOW
    ) -> Enrollment:
        return Enrollment(
            id=self.new_id(),
            account_id=account_id,
            fingerprint=fingerprint(number),
            created_at=created_at,
            expires_at=expires_at,
        )

    def create_enrollment(
        self, account: Account, number: int, *, expires_at: datetime | None = None, now: datetime = NOW
    ) -> CreateEnrollments:
        return CreateEnrollments((self.new_enrollment(account.id, number, expires_at=expires_at),), now)

    def claim_command(self, number: int, *, now: datetime = NOW, **request: Any) -> ClaimDevice:
        return ClaimDevice(claim_request(number, **request), self.new_id(), now)

    def register_command(
        self, device: Device, *, lifetime: int = 300, now: datetime = NOW, **changes: Any
    ) -> RegisterDevice:
        fields: dict[str, Any] = {
            "account_id": device.account_id,
            "device_id": device.id,
            "endpoint_name": device.endpoint_name,
            "lifetime": lifetime,
            "lwm2m_version": "1.1",
            "binding": "U",
            "object_links": "</1/0>,</3/0>",
            "client_version": "4.13",
            "address": "[2001:db8::1]:5683",
            "now": now,
        }
        return RegisterDevice(**(fields | changes))

    # --- reading -----------------------------------------------------------------------------------

    def find_enrollment(self, number: int) -> Enrollment | None:
        with self.store.view() as view:
            [enrollment] = view.find_enrollments([fingerprint(number)])
            return enrollment

    def find_device(self, number: int) -> Device | None:
        with self.store.view() as view:
            [device] = view.find_devices([fingerprint(number)])
            return device

    def events(self, after_revision: int = 0) -> list[Event]:
        with self.store.view() as view:
            return view.events(after_revision=after_revision, limit=10_000)

    def revision(self) -> int:
        with self.store.view() as view:
            return view.revision()

    def snapshot(self) -> list[Any]:
        """All that a view can show of the accounts, for "it changed nothing"."""
        with self.store.view() as view:
            accounts = view.list_accounts(after=None, limit=1_000)
            shown: list[Any] = [view.revision(), accounts, view.events(after_revision=0, limit=10_000)]
            for account in accounts:
                shown += [
                    view.list_trusted_certificates(account.id, after=None, limit=1_000),
                    view.list_enrollments(account.id, after=None, limit=1_000),
                    view.list_devices(account.id, after=None, limit=1_000),
                    view.list_api_keys(account.id, after=None, limit=1_000),
                    view.count_api_keys(account.id),
                    view.count_trusted_certificates(account.id),
                    view.count_enrollments(account.id),
                    view.count_devices(account.id),
                ]
            return shown


def claim_request(
    number: int,
    *,
    endpoint_name: str | None = None,
    common_name: str | None = None,
    issuing_cas: tuple[bytes, ...] = (CA,),
    account_id: str | None = None,
    client_version: str = "",
) -> ClaimRequest:
    """A Bootstrap-Request of the device number `number`, whose common name is `device-<number>`."""
    name = f"device-{number}" if endpoint_name is None else endpoint_name
    return ClaimRequest(
        fingerprint=fingerprint(number),
        common_name=name if common_name is None else common_name,
        endpoint_name=name,
        issuing_cas=issuing_cas,
        account_id=account_id,
        client_version=client_version,
        address="192.0.2.1:40000",
    )


def reasons(answers: list[Outcome | FtcError]) -> list[Reason | None]:
    """Of each refusal; None for an outcome."""
    return [answer.reason if isinstance(answer, FtcError) else None for answer in answers]
