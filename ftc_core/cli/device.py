"""`ftc device run`: one simulated device."""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path
from time import monotonic

import click
import uvloop

from ftc_core.cli.terminal import say
from ftc_core.device.bundle import Bundle, LwM2MCredentials
from ftc_core.device.client import BootstrapFailed
from ftc_core.device.model import IZUMA, VERSION_1_2, ClientModel
from ftc_core.device.powered import PoweredDevice
from ftc_core.device.registration import OperationFailed
from ftc_core.device.retry import Reaction, after_bootstrap, backoff_s
from ftc_core.device.runner import RegisteredDevice
from ftc_core.device.trace import Tracer
from ftc_core.dtls.alert import Alert, alert_name
from ftc_core.errors import CATALOGUE, FtcError, Reason
from ftc_core.limits import COAP_BLOCK_SIZE
from ftc_core.lwm2m import content
from ftc_core.lwm2m.discovery import VERSION_1_0, VERSION_1_1

__all__ = ["register"]

_VERSIONS = {"1.0": VERSION_1_0, "1.1": VERSION_1_1, "1.2": VERSION_1_2}


@click.command()
@click.option(
    "--bundle",
    "directory",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The device's bundle, as made by `ftc factory provision`.",
)
@click.option("--factory-reset", is_flag=True, help="Forget account and LwM2M credentials first.")
@click.option(
    "--retry/--no-retry",
    default=False,
    help="After a refusal, wait and try again as a device in the field does.",
)
@click.option(
    "--stay", is_flag=True, help="Stay registered, with updates, until interrupted; then de-register."
)
@click.option(
    "--lifetime",
    type=click.IntRange(1, 2**32 - 1),
    default=86_400,
    show_default=True,
    help="Registration lifetime, seconds.",
)
@click.option(
    "--block-size",
    type=click.Choice(["16", "32", "64", "128", "256", "512", "1024"]),
    default=str(COAP_BLOCK_SIZE),
    show_default=True,
    help="The largest CoAP block that the device takes, bytes.",
)
@click.option("--trace", is_flag=True, help="Print every CoAP message, sent and received.")
@click.option(
    "--lwm2m",
    type=click.Choice(list(_VERSIONS)),
    help="Be a client by the book of this LwM2M version; without it, be the widely used 1.0 client.",
)
@click.option("--pack", is_flag=True, help="Ask for a Bootstrap-Pack first. Needs --lwm2m 1.2.")
@click.option(
    "--content-format",
    type=click.Choice([str(number) for number in sorted(content.SUPPORTED_FORMATS)]),
    help="The preferred format of writes, and of a pack. Needs --lwm2m 1.1 or 1.2.",
)
@click.option(
    "--discover/--no-discover",
    default=True,
    help="Whether the client answers Bootstrap-Discover. Needs --lwm2m.",
)
@click.option(
    "--bootstrap-instance",
    type=click.Choice(["0", "1"]),
    default="0",
    show_default=True,
    help="The Security instance of its bootstrap account. Needs --lwm2m.",
)
def run(
    directory: Path,
    factory_reset: bool,
    retry: bool,
    stay: bool,
    lifetime: int,
    block_size: str,
    trace: bool,
    lwm2m: str | None,
    pack: bool,
    content_format: str | None,
    discover: bool,
    bootstrap_instance: str,
) -> None:
    """Power on one simulated device: bootstrap if it has no LwM2M account, then register.

    What the server writes is kept in the bundle. Exit code 1 if the server refuses the device.

    \b
    Examples:
      ftc device run --bundle factory/devices/device-000001
      ftc device run --bundle factory/devices/device-000001 --factory-reset --retry
      ftc device run --bundle factory/devices/device-000001 --lwm2m 1.2 --pack
      ftc device run --bundle factory/devices/device-000001 --trace
    """
    model = _model(
        lwm2m,
        discovers=discover,
        bootstrap_instance=int(bootstrap_instance),
        content_format=None if content_format is None else int(content_format),
        packs=pack,
    )
    bundle = Bundle.load(directory)
    if factory_reset:
        bundle.factory_reset()
        say("factory reset: account and LwM2M credentials forgotten")
    tracer = Tracer(say, monotonic) if trace else None
    powered = PoweredDevice(bundle, block_size=int(block_size), model=model, tracer=tracer)
    uvloop.run(_power_on(powered, retry=retry, stay=stay, lifetime=lifetime))


def _model(
    version: str | None, *, discovers: bool, bootstrap_instance: int, content_format: int | None, packs: bool
) -> ClientModel:
    if version is None:
        if packs or content_format is not None or not discovers or bootstrap_instance:
            raise click.UsageError("this option needs --lwm2m: the widely used client knows nothing of it")
        return IZUMA
    try:
        return ClientModel(
            version=_VERSIONS[version],
            discovers=discovers,
            bootstrap_instance=bootstrap_instance,
            content_format=content_format,
            packs=packs,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error


async def _power_on(powered: PoweredDevice, *, retry: bool, stay: bool, lifetime: int) -> None:
    failures = 0
    while True:
        try:
            await _onboard(powered, stay=stay, lifetime=lifetime)
            return
        except FtcError as error:
            if not retry or error.metadata.get("reaction") == Reaction.STOP:
                raise
            failures += 1
            backoff = backoff_s(failures, random.uniform(-1, 1))  # noqa: S311 - jitter
            wait = max(backoff, error.retry_after_s or 0)
            say(f"refused: {error.message}; trying again in {wait:.0f} s")
            await asyncio.sleep(wait)


async def _onboard(powered: PoweredDevice, *, stay: bool, lifetime: int) -> None:
    bundle = powered.bundle
    say(f"device {bundle.endpoint_name}, enrollment ID {bundle.enrollment_id}")
    device = await _register(powered, lifetime)
    if not stay:
        device.close()
        return
    while (refusal := await _stay(device, lifetime)) is not None:
        _drop_credentials(powered, refusal)
        device = await _register(powered, lifetime)


async def _register(powered: PoweredDevice, lifetime: int) -> RegisteredDevice:
    """Register, after a bootstrap where the device has no LwM2M account, or one that is refused."""
    credentials = powered.bundle.lwm2m
    if credentials is None:
        credentials = await _bootstrap(powered)
    device = await powered.register(credentials, lifetime=lifetime)
    if isinstance(device, OperationFailed) and device.reaction is Reaction.BOOTSTRAP_AGAIN:
        _drop_credentials(powered, device)
        device = await powered.register(await _bootstrap(powered), lifetime=lifetime)
    if isinstance(device, OperationFailed):
        raise FtcError(Reason.DEVICE_REFUSED, f"Register: {device.code} {device.text}".replace(":  ", ": "))
    say(f"registered at {device.location}, lifetime {lifetime} s")
    return device


def _drop_credentials(powered: PoweredDevice, refusal: OperationFailed) -> None:
    """What a client does whose credentials the server no longer takes: the device has another owner now."""
    operation = refusal.operation.value.lower()
    say(f"{operation} refused: {refusal.code} {refusal.text}; bootstrapping again")
    powered.bundle.forget_lwm2m()


async def _bootstrap(powered: PoweredDevice) -> LwM2MCredentials:
    say(f"bootstrapping at {powered.bundle.bootstrap_server_uri}")
    outcome = await powered.bootstrap()
    for step in outcome.steps:
        took = f"{(step.ended_at - step.started_at) * 1e3:7.1f} ms" if step.ended_at is not None else " " * 10
        say(f"  {took}  {step.name} {step.code}".rstrip())
    if isinstance(outcome, BootstrapFailed):
        raise FtcError(
            _reason_of(outcome.text),
            f"{outcome.code} {outcome.text}".strip(),
            metadata={"reaction": after_bootstrap(outcome.code)},
            retry_after_s=outcome.retry_after_s or None,
        )
    credentials = powered.bundle.lwm2m
    assert credentials is not None  # noqa: S101 - the bootstrap has just stored them
    say(f"claimed by account {credentials.account_id} as device {credentials.device_id}")
    return credentials


def _reason_of(text: str) -> Reason:
    """The reason behind a refusal's text, so that the advice fits; a device has the text alone.

    Before the colon, since a failed handshake is followed by its alert, one of which is for a cause of its
    own.
    """
    text, _, alert = text.partition(": ")
    if alert == alert_name(Alert.CERTIFICATE_REVOKED):
        return Reason.DEVICE_BLOCKED
    return next((reason for reason, spec in CATALOGUE.items() if spec.text == text), Reason.DEVICE_REFUSED)


async def _stay(device: RegisteredDevice, lifetime: int) -> OperationFailed | None:
    """Update at half of the lifetime, until SIGINT or SIGTERM, or until the credentials are refused."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    while not stop.is_set():
        try:
            async with asyncio.timeout(lifetime / 2):
                await stop.wait()
        except TimeoutError:
            outcome = await device.update()
            if isinstance(outcome, OperationFailed):
                device.close()
                if outcome.reaction is Reaction.BOOTSTRAP_AGAIN:
                    return outcome
                raise FtcError(Reason.DEVICE_REFUSED, f"Update: {outcome.code} {outcome.text}") from None
            say("updated")
    await device.leave()
    say("de-registered")
    return None


def register(group: click.Group) -> None:
    """Add the command to `ftc device`."""
    group.add_command(run)
