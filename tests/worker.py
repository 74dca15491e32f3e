"""One bootstrap worker inside the test's own process: real sockets, DTLS, store and commits, no supervisor.

So a test can reach what lies beneath the worker and break it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding

from ftc_core.application.context import new_id, utc_now
from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.device.client import BootstrapFailed, Succeeded
from ftc_core.device.runner import DeviceRunner
from ftc_core.domain.account import Account
from ftc_core.domain.device import Device
from ftc_core.domain.identity import fingerprint_of
from ftc_core.domain.last_bootstrap import LastBootstrap
from ftc_core.endpoint import bootstrap_worker
from ftc_core.endpoint.child import ChildSpec, Ready, Stop
from ftc_core.endpoint.server import new_generations
from ftc_core.endpoint.udp import bind_group
from ftc_core.limits import TICKET_GENERATIONS_AHEAD
from ftc_core.lwm2m.objects import SecurityInstance, SecurityMode
from ftc_core.settings import Settings
from ftc_core.storage.commands import CreateEnrollments, CreateTrustedCertificate
from ftc_core.storage.lmdb import LmdbStore, open_lmdb
from tests.certificates import Credential, Manufacturer
from tests.conformance.scene import Scene
from tests.raw_peer import RawPeer
from tests.things import key_der

__all__ = ["LocalThing", "Workshop"]

HOST = "127.0.0.1"
_numbers = itertools.count(1)


class _Stop(Stop):
    """Set by the test, not by signals."""

    def __init__(self) -> None:
        self._event = asyncio.Event()


class Workshop:
    """A data directory, and an account that trusts a manufacturer.

    Everything but `running` is for the time in which no worker runs: a process opens a store once.
    """

    def __init__(self, directory: DataDirectory) -> None:
        self.directory = directory
        self.manufacturer = Manufacturer()
        self.port = 0
        self._store: LmdbStore | None = open_lmdb(directory.store)
        self.account = self.scene.account()
        self.trust(self.manufacturer)

    @property
    def scene(self) -> Scene:
        """Verbs of accounts, straight in the store."""
        assert self._store is not None, "a worker runs"
        return Scene(self._store, first_id=int(new_id(), 16))

    def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()

    def trust(self, ca: Manufacturer, account: Account | None = None, **changes: Any) -> None:
        """Upload a CA to the account, or to another."""
        record = msgspec.structs.replace(
            self.scene.new_certificate((account or self.account).id, ca=fingerprint_of(ca.der)),
            certificate_der=ca.der,
            subject_der=ca.certificate.subject.public_bytes(),
            not_before=ca.certificate.not_valid_before_utc,
            not_after=ca.certificate.not_valid_after_utc,
            **changes,
        )
        self.scene.run(CreateTrustedCertificate(record))

    def thing(
        self,
        endpoint_name: str | None = None,
        *,
        ca: Manufacturer | None = None,
        not_after: datetime | None = None,
    ) -> LocalThing:
        """A new device that nobody has enrolled."""
        name = endpoint_name or f"thing-{next(_numbers)}"
        began = utc_now() - timedelta(days=2)
        made = (ca or self.manufacturer).device(name, not_before=began, not_after=not_after)
        return LocalThing(self, made, name)

    def enroll(self, thing: LocalThing, account: Account | None = None, **changes: Any) -> LocalThing:
        """Put it on the account's list, or another's."""
        listed = msgspec.structs.replace(
            self.scene.new_enrollment((account or self.account).id, 0),
            fingerprint=thing.fingerprint,
            **changes,
        )
        self.scene.run(CreateEnrollments((listed,), utc_now()))
        return thing

    def found(self, thing: LocalThing) -> tuple[Device | None, LastBootstrap | None]:
        """The device's record and its last bootstrap."""
        with self.scene.store.view() as view:
            [device] = view.find_devices([thing.fingerprint])
            return device, None if device is None else view.get_last_bootstrap(device.account_id, device.id)

    @asynccontextmanager
    async def running(self, **changes: Any) -> AsyncIterator[None]:
        """A worker serves, on a port of its own; `changes` are made to its settings."""
        self.close()
        self._store = None
        (sock,) = bind_group(HOST, 0, 1)
        self.port = sock.getsockname()[1]
        settings = Settings(
            data_dir=self.directory.root,
            bootstrap_uri=f"coaps://{HOST}:{self.port}",
            lwm2m_uri=f"coaps://{HOST}:5684",
            shutdown_grace_s=0.0,
            **changes,
        )
        spec = ChildSpec(name="bootstrap-0", settings=settings, sockets=(sock.detach(),))
        generations = new_generations(self.directory, "bootstrap", settings, ahead=TICKET_GENERATIONS_AHEAD)
        stop, ready = _Stop(), asyncio.Event()

        def say(_: Ready) -> None:
            ready.set()

        worker = asyncio.create_task(bootstrap_worker.serve(generations, spec, say, stop))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({worker, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        try:
            yield
        finally:
            stop.set()
            await worker
            self._store = open_lmdb(self.directory.store)


@dataclass(frozen=True)
class LocalThing:
    """A device of a workshop's manufacturer."""

    workshop: Workshop
    credential: Credential
    endpoint_name: str

    @property
    def fingerprint(self) -> bytes:
        """Of its bootstrap certificate."""
        return fingerprint_of(self.credential.der)

    async def bootstrap(
        self, *, account_id: str = "", device_id: str = "", claim_secret: str = ""
    ) -> Succeeded | BootstrapFailed:
        """One attempt; with `aid` and `iep` and a proof if they are given."""
        account = SecurityInstance(
            server_uri=f"coaps://{HOST}:{self.workshop.port}" + (account_id and f"?aid={account_id}"),
            bootstrap_server=True,
            mode=SecurityMode.CERTIFICATE,
            public_key=self.credential.der,
            server_public_key=self._server_ca(),
            secret_key=key_der(self.credential),
        )
        return await DeviceRunner(self.endpoint_name).bootstrap(
            account, device_id=device_id, claim_secret=claim_secret or None
        )

    async def sees(self, **parameters: str) -> str:
        """What one attempt looks like to the device: a refusal's code and text, or "claimed"."""
        outcome = await self.bootstrap(**parameters)
        return "claimed" if isinstance(outcome, Succeeded) else f"{outcome.code} {outcome.text}".strip()

    def peer(self) -> RawPeer:
        """Its DTLS and CoAP in the test's hand; blocking, so for a thread of its own."""
        certificate, key = self.credential.certificate, self.credential.private_key
        return RawPeer((HOST, self.workshop.port), certificate, key, self._server_ca())

    def _server_ca(self) -> bytes:
        return self.workshop.directory.server_ca.public_bytes(Encoding.DER)
