"""The page of one device: its resource with what a list leaves out."""

from __future__ import annotations

from collections.abc import Iterable

from ftc_core.domain.block import Block
from ftc_core.domain.device import Device
from ftc_core.domain.last_bootstrap import LastBootstrap
from ftc_core.lwm2m.object_links import parse_object_links
from ftc_grpc._gen.ftc.v1 import device_pb2
from ftc_grpc.blocks import block_to_proto
from ftc_grpc.convert import device_to_proto, timestamp

__all__ = ["device_page_to_proto"]


def device_page_to_proto(
    device: Device, last_bootstrap: LastBootstrap | None, blocks: Iterable[Block] = ()
) -> device_pb2.Device:
    """The resource of a device, its objects, its last bootstrap and the blocks on it included."""
    page = device_to_proto(device)
    page.objects.extend(
        device_pb2.RegisteredObject(object_id=found.id, version=found.version, instance_ids=found.instances)
        for found in parse_object_links(device.object_links)
    )
    page.blocks.extend(map(block_to_proto, blocks))
    if last_bootstrap is not None:
        page.last_bootstrap.CopyFrom(_last_bootstrap_to_proto(last_bootstrap))
    return page


def _last_bootstrap_to_proto(last: LastBootstrap) -> device_pb2.LastBootstrap:
    kind = device_pb2.LastBootstrap
    return kind(
        outcome=kind.COMPLETED if last.completed else kind.FAILED,
        reason=last.reason,
        error=last.error,
        ended_at=timestamp(last.ended_at),
        address=last.address,
        steps=(
            device_pb2.BootstrapStep(
                name=step.name,
                started_at=timestamp(step.started_at),
                ended_at=timestamp(step.ended_at),
                code=step.code,
            )
            for step in last.steps
        ),
    )
