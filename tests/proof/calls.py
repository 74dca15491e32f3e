"""Carries out the actions of one client, through the API and the devices' servers."""

from __future__ import annotations

import uuid
from random import Random
from typing import Any, NamedTuple

import grpc

from ftc_core.domain.claim import ClaimRequest
from ftc_core.domain.identity import fingerprint_of, format_enrollment_id
from ftc_core.errors import FtcError, Reason
from ftc_core.lwm2m.registration import DeviceIdentity
from ftc_grpc._gen.ftc.v1.block_pb2 import BlockDeviceRequest, UnblockDeviceRequest
from ftc_grpc._gen.ftc.v1.device_enrollment_pb2 import DeviceEnrollment
from ftc_grpc._gen.ftc.v1.device_enrollment_service_pb2 import (
    CreateDeviceEnrollmentRequest,
    DeleteDeviceEnrollmentRequest,
    LookupDeviceEnrollmentRequest,
)
from ftc_grpc._gen.ftc.v1.device_service_pb2 import GetDeviceRequest
from ftc_grpc._gen.ftc.v1.device_transfer_pb2 import DeviceTransfer
from ftc_grpc._gen.ftc.v1.device_transfer_service_pb2 import (
    AcceptDeviceTransferRequest,
    CancelDeviceTransferRequest,
    CreateDeviceTransferRequest,
    GetDeviceTransferRequest,
    RejectDeviceTransferRequest,
)
from ftc_grpc.bearer import bearer_metadata
from ftc_grpc.client import ApiClient, error_of
from tests.certificates import Manufacturer
from tests.instance import Instance
from tests.proof.devices import Devices
from tests.proof.history import (
    Action,
    Answer,
    Block,
    Claim,
    Decide,
    Decision,
    Enroll,
    LookUp,
    Offer,
    ReadDevice,
    ReadTransfer,
    Register,
    Release,
    Unblock,
    UnknownOutcomeError,
)
from tests.proof.scenario import Scenario

__all__ = ["Calls"]

PATIENT_S = 20.0
HASTY_S = 0.004
"""About as long as a call takes: some are given up before, some while, and some after they are committed."""
LEFT_ALONE = 0.5
"""The share of unanswered calls that nobody repeats."""


class Calls:
    """The API over a connection of its own, and the devices' servers.

    With `hasty` greater than 0, that share of the calls is given up after HASTY_S. Some that got no answer
    are repeated with the same request_id, some are left at that.
    """

    def __init__(
        self,
        instance: Instance,
        devices: Devices,
        manufacturer: Manufacturer,
        scenario: Scenario,
        random: Random,
        *,
        hasty: float = 0.0,
    ) -> None:
        self._devices = devices
        self._ca = fingerprint_of(manufacturer.der)
        self._scenario = scenario
        self._random = random
        self._hasty = hasty
        self._keys = {party.id: bearer_metadata(party.api_key) for party in scenario.parties}
        host, port = instance.address("grpc")
        ca_pem = instance.directory.server_ca_file.read_bytes()
        self._client = ApiClient(f"{host}:{port}", ca_pem=ca_pem)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def act(self, action: Action) -> Answer:
        """What came back. Raises UnknownOutcomeError if nothing did."""
        try:
            return self._act(action)
        except FtcError as error:
            return Answer(
                reason=error.reason,
                about=self._about(action, error),
                state=error.metadata.get("state", ""),
            )

    def _act(self, action: Action) -> Answer:
        match action:
            case Claim():
                return self._claim(action)
            case Register():
                return self._register(action)
        request_id = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        timeout_s = HASTY_S if self._random.random() < self._hasty else PATIENT_S
        try:
            return self._call(action, request_id, timeout_s)
        except UnknownOutcomeError:
            if self._random.random() < LEFT_ALONE:
                raise
        try:
            return self._call(action, request_id, PATIENT_S)
        except FtcError as error:
            if error.reason is Reason.FIELD_INVALID:  # its expires_at has passed; what of the first call?
                raise UnknownOutcomeError from error
            raise

    # --- devices -----------------------------------------------------------------------------------

    def _claim(self, claim: Claim) -> Answer:
        name = self._scenario.endpoint_name(claim.device)
        report = self._devices.ask(
            claim=ClaimRequest(
                fingerprint=self._scenario.fingerprint(claim.device),
                common_name=name,
                endpoint_name=name,
                issuing_cas=(self._ca,),
                account_id=claim.aid,
            )
        )
        return Answer(reason=report.reason, account_id=report.account_id, device_id=report.device_id)

    def _register(self, register: Register) -> Answer:
        name = self._scenario.endpoint_name(register.device)
        identity = DeviceIdentity(name, register.device_id, register.account_id)
        return Answer(reason=self._devices.ask(register=identity).reason)

    # --- the API -----------------------------------------------------------------------------------

    def _ask(self, action: Action) -> _Ask:
        enrollments, devices = self._client.device_enrollments, self._client.devices
        transfers = self._client.device_transfers
        match action:
            case Enroll(account_id=account, expires_at=expires_at):
                wanted = DeviceEnrollment(enrollment_identity=self._identity(action.device))
                if expires_at is not None:
                    wanted.expires_at.FromDatetime(expires_at)
                creation = CreateDeviceEnrollmentRequest(parent=_name(account), device_enrollment=wanted)
                return _Ask(enrollments.CreateDeviceEnrollment, creation)
            case Release(account_id=account, enrollment_id=enrollment):
                name = _name(account, "deviceEnrollments", enrollment)
                return _Ask(enrollments.DeleteDeviceEnrollment, DeleteDeviceEnrollmentRequest(name=name))
            case LookUp(account_id=account):
                identity = self._identity(action.device)
                look = LookupDeviceEnrollmentRequest(parent=_name(account), enrollment_identity=identity)
                return _Ask(enrollments.LookupDeviceEnrollment, look)
            case ReadDevice(account_id=account, device_id=device):
                return _Ask(devices.GetDevice, GetDeviceRequest(name=_name(account, "devices", device)))
            case Block(account_id=account, device_id=device):
                return _Ask(devices.BlockDevice, BlockDeviceRequest(name=_name(account, "devices", device)))
            case Unblock(account_id=account, device_id=device):
                name = _name(account, "devices", device)
                return _Ask(devices.UnblockDevice, UnblockDeviceRequest(name=name))
            case Offer(account_id=account, device_ids=device_ids):
                offered = DeviceTransfer(to_account_id=action.receiver_id)
                offered.expires_at.FromDatetime(action.expires_at)
                names = [_name(account, "devices", device) for device in device_ids]
                offer = CreateDeviceTransferRequest(
                    parent=_name(account), device_transfer=offered, devices=names
                )
                return _Ask(transfers.CreateDeviceTransfer, offer)
            case Decide(account_id=account, transfer_id=transfer, decision=decision):
                name = _name(account, "deviceTransfers", transfer)
                match decision:
                    case Decision.ACCEPT:
                        return _Ask(transfers.AcceptDeviceTransfer, AcceptDeviceTransferRequest(name=name))
                    case Decision.REJECT:
                        return _Ask(transfers.RejectDeviceTransfer, RejectDeviceTransferRequest(name=name))
                    case Decision.CANCEL:
                        return _Ask(transfers.CancelDeviceTransfer, CancelDeviceTransferRequest(name=name))
            case ReadTransfer(account_id=account, transfer_id=transfer):
                name = _name(account, "deviceTransfers", transfer)
                return _Ask(transfers.GetDeviceTransfer, GetDeviceTransferRequest(name=name))
        raise AssertionError(action)

    def _call(self, action: Action, request_id: str, timeout_s: float) -> Answer:
        """Raises FtcError if refused; UnknownOutcomeError if no answer came within `timeout_s`."""
        assert not isinstance(action, Claim)
        method, request = self._ask(action)
        if "request_id" in request.DESCRIPTOR.fields_by_name:
            request.request_id = request_id
        try:
            response = method(
                request,
                timeout=timeout_s,
                # A killed API is back soon.
                wait_for_ready=True,
                metadata=self._keys[action.account_id],
            )
        except grpc.RpcError as error:
            told = error_of(error, "the API")
            if told.reason is Reason.API_UNREACHABLE:
                raise UnknownOutcomeError from error
            raise told from error
        return _answer(action, response)

    def _identity(self, device: int) -> str:
        return format_enrollment_id(self._scenario.fingerprint(device))

    def _about(self, action: Action, error: FtcError) -> int | None:
        """The device that a refusal names, by its place in the request or by its endpoint name."""
        if not isinstance(action, Offer | Decide):
            return None
        if "index" in error.metadata:
            return action.devices[int(error.metadata["index"])]
        named = error.metadata.get("endpoint_name")
        return next(
            (device for device in action.devices if self._scenario.endpoint_name(device) == named), None
        )


class _Ask(NamedTuple):
    """A method of the API and what to ask it."""

    method: Any
    request: Any


def _name(account_id: str, collection: str = "", resource_id: str = "") -> str:
    return f"accounts/{account_id}" + (f"/{collection}/{resource_id}" if collection else "")


def _answer(action: Action, response: Any) -> Answer:
    match action:
        case Enroll():
            return Answer(enrollment_id=response.id)
        case LookUp():
            return Answer(enrollment_id=response.id, device_id=response.enrolled_device_id)
        case Offer():
            return Answer(transfer_id=response.device_transfer.id)
        case ReadTransfer():
            return Answer(state=DeviceTransfer.State.Name(response.state))
        case _:
            return Answer()
