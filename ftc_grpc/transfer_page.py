"""A transfer as protobuf: as one of its two accounts sees it."""

from __future__ import annotations

from ftc_core.application.transfers import direction_of
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.domain.transfer import DeviceTransfer, OfferedDevice
from ftc_grpc import resource_names as names
from ftc_grpc._gen.ftc.v1 import device_transfer_pb2
from ftc_grpc.convert import etag_of, timestamp

__all__ = ["transfer_page_to_proto", "transfer_to_proto"]


def transfer_to_proto(transfer: DeviceTransfer, account_id: str) -> device_transfer_pb2.DeviceTransfer:
    """The resource of a transfer in the account `account_id`, without the devices."""
    kind = device_transfer_pb2.DeviceTransfer
    return kind(
        name=names.DEVICE_TRANSFER.format(account_id, transfer.id),
        id=transfer.id,
        direction=kind.Direction.Value(direction_of(transfer, account_id).value),
        from_account_id=transfer.account_id,
        to_account_id=transfer.receiver_for(account_id) or "",
        by_code=transfer.code_hash is not None,
        state=kind.State.Value(transfer.state.value),
        device_count=len(transfer.devices),
        note=transfer.note,
        created_at=timestamp(transfer.created_at),
        expires_at=timestamp(transfer.expires_at),
        decided_at=timestamp(transfer.decided_at),
        etag=etag_of(transfer.revision),
    )


def transfer_page_to_proto(transfer: DeviceTransfer, account_id: str) -> device_transfer_pb2.DeviceTransfer:
    """The resource with its devices."""
    page = transfer_to_proto(transfer, account_id)
    page.devices.extend(map(_device, transfer.devices))
    return page


def _device(device: OfferedDevice) -> device_transfer_pb2.OfferedDevice:
    return device_transfer_pb2.OfferedDevice(
        device_id=device.device_id,
        endpoint_name=device.endpoint_name,
        enrollment_identity=format_enrollment_id(device.fingerprint),
    )
