"""DeviceTransferService."""

from __future__ import annotations

from typing import Protocol

from ftc_core.application import ownership, transfers
from ftc_core.application.context import ApplicationContext
from ftc_core.application.transfer_codes import CodeFailures
from ftc_core.domain.account import Role
from ftc_core.domain.identity import is_resource_id
from ftc_core.errors import FtcError, Reason
from ftc_grpc._gen.ftc.v1 import (
    device_service_pb2,
    device_transfer_pb2,
    device_transfer_service_pb2,
    device_transfer_service_pb2_grpc,
    ownership_pb2,
)
from ftc_grpc.caller import ANY_ACCOUNT, current_caller, parent_account, viewing_account
from ftc_grpc.convert import optional_time, required_message, revision_of_etag, write_options
from ftc_grpc.ledger import PlainQuery, history_to_proto, page_of_entries, verification_to_proto
from ftc_grpc.named_device import named_device
from ftc_grpc.pagination import Paginator
from ftc_grpc.resource_names import DEVICE, DEVICE_TRANSFER
from ftc_grpc.services.context import RpcContext
from ftc_grpc.transfer_page import transfer_page_to_proto, transfer_to_proto

__all__ = ["DeviceTransferService"]


class DecisionRequest(Protocol):
    """The fields of every request that decides on a transfer by its name."""

    name: str
    etag: str


class DeviceTransferService(device_transfer_service_pb2_grpc.DeviceTransferServiceServicer):
    """Devices that change hands by agreement."""

    def __init__(self, context: ApplicationContext, paginator: Paginator) -> None:
        self._context = context
        self._paginator = paginator
        self._failures = CodeFailures()

    async def CreateDeviceTransfer(
        self, request: device_transfer_service_pb2.CreateDeviceTransferRequest, context: RpcContext
    ) -> device_transfer_service_pb2.CreateDeviceTransferResponse:
        """Offer devices."""
        account_id = parent_account(request.parent)
        required_message(request, "device_transfer")
        # The page token is that of a list of the same devices, bound to this use of it.
        query = device_service_pb2.ListDevicesRequest(filter=request.filter, page_token=request.page_token)
        scope = f"{account_id}/deviceTransfers/devices"
        new = transfers.NewTransfer(
            account_id=account_id,
            receiver_account_id=_receiver(request.device_transfer.to_account_id),
            device_ids=tuple(
                _device_id(name, account_id, field=f"devices[{index}]")
                for index, name in enumerate(request.devices)
            ),
            filter=request.filter.strip(),
            after=self._paginator.read(query, scope=scope).after,
            note=request.device_transfer.note,
            expires_at=optional_time(
                request.device_transfer, "expires_at", field="device_transfer.expires_at"
            ),
        )
        issued = await transfers.create_transfer(self._context, current_caller(), new, write_options(request))
        return device_transfer_service_pb2.CreateDeviceTransferResponse(
            device_transfer=transfer_page_to_proto(issued.transfer, account_id),
            code=issued.code or "",
            next_page_token=self._paginator.token(issued.next_after, query, scope=scope),
        )

    async def GetDeviceTransfer(
        self, request: device_transfer_service_pb2.GetDeviceTransferRequest, context: RpcContext
    ) -> device_transfer_pb2.DeviceTransfer:
        """Get a transfer."""
        account_id, transfer_id = self._side(request.name)
        transfer = await transfers.get_transfer(self._context, account_id, transfer_id)
        return transfer_page_to_proto(transfer, account_id)

    async def ListDeviceTransfers(
        self, request: device_transfer_service_pb2.ListDeviceTransfersRequest, context: RpcContext
    ) -> device_transfer_service_pb2.ListDeviceTransfersResponse:
        """List an account's transfers."""
        account_id = parent_account(request.parent)
        scope = f"{account_id}/deviceTransfers"
        page = await transfers.list_transfers(
            self._context, account_id, self._paginator.read(request, scope=scope)
        )
        return device_transfer_service_pb2.ListDeviceTransfersResponse(
            device_transfers=[transfer_to_proto(transfer, account_id) for transfer in page.records],
            next_page_token=self._paginator.token(page.next_after, request, scope=scope),
            total_size=page.total,
        )

    async def AcceptDeviceTransfer(
        self, request: device_transfer_service_pb2.AcceptDeviceTransferRequest, context: RpcContext
    ) -> device_transfer_pb2.DeviceTransfer:
        """Take over the devices of a transfer."""
        if request.name and request.code:
            raise FtcError(Reason.FIELD_INVALID, "name and code exclude each other", field="code")
        caller, options = current_caller(), write_options(request)
        if request.code:
            account_id = parent_account(request.parent)
            transfer = await transfers.accept_by_code(
                self._context, caller, self._failures, account_id, request.code, options
            )
        else:
            decision = self._decision(request)
            account_id = decision.account_id
            transfer = await transfers.accept_transfer(self._context, caller, decision, options)
        return transfer_page_to_proto(transfer, account_id)

    async def RejectDeviceTransfer(
        self, request: device_transfer_service_pb2.RejectDeviceTransferRequest, context: RpcContext
    ) -> device_transfer_pb2.DeviceTransfer:
        """Turn down a transfer."""
        decision = self._decision(request)
        transfer = await transfers.reject_transfer(
            self._context, current_caller(), decision, write_options(request)
        )
        return transfer_page_to_proto(transfer, decision.account_id)

    async def CancelDeviceTransfer(
        self, request: device_transfer_service_pb2.CancelDeviceTransferRequest, context: RpcContext
    ) -> device_transfer_pb2.DeviceTransfer:
        """Take back a transfer."""
        decision = self._decision(request)
        transfer = await transfers.cancel_transfer(
            self._context, current_caller(), decision, write_options(request)
        )
        return transfer_page_to_proto(transfer, decision.account_id)

    async def GetOwnershipHistory(
        self, request: ownership_pb2.GetOwnershipHistoryRequest, context: RpcContext
    ) -> ownership_pb2.OwnershipHistory:
        """Read who has owned a device."""
        viewer, target = viewing_account(request.parent), named_device(request)
        query = PlainQuery(request.page_size, request.page_token)
        scope = f"{viewer or ANY_ACCOUNT}/ownershipHistory/{request.name or request.enrollment_identity}"
        page = self._paginator.read(query, scope=scope)
        history = await ownership.ownership_history(self._context, viewer, target)
        entries, next_after = page_of_entries(history.entries, page.after, page.size)
        return history_to_proto(history, entries, self._paginator.token(next_after, query, scope=scope))

    async def VerifyOwnershipHistory(
        self, request: ownership_pb2.VerifyOwnershipHistoryRequest, context: RpcContext
    ) -> ownership_pb2.VerifyOwnershipHistoryResponse:
        """Verify a device's history."""
        viewer, target = viewing_account(request.parent), named_device(request)
        return verification_to_proto(await ownership.verify_ownership(self._context, viewer, target))

    def _decision(self, request: DecisionRequest) -> transfers.TransferDecision:
        account_id, transfer_id = self._side(request.name)
        return transfers.TransferDecision(
            account_id=account_id, transfer_id=transfer_id, revision=revision_of_etag(request.etag)
        )

    def _side(self, name: str) -> tuple[str, str]:
        """The account that the request speaks for, and the transfer's ID.

        An operator speaks for the account that the name has. A party speaks for itself, whichever of the two
        names of the transfer it gives: the other side's is the one that it was told.
        """
        named_id, transfer_id = DEVICE_TRANSFER.parse(name, field="name")
        caller = current_caller()
        if caller.role is Role.OPERATOR or named_id == caller.account_id:
            return named_id, transfer_id
        transfers.check_counterpart(self._context, caller.account_id, transfer_id, named_id)
        return caller.account_id, transfer_id


def _receiver(account_id: str) -> str | None:
    """None: by code. Raises FtcError FIELD_INVALID."""
    if not account_id:
        return None
    if not is_resource_id(account_id):
        field = "device_transfer.to_account_id"
        message = f"{field} is not an account ID, 32 lower-case hex characters"
        raise FtcError(Reason.FIELD_INVALID, message, field=field)
    return account_id


def _device_id(name: str, account_id: str, *, field: str) -> str:
    """Raises FtcError RESOURCE_NAME_INVALID; RESOURCE_NOT_FOUND for a device of another account."""
    owner_id, device_id = DEVICE.parse(name, field=field)
    if owner_id != account_id:
        raise FtcError(Reason.RESOURCE_NOT_FOUND, "device not found", resource=name)
    return device_id
