"""The page of one device, for people: what it said, and how its last bootstrap went, step by step."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp
from rich.table import Table

from ftc_core.cli.terminal import print_table, say
from ftc_grpc._gen.ftc.v1.device_pb2 import Device, LastBootstrap, RegisteredObject
from ftc_grpc.cli.output import print_resource

__all__ = ["print_device"]


def print_device(device: Device, *, as_json: bool) -> None:
    """The device as `print_resource` prints it, its objects on a line, its last bootstrap as a table."""
    if as_json:
        print_resource(device, as_json=True)
        return
    flat = Device()
    flat.CopyFrom(device)
    for shown_below in ("object_links", "objects", "last_bootstrap"):
        flat.ClearField(shown_below)
    print_resource(flat, as_json=False)
    if device.objects:
        say()
        say(f"objects: {', '.join(map(_object_text, device.objects))}")
    if device.HasField("last_bootstrap"):
        say()
        for line in _outcome_lines(device.last_bootstrap):
            say(line)
        print_table(_steps(device.last_bootstrap))


def _object_text(found: RegisteredObject) -> str:
    """Such as `5` (no instance), `3/0`, `1/0+1` (two), `3/0 v1.1`."""
    instances = f"/{'+'.join(map(str, found.instance_ids))}" if found.instance_ids else ""
    version = f" v{found.version}" if found.version else ""
    return f"{found.object_id}{instances}{version}"


def _outcome_lines(last: LastBootstrap) -> list[str]:
    ended = f"at {last.ended_at.ToJsonString()} from {last.address}"
    if last.outcome == LastBootstrap.COMPLETED:
        return [f"last bootstrap completed {ended}"]
    return [f"last bootstrap failed {ended}", f"  {last.reason}: {last.error}"]


def _steps(last: LastBootstrap) -> Table:
    """When each began, counted from the first, how long it took, its code and its name."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("began", "took"):
        table.add_column(heading, justify="right")
    for heading in ("code", "step"):
        table.add_column(heading)
    for step in last.steps:
        began = _ms(last.steps[0].started_at, step.started_at)
        took = _ms(step.started_at, step.ended_at) if step.HasField("ended_at") else ""
        table.add_row(f"+{began}", took, step.code or "none", step.name)
    return table


def _ms(since: Timestamp, until: Timestamp) -> str:
    return f"{(until.ToMicroseconds() - since.ToMicroseconds()) / 1_000:.1f} ms"
