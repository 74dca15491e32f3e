"""The story of the demo: three devices, two accounts, and what the API must show at each turn."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import monotonic

from cryptography.hazmat.primitives.serialization import Encoding

from ftc_core.application.context import utc_now
from ftc_core.device.bundle import Bundle
from ftc_core.device.client import BootstrapFailed
from ftc_core.device.powered import PoweredDevice
from ftc_core.device.registration import OperationFailed
from ftc_core.device.retry import Reaction, after_bootstrap, backoff_s
from ftc_core.device.runner import RegisteredDevice
from ftc_core.errors import CATALOGUE, FtcError, Reason
from ftc_core.factory.ca import create_factory_ca
from ftc_core.factory.provision import ProvisionPlan, provision
from ftc_grpc._gen.ftc.v1.account_pb2 import Account
from ftc_grpc._gen.ftc.v1.account_service_pb2 import CreateAccountRequest, GetAccountRequest
from ftc_grpc._gen.ftc.v1.device_enrollment_pb2 import DeviceEnrollment
from ftc_grpc._gen.ftc.v1.device_enrollment_service_pb2 import (
    CreateDeviceEnrollmentRequest,
    DeleteDeviceEnrollmentRequest,
)
from ftc_grpc._gen.ftc.v1.device_pb2 import Device
from ftc_grpc._gen.ftc.v1.device_transfer_pb2 import DeviceTransfer
from ftc_grpc._gen.ftc.v1.device_transfer_service_pb2 import (
    AcceptDeviceTransferRequest,
    CreateDeviceTransferRequest,
)
from ftc_grpc._gen.ftc.v1.ledger_service_pb2 import CreateLedgerCheckpointRequest
from ftc_grpc._gen.ftc.v1.ownership_pb2 import VerifyOwnershipHistoryRequest
from ftc_grpc._gen.ftc.v1.trusted_certificate_pb2 import TrustedCertificate
from ftc_grpc._gen.ftc.v1.trusted_certificate_service_pb2 import CreateTrustedCertificateRequest
from ftc_grpc.client import ApiClient
from ftc_grpc.demo.instance import Instance
from ftc_grpc.demo.observer import device_of, wait_for_state

__all__ = ["Story"]

FLASH_WRITE_S = 0.05
"""Seconds that the demo's devices take for each answer, as if writing to flash: long enough to be watched."""
LIFETIME_S = 600
"""Registration lifetime, seconds."""


@dataclass(frozen=True)
class Turn:
    """One line of the timeline: seconds since the start, what happened, and the ms that it took, if any."""

    at_s: float
    text: str
    took_ms: float | None = None


class Story:
    """Tells the story once. `tell` gets each turn as it happens; anything unexpected raises FtcError."""

    def __init__(
        self, instance: Instance, api: ApiClient, workshop: Path, tell: Callable[[Turn], None]
    ) -> None:
        self._instance = instance
        self._api = api
        self._workshop = workshop
        self._tell = tell
        self._started = monotonic()
        self._connected: dict[str, RegisteredDevice] = {}

    async def run(self) -> None:
        """From the factory floor to the second owner, by release and by transfer."""
        one, two, three = self._provision()
        first, second = self._create_account("First Owner"), self._create_account("Second Owner")
        self._upload_ca(first)
        enrollment = self._enroll(first, one)

        await self._claim(first, one)
        waiting = await self._refused(two, Reason.ENROLLMENT_NOT_FOUND)
        self._enroll(first, two)
        self._say(f"{two.bundle.endpoint_name} will come again by itself, in {waiting:.1f} s")
        retry = asyncio.create_task(self._come_again(first, two, waiting))

        self._enroll(second, three)
        await self._refused(three, Reason.CA_NOT_IN_ACCOUNT)
        self._upload_ca(second)
        await self._claim(second, three)

        await self._release(first, enrollment, one)
        self._enroll(second, one)
        await self._claim(second, one)

        await self._transfer(second, first, three)
        self._verify_history(three, changes=2)

        await retry
        self._check_counts({first.name: 2, second.name: 1})
        for device in self._connected.values():
            device.close()

    # --- turns ---------------------------------------------------------------------------------------

    def _provision(self) -> tuple[PoweredDevice, PoweredDevice, PoweredDevice]:
        began = monotonic()
        ca = create_factory_ca(self._workshop / "factory-ca", name="Demo Manufacturer CA", now=utc_now())
        plan = ProvisionPlan(
            count=3,
            out=self._workshop / "factory",
            authority=ca,
            bootstrap_uri=f"coaps://{self._instance.bootstrap}",
            server_ca=self._instance.directory.server_ca.public_bytes(Encoding.DER),
            name_prefix="device-",
            validity=timedelta(days=365),
            now=utc_now(),
        )
        bundles = [Bundle.load(made.directory) for made in provision(plan)]
        self._say("factory: 3 devices provisioned under a new manufacturer CA", since=began)
        one, two, three = (PoweredDevice(bundle, answer_delay_s=FLASH_WRITE_S) for bundle in bundles)
        return one, two, three

    def _create_account(self, display_name: str) -> Account:
        began = monotonic()
        account = self._api.call(
            self._api.accounts.CreateAccount,
            CreateAccountRequest(account=Account(display_name=display_name, device_quota=10)),
        )
        self._say(f"account {display_name!r} created: {account.name}", since=began)
        return account

    def _upload_ca(self, account: Account) -> None:
        began = monotonic()
        pem = (self._workshop / "factory" / "ca.pem").read_text()
        certificate = TrustedCertificate(
            display_name="Demo Manufacturer CA",
            certificate=pem,
            service=TrustedCertificate.BOOTSTRAP,
            enrollment_mode=True,
        )
        request = CreateTrustedCertificateRequest(parent=account.name, trusted_certificate=certificate)
        self._api.call(self._api.trusted_certificates.CreateTrustedCertificate, request)
        self._say(f"{account.display_name}: manufacturer CA uploaded, enrollment_mode on", since=began)

    def _enroll(self, account: Account, device: PoweredDevice) -> DeviceEnrollment:
        began = monotonic()
        wanted = DeviceEnrollment(enrollment_identity=device.bundle.enrollment_id)
        request = CreateDeviceEnrollmentRequest(parent=account.name, device_enrollment=wanted)
        enrollment = self._api.call(self._api.device_enrollments.CreateDeviceEnrollment, request)
        self._say(f"{account.display_name}: {device.bundle.endpoint_name} enrolled", since=began)
        return enrollment

    async def _claim(self, account: Account, device: PoweredDevice) -> None:
        """Power on a device that has no account."""
        self._say(f"{device.bundle.endpoint_name} powers on")
        await self._onboard(account, device)

    async def _onboard(self, account: Account, device: PoweredDevice) -> None:
        """Bootstrap and register; the API must show each of its states, one after the other."""
        name = device.bundle.endpoint_name
        began = monotonic()
        enrolling = asyncio.create_task(self._seen(account, name, Device.CLOUD_ENROLLING, began))
        outcome = await device.bootstrap()
        if isinstance(outcome, BootstrapFailed):
            enrolling.cancel()
            raise FtcError(Reason.DEVICE_REFUSED, f"{name}: {outcome.code} {outcome.text}")
        await enrolling
        await self._seen(account, name, Device.BOOTSTRAPPED, began)

        credentials = device.bundle.lwm2m
        assert credentials is not None  # noqa: S101 - the bootstrap has just stored them
        began = monotonic()
        registered = await device.register(credentials, lifetime=LIFETIME_S)
        if isinstance(registered, OperationFailed):
            raise FtcError(Reason.DEVICE_REFUSED, f"{name}: {registered.code} {registered.text}")
        self._connected[name] = registered
        await self._seen(account, name, Device.REGISTERED, began)

    async def _seen(
        self, account: Account, endpoint_name: str, state: Device.State.ValueType, since: float
    ) -> None:
        await wait_for_state(self._api, account.name, endpoint_name, [state])
        self._say(
            f"{account.display_name}: the API shows {endpoint_name} as {Device.State.Name(state)}",
            since=since,
        )

    async def _refused(self, device: PoweredDevice, reason: Reason) -> float:
        """Power on, be refused for `reason` and nothing else; the seconds until the device comes again."""
        name = device.bundle.endpoint_name
        began = monotonic()
        self._say(f"{name} powers on")
        outcome = await device.bootstrap()
        expected = CATALOGUE[reason]
        if not isinstance(outcome, BootstrapFailed) or (outcome.code, outcome.text) != (
            expected.coap,
            expected.text,
        ):
            raise FtcError(Reason.INTERNAL_10, f"{name} was not refused with {expected.text!r}: {outcome}")
        if after_bootstrap(outcome.code) is not Reaction.RETRY:
            raise FtcError(Reason.INTERNAL_10, f"{name} would never come again after {outcome.code}")
        self._say(f'{name} refused: {outcome.code} "{outcome.text}"', since=began)
        return backoff_s(1, random.uniform(-1, 1))  # noqa: S311 - jitter

    async def _come_again(self, account: Account, device: PoweredDevice, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        await self._claim(account, device)

    async def _release(self, owner: Account, enrollment: DeviceEnrollment, device: PoweredDevice) -> None:
        """Delete the enrollment, see the device gone and refused, and reset it."""
        name = device.bundle.endpoint_name
        began = monotonic()
        request = DeleteDeviceEnrollmentRequest(name=enrollment.name)
        self._api.call(self._api.device_enrollments.DeleteDeviceEnrollment, request)
        if await asyncio.to_thread(device_of, self._api, owner.name, name) is not None:
            raise FtcError(Reason.INTERNAL_10, f"{name} is still a device of {owner.display_name}")
        self._say(f"{owner.display_name}: {name} released; the API no longer shows it", since=began)

        credentials = device.bundle.lwm2m
        assert credentials is not None  # noqa: S101 - it was claimed before
        began = monotonic()
        refused = await device.register(credentials, lifetime=LIFETIME_S)
        expected = CATALOGUE[Reason.CREDENTIALS_RELEASED].coap
        if not isinstance(refused, OperationFailed) or refused.code != expected:
            raise FtcError(Reason.INTERNAL_10, f"{name} could still register with its old credentials")
        self._say(f'{name} registers with its old credentials: {refused.code} "{refused.text}"', since=began)
        device.bundle.factory_reset()
        self._say(f"{name}: factory reset, account and LwM2M credentials forgotten")

    async def _transfer(self, giver: Account, receiver: Account, device: PoweredDevice) -> None:
        """Offer and accept a registered device, and see it follow by itself."""
        name = device.bundle.endpoint_name
        given = device_of(self._api, giver.name, name)
        if given is None:
            raise FtcError(Reason.INTERNAL_10, f"{name} is no device of {giver.display_name}")
        began = monotonic()
        offer = CreateDeviceTransferRequest(
            parent=giver.name,
            device_transfer=DeviceTransfer(to_account_id=receiver.id),
            devices=[given.name],
        )
        made = self._api.call(self._api.device_transfers.CreateDeviceTransfer, offer).device_transfer
        self._say(f"{giver.display_name}: {name} offered to {receiver.display_name}", since=began)

        began = monotonic()
        acceptance = AcceptDeviceTransferRequest(name=f"{receiver.name}/deviceTransfers/{made.id}")
        self._api.call(self._api.device_transfers.AcceptDeviceTransfer, acceptance)
        owners = [
            account.display_name for account in (giver, receiver) if device_of(self._api, account.name, name)
        ]
        if owners != [receiver.display_name]:
            raise FtcError(Reason.INTERNAL_10, f"{name} is a device of {' and '.join(owners) or 'nobody'}")
        self._say(
            f"{receiver.display_name}: accepted; the API shows {name} there and nowhere else", since=began
        )

        await self._follow(receiver, device)
        credentials = device.bundle.lwm2m
        if credentials is None or (credentials.account_id, credentials.device_id) != (receiver.id, given.id):
            raise FtcError(Reason.INTERNAL_10, f"{name} has not got the credentials of its new owner")

    def _verify_history(self, device: PoweredDevice, *, changes: int) -> None:
        """Have the ledger signed, and the device's history verified against that."""
        name = device.bundle.endpoint_name
        began = monotonic()
        signed = self._api.call(self._api.ledger.CreateLedgerCheckpoint, CreateLedgerCheckpointRequest())
        request = VerifyOwnershipHistoryRequest(enrollment_identity=device.bundle.enrollment_id)
        found = self._api.call(self._api.device_transfers.VerifyOwnershipHistory, request)
        if not found.verified or found.covered_sequence != changes:
            raise FtcError(Reason.INTERNAL_10, f"{name}: its ownership history is not verified: {found}")
        self._say(
            f"{name}: ownership history verified, {changes} changes, signed in checkpoint {signed.number}",
            since=began,
        )

    async def _follow(self, owner: Account, device: PoweredDevice) -> None:
        """What a device in the field does at the first update after its transfer."""
        name = device.bundle.endpoint_name
        connected = self._connected.pop(name)
        began = monotonic()
        refused = await connected.update()
        connected.close()
        if not isinstance(refused, OperationFailed) or refused.reaction is not Reaction.BOOTSTRAP_AGAIN:
            raise FtcError(Reason.INTERNAL_10, f"{name} could still update its registration: {refused}")
        self._say(f'{name} updates its registration: {refused.code} "{refused.text}"', since=began)
        device.bundle.forget_lwm2m()
        self._say(f"{name} bootstraps again by itself, at {device.bundle.bootstrap_server_uri}")
        await self._onboard(owner, device)

    def _check_counts(self, expected: dict[str, int]) -> None:
        for name, count in expected.items():
            account = self._api.call(self._api.accounts.GetAccount, GetAccountRequest(name=name))
            if account.device_count != count:
                raise FtcError(
                    Reason.INTERNAL_10, f"{name} counts {account.device_count} devices, not {count}"
                )
            self._say(f"{account.display_name}: {count} device(s) of {account.device_quota}")

    def _say(self, text: str, *, since: float | None = None) -> None:
        now = monotonic()
        took = None if since is None else (now - since) * 1e3
        self._tell(Turn(now - self._started, text, took))
