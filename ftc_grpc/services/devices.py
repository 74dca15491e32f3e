"""DeviceService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from google.protobuf import empty_pb2

from ftc_core.application import blocks, devices
from ftc_core.application.changes import Topic
from ftc_core.application.context import ApplicationContext
from ftc_grpc._gen.ftc.v1 import block_pb2, device_pb2, device_service_pb2, device_service_pb2_grpc, watch_pb2
from ftc_grpc.blocks import block_to_proto
from ftc_grpc.caller import (
    ANY_ACCOUNT,
    current_caller,
    named_resource,
    parent_account,
    parent_accounts,
)
from ftc_grpc.convert import device_to_proto, write_options
from ftc_grpc.device_page import device_page_to_proto
from ftc_grpc.named_device import named_device
from ftc_grpc.pagination import Paginator
from ftc_grpc.resource_names import DEVICE
from ftc_grpc.services.context import RpcContext
from ftc_grpc.services.watch import Watcher, device_event

__all__ = ["DeviceService"]


class DeviceService(device_service_pb2_grpc.DeviceServiceServicer):
    """The devices that an account has claimed."""

    def __init__(self, context: ApplicationContext, paginator: Paginator, watcher: Watcher) -> None:
        self._context = context
        self._paginator = paginator
        self._watcher = watcher

    async def GetDevice(
        self, request: device_service_pb2.GetDeviceRequest, context: RpcContext
    ) -> device_pb2.Device:
        """Get a device."""
        account_id, device_id = named_resource(request.name, DEVICE)
        return device_page_to_proto(*await devices.get_device(self._context, account_id, device_id))

    async def ListDevices(
        self, request: device_service_pb2.ListDevicesRequest, context: RpcContext
    ) -> device_service_pb2.ListDevicesResponse:
        """List an account's devices, or those of all accounts."""
        account_id = parent_accounts(request.parent)
        scope = f"{account_id or ANY_ACCOUNT}/devices"
        orders = devices.ORDERS_OF_ALL if account_id is None else devices.ORDERS
        revision = self._watcher.revision()
        page = await devices.list_devices(
            self._context, account_id, self._paginator.read(request, scope=scope, orders=orders)
        )
        return device_service_pb2.ListDevicesResponse(
            devices=[device_to_proto(device) for device in page.records],
            next_page_token=self._paginator.token(page.next_after, request, scope=scope),
            total_size=page.total,
            revision=revision,
        )

    async def WatchDevices(
        self, request: watch_pb2.WatchDevicesRequest, context: RpcContext
    ) -> AsyncIterator[watch_pb2.WatchDevicesResponse]:
        """Follow the devices of an account, or of all."""
        async with aclosing(self._watcher.watch(request, Topic.DEVICES)) as batches:
            async for batch in batches:
                yield watch_pb2.WatchDevicesResponse(
                    revision=batch.through, events=map(device_event, batch.changes)
                )

    async def BlockDevice(
        self, request: block_pb2.BlockDeviceRequest, context: RpcContext
    ) -> block_pb2.Block:
        """Block a device."""
        blocking = blocks.Blocking(named_device(request), request.note)
        block = await blocks.place_block(self._context, current_caller(), blocking, write_options(request))
        return block_to_proto(block)

    async def UnblockDevice(
        self, request: block_pb2.UnblockDeviceRequest, context: RpcContext
    ) -> empty_pb2.Empty:
        """Lift the caller's block of a device."""
        await blocks.unblock(self._context, current_caller(), named_device(request), write_options(request))
        return empty_pb2.Empty()

    async def ListBlocks(
        self, request: block_pb2.ListBlocksRequest, context: RpcContext
    ) -> block_pb2.ListBlocksResponse:
        """List what an account blocks, or the operator."""
        party = parent_account(request.parent) if request.parent else blocks.blocking_party(current_caller())
        scope = f"{party or 'operator'}/blocks"
        page = await blocks.list_blocks(
            self._context, party, self._paginator.read(request, scope=scope, orders=blocks.ORDERS)
        )
        return block_pb2.ListBlocksResponse(
            blocks=map(block_to_proto, page.records),
            next_page_token=self._paginator.token(page.next_after, request, scope=scope),
            total_size=page.total,
        )
