"""A storm from beginning to end: fleet, instance, weather, audit, report."""

from __future__ import annotations

import asyncio
import gc
import os
import platform
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import uvloop
from cryptography import x509
from cryptography.hazmat.backends.openssl import backend
from cryptography.hazmat.primitives.serialization import Encoding

from ftc_core.application.context import utc_now
from ftc_core.domain.identity import fingerprint_of
from ftc_core.endpoint.child import calm_collector
from ftc_storm.audit import audit
from ftc_storm.certificates import Batch, CertificateCache
from ftc_storm.device import ClientStack, StormDevice
from ftc_storm.fleet import Fleet
from ftc_storm.instance import Instance, running_instance
from ftc_storm.network import LoopbackNetwork
from ftc_storm.observation import Watcher
from ftc_storm.plan import DeviceKind, PlannedDevice, StormPlan, plan_devices
from ftc_storm.report import Report, make_report
from ftc_storm.site import EnrolledIdentity, Site, open_site

__all__ = ["Surroundings", "run_storm"]

_ASSOCIATION_BYTES = 100 * 1024
"""What one association of a device costs the simulator; measured: 66 KiB before any answer."""
_MEMORY_SHARE = 0.5
_LOOK_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What is not the fleet's: where certificates are kept, the number of bootstrap workers, and whether the
    first of them is killed (SIGKILL) once this share (0 to 1) of the devices is bootstrapped.

    `active_max` is the most associations that the simulator has open at a time; None: as many as half of the
    free memory holds.
    """

    cache: Path
    workers: int = 1
    kill_at: float | None = None
    active_max: int | None = None


Say = Callable[[str], None]
"""Told of each step of the preparation."""
Look = Callable[[Fleet], None]
"""Shown the fleet while it is on its way, some times a second."""


def run_storm(plan: StormPlan, surroundings: Surroundings, *, say: Say, look: Look) -> Report:
    """Run it, on an instance of its own. Takes as long as the plan; blocks."""
    devices = plan_devices(plan)
    batches = _certificates(plan, devices, surroundings, say)
    say(f"starting an instance with {surroundings.workers} bootstrap worker(s)")
    with running_instance(workers=surroundings.workers) as instance:
        return uvloop.run(_storm(plan, devices, batches, instance, surroundings, say, look))


def _certificates(
    plan: StormPlan, devices: Sequence[PlannedDevice], surroundings: Surroundings, say: Say
) -> tuple[Batch, Batch]:
    """Of the CA that the account trusts, and of the one that nobody uploads."""
    foreign = sum(device.kind is DeviceKind.WRONG_CA for device in devices)
    began = monotonic()
    cache, now, processes = CertificateCache(surroundings.cache), utc_now(), os.cpu_count() or 1
    batches = (
        cache.batch("storm", plan.seed, len(devices) - foreign, now=now, processes=processes),
        cache.batch("stranger", plan.seed, foreign, now=now, processes=processes),
    )
    say(f"{len(devices):,} device certificates in {monotonic() - began:.1f} s ({surroundings.cache})")
    return batches


async def _storm(
    plan: StormPlan,
    planned: Sequence[PlannedDevice],
    batches: tuple[Batch, Batch],
    instance: Instance,
    surroundings: Surroundings,
    say: Say,
    look: Look,
) -> Report:
    server_ca = x509.load_pem_x509_certificate(instance.server_ca_pem).public_bytes(Encoding.DER)
    trusted, foreign = batches
    async with open_site(instance.data_dir) as site:
        identities = await _settle_in(site, instance, planned, trusted, foreign)
        account_id = site.account_id
    say(f"account {account_id}: CA uploaded, lists filled")
    stack = ClientStack(server_ca, (*trusted.keys, *foreign.keys), trusted.certificates[0])
    devices = [StormDevice(plan, identity, stack) for plan, identity in zip(planned, identities, strict=True)]
    network = LoopbackNetwork()
    watcher = Watcher(instance, set(network.local_ports()))
    try:
        fleet = Fleet(
            plan,
            devices,
            network,
            active_max=surroundings.active_max or _affordable(),
            bootstrapped=_killer(instance, surroundings.kill_at, len(devices)),
        )
        with _calmed_collector():
            aside = asyncio.create_task(_show(fleet, look))
            watcher.start()
            began = await fleet.run()
            ended = monotonic()
            aside.cancel()
            await asyncio.to_thread(watcher.stop)
    finally:
        network.close()
    say("asking the store and the ledger")
    return make_report(
        machine=_machine(),
        plan=plan,
        workers=surroundings.workers,
        devices=devices,
        began=began,
        ended=ended,
        tally=fleet.tally,
        judged=audit(instance.data_dir, account_id, devices),
        samples=watcher.samples,
        counters=watcher.counters,
    )


@contextmanager
def _calmed_collector() -> Iterator[None]:
    """The fleet is no garbage, and an attempt that has ended leaves none (`Attempt.release`)."""
    thresholds = gc.get_threshold()
    gc.collect()
    calm_collector()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)


async def _settle_in(
    site: Site, instance: Instance, planned: Sequence[PlannedDevice], trusted: Batch, foreign: Batch
) -> list[EnrolledIdentity]:
    """Give each device its identity, and the account and its lists what the device's kind says."""
    authority = trusted.authority
    await site.trust(authority.certificate_pem)
    identities: dict[int, EnrolledIdentity] = {}
    for batch, strangers in ((trusted, False), (foreign, True)):
        these = [device for device in planned if (device.kind is DeviceKind.WRONG_CA) is strangers]
        for number, device in enumerate(these):
            identities[device.index] = EnrolledIdentity(
                endpoint_name=batch.endpoint_name(number),
                certificate=batch.certificates[number],
                fingerprint=fingerprint_of(batch.certificates[number]),
                key=batch.keys[number % len(batch.keys)],
                bootstrap_uri=instance.bootstrap_uri,
            )

    def of(*kinds: DeviceKind) -> list[EnrolledIdentity]:
        return [identities[device.index] for device in planned if device.kind in kinds]

    enrolled = of(DeviceKind.NEW, DeviceKind.AGAIN, DeviceKind.BLOCKED)
    await site.enroll([identity.fingerprint for identity in enrolled])
    await site.block([identity.fingerprint for identity in of(DeviceKind.BLOCKED)])
    again = [device.index for device in planned if device.kind is DeviceKind.AGAIN]
    names = [(identities[index].endpoint_name, identities[index].fingerprint) for index in again]
    device_ids = await site.claim(names, fingerprint_of(authority.certificate_der))
    for index, device_id in zip(again, device_ids, strict=True):
        uri = f"{instance.bootstrap_uri}?aid={site.account_id}"
        identities[index] = replace(identities[index], bootstrap_uri=uri, device_id=device_id)
    return [identities[device.index] for device in planned]


def _killer(instance: Instance, share: float | None, devices: int) -> Callable[[int], None]:
    """Kills the first worker once `share` of the devices has been bootstrapped; never, if it is None."""
    last = None if share is None else max(1, round(share * devices))

    def note(bootstrapped: int) -> None:
        if bootstrapped == last:
            os.kill(instance.processes["bootstrap-0"], signal.SIGKILL)

    return note


async def _show(fleet: Fleet, look: Look) -> None:
    while True:
        look(fleet)
        await asyncio.sleep(_LOOK_S)


def _affordable() -> int:
    """Associations that half of the free memory holds."""
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1_000, int(available * _MEMORY_SHARE) // _ASSOCIATION_BYTES)


def _machine() -> dict[str, str]:
    models = (
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    )
    return {
        "cpu": next(models, "unknown").partition(":")[2].strip(),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "openssl": backend.openssl_version_text(),
    }
