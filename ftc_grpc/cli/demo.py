"""`ftc demo`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import monotonic

import click
import uvloop

from ftc_core.cli.terminal import say
from ftc_grpc.client import ApiClient
from ftc_grpc.demo.instance import running_instance
from ftc_grpc.demo.story import Story, Turn

__all__ = ["demo"]


@click.command()
def demo() -> None:
    """Onboard three devices on this machine, in under a minute.

    Runs a whole instance on free ports in a temporary directory, makes devices at a factory of its own, and
    powers them on: one is claimed and later released to another account, one is refused and comes again, one
    is transferred while it is registered, and follows by itself. Exit code 0 only if the API showed each
    state on the way.

    \b
    Example:
      ftc demo
    """
    began = monotonic()
    uvloop.run(_demo())
    say(f"done in {monotonic() - began:.1f} s: every state was seen through the API")


async def _demo() -> None:
    with tempfile.TemporaryDirectory(prefix="ftc-demo-") as temporary:
        workshop = Path(temporary)
        async with running_instance(workshop) as instance:
            say(f"bootstrap {instance.bootstrap}, LwM2M {instance.lwm2m}, gRPC {instance.grpc}")
            key = instance.directory.operator_key.read_text().strip()
            ca_pem = instance.directory.server_ca_file.read_bytes()
            with ApiClient(instance.grpc, api_key=key, ca_pem=ca_pem) as api:
                await Story(instance, api, workshop, _tell).run()


def _tell(turn: Turn) -> None:
    took = "" if turn.took_ms is None else f"{turn.took_ms:8.1f} ms"
    say(f"{turn.at_s:7.2f} s {took:>11}  {turn.text}")
