"""Whether memory stays flat: whole lives of devices, at a steady rate, for as long as one likes.

    python -m benchmarks.memory_soak [--seconds 1800] [--rate 15]

Each device is refused, for nobody has enrolled it; is enrolled through the API, bootstraps over real DTLS,
registers, updates, de-registers, and is released through the API. A watch follows it all, and when all
devices have lived they begin anew. So every process has as much to remember at the end as after that first
round, save the store's file, which is not counted: what is, is the memory that belongs to no file
(RssAnon). Exit code 1 if any process grew.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from grpc import aio

from benchmarks.api.account import Administrator, create_account
from ftc_core.application.context import utc_now
from ftc_core.credentials.pki import create_authority, private_key_der
from ftc_core.device.client import Succeeded
from ftc_core.device.runner import DeviceRunner, RegisteredDevice
from ftc_core.domain.identity import fingerprint_of, format_enrollment_id
from ftc_core.factory.device_certificate import DeviceCertificateIssuer
from ftc_core.lwm2m.objects import SecurityInstance, SecurityMode
from ftc_grpc._gen.ftc.v1.device_enrollment_pb2 import DeviceEnrollment
from ftc_grpc._gen.ftc.v1.device_enrollment_service_pb2 import (
    CreateDeviceEnrollmentRequest,
    DeleteDeviceEnrollmentRequest,
)
from ftc_grpc._gen.ftc.v1.device_enrollment_service_pb2_grpc import DeviceEnrollmentServiceStub
from ftc_grpc._gen.ftc.v1.trusted_certificate_pb2 import TrustedCertificate
from ftc_grpc._gen.ftc.v1.trusted_certificate_service_pb2 import CreateTrustedCertificateRequest
from ftc_grpc._gen.ftc.v1.watch_pb2 import WatchDeviceEnrollmentsRequest
from ftc_grpc.bearer import bearer_metadata
from ftc_storm.instance import Instance, own_bytes, running_instance

__all__ = ["GROWTH_MAX", "grown", "main"]

GROWTH_MAX = 1.03
"""The median of the last sixth of all samples ÷ that of the sixth before: what counts as flat."""
_SAMPLES = 90
_LIFETIME_S = 300
_DEVICES = 2_000


class _Lives:
    """Lives of devices of a manufacturer that the account trusts."""

    def __init__(self, instance: Instance, administrator: Administrator) -> None:
        self._instance = instance
        self._administrator = administrator
        self._server_ca = x509.load_pem_x509_certificate(instance.server_ca_pem).public_bytes(Encoding.DER)
        now = utc_now()
        authority = create_authority("Soak CA", now=now)
        issuer = DeviceCertificateIssuer(authority, now=now, validity=timedelta(days=30))
        names = [f"soak-{number:05d}" for number in range(_DEVICES)]
        self._fleet = itertools.cycle([(name, issuer.issue(name)) for name in names])
        self.lived = 0
        with administrator.client() as api:
            wanted = TrustedCertificate(
                display_name="Soak",
                certificate=authority.certificate_pem.decode(),
                service=TrustedCertificate.BOOTSTRAP,
                enrollment_mode=True,
            )
            request = CreateTrustedCertificateRequest(
                parent=administrator.account, trusted_certificate=wanted
            )
            api.call(api.trusted_certificates.CreateTrustedCertificate, request)

    @asynccontextmanager
    async def service(self) -> AsyncIterator[Any]:
        """Stub of DeviceEnrollmentService for asyncio."""
        tls = grpc.ssl_channel_credentials(self._instance.server_ca_pem)
        async with aio.secure_channel(self._instance.api_endpoint, tls) as channel:
            yield DeviceEnrollmentServiceStub(channel)

    async def live(self, service: Any) -> None:
        """One device's. Raises RuntimeError if anything in it is not as it should be."""
        name, identity = next(self._fleet)
        key = bearer_metadata(self._administrator.api_key)
        account = SecurityInstance(
            server_uri=self._instance.bootstrap_uri,
            bootstrap_server=True,
            mode=SecurityMode.CERTIFICATE,
            public_key=identity.certificate_der,
            server_public_key=self._server_ca,
            secret_key=private_key_der(identity.private_key),
        )
        device = DeviceRunner(name)
        if isinstance(await device.bootstrap(account), Succeeded):
            raise RuntimeError(f"{name} was claimed although nobody had enrolled it")
        enrollment_id = format_enrollment_id(fingerprint_of(identity.certificate_der))
        creation = CreateDeviceEnrollmentRequest(
            parent=self._administrator.account,
            device_enrollment=DeviceEnrollment(enrollment_identity=enrollment_id),
        )
        enrollment = await service.CreateDeviceEnrollment(creation, metadata=key)
        claimed = await device.bootstrap(account)
        if not isinstance(claimed, Succeeded):
            raise RuntimeError(f"{name}: {claimed}")
        account_id = self._administrator.account.rpartition("/")[2]
        registered = await device.register(claimed.outcome.lwm2m, account_id, lifetime=_LIFETIME_S)
        if not isinstance(registered, RegisteredDevice):
            raise RuntimeError(f"{name}: {registered}")
        await registered.update()
        await registered.leave()
        deletion = DeleteDeviceEnrollmentRequest(name=enrollment.name)
        await service.DeleteDeviceEnrollment(deletion, metadata=key)
        self.lived += 1

    async def follow(self, service: Any) -> None:
        """Watch the enrollments for ever."""
        request = WatchDeviceEnrollmentsRequest(parent=self._administrator.account)
        async for _ in service.WatchDeviceEnrollments(
            request, metadata=bearer_metadata(self._administrator.api_key)
        ):
            pass


def grown(samples: list[int]) -> float:
    """The median of the last sixth ÷ that of the one before.

    What came before that is for what fills up to its bound: the LwM2M server keeps 20,000 proven paths, and
    meets a new certificate in each life.
    """
    sixth = len(samples) // 6
    return statistics.median(samples[-sixth:]) / statistics.median(samples[-2 * sixth : -sixth])


async def _soak(instance: Instance, seconds: float, rate: float) -> dict[str, list[int]]:
    lives = _Lives(instance, create_account(instance, "Soak"))
    samples: dict[str, list[int]] = {name: [] for name in instance.processes}
    begun = time.monotonic()

    async def come(tasks: asyncio.TaskGroup, service: Any) -> None:
        for number in itertools.count():
            await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
            tasks.create_task(lives.live(service))

    async with lives.service() as service, asyncio.TaskGroup() as tasks:
        endless = [tasks.create_task(come(tasks, service)), tasks.create_task(lives.follow(service))]
        for number in range(1, _SAMPLES + 1):
            await asyncio.sleep(max(0.0, begun + seconds * number / _SAMPLES - time.monotonic()))
            for name, pid in instance.processes.items():
                samples[name].append(own_bytes(pid))
            if number % (_SAMPLES // 9) == 0:
                told = "  ".join(f"{name} {taken[-1] / 2**20:.1f}" for name, taken in samples.items())
                print(f"{time.monotonic() - begun:6.0f} s, {lives.lived:6,} lives, MiB: {told}", flush=True)
        for task in endless:
            task.cancel()
    return samples


def main() -> int:
    """Soak, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1_800.0)
    parser.add_argument("--rate", type=float, default=15.0, help="devices a second")
    asked = parser.parse_args()
    with running_instance(workers=1) as instance:
        samples = uvloop.run(_soak(instance, asked.seconds, asked.rate))
    for name, taken in samples.items():
        print(f"{name}: last sixth ÷ the one before {grown(taken):.3f}, at most {max(taken) / 2**20:.1f} MiB")
    return int(any(grown(taken) > GROWTH_MAX for taken in samples.values()))


if __name__ == "__main__":
    sys.exit(main())
