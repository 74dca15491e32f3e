"""Devices for tests: a certificate, and the simulated device's own runner over real sockets."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ftc_core.device.client import BootstrapFailed, BootstrapOutcome, Succeeded
from ftc_core.device.model import IZUMA, ClientModel
from ftc_core.device.registration import OperationFailed
from ftc_core.device.runner import DeviceRunner, RegisteredDevice
from ftc_core.domain.identity import fingerprint_of
from ftc_core.lwm2m.objects import SecurityInstance, SecurityMode
from tests.certificates import Credential, Manufacturer
from tests.instance import Instance, Tenant

__all__ = ["Thing", "claimed_thing", "enrolled_thing", "key_der"]

_numbers = itertools.count(1)


def key_der(credential: Credential) -> bytes:
    """The private key in DER, PKCS#8."""
    return credential.private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


@dataclass(frozen=True)
class Thing:
    """One device as it left the factory."""

    instance: Instance
    endpoint_name: str
    credential: Credential

    @classmethod
    def of(cls, instance: Instance, manufacturer: Manufacturer, endpoint_name: str | None = None) -> Thing:
        """A new device, with a name that no other has unless one is given."""
        name = endpoint_name or f"thing-{next(_numbers)}"
        return cls(instance, name, manufacturer.device(name))

    @property
    def fingerprint(self) -> bytes:
        """Of its bootstrap certificate."""
        return fingerprint_of(self.credential.der)

    async def bootstrap(
        self,
        *,
        account_id: str | None = None,
        endpoint_name: str | None = None,
        block_size: int = 1_024,
        answer_delay_s: float = 0.0,
        uri: str | None = None,
        model: ClientModel = IZUMA,
    ) -> Succeeded | BootstrapFailed:
        """One attempt at `uri` (default: as published), with `aid` if `account_id` is given."""
        aid = "" if account_id is None else f"?aid={account_id}"
        account = SecurityInstance(
            server_uri=(uri or self.instance.bootstrap_uri) + aid,
            bootstrap_server=True,
            mode=SecurityMode.CERTIFICATE,
            public_key=self.credential.der,
            server_public_key=self.instance.server_ca,
            secret_key=key_der(self.credential),
        )
        runner = DeviceRunner(
            endpoint_name or self.endpoint_name,
            block_size=block_size,
            answer_delay_s=answer_delay_s,
            model=model,
        )
        return await runner.bootstrap(account)

    async def claimed(
        self,
        *,
        account_id: str | None = None,
        block_size: int = 1_024,
        answer_delay_s: float = 0.0,
        uri: str | None = None,
        model: ClientModel = IZUMA,
    ) -> BootstrapOutcome:
        """What a bootstrap that must succeed gives."""
        done = await self.bootstrap(
            account_id=account_id,
            block_size=block_size,
            answer_delay_s=answer_delay_s,
            uri=uri,
            model=model,
        )
        assert isinstance(done, Succeeded), done
        return done.outcome

    async def refused(
        self, *, account_id: str | None = None, endpoint_name: str | None = None
    ) -> BootstrapFailed:
        """What a bootstrap that must be refused gives."""
        done = await self.bootstrap(account_id=account_id, endpoint_name=endpoint_name)
        assert isinstance(done, BootstrapFailed), done
        return done

    async def try_to_register(
        self,
        outcome: BootstrapOutcome,
        account_id: str,
        *,
        lifetime: int = 600,
        endpoint_name: str = "",
        model: ClientModel = IZUMA,
    ) -> RegisteredDevice | OperationFailed:
        """Register with what a bootstrap gave."""
        runner = DeviceRunner(endpoint_name or self.endpoint_name, model=model)
        return await runner.register(outcome.lwm2m, account_id, lifetime=lifetime)

    async def registered(
        self, outcome: BootstrapOutcome, account_id: str, *, lifetime: int = 600, model: ClientModel = IZUMA
    ) -> RegisteredDevice:
        """A registration that must be accepted."""
        done = await self.try_to_register(outcome, account_id, lifetime=lifetime, model=model)
        assert isinstance(done, RegisteredDevice), done
        return done


def enrolled_thing(tenant: Tenant, manufacturer: Manufacturer) -> Thing:
    """A new device on the tenant's enrollment list."""
    thing = Thing.of(tenant.instance, manufacturer)
    tenant.enroll(thing.credential.certificate)
    return thing


async def claimed_thing(tenant: Tenant, manufacturer: Manufacturer) -> tuple[Thing, BootstrapOutcome]:
    """A new device that the tenant owns, and what it was given."""
    thing = enrolled_thing(tenant, manufacturer)
    return thing, await thing.claimed()
