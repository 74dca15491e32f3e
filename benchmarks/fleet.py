"""A fleet in memory: devices with certificates of one CA, enrolled in one account, each powered on once."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from benchmarks.instance import Instance
from ftc_core.application.accounts import NewAccount, create_account
from ftc_core.application.authentication import Principal
from ftc_core.application.certificates import NewTrustedCertificate, create_trusted_certificate
from ftc_core.application.context import ApplicationContext, WriteOptions, new_id, utc_now
from ftc_core.credentials.pki import Identity, create_authority, private_key_der
from ftc_core.device.client import Succeeded
from ftc_core.device.runner import DeviceRunner
from ftc_core.domain.account import Role
from ftc_core.domain.certificate import CertificateService
from ftc_core.domain.enrollment import Enrollment
from ftc_core.domain.identity import fingerprint_of
from ftc_core.factory.device_certificate import DeviceCertificateIssuer
from ftc_core.lwm2m.objects import SecurityInstance, SecurityMode
from ftc_core.storage.async_commit import AsyncCommit
from ftc_core.storage.engines import open_store
from ftc_core.storage.group_commit import GroupCommit
from ftc_core.storage.port import CreateEnrollments, Submission

__all__ = ["Fleet"]


class Fleet:
    """Devices of a new manufacturer CA, on the enrollment list of a new account. Make one with `enrolled`."""

    def __init__(self, instance: Instance, devices: dict[str, Identity]) -> None:
        self._devices = devices
        self._uri = instance.bootstrap_uri
        server_ca = x509.load_pem_x509_certificate((instance.data_dir / "pki" / "server-ca.pem").read_bytes())
        self._server_ca = server_ca.public_bytes(Encoding.DER)

    @classmethod
    async def enrolled(cls, instance: Instance, count: int) -> Fleet:
        """`count` devices, their CA uploaded and their identities enrolled, straight into the store."""
        now = utc_now()
        authority = create_authority(f"Benchmark CA {new_id()}", now=now)
        issuer = DeviceCertificateIssuer(authority, now=now, validity=timedelta(days=30))
        devices = {name: issuer.issue(name) for name in (f"bench-{index:06d}" for index in range(count))}
        operator = Principal(account_id=new_id(), role=Role.OPERATOR, key_id=new_id())
        with (
            closing(open_store(f"lmdb://{instance.data_dir.absolute()}/store")) as store,
            closing(GroupCommit(store)) as group,
        ):
            commit = AsyncCommit(group, asyncio.get_running_loop())
            context = ApplicationContext(store, commit, pepper=bytes(32))
            account = await create_account(
                context, operator, NewAccount(display_name="Benchmark"), WriteOptions()
            )
            upload = NewTrustedCertificate(
                account_id=account.id,
                display_name="Benchmark CA",
                certificate=authority.certificate_pem.decode(),
                service=CertificateService.BOOTSTRAP,
                enrollment_mode=True,
            )
            await create_trusted_certificate(context, operator, upload, WriteOptions())
            enrollments = tuple(
                Enrollment(
                    id=new_id(),
                    account_id=account.id,
                    fingerprint=fingerprint_of(identity.certificate_der),
                    created_at=now,
                )
                for identity in devices.values()
            )
            await commit.execute(Submission(CreateEnrollments(enrollments, now)))
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

    async def power_on(self, over_s: float) -> list[tuple[float, float]]:
        """Power every device on, evenly over `over_s` seconds, however the server fares (open loop).

        Gives for each device, in order of its turn, when that was planned and when it was claimed, seconds
        from the start of the call. Raises RuntimeError if any is refused.
        """
        started = time.perf_counter()

        async def device(name: str, identity: Identity, planned: float) -> tuple[float, float]:
            await asyncio.sleep(planned - (time.perf_counter() - started))
            outcome = await DeviceRunner(name).bootstrap(self._account(identity))
            if not isinstance(outcome, Succeeded):
                raise RuntimeError(f"{name}: {outcome.code} {outcome.text}")
            return planned, time.perf_counter() - started

        interval = over_s / len(self)
        turns = enumerate(self._devices.items())
        return await asyncio.gather(
            *(device(name, identity, turn * interval) for turn, (name, identity) in turns)
        )

    def _account(self, identity: Identity) -> SecurityInstance:
        return SecurityInstance(
            server_uri=self._uri,
            bootstrap_server=True,
            mode=SecurityMode.CERTIFICATE,
            public_key=identity.certificate_der,
            server_public_key=self._server_ca,
            secret_key=private_key_der(identity.private_key),
        )
