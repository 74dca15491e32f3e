"""A device on Mbed TLS and aiocoap: the DTLS library of many small devices, and a second opinion on CoAP.

aiocoap's own DTLS knows only pre-shared keys. Its message layer (retransmission, deduplication, block-wise
transfer) runs here over an association that Mbed TLS made.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiocoap import Context, Message, interfaces, resource
from aiocoap.numbers.codes import Code
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from mbedtls import pk, tls
from mbedtls import x509 as mbedtls_x509

from ftc_core.lwm2m import tlv
from tests.interop.fleet import Device

__all__ = ["MODE", "SERVER_URI", "Credential", "ObjectTree", "Offer", "associate"]

# Resources of LwM2M Security (LwM2M 1.0.2 TS, Appendix E.1).
SERVER_URI = 0
_BOOTSTRAP_SERVER, _PUBLIC_KEY, _SERVER_PUBLIC_KEY, _SECRET_KEY = 1, 3, 4, 5
MODE = 2

_HANDSHAKE_SECONDS = 10.0
_RECORD_MAX = 16_384
_TLV = 11542


@dataclass(frozen=True)
class Offer:
    """What the device offers: one suite, and the largest record it takes (RFC 6066 §4), in bytes."""

    suite: str = "TLS-ECDHE-ECDSA-WITH-AES-128-CCM-8"
    record_limit: tls.MaxFragmentLength = tls.MaxFragmentLength.NONE


@dataclass(frozen=True)
class Credential:
    """A certificate, its key and the CA of the server to meet, each in PEM."""

    certificate: str
    key: str
    ca: str

    @classmethod
    def of_factory(cls, device: Device, ca: str) -> Credential:
        """What the factory gave the device."""
        return cls(device.certificate.read_text(), device.key.read_text(), ca)

    @classmethod
    def of_account(cls, account: dict[int, bytes]) -> Credential:
        """What the bootstrap gave it."""
        key = serialization.load_der_private_key(account[_SECRET_KEY], None)
        pem = serialization.Encoding.PEM
        return cls(
            _pem_certificate(account[_PUBLIC_KEY]),
            key.private_bytes(
                pem, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
            ).decode(),
            _pem_certificate(account[_SERVER_PUBLIC_KEY]),
        )

    @classmethod
    def enrolled(cls, account: dict[int, bytes], certificate: bytes, key: str) -> Credential:
        """A certificate (DER) that the device asked for, with its own key in PEM."""
        return cls(_pem_certificate(certificate), key, _pem_certificate(account[_SERVER_PUBLIC_KEY]))

    def configuration(self, offer: Offer) -> tls.DTLSConfiguration:
        """DTLS 1.2 with this credential."""
        chain = ((mbedtls_x509.CRT.from_PEM(self.certificate),), pk.ECC.from_PEM(self.key))
        return tls.DTLSConfiguration(
            trust_store=tls.TrustStore([mbedtls_x509.CRT.from_PEM(self.ca)]),
            certificate_chain=chain,
            ciphers=(offer.suite,),
            lowest_supported_version=tls.DTLSVersion.DTLSv1_2,
            max_fragmentation_length=offer.record_limit,
        )


def _pem_certificate(der: bytes) -> str:
    certificate = x509.load_der_x509_certificate(der)
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


@dataclass
class ObjectTree(resource.Resource):
    """The device's side of the bootstrap interface of LwM2M 1.0, without Bootstrap-Discover.

    `requests` are those of the server, as "PUT /0/0"; `security` are the resources of each instance;
    `device_id` is what Bootstrap-Finish says.
    """

    requests: list[str] = field(default_factory=list)
    security: dict[str, dict[int, bytes]] = field(default_factory=dict)
    device_id: str = ""
    finished: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        super().__init__()

    async def render(self, request: Message) -> Message:
        """Answer a request whose body is complete."""
        path = request.opt.uri_path
        self.requests.append(f"{request.code.name} /{'/'.join(path)}")
        match request.code, path:
            case Code.DELETE, _:
                self.security.clear()
                return Message(code=Code.DELETED)
            case Code.PUT, (("0" | "1") as object_id, instance):
                if request.opt.content_format != _TLV:
                    return Message(code=Code.UNSUPPORTED_CONTENT_FORMAT)
                if object_id == "0":
                    written = tlv.decode(request.payload)
                    self.security[instance] = {
                        one.id: one.value for one in written if isinstance(one, tlv.Resource)
                    }
                return Message(code=Code.CHANGED)
            case Code.POST, ("bs",):
                (query,) = request.opt.uri_query
                self.device_id = query.removeprefix("iep=")
                self.finished.set()
                return Message(code=Code.CHANGED)
        return Message(code=Code.METHOD_NOT_ALLOWED)

    def account(self) -> dict[int, bytes]:
        """The resources of the LwM2M server's account."""
        (account,) = (one for one in self.security.values() if one[_BOOTSTRAP_SERVER] == b"\x00")
        return account


class _Server(interfaces.EndpointAddress):
    """The one peer of an association."""

    is_multicast = is_multicast_locally = False
    scheme = "coaps"
    hostinfo = hostinfo_local = "localhost"
    uri_base = uri_base_local = "coaps://localhost"
    blockwise_key = "server"


class _Association(interfaces.MessageInterface):
    """Carries aiocoap's messages over one association that stands."""

    def __init__(self, manager: interfaces.MessageManager, wrapped: tls.TLSWrappedSocket) -> None:
        self._manager, self._socket = manager, wrapped
        self._server = _Server()
        self._socket.setblocking(False)
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._readable)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(_RECORD_MAX)
        except (tls.WantReadError, BlockingIOError):
            return
        if data:
            self._manager.dispatch_message(Message.decode(data, self._server))

    def send(self, message: Message) -> None:
        """Send a message to the server."""
        self._socket.send(message.encode())

    async def recognize_remote(self, remote: interfaces.EndpointAddress) -> bool:
        """Whether `remote` is ours."""
        return remote is self._server

    async def determine_remote(self, message: Message) -> interfaces.EndpointAddress:
        """Every request goes to the server."""
        return self._server

    async def shutdown(self) -> None:
        """Leave, with close_notify."""
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()


@asynccontextmanager
async def associate(
    port: int, credential: Credential, tree: ObjectTree, offer: Offer | None = None
) -> AsyncIterator[Context]:
    """A CoAP context whose every request goes to localhost:`port` over DTLS.

    Raises mbedtls.exceptions.TLSError if the handshake fails.
    """
    connected = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    connected.connect(("127.0.0.1", port))
    connected.settimeout(_HANDSHAKE_SECONDS)
    configuration = credential.configuration(offer or Offer())
    wrapped = tls.ClientContext(configuration).wrap_socket(connected, "localhost")
    try:
        await asyncio.to_thread(wrapped.do_handshake)
    except BaseException:
        connected.close()
        raise

    async def transport(manager: interfaces.MessageManager) -> _Association:
        return _Association(manager, wrapped)

    context = Context(serversite=tree)
    await context._append_tokenmanaged_messagemanaged_transport(transport)
    try:
        yield context
    finally:
        await context.shutdown()
