"""Every method of the API × everyone who might call it: who is refused, and as what.

`REQUESTS` has a row for each row of the authorization table: a method that is added there and not here fails
the first test. A row makes a request about things of one account, all of them named in full.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.longrunning import operations_pb2
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_status import rpc_status

from ftc_core.application.context import new_id, utc_now
from ftc_core.domain.account import Role
from ftc_core.domain.claim import ClaimRequest
from ftc_core.domain.denial import Denial, Sighting
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.errors import Reason
from ftc_core.storage.commands import ClaimDevice, Claimed, Submission
from ftc_core.storage.denial_commands import RecordDenials
from ftc_grpc._gen.ftc.v1 import account_service_pb2 as accounts
from ftc_grpc._gen.ftc.v1 import block_pb2 as blocks
from ftc_grpc._gen.ftc.v1 import bulk_pb2 as bulk
from ftc_grpc._gen.ftc.v1 import denial_pb2 as denials
from ftc_grpc._gen.ftc.v1 import device_enrollment_service_pb2 as enrollments
from ftc_grpc._gen.ftc.v1 import device_service_pb2 as devices
from ftc_grpc._gen.ftc.v1 import device_transfer_service_pb2 as transfers
from ftc_grpc._gen.ftc.v1 import explain_pb2 as explain
from ftc_grpc._gen.ftc.v1 import ledger_service_pb2 as ledger
from ftc_grpc._gen.ftc.v1 import ownership_pb2 as ownership
from ftc_grpc._gen.ftc.v1 import trusted_certificate_service_pb2 as certificates
from ftc_grpc._gen.ftc.v1 import watch_pb2
from ftc_grpc._gen.ftc.v1.account_pb2 import Account, ApiKey
from ftc_grpc._gen.ftc.v1.device_enrollment_pb2 import DeviceEnrollment
from ftc_grpc._gen.ftc.v1.device_transfer_pb2 import DeviceTransfer
from ftc_grpc._gen.ftc.v1.trusted_certificate_pb2 import TrustedCertificate
from ftc_grpc.authorization import REQUIRED_ROLE
from tests.api import Tenant, TestApi
from tests.certificates import Manufacturer

RANK = {Role.READER: 1, Role.ADMIN: 2, Role.OPERATOR: 3}


class Things:
    """Names of an account's things, which exist as soon as they are asked for."""

    def __init__(self, api: TestApi) -> None:
        self.api = api
        self.tenant: Tenant = api.tenant("Victim")
        self.account = self.tenant.name
        self.identity = format_enrollment_id(os.urandom(32))

    @cached_property
    def api_key(self) -> str:
        request = accounts.CreateApiKeyRequest(api_key=ApiKey(role=ApiKey.READER))
        return self._call(self.tenant.client.accounts.CreateApiKey, request).api_key.name

    @cached_property
    def factory(self) -> Manufacturer:
        return Manufacturer("Factory")

    @cached_property
    def certificate(self) -> str:
        wanted = TrustedCertificate(
            display_name="Factory",
            certificate=self.factory.pem.decode(),
            service=TrustedCertificate.BOOTSTRAP,
            enrollment_mode=True,
        )
        request = certificates.CreateTrustedCertificateRequest(trusted_certificate=wanted)
        return self._call(self.tenant.client.trusted_certificates.CreateTrustedCertificate, request).name

    @cached_property
    def enrollment(self) -> str:
        wanted = DeviceEnrollment(enrollment_identity=self.identity)
        request = enrollments.CreateDeviceEnrollmentRequest(device_enrollment=wanted)
        return self._call(self.tenant.client.device_enrollments.CreateDeviceEnrollment, request).name

    @cached_property
    def device(self) -> str:
        assert self.certificate
        fingerprint = hashlib.sha256(self.factory.device("device-1").der).digest()
        self.identity = format_enrollment_id(fingerprint)
        assert self.enrollment
        claim = ClaimRequest(
            fingerprint=fingerprint,
            common_name="device-1",
            endpoint_name="device-1",
            issuing_cas=(hashlib.sha256(self.factory.der).digest(),),
        )
        command = Submission(ClaimDevice(claim, new_id(), utc_now()))
        outcome = self.api.run(self.api.context.commit.execute(command))
        assert isinstance(outcome, Claimed)
        return f"{self.account}/devices/{outcome.device.id}"

    @cached_property
    def blocked_device(self) -> str:
        """Blocked by its account and by the operator: each lifts its own block."""
        request = blocks.BlockDeviceRequest(name=self.device)
        for client in (self.tenant.client, self.api.client()):
            client.call(client.devices.BlockDevice, request)
        return self.device

    @cached_property
    def blocked_certificate(self) -> str:
        request = blocks.BlockTrustedCertificateRequest(name=self.certificate)
        for client in (self.tenant.client, self.api.client()):
            client.call(client.trusted_certificates.BlockTrustedCertificate, request)
        return self.certificate

    @cached_property
    def transfer(self) -> str:
        """The account offers its device."""
        request = transfers.CreateDeviceTransferRequest(
            device_transfer=DeviceTransfer(), devices=[self.device]
        )
        created = self._call(self.tenant.client.device_transfers.CreateDeviceTransfer, request)
        return created.device_transfer.name

    @cached_property
    def received_transfer(self) -> str:
        """A device of another is offered to the account, which could take it."""
        giver = Things(self.api)
        giver.factory = self.factory
        assert self.certificate
        request = transfers.CreateDeviceTransferRequest(
            device_transfer=DeviceTransfer(to_account_id=self.tenant.id), devices=[giver.device]
        )
        created = giver._call(giver.tenant.client.device_transfers.CreateDeviceTransfer, request)
        return f"{self.account}/deviceTransfers/{created.device_transfer.id}"

    @cached_property
    def denial(self) -> str:
        """A device of the account's CA was refused."""
        assert self.certificate
        now = utc_now()
        refused = Denial(
            id=new_id(),
            reason=Reason.ENROLLMENT_NOT_FOUND,
            fingerprint=os.urandom(32),
            address="192.0.2.1:5683",
            first_seen_at=now,
            last_seen_at=now,
            count=1,
        )
        issuer = hashlib.sha256(self.factory.der).digest()
        command = RecordDenials((Sighting(denial=refused, issuing_cas=(issuer,)),), now)
        self.api.run(self.api.context.commit.execute(Submission(command)))
        return f"{self.account}/deviceEnrollmentDenials/{refused.id}"

    @cached_property
    def checkpoint(self) -> str:
        """It is the operator's, and covers the account's device."""
        assert self.device
        operator = self.api.client()
        request = ledger.CreateLedgerCheckpointRequest()
        return operator.call(operator.ledger.CreateLedgerCheckpoint, request).name

    @cached_property
    def operation(self) -> str:
        request = bulk.BulkCreateDeviceEnrollmentsRequest(parent=self.account, data=b"id\n")
        client = self.tenant.client
        started = client.upload(client.device_enrollments.BulkCreateDeviceEnrollments, iter([request]))
        waiting = operations_pb2.WaitOperationRequest(name=started.name, timeout=Duration(seconds=20))
        return self._call(client.operations.WaitOperation, waiting).name

    @cached_property
    def channelz(self) -> channelz_pb2_grpc.ChannelzStub:
        return channelz_pb2_grpc.ChannelzStub(self.api.client().channel)

    @cached_property
    def server(self) -> Any:
        servers = self.channelz.GetServers(channelz_pb2.GetServersRequest()).server
        return next(server for server in servers if server.listen_socket)  # others of this process are closed

    @cached_property
    def channel(self) -> Any:
        channels = self.channelz.GetTopChannels(channelz_pb2.GetTopChannelsRequest()).channel
        return next(channel for channel in channels if channel.subchannel_ref)

    def _call(self, method: Any, request: Any) -> Any:
        return self.tenant.client.call(method, request)


class Ghosts(Things):
    """The same names, of nothing."""

    def __init__(self, api: TestApi) -> None:
        self.api = api
        self.account = f"accounts/{new_id()}"
        self.identity = format_enrollment_id(os.urandom(32))
        self.api_key = f"{self.account}/apiKeys/{new_id()}"
        self.certificate = self.blocked_certificate = f"{self.account}/trustedCertificates/{new_id()}"
        self.enrollment = f"{self.account}/deviceEnrollments/{new_id()}"
        self.device = self.blocked_device = f"{self.account}/devices/{new_id()}"
        self.transfer = self.received_transfer = f"{self.account}/deviceTransfers/{new_id()}"
        self.operation = f"operations/{new_id()}"
        self.checkpoint = "ledgerCheckpoints/999999999"


def _enrollment(things: Things) -> enrollments.CreateDeviceEnrollmentRequest:
    return enrollments.CreateDeviceEnrollmentRequest(
        parent=things.account, device_enrollment=DeviceEnrollment(enrollment_identity=things.identity)
    )


def _upload(things: Things) -> TrustedCertificate:
    return TrustedCertificate(
        display_name="CA", certificate=things.factory.pem.decode(), service=TrustedCertificate.BOOTSTRAP
    )


def _update_account(things: Things) -> Message:
    request = accounts.UpdateAccountRequest(account=Account(name=things.account, display_name="Changed"))
    request.update_mask.paths.append("display_name")
    return request


def _update_certificate(things: Things) -> Message:
    changed = TrustedCertificate(name=things.certificate, display_name="Changed")
    request = certificates.UpdateTrustedCertificateRequest(trusted_certificate=changed)
    request.update_mask.paths.append("display_name")
    return request


A, C, E, D, T, H = (
    f"/ftc.v1.{service}/"
    for service in (
        "AccountService",
        "TrustedCertificateService",
        "DeviceEnrollmentService",
        "DeviceService",
        "DeviceTransferService",
        "LedgerService",
    )
)
L, Z = "/google.longrunning.Operations/", "/grpc.channelz.v1.Channelz/"

REQUESTS: Mapping[str, Callable[[Things], Message]] = {
    A + "CreateAccount": lambda _: accounts.CreateAccountRequest(account=Account(display_name="New")),
    A + "GetAccount": lambda it: accounts.GetAccountRequest(name=it.account),
    A + "ListAccounts": lambda _: accounts.ListAccountsRequest(),
    A + "UpdateAccount": _update_account,
    A + "DeleteAccount": lambda it: accounts.DeleteAccountRequest(name=it.account),
    A + "CreateApiKey": lambda it: accounts.CreateApiKeyRequest(
        parent=it.account, api_key=ApiKey(role=ApiKey.READER)
    ),
    A + "ListApiKeys": lambda it: accounts.ListApiKeysRequest(parent=it.account),
    A + "DeleteApiKey": lambda it: accounts.DeleteApiKeyRequest(name=it.api_key),
    C + "CreateTrustedCertificate": lambda it: certificates.CreateTrustedCertificateRequest(
        parent=it.account, trusted_certificate=_upload(it)
    ),
    C + "GetTrustedCertificate": lambda it: certificates.GetTrustedCertificateRequest(name=it.certificate),
    C + "ListTrustedCertificates": lambda it: certificates.ListTrustedCertificatesRequest(parent=it.account),
    C + "UpdateTrustedCertificate": _update_certificate,
    C + "DeleteTrustedCertificate": lambda it: certificates.DeleteTrustedCertificateRequest(
        name=it.certificate
    ),
    C + "BlockTrustedCertificate": lambda it: blocks.BlockTrustedCertificateRequest(name=it.certificate),
    C + "UnblockTrustedCertificate": lambda it: blocks.UnblockTrustedCertificateRequest(
        name=it.blocked_certificate
    ),
    E + "CreateDeviceEnrollment": _enrollment,
    E + "GetDeviceEnrollment": lambda it: enrollments.GetDeviceEnrollmentRequest(name=it.enrollment),
    E + "LookupDeviceEnrollment": lambda it: enrollments.LookupDeviceEnrollmentRequest(
        parent=it.enrollment.partition("/deviceEnrollments")[0], enrollment_identity=it.identity
    ),
    E + "BatchCreateDeviceEnrollments": lambda it: enrollments.BatchCreateDeviceEnrollmentsRequest(
        parent=it.account, requests=[_enrollment(it)]
    ),
    E + "ListDeviceEnrollments": lambda it: enrollments.ListDeviceEnrollmentsRequest(parent=it.account),
    E + "DeleteDeviceEnrollment": lambda it: enrollments.DeleteDeviceEnrollmentRequest(name=it.enrollment),
    E + "WatchDeviceEnrollments": lambda it: watch_pb2.WatchDeviceEnrollmentsRequest(parent=it.account),
    E + "BulkCreateDeviceEnrollments": lambda it: bulk.BulkCreateDeviceEnrollmentsRequest(
        parent=it.account, data=b"id\n"
    ),
    E + "BulkDeleteDeviceEnrollments": lambda it: bulk.BulkDeleteDeviceEnrollmentsRequest(
        parent=it.account, data=b"id\n"
    ),
    E + "ReadBulkReport": lambda it: bulk.ReadBulkReportRequest(name=it.operation),
    E + "ListDeviceEnrollmentDenials": lambda it: denials.ListDeviceEnrollmentDenialsRequest(
        parent=it.denial.partition("/deviceEnrollmentDenials")[0]
    ),
    E + "GetDeviceEnrollmentDenial": lambda it: denials.GetDeviceEnrollmentDenialRequest(name=it.denial),
    E + "ExplainClaim": lambda it: explain.ExplainClaimRequest(
        parent=it.account, enrollment_identity=it.identity, endpoint_name="device-1"
    ),
    D + "GetDevice": lambda it: devices.GetDeviceRequest(name=it.device),
    D + "ListDevices": lambda it: devices.ListDevicesRequest(parent=it.account),
    D + "WatchDevices": lambda it: watch_pb2.WatchDevicesRequest(parent=it.account),
    D + "BlockDevice": lambda it: blocks.BlockDeviceRequest(name=it.device),
    D + "UnblockDevice": lambda it: blocks.UnblockDeviceRequest(name=it.blocked_device),
    D + "ListBlocks": lambda it: blocks.ListBlocksRequest(parent=it.blocked_device.partition("/devices")[0]),
    T + "CreateDeviceTransfer": lambda it: transfers.CreateDeviceTransferRequest(
        parent=it.device.partition("/devices")[0], device_transfer=DeviceTransfer(), devices=[it.device]
    ),
    T + "GetDeviceTransfer": lambda it: transfers.GetDeviceTransferRequest(name=it.transfer),
    T + "ListDeviceTransfers": lambda it: transfers.ListDeviceTransfersRequest(
        parent=it.transfer.partition("/deviceTransfers")[0]
    ),
    T + "AcceptDeviceTransfer": lambda it: transfers.AcceptDeviceTransferRequest(name=it.received_transfer),
    T + "RejectDeviceTransfer": lambda it: transfers.RejectDeviceTransferRequest(name=it.received_transfer),
    T + "CancelDeviceTransfer": lambda it: transfers.CancelDeviceTransferRequest(name=it.transfer),
    T + "GetOwnershipHistory": lambda it: ownership.GetOwnershipHistoryRequest(name=it.device),
    T + "VerifyOwnershipHistory": lambda it: ownership.VerifyOwnershipHistoryRequest(name=it.device),
    H + "CreateLedgerCheckpoint": lambda _: ledger.CreateLedgerCheckpointRequest(),
    H + "GetLedgerCheckpoint": lambda it: ledger.GetLedgerCheckpointRequest(name=it.checkpoint),
    H + "ListLedgerCheckpoints": lambda _: ledger.ListLedgerCheckpointsRequest(),
    H + "ListLedgerKeys": lambda _: ledger.ListLedgerKeysRequest(),
    H + "RotateLedgerKey": lambda _: ledger.RotateLedgerKeyRequest(),
    H + "ExportLedger": lambda it: ledger.ExportLedgerRequest(parent=it.account),
    L + "ListOperations": lambda it: operations_pb2.ListOperationsRequest(name=it.account),
    L + "GetOperation": lambda it: operations_pb2.GetOperationRequest(name=it.operation),
    L + "WaitOperation": lambda it: operations_pb2.WaitOperationRequest(name=it.operation),
    L + "CancelOperation": lambda it: operations_pb2.CancelOperationRequest(name=it.operation),
    L + "DeleteOperation": lambda it: operations_pb2.DeleteOperationRequest(name=it.operation),
    Z + "GetTopChannels": lambda _: channelz_pb2.GetTopChannelsRequest(),
    Z + "GetServers": lambda _: channelz_pb2.GetServersRequest(),
    Z + "GetServer": lambda it: channelz_pb2.GetServerRequest(server_id=it.server.ref.server_id),
    Z + "GetServerSockets": lambda it: channelz_pb2.GetServerSocketsRequest(
        server_id=it.server.ref.server_id
    ),
    Z + "GetChannel": lambda it: channelz_pb2.GetChannelRequest(channel_id=it.channel.ref.channel_id),
    Z + "GetSubchannel": lambda it: channelz_pb2.GetSubchannelRequest(
        subchannel_id=it.channel.subchannel_ref[0].subchannel_id
    ),
    Z + "GetSocket": lambda it: channelz_pb2.GetSocketRequest(socket_id=it.server.listen_socket[0].socket_id),
}
METHODS = sorted(REQUIRED_ROLE)


@dataclass(frozen=True)
class Answer:
    """What became of a call: the status, the reason in it, its text; the first response, if any."""

    code: grpc.StatusCode
    reason: str = ""
    text: str = ""
    response: bytes = b""


def attempt(api: TestApi, method: str, request: Message, api_key: str | None) -> Answer:
    """One call; of a stream, the beginning."""
    metadata = () if api_key is None else (("authorization", f"Bearer {api_key}"),)
    with grpc.secure_channel(api.endpoint, grpc.ssl_channel_credentials(api.ca_pem)) as channel:
        # On the wire a unary call is a stream of one message each way.
        call = channel.stream_stream(method, None, None)(
            iter([request.SerializeToString()]), metadata=metadata, timeout=20
        )
        try:
            return Answer(grpc.StatusCode.OK, response=next(call, b""))
        except grpc.RpcError as error:
            status = rpc_status.from_call(error)
            assert status is not None, f"{method}: {error} has no details"
            info = ErrorInfo()
            assert status.details[0].Unpack(info)
            return Answer(error.code(), info.reason, status.message)


def test_each_method_has_a_row_here() -> None:
    assert REQUESTS.keys() == REQUIRED_ROLE.keys()


@pytest.mark.parametrize("method", METHODS)
def test_strangers_learn_and_change_nothing(api: TestApi, method: str) -> None:
    things, stranger = Things(api), api.tenant("Stranger")
    request, required = REQUESTS[method](things), RANK[REQUIRED_ROLE[method]]
    nothing = request if method.startswith(Z) else REQUESTS[method](Ghosts(api))
    revision = api.revision()

    assert attempt(api, method, request, None).code is grpc.StatusCode.UNAUTHENTICATED
    for role in (Role.READER, Role.ADMIN):
        key = api.key(stranger.id, role)
        revision = api.revision()
        answer = attempt(api, method, request, key)
        if RANK[role] < required:
            assert (answer.code, answer.reason) == (
                grpc.StatusCode.PERMISSION_DENIED,
                "PERMISSION_DENIED",
            )
        else:
            assert (answer.code, answer.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
        assert answer == attempt(api, method, nothing, key), "as if there were no such thing"
        assert api.revision() == revision


@pytest.mark.parametrize("method", METHODS)
def test_own_callers_do_what_their_role_allows(api: TestApi, method: str) -> None:
    for role in (Role.READER, Role.ADMIN):
        things = Things(api)
        request, key = REQUESTS[method](things), api.key(things.tenant.id, role)
        revision = api.revision()
        answer = attempt(api, method, request, key)
        if RANK[role] < RANK[REQUIRED_ROLE[method]]:
            assert answer.code is grpc.StatusCode.PERMISSION_DENIED
            assert api.revision() == revision
        else:
            assert answer.code is grpc.StatusCode.OK, answer


@pytest.mark.parametrize("method", METHODS)
def test_operator_may_do_everything_in_every_account(api: TestApi, method: str) -> None:
    answer = attempt(api, method, REQUESTS[method](Things(api)), api.operator.secret)

    assert answer.code is grpc.StatusCode.OK, answer


def _lists() -> Sequence[str]:
    return [method for method in METHODS if method.startswith("/ftc.v1.") and "/List" in method]


@pytest.mark.parametrize("method", _lists())
def test_each_list_counts_all_rows_if_asked_to_and_only_then(api: TestApi, method: str) -> None:
    things = Things(api)
    assert things.device
    assert things.api_key
    assert things.checkpoint
    service, _, name = method[1:].rpartition("/")
    descriptor = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
    request: Any = REQUESTS[method](things)
    request.page_size = 1

    def total() -> int:
        answer = attempt(api, method, request, api.operator.secret)
        return message_factory.GetMessageClass(descriptor.output_type).FromString(answer.response).total_size

    assert total() == 0
    request.include_total_size = True
    counted = total()

    assert counted >= 1
    request.page_size = 1_000
    response: Any = message_factory.GetMessageClass(descriptor.output_type).FromString(
        attempt(api, method, request, api.operator.secret).response
    )
    rows = next(value for field, value in response.ListFields() if field.is_repeated)
    assert counted == len(rows)


def _writes() -> Sequence[str]:
    """Methods with `validate_only`; of an upload that is for its rows, and the operation is made."""
    makes = [method for method in METHODS if "validate_only" in _request_fields(method)]
    return [method for method in makes if "/Bulk" not in method]


def _request_fields(method: str) -> Container[str]:
    service, _, name = method[1:].rpartition("/")
    found = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
    return found.input_type.fields_by_name.keys()


@pytest.mark.parametrize("method", _writes())
def test_what_is_validated_has_no_effect_and_what_is_repeated_has_one(api: TestApi, method: str) -> None:
    request: Any = REQUESTS[method](Things(api))
    other: Any = REQUESTS[method](Things(api))
    request.request_id = other.request_id = str(uuid4())

    def effect(message: Any, *, validate_only: bool = False) -> tuple[Answer, int]:
        message.validate_only = validate_only
        before = api.revision()
        answer = attempt(api, method, message, api.operator.secret)
        return answer, api.revision() - before

    validated, changes = effect(request, validate_only=True)
    assert (validated.code, changes) == (grpc.StatusCode.OK, 0)
    done, changes = effect(request)
    assert done.code is grpc.StatusCode.OK, "what was validated leaves its request_id free"
    assert changes > 0
    again, changes = effect(request)
    assert (again.code, changes) == (grpc.StatusCode.OK, 0)
    if request.SerializeToString() != other.SerializeToString():
        reused, changes = effect(other)
        assert (reused.reason, changes) == ("REQUEST_ID_REUSED", 0)
