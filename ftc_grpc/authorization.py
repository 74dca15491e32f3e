"""Who may call what: one row per method. A method without a row keeps the server from starting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ftc_core.application.authentication import Principal
from ftc_core.domain.account import Role
from ftc_core.errors import FtcError, Reason

__all__ = ["OPEN_METHODS", "REQUIRED_ROLE", "authorize", "check_complete"]

REQUIRED_ROLE: Mapping[str, Role] = {
    "/ftc.v1.AccountService/CreateAccount": Role.OPERATOR,
    "/ftc.v1.AccountService/GetAccount": Role.READER,
    "/ftc.v1.AccountService/ListAccounts": Role.OPERATOR,
    "/ftc.v1.AccountService/UpdateAccount": Role.OPERATOR,
    "/ftc.v1.AccountService/DeleteAccount": Role.OPERATOR,
    "/ftc.v1.AccountService/CreateApiKey": Role.ADMIN,
    "/ftc.v1.AccountService/ListApiKeys": Role.ADMIN,
    "/ftc.v1.AccountService/DeleteApiKey": Role.ADMIN,
    "/ftc.v1.TrustedCertificateService/CreateTrustedCertificate": Role.ADMIN,
    "/ftc.v1.TrustedCertificateService/GetTrustedCertificate": Role.READER,
    "/ftc.v1.TrustedCertificateService/ListTrustedCertificates": Role.READER,
    "/ftc.v1.TrustedCertificateService/UpdateTrustedCertificate": Role.ADMIN,
    "/ftc.v1.TrustedCertificateService/DeleteTrustedCertificate": Role.ADMIN,
    "/ftc.v1.TrustedCertificateService/BlockTrustedCertificate": Role.ADMIN,
    "/ftc.v1.TrustedCertificateService/UnblockTrustedCertificate": Role.ADMIN,
    "/ftc.v1.DeviceEnrollmentService/CreateDeviceEnrollment": Role.ADMIN,
    "/ftc.v1.DeviceEnrollmentService/GetDeviceEnrollment": Role.READER,
    "/ftc.v1.DeviceEnrollmentService/LookupDeviceEnrollment": Role.READER,
    "/ftc.v1.DeviceEnrollmentService/BatchCreateDeviceEnrollments": Role.ADMIN,
    "/ftc.v1.DeviceEnrollmentService/ListDeviceEnrollments": Role.READER,
    "/ftc.v1.DeviceEnrollmentService/DeleteDeviceEnrollment": Role.ADMIN,
    "/ftc.v1.DeviceEnrollmentService/WatchDeviceEnrollments": Role.READER,
    "/ftc.v1.DeviceEnrollmentService/BulkCreateDeviceEnrollments": Role.ADMIN,
    "/ftc.v1.DeviceEnrollmentService/BulkDeleteDeviceEnrollments": Role.ADMIN,
    "/ftc.v1.DeviceEnrollmentService/ReadBulkReport": Role.READER,
    "/ftc.v1.DeviceEnrollmentService/ListDeviceEnrollmentDenials": Role.READER,
    "/ftc.v1.DeviceEnrollmentService/GetDeviceEnrollmentDenial": Role.READER,
    "/ftc.v1.DeviceEnrollmentService/ExplainClaim": Role.READER,
    "/google.longrunning.Operations/ListOperations": Role.READER,
    "/google.longrunning.Operations/GetOperation": Role.READER,
    "/google.longrunning.Operations/WaitOperation": Role.READER,
    "/google.longrunning.Operations/CancelOperation": Role.ADMIN,
    "/google.longrunning.Operations/DeleteOperation": Role.ADMIN,
    "/ftc.v1.DeviceService/GetDevice": Role.READER,
    "/ftc.v1.DeviceService/ListDevices": Role.READER,
    "/ftc.v1.DeviceService/WatchDevices": Role.READER,
    "/ftc.v1.DeviceService/BlockDevice": Role.ADMIN,
    "/ftc.v1.DeviceService/UnblockDevice": Role.ADMIN,
    "/ftc.v1.DeviceService/ListBlocks": Role.READER,
    "/ftc.v1.DeviceTransferService/CreateDeviceTransfer": Role.ADMIN,
    "/ftc.v1.DeviceTransferService/GetDeviceTransfer": Role.READER,
    "/ftc.v1.DeviceTransferService/ListDeviceTransfers": Role.READER,
    "/ftc.v1.DeviceTransferService/AcceptDeviceTransfer": Role.ADMIN,
    "/ftc.v1.DeviceTransferService/RejectDeviceTransfer": Role.ADMIN,
    "/ftc.v1.DeviceTransferService/CancelDeviceTransfer": Role.ADMIN,
    "/ftc.v1.DeviceTransferService/GetOwnershipHistory": Role.READER,
    "/ftc.v1.DeviceTransferService/VerifyOwnershipHistory": Role.READER,
    "/ftc.v1.LedgerService/CreateLedgerCheckpoint": Role.OPERATOR,
    "/ftc.v1.LedgerService/GetLedgerCheckpoint": Role.OPERATOR,
    "/ftc.v1.LedgerService/ListLedgerCheckpoints": Role.OPERATOR,
    "/ftc.v1.LedgerService/ListLedgerKeys": Role.OPERATOR,
    "/ftc.v1.LedgerService/RotateLedgerKey": Role.OPERATOR,
    "/ftc.v1.LedgerService/ExportLedger": Role.READER,
    # The connections of every account.
    "/grpc.channelz.v1.Channelz/GetTopChannels": Role.OPERATOR,
    "/grpc.channelz.v1.Channelz/GetServers": Role.OPERATOR,
    "/grpc.channelz.v1.Channelz/GetServer": Role.OPERATOR,
    "/grpc.channelz.v1.Channelz/GetServerSockets": Role.OPERATOR,
    "/grpc.channelz.v1.Channelz/GetChannel": Role.OPERATOR,
    "/grpc.channelz.v1.Channelz/GetSubchannel": Role.OPERATOR,
    "/grpc.channelz.v1.Channelz/GetSocket": Role.OPERATOR,
}
"""The least role that each method needs. Below OPERATOR it holds in the caller's own account only."""

OPEN_METHODS = frozenset(
    {
        # Load balancers probe without a key; what they learn is whether we serve.
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/grpc.health.v1.Health/List",
        # The protos are public; a tool may explore the API before it has a key.
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    }
)
"""Methods that need neither key nor mapped certificate."""

_RANK = {Role.READER: 1, Role.ADMIN: 2, Role.OPERATOR: 3}


def authorize(caller: Principal, method: str) -> None:
    """Raises FtcError PERMISSION_DENIED, naming the role that `method` needs, if the caller's is less."""
    required = REQUIRED_ROLE[method]
    if _RANK[caller.role] < _RANK[required]:
        raise FtcError(
            Reason.PERMISSION_DENIED,
            f"role {caller.role.value} does not allow this method; it needs {required.value}",
        )


def check_complete(methods: Iterable[str]) -> None:
    """Raises FtcError INTERNAL_6 if one of the served `methods` has no row, or a row has no method."""
    served = set(methods)
    listed = REQUIRED_ROLE.keys() | OPEN_METHODS
    if served != listed:
        raise FtcError(
            Reason.INTERNAL_6, f"authorization table and methods differ in {sorted(served ^ listed)}"
        )
