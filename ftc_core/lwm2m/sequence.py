"""What is written to a device whose claim was granted, one request per step.

Sources: LwM2M 1.0.2 TS §5.2.6 (Bootstrap-Delete, -Write and -Finish) and Appendix E.1 and E.2; PRODUCT
contract §2 for the instance numbers (/0/0 LwM2M server, /0/1 bootstrap server), for `aid` in both URIs and
for the order: after each write a widely used client judges all Security instances, so each write makes a
whole one, and the Delete before them removes the empty LwM2M instance that such a client starts with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiocoap.numbers.codes import Code

from ftc_core.lwm2m import tlv
from ftc_core.lwm2m.messages import request
from ftc_core.lwm2m.objects import SecurityInstance, SecurityMode, ServerInstance

if TYPE_CHECKING:
    from aiocoap.message import Message

__all__ = [
    "DELETE_SECURITY",
    "FINISH",
    "WRITE_BOOTSTRAP_SECURITY",
    "WRITE_LWM2M_SECURITY",
    "WRITE_SERVER",
    "BootstrapGrant",
    "SequenceStep",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapGrant:
    """Everything that a claimed device is given.

    `lwm2m_uri` and `bootstrap_uri` are `coaps://host:port` without a query. Certificates and the key are
    DER; the two server certificates are the CAs (or end-entity certificates) by which the device knows each
    server. `device_certificate` is the bootstrap certificate that the device presented, if it presented that
    one alone. `lifetime` is in seconds.
    """

    account_id: str
    device_id: str
    endpoint_name: str
    lwm2m_uri: str
    lwm2m_server_certificate: bytes = field(repr=False)
    client_certificate: bytes = field(repr=False)
    client_key: bytes = field(repr=False)
    bootstrap_uri: str
    bootstrap_server_certificate: bytes = field(repr=False)
    device_certificate: bytes | None = field(default=None, repr=False)
    short_server_id: int = 1
    lifetime: int = 86_400
    binding: str = "U"

    def lwm2m_security(self) -> SecurityInstance:
        """Instance /0/0, the LwM2M server's."""
        return SecurityInstance(
            server_uri=f"{self.lwm2m_uri}?aid={self.account_id}",
            bootstrap_server=False,
            mode=SecurityMode.CERTIFICATE,
            public_key=self.client_certificate,
            server_public_key=self.lwm2m_server_certificate,
            secret_key=self.client_key,
            short_server_id=self.short_server_id,
        )

    def bootstrap_security(self) -> SecurityInstance:
        """Instance /0/1, the bootstrap server's.

        Its private key never left the device: the absent resource 5 stays as it is there (§5.2.6.2). So does
        resource 3 if the device presented a chain, which it may hold in one value that we cannot rebuild.
        """
        return SecurityInstance(
            server_uri=f"{self.bootstrap_uri}?aid={self.account_id}",
            bootstrap_server=True,
            mode=SecurityMode.CERTIFICATE,
            public_key=self.device_certificate,
            server_public_key=self.bootstrap_server_certificate,
        )

    def server(self) -> ServerInstance:
        """Instance /1/0."""
        return ServerInstance(
            short_server_id=self.short_server_id,
            lifetime=self.lifetime,
            notification_storing=True,
            binding=self.binding,
        )


@dataclass(frozen=True, slots=True)
class SequenceStep:
    """A step: its name in timelines, its request for a grant and a content format, its good answers."""

    name: str
    build: Callable[[BootstrapGrant, int], Message]
    accepted: frozenset[Code]


def _write(path: tuple[str, str], resources: tuple[tlv.Resource, ...], content_format: int) -> Message:
    return request(Code.PUT, path, content_format=content_format, payload=tlv.encode(resources))


_WRITTEN = frozenset({Code.CHANGED, Code.CREATED})

DELETE_SECURITY = SequenceStep(
    "Bootstrap-Delete /0",
    lambda _grant, _format: request(Code.DELETE, ("0",)),
    # A client without such an instance, or one that does not let it be deleted, can still be written to.
    frozenset({Code.DELETED, Code.NOT_FOUND, Code.METHOD_NOT_ALLOWED}),
)
WRITE_LWM2M_SECURITY = SequenceStep(
    "Bootstrap-Write /0/0",
    lambda grant, content_format: _write(("0", "0"), grant.lwm2m_security().resources(), content_format),
    _WRITTEN,
)
WRITE_SERVER = SequenceStep(
    "Bootstrap-Write /1/0",
    lambda grant, content_format: _write(("1", "0"), grant.server().resources(), content_format),
    _WRITTEN,
)
WRITE_BOOTSTRAP_SECURITY = SequenceStep(
    "Bootstrap-Write /0/1",
    lambda grant, content_format: _write(("0", "1"), grant.bootstrap_security().resources(), content_format),
    _WRITTEN,
)
FINISH = SequenceStep(
    "Bootstrap-Finish",
    lambda grant, _format: request(Code.POST, ("bs",), query=(f"iep={grant.device_id}",)),
    frozenset({Code.CHANGED}),
)
