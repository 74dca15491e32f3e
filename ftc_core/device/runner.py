"""One simulated device over real sockets: bootstrap, register, stay, leave. It keeps nothing itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key

from ftc_core.coap.blockwise import BlockwiseLayer
from ftc_core.device.client import BootstrapClient, BootstrapFailed, Succeeded
from ftc_core.device.connection import DeviceConnection
from ftc_core.device.drivers import BootstrapClientDriver, RegistrationClientDriver
from ftc_core.device.model import IZUMA, ClientModel
from ftc_core.device.opening import coap_factory, server_address, server_verifier
from ftc_core.device.registration import Operation, OperationDone, OperationFailed, RegistrationClient
from ftc_core.device.retry import after_registration
from ftc_core.device.trace import Tracer
from ftc_core.domain.claim_secret import claim_proof, claim_verifier
from ftc_core.domain.identity import fingerprint_of
from ftc_core.dtls.association import Association, Closed
from ftc_core.dtls.context import client_context
from ftc_core.dtls.trust import VerifiedPath
from ftc_core.endpoint.peer import SessionFactory
from ftc_core.endpoint.udp import Origin
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import COAP_BLOCK_SIZE, DEVICE_HANDSHAKE_TIMEOUT_S
from ftc_core.lwm2m.objects import CertificateUsage, SecurityInstance

__all__ = ["DeviceRunner", "RegisteredDevice"]

_OWN_CERTIFICATE = (None, CertificateUsage.DOMAIN_ISSUED_CERTIFICATE)
"""Usages with which a client by the book pins the server's own certificate."""

_Value = TypeVar("_Value")


class DeviceRunner:
    """One device, which behaves as its `model`. Each method is one thing that a device's firmware would do.

    `block_size` is the largest CoAP block that the device takes, 16 to 1,024 bytes; `answer_delay_s` how long
    it takes to answer each request of the bootstrap server. `tracer` is told of each CoAP message.
    """

    def __init__(
        self,
        endpoint_name: str,
        *,
        block_size: int = COAP_BLOCK_SIZE,
        answer_delay_s: float = 0.0,
        model: ClientModel = IZUMA,
        tracer: Tracer | None = None,
    ) -> None:
        self._endpoint_name = endpoint_name
        self._new_layer = BlockwiseLayer if tracer is None else tracer.new_layer
        self._model = model
        self._block_size = block_size
        self._answer_delay_s = answer_delay_s

    async def bootstrap(
        self, account: SecurityInstance, *, device_id: str = "", claim_secret: str | None = None
    ) -> Succeeded | BootstrapFailed:
        """One attempt with the bootstrap `account`: handshake, Bootstrap-Request, writes, Finish.

        A handshake that fails is a `BootstrapFailed` with code "" and the alert in its text. `device_id` is
        the one that an earlier bootstrap gave. `claim_secret`, if any, is proved. Raises OSError if the
        server's host is unknown.
        """
        client = BootstrapClient(self._endpoint_name, account, device_id=device_id, model=self._model)
        ended: asyncio.Future[Succeeded | BootstrapFailed] = asyncio.get_running_loop().create_future()

        def new_session(
            path: VerifiedPath, origin: Origin, coap: BlockwiseLayer, wake: Callable[[], None], now: float
        ) -> BootstrapClientDriver:
            proof = "" if claim_secret is None else _claim_proof(account, claim_secret, path)
            return BootstrapClientDriver(
                client, coap, ended.set_result, self._answer_delay_s, now, claim_proof=proof
            )

        connection = await self._connect(account, new_session, exact=False)
        try:
            outcome = await _unless_closed(ended, connection)
        finally:
            connection.close()
        return BootstrapFailed("", _describe(outcome), ()) if isinstance(outcome, Closed) else outcome

    async def register(
        self, account: SecurityInstance, account_id: str, *, lifetime: int
    ) -> RegisteredDevice | OperationFailed:
        """Connect to the LwM2M server with `account` and register for `lifetime` seconds."""
        client = RegistrationClient(
            self._endpoint_name,
            account_id,
            lifetime=lifetime,
            lwm2m_version=self._model.version_text,
        )
        device = RegisteredDevice(client)
        exact = self._model.pins_certificate and account.certificate_usage in _OWN_CERTIFICATE
        return await device.begin(await self._connect(account, device.new_session, exact=exact))

    async def _connect(
        self, account: SecurityInstance, new_session: SessionFactory, *, exact: bool
    ) -> DeviceConnection:
        """`exact`: resource 4 is the server's own certificate, and nothing else will do."""
        host, port = server_address(account.server_uri)
        key = load_der_private_key(account.secret_key or b"", password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise FtcError(Reason.CERTIFICATE_KEY_UNSUPPORTED)
        context = client_context([x509.load_der_x509_certificate(account.public_key or b"")], key)
        verify_path = server_verifier(account.server_public_key or b"", exact=exact)
        association = Association.connect(
            context, verify_path, monotonic(), handshake_timeout_s=DEVICE_HANDSHAKE_TIMEOUT_S
        )
        new_coap = coap_factory(self._model, block_size=self._block_size, new_layer=self._new_layer)
        return await DeviceConnection.open(host, port, association, new_coap, new_session)


class RegisteredDevice:
    """A device's association with the LwM2M server, and its registration."""

    def __init__(self, client: RegistrationClient) -> None:
        self._client = client
        self._driver: RegistrationClientDriver | None = None
        self._connection: DeviceConnection | None = None
        self._operation: asyncio.Future[OperationDone | OperationFailed] | None = None
        self._connected = asyncio.Event()

    def new_session(
        self, path: VerifiedPath, origin: Origin, coap: BlockwiseLayer, wake: Callable[[], None], now: float
    ) -> RegistrationClientDriver:
        """The session of the association, once its handshake is complete."""
        return RegistrationClientDriver(self._client, coap, self._attach, self._ended)

    async def begin(self, connection: DeviceConnection) -> RegisteredDevice | OperationFailed:
        """Register over `connection`; this device if the server agreed."""
        self._connection = connection
        connected = await _unless_closed(self._connected.wait(), connection)
        if isinstance(connected, Closed):
            return OperationFailed(Operation.REGISTER, "", _describe(connected), after_registration(""))
        outcome = await self._run(self._client.register)
        if isinstance(outcome, OperationFailed):
            connection.close()
            return outcome
        return self

    @property
    def location(self) -> str:
        """The path that the server gave the registration."""
        return "/" + "/".join(self._client.location)

    async def update(self, *, lifetime: int | None = None) -> OperationDone | OperationFailed:
        """Keep the registration alive."""
        return await self._run(lambda: self._client.update(lifetime=lifetime))

    async def leave(self) -> OperationDone | OperationFailed:
        """De-register and close."""
        outcome = await self._run(self._client.deregister)
        self.close()
        return outcome

    def close(self) -> None:
        """Close the association; the registration stays until its lifetime ends."""
        if self._connection is not None:
            self._connection.close()

    def _attach(self, driver: RegistrationClientDriver) -> None:
        self._driver = driver
        self._connected.set()

    def _ended(self, outcome: OperationDone | OperationFailed) -> None:
        if self._operation is not None and not self._operation.done():
            self._operation.set_result(outcome)

    async def _run(self, start: Callable[[], None]) -> OperationDone | OperationFailed:
        loop = asyncio.get_running_loop()
        driver, connection = self._driver, self._connection
        assert driver is not None and connection is not None  # noqa: S101 - `begin` came first
        self._operation = loop.create_future()
        start()
        driver.perform(monotonic())
        connection.wake()
        return await self._operation


async def _unless_closed(wanted: Awaitable[_Value], connection: DeviceConnection) -> _Value | Closed:
    """What `wanted` gives, or how the connection ended if that comes first."""
    wanted = asyncio.ensure_future(wanted)
    closed = asyncio.ensure_future(connection.ended())
    await asyncio.wait({wanted, closed}, return_when=asyncio.FIRST_COMPLETED)
    if wanted.done():
        closed.cancel()
        return wanted.result()
    wanted.cancel()
    return closed.result()


def _claim_proof(account: SecurityInstance, claim_secret: str, path: VerifiedPath) -> str:
    """For the association on which the server has `path`."""
    fingerprint = fingerprint_of(account.public_key or b"")
    return claim_proof(claim_verifier(claim_secret, fingerprint), fingerprint, path.channel_binding)


def _describe(closed: Closed) -> str:
    """For a person: a failed handshake in the words of the troubleshooting table."""
    return f"Secure Connection Failed: {closed.detail or closed.cause.value.lower().replace('_', ' ')}"
