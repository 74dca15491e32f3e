"""A fleet in memory, in closed loop: so many devices at a time, each bootstrapped once, as fast as they can.

For the cost of one onboarding. How a server fares with a fleet that comes when it likes is `ftc_storm`'s.
"""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ftc_core.application.context import new_id, utc_now
from ftc_core.credentials.pki import Identity, create_authority, private_key_der
from ftc_core.device.client import Succeeded
from ftc_core.device.runner import DeviceRunner
from ftc_core.domain.identity import fingerprint_of
from ftc_core.factory.device_certificate import DeviceCertificateIssuer
from ftc_core.lwm2m.objects import SecurityInstance, SecurityMode
from ftc_storm.instance import Instance
from ftc_storm.site import open_site

__all__ = ["Fleet"]


class Fleet:
    """Devices of a new manufacturer CA, on the enrollment list of a new account. Make one with `enrolled`."""

    def __init__(self, instance: Instance, devices: dict[str, Identity]) -> None:
        self._devices = devices
        self._uri = instance.bootstrap_uri
        server_ca = x509.load_pem_x509_certificate(instance.server_ca_pem)
        self._server_ca = server_ca.public_bytes(Encoding.DER)

    @classmethod
    async def enrolled(cls, instance: Instance, count: int) -> Fleet:
        """`count` devices, their CA uploaded and their identities enrolled, straight into the store."""
        now = utc_now()
        authority = create_authority(f"Benchmark CA {new_id()}", now=now)
        issuer = DeviceCertificateIssuer(authority, now=now, validity=timedelta(days=30))
        devices = {name: issuer.issue(name) for name in (f"bench-{index:06d}" for index in range(count))}
        async with open_site(instance.data_dir) as site:
            await site.trust(authority.certificate_pem)
            await site.enroll([fingerprint_of(identity.certificate_der) for identity in devices.values()])
        return cls(instance, devices)

    def __len__(self) -> int:
        return len(self._devices)

    async def onboard(self, concurrency: int) -> list[float]:
        """Bootstrap every device, `concurrency` at a time; the seconds that each took, handshake to Finish.

        Raises RuntimeError if any is refused.
        """
        waiting = iter(self._devices.items())
        seconds: list[float] = []

        async def power_on() -> None:
            for name, identity in waiting:
                started = time.perf_counter()
                outcome = await DeviceRunner(name).bootstrap(self._account(identity))
                seconds.append(time.perf_counter() - started)
                if not isinstance(outcome, Succeeded):
                    raise RuntimeError(f"{name}: {outcome.code} {outcome.text}")

        await asyncio.gather(*(power_on() for _ in range(concurrency)))
        return seconds

    def _account(self, identity: Identity) -> SecurityInstance:
        return SecurityInstance(
            server_uri=self._uri,
            bootstrap_server=True,
            mode=SecurityMode.CERTIFICATE,
            public_key=identity.certificate_der,
            server_public_key=self._server_ca,
            secret_key=private_key_der(identity.private_key),
        )
