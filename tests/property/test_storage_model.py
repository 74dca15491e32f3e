"""The store against a model of dictionaries: any commands, in batches of any size.

The model takes each command when it is queued, one after the other; the store gets what has queued as one
transaction. So every run also says that a batch is worth its commands in order. Whenever the store is closed,
it is checked (`ftc check`): whatever was done to it, nothing may be found.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from ftc_core.domain.device import DeviceState
from ftc_core.domain.ledger import LedgerKind, first_broken
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.commands import (
    ClaimDevice,
    Command,
    CreateEnrollments,
    DeleteEnrollment,
    DeregisterDevice,
    ExpireEnrollments,
    ExpireRegistrations,
    MarkBootstrapped,
    RegisterDevice,
    Submission,
    Swept,
)
from ftc_core.storage.engines import check_store
from ftc_core.storage.lmdb import open_lmdb
from tests.conformance.scene import NOW, Scene, claim_request, fingerprint

DEVICES = range(4)
LIFETIME = 60
SOON = timedelta(seconds=30)

device_numbers = st.sampled_from(DEVICES)
account_numbers = st.sampled_from(range(3))
names = st.sampled_from(["shared", "own"])


@dataclass(frozen=True)
class ModelEnrollment:
    id: str
    account: int
    expires_at: datetime | None
    claimed: bool = False

    def expired(self, now: datetime) -> bool:
        return not self.claimed and self.expires_at is not None and self.expires_at <= now


@dataclass(frozen=True)
class ModelDevice:
    id: str
    account: int
    name: str
    enrolled: bool
    state: DeviceState = DeviceState.CLOUD_ENROLLING
    lapses_at: datetime | None = None


@dataclass
class Model:
    """Accounts 0 and 1 take enrolled devices only; 2 takes any device that names it. Quotas 2, none, 1."""

    quotas = (2, None, 1)
    enrollments: dict[int, ModelEnrollment] = field(default_factory=dict)
    devices: dict[int, ModelDevice] = field(default_factory=dict)
    ledger: dict[int, list[tuple[LedgerKind, str]]] = field(default_factory=dict)

    def count(self, account: int) -> int:
        return sum(device.account == account for device in self.devices.values())

    def claim(self, number: int, name: str, aid: int | None, new_id: str, now: datetime) -> Reason | None:
        enrollment, device = self.enrollments.get(number), self.devices.get(number)
        if enrollment is not None and enrollment.expired(now):
            enrollment = None
        pre_assigned = aid == 2 and (device is None or device.account == 2)
        # An enrollment elsewhere outranks pre-assignment even when its window has closed.
        listed = self.enrollments.get(number)
        if pre_assigned and listed is not None and listed.account != 2:
            pre_assigned = False
        if not pre_assigned and (enrollment is None or aid not in (None, enrollment.account)):
            return Reason.ENROLLMENT_NOT_FOUND
        if enrollment is not None and aid in (None, enrollment.account):
            account = enrollment.account
        else:
            assert aid is not None
            account = aid
        if aid is None and account == 2:
            return Reason.CA_NOT_IN_ACCOUNT  # its certificate is not for first-to-claim devices
        holders = [n for n, d in self.devices.items() if (d.account, d.name) == (account, name)]
        if holders not in ([], [number]):
            return Reason.DUPLICATE_ENDPOINT
        owned = device is not None and device.account == account
        quota = self.quotas[account]
        if not owned and quota is not None and self.count(account) >= quota:
            return Reason.QUOTA_REACHED
        if device is not None and not owned:
            self.release(number)
        if enrollment is not None:
            self.enrollments[number] = replace(enrollment, claimed=True)
        if owned:
            assert device is not None
            new_id = device.id
        else:
            self.ledger.setdefault(number, []).append((LedgerKind.CLAIMED, new_id))
        self.devices[number] = ModelDevice(new_id, account, name, enrollment is not None)
        return None

    def release(self, number: int) -> None:
        device = self.devices.pop(number)
        self.ledger[number].append((LedgerKind.RELEASED, device.id))


class StoreAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(prefix="ftc-model-")
        self.store = open_lmdb(Path(self.directory.name), create=True)
        self.scene = Scene(self.store)
        self.model = Model()
        self.now = NOW
        self.queue: list[tuple[Command, Reason | Swept | None]] = []

    def teardown(self) -> None:
        self.flush()
        self.store.close()
        self._check()
        self.directory.cleanup()

    @initialize()
    def found_accounts(self) -> None:
        self.accounts = [
            self.scene.trusting_account(quota=Model.quotas[0]),
            self.scene.trusting_account(quota=Model.quotas[1]),
            self.scene.trusting_account(quota=Model.quotas[2], enrollment_mode=False),
        ]

    # --- commands ----------------------------------------------------------------------------------

    @rule(number=device_numbers, account=account_numbers, window=st.none() | st.just(SOON))
    def enroll(self, number: int, account: int, window: timedelta | None) -> None:
        expires_at = None if window is None else self.now + window
        row = self.scene.new_enrollment(self.accounts[account].id, number, expires_at=expires_at)
        present = self.model.enrollments.get(number)
        refusal = None
        if present is not None and not present.expired(self.now):
            refusal = Reason.ENROLLMENT_ALREADY_EXISTS
        else:
            self.model.enrollments[number] = ModelEnrollment(row.id, account, expires_at)
        self.queue.append((CreateEnrollments((row,), self.now), refusal))

    @rule(number=device_numbers)
    def delete_enrollment(self, number: int) -> None:
        enrollment = self.model.enrollments.pop(number, None)
        if enrollment is None:
            command = DeleteEnrollment(self.accounts[0].id, self.scene.new_id(), self.now)
            self.queue.append((command, Reason.RESOURCE_NOT_FOUND))
            return
        if enrollment.claimed:
            self.model.release(number)
        command = DeleteEnrollment(self.accounts[enrollment.account].id, enrollment.id, self.now)
        self.queue.append((command, None))

    @rule(number=device_numbers, name=names, aid=st.none() | account_numbers)
    def claim(self, number: int, name: str, aid: int | None) -> None:
        name = f"own-{number}" if name == "own" else name
        request = claim_request(
            number, endpoint_name=name, account_id=None if aid is None else self.accounts[aid].id
        )
        command = ClaimDevice(request, self.scene.new_id(), self.now)
        refusal = self.model.claim(number, name, aid, command.device_id, self.now)
        self.queue.append((command, refusal))

    @rule(number=device_numbers)
    def mark_bootstrapped(self, number: int) -> None:
        device = self.model.devices.get(number)
        account, id_ = self._name(device)
        if device is not None and device.state is not DeviceState.REGISTERED:
            self.model.devices[number] = replace(device, state=DeviceState.BOOTSTRAPPED)
        refusal = Reason.RESOURCE_NOT_FOUND if device is None else None
        self.queue.append((MarkBootstrapped(account, id_, self.now), refusal))

    @rule(number=device_numbers)
    def register(self, number: int) -> None:
        device = self.model.devices.get(number)
        account, id_ = self._name(device)
        command = RegisterDevice(
            account_id=account,
            device_id=id_,
            endpoint_name="" if device is None else device.name,
            lifetime=LIFETIME,
            lwm2m_version="1.1",
            binding="U",
            object_links="",
            client_version="",
            address="",
            now=self.now,
        )
        if device is not None:
            lapses_at = self.now + timedelta(seconds=LIFETIME)
            self.model.devices[number] = replace(device, state=DeviceState.REGISTERED, lapses_at=lapses_at)
        self.queue.append((command, Reason.CREDENTIALS_RELEASED if device is None else None))

    @rule(number=device_numbers)
    def deregister(self, number: int) -> None:
        device = self.model.devices.get(number)
        account, id_ = self._name(device)
        refusal: Reason | None = None
        if device is None:
            refusal = Reason.CREDENTIALS_RELEASED
        elif device.state is not DeviceState.REGISTERED:
            refusal = Reason.REGISTRATION_NOT_FOUND
        else:
            self.model.devices[number] = replace(device, state=DeviceState.DEREGISTERED)
        self.queue.append((DeregisterDevice(account, id_, self.now), refusal))

    @rule(limit=st.integers(1, 2))
    def expire_enrollments(self, limit: int) -> None:
        # The longest overdue first; those of one moment in order of fingerprint.
        due = sorted(
            (enrollment.expires_at, fingerprint(number), number)
            for number, enrollment in self.model.enrollments.items()
            if enrollment.expires_at is not None and enrollment.expired(self.now)
        )
        for _, _, number in due[:limit]:
            del self.model.enrollments[number]
        swept = Swept(min(limit, len(due)), more=len(due) > limit)
        self.queue.append((ExpireEnrollments(self.now, limit), swept))

    @rule()
    def expire_registrations(self) -> None:
        due = [
            number
            for number, device in self.model.devices.items()
            if device.state is DeviceState.REGISTERED
            and device.lapses_at is not None
            and device.lapses_at <= self.now
        ]
        for number in due:
            device = self.model.devices[number]
            self.model.devices[number] = replace(device, state=DeviceState.DEREGISTERED)
        self.queue.append((ExpireRegistrations(self.now), Swept(len(due), more=False)))

    @rule(seconds=st.integers(1, LIFETIME))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    # --- the comparison ----------------------------------------------------------------------------

    @precondition(lambda self: self.queue)
    @rule()
    def flush(self) -> None:
        queued, self.queue = self.queue, []
        answers = self.store.write([Submission(command) for command, _ in queued])
        for (command, expected), answer in zip(queued, answers, strict=True):
            if isinstance(expected, Swept):
                assert answer == expected, command
            else:
                assert (answer.reason if isinstance(answer, FtcError) else None) == expected, command
        self._compare()

    @rule()
    def reopen(self) -> None:
        self.flush()
        self.store.close()
        self._check()
        self.store = self.scene.store = open_lmdb(Path(self.directory.name))
        self._compare()

    def _compare(self) -> None:
        model = self.model
        with self.store.view() as view:
            for number in DEVICES:
                [enrollment] = view.find_enrollments([fingerprint(number)])
                expected = model.enrollments.get(number)
                assert (enrollment.id if enrollment else None) == (expected.id if expected else None)
                [device] = view.find_devices([fingerprint(number)])
                wanted = model.devices.get(number)
                assert (device is None) == (wanted is None)
                if device is not None and wanted is not None:
                    assert (
                        device.id,
                        device.endpoint_name,
                        device.state,
                        device.enrollment_id is not None,
                    ) == (
                        wanted.id,
                        wanted.name,
                        wanted.state,
                        wanted.enrolled,
                    )
                    assert device.account_id == self.accounts[wanted.account].id
                if enrollment is not None and expected is not None:
                    assert (enrollment.claimed_at is not None) == expected.claimed
                    claimant = device.id if expected.claimed and device is not None else None
                    assert enrollment.enrolled_device_id == claimant
                entries = view.ledger(fingerprint(number))
                assert first_broken(entries) is None
                assert [(e.kind, e.device_id) for e in entries] == model.ledger.get(number, [])
            for index, account in enumerate(self.accounts):
                enrolled = sum(e.account == index for e in model.enrollments.values())
                assert view.count_enrollments(account.id) == enrolled
                assert len(view.list_enrollments(account.id, after=None, limit=9)) == enrolled
                assert view.count_devices(account.id) == model.count(index)
                assert len(view.list_devices(account.id, after=None, limit=9)) == model.count(index)
            revisions = [event.revision for event in view.events(after_revision=0, limit=10_000)]
            assert revisions == sorted(set(revisions))

    def _check(self) -> None:
        """The store by itself, which nobody has open, is whole."""
        report = check_store(f"lmdb://{self.directory.name}")
        assert [finding.text for finding in report.findings] == []

    def _name(self, device: ModelDevice | None) -> tuple[str, str]:
        if device is None:
            return self.accounts[0].id, self.scene.new_id()
        return self.accounts[device.account].id, device.id


StoreAgainstModel.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
test_the_store_does_what_the_model_does = StoreAgainstModel.TestCase
