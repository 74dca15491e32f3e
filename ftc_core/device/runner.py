"""Runs one simulated device from its bundle: bootstrap, keep what was given, register, stay, leave."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from ftc_core.application.context import utc_now
from ftc_core.coap.blockwise import BlockwiseLayer
from ftc_core.coap.exchange import ExchangeLayer
from ftc_core.device.bundle import BootstrapResult, Bundle, LwM2MCredentials
from ftc_core.device.client import BootstrapClient, BootstrapFailed, BootstrapOutcome, Succeeded
from ftc_core.device.connection import DeviceConnection
from ftc_core.device.drivers import BootstrapClientDriver, RegistrationClientDriver
from ftc_core.device.registration import Operation, OperationDone, OperationFailed, RegistrationClient
from ftc_core.device.retry import after_registration
from ftc_core.dtls.association import Association, Closed
from ftc_core.dtls.context import client_context
from ftc_core.dtls.trust import TrustEvaluator, VerifiedPath, fixed_anchors
from ftc_core.endpoint.peer import SessionFactory
from ftc_core.endpoint.udp import Origin
from ftc_core.limits import COAP_BLOCK_SIZE
from ftc_core.lwm2m.objects import SecurityInstance, SecurityMode

__all__ = ["DeviceRunner", "RegisteredDevice"]

_Value = TypeVar("_Value")


class DeviceRunner:
    """One device. Each method is one thing that a device's firmware would do.

    `block_size` is the largest CoAP block that the device takes, 16 to 1,024 bytes.
    """

    def __init__(self, bundle: Bundle, *, block_size: int = COAP_BLOCK_SIZE) -> None:
        self.bundle = bundle
        self._block_size = block_size

    async def bootstrap(self) -> Succeeded | BootstrapFailed:
        """One attempt: handshake, Bootstrap-Request, writes, Finish. Success is kept in the bundle.

        A handshake that fails is a `BootstrapFailed` with code "" and the alert in its text. Raises FtcError
        BUNDLE_INVALID if the server wrote what cannot be kept, OSError if its host is unknown.
        """
        bundle = self.bundle
        account = SecurityInstance(
            server_uri=bundle.bootstrap_server_uri,
            bootstrap_server=True,
            mode=SecurityMode.CERTIFICATE,
            public_key=bundle.bootstrap_certificate,
            server_public_key=bundle.bootstrap_server_ca,
            secret_key=bundle.bootstrap_private_key,
        )
        known = bundle.lwm2m
        client = BootstrapClient(bundle.endpoint_name, account, device_id=known.device_id if known else "")
        ended: asyncio.Future[Succeeded | BootstrapFailed] = asyncio.get_running_loop().create_future()

        def new_session(
            path: VerifiedPath, origin: Origin, coap: BlockwiseLayer, wake: Callable[[], None], now: float
        ) -> BootstrapClientDriver:
            return BootstrapClientDriver(client, coap, ended.set_result, now)

        connection = await self._connect(
            account.server_uri,
            bundle.bootstrap_certificate,
            bundle.bootstrap_private_key,
            bundle.bootstrap_server_ca,
            new_session,
        )
        try:
            outcome = await _unless_closed(ended, connection)
        finally:
            connection.close()
        if isinstance(outcome, Closed):
            return BootstrapFailed("", _describe(outcome), ())
        if isinstance(outcome, Succeeded):
            bundle.store_bootstrap_result(_result(outcome.outcome))
        return outcome

    async def register(
        self, credentials: LwM2MCredentials, *, lifetime: int
    ) -> RegisteredDevice | OperationFailed:
        """Connect to the LwM2M server with `credentials` and register for `lifetime` seconds."""
        client = RegistrationClient(self.bundle.endpoint_name, credentials.account_id, lifetime=lifetime)
        device = RegisteredDevice(client)
        connection = await self._connect(
            credentials.server_uri,
            credentials.certificate,
            credentials.private_key,
            credentials.server_ca,
            device.new_session,
        )
        return await device.begin(connection)

    async def _connect(
        self, uri: str, certificate: bytes, private_key: bytes, server_ca: bytes, new_session: SessionFactory
    ) -> DeviceConnection:
        target = urlsplit(uri)
        key = load_der_private_key(private_key, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise TypeError("a device key is EC or RSA")  # the bundle admits no other
        context = client_context([x509.load_der_x509_certificate(certificate)], key)
        evaluator = TrustEvaluator(
            fixed_anchors([server_ca]), purpose=ExtendedKeyUsageOID.SERVER_AUTH, pin_leaf=True
        )
        association = Association.connect(
            context, lambda chain: evaluator.evaluate(chain, utc_now()), monotonic()
        )
        return await DeviceConnection.open(
            target.hostname or "", target.port or 5684, association, self._new_coap_layer, new_session
        )

    def _new_coap_layer(self) -> BlockwiseLayer:
        exchanges = ExchangeLayer(
            first_message_id=random.getrandbits(16),
            token_prefix=secrets.token_bytes(4),
            random=random.random,
        )
        return BlockwiseLayer(exchanges, block_size=self._block_size)


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


def _describe(closed: Closed) -> str:
    """For a person: a failed handshake in the words of the troubleshooting table."""
    return f"Secure Connection Failed: {closed.detail or closed.cause.value.lower().replace('_', ' ')}"


def _result(outcome: BootstrapOutcome) -> BootstrapResult:
    account = outcome.lwm2m
    return BootstrapResult(
        lwm2m_server_uri=account.server_uri,
        server_ca=account.server_public_key or b"",
        certificate=account.public_key or b"",
        private_key=account.secret_key or b"",
        bootstrap_server_uri=outcome.bootstrap.server_uri,
    )
