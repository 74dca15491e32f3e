"""What is written to a device whose claim was granted, one request per step.

Sources: LwM2M 1.0.2 TS §5.2.7 (Bootstrap-Delete, -Discover, -Write and -Finish), 1.1 TS core §6.1.7.4
(Bootstrap-Read), 1.2 TS core §6.1.7.7 (Bootstrap-Pack); PRODUCT contract §2 for Izuma's instance numbers
(/0/0 LwM2M server, /0/1 bootstrap server), for `aid` in both URIs and for the order: after each write a
widely used client judges all Security instances, so each write makes a whole one, and the Delete before
them removes the empty LwM2M instance that such a client starts with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from aiocoap.numbers.codes import Code

from ftc_core.lwm2m import content
from ftc_core.lwm2m.accounts import AccountLayout, Trust
from ftc_core.lwm2m.messages import request
from ftc_core.lwm2m.objects import CertificateUsage, SecurityInstance, SecurityMode, ServerInstance
from ftc_core.lwm2m.values import Path, Value, Values

if TYPE_CHECKING:
    from aiocoap.message import Message

__all__ = [
    "BootstrapGrant",
    "SequenceStep",
    "delete",
    "discover",
    "finish",
    "pack",
    "read_servers",
    "write_bootstrap_security",
    "write_lwm2m_security",
    "write_server",
]

_SECURITY, _SERVER = 0, 1
_SERVER_URI = 0
_LINK_FORMAT = 40
_IZUMA = AccountLayout()


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapGrant:
    """Everything that a claimed device is given.

    `lwm2m_uri` and `bootstrap_uri` are `coaps://host:port` without a query. Certificates and the key are
    DER: the two server certificates are the CAs by which the device knows each server,
    `lwm2m_end_entity_certificate` is the LwM2M server's own, for clients that know it by that alone.
    `device_certificate` is the bootstrap certificate that the device presented, if it presented that one
    alone. `lifetime` is in seconds.

    `client_certificate` and `client_key` are None where the device has a key of its own, and is to ask the CA
    in `issuing_certificate` for its certificate: security mode EST (LwM2M 1.1 TS core, Appendix E.1).
    """

    account_id: str
    device_id: str
    endpoint_name: str
    lwm2m_uri: str
    lwm2m_server_certificate: bytes = field(repr=False)
    lwm2m_end_entity_certificate: bytes = field(repr=False)
    client_certificate: bytes | None = field(repr=False)
    client_key: bytes | None = field(repr=False)
    bootstrap_uri: str
    bootstrap_server_certificate: bytes = field(repr=False)
    issuing_certificate: bytes | None = field(default=None, repr=False)
    device_certificate: bytes | None = field(default=None, repr=False)
    short_server_id: int = 1
    lifetime: int = 86_400
    binding: str = "U"

    @property
    def enrolls(self) -> bool:
        """Whether the device is to ask for its certificate by EST."""
        return self.client_certificate is None

    def lwm2m_security(self, layout: AccountLayout = _IZUMA) -> SecurityInstance:
        """The LwM2M server's Security instance."""
        whole = SecurityInstance(
            server_uri=f"{self.lwm2m_uri}?aid={self.account_id}",
            bootstrap_server=False,
            mode=SecurityMode.EST if self.enrolls else SecurityMode.CERTIFICATE,
            public_key=self.client_certificate,
            server_public_key=self.lwm2m_server_certificate,
            secret_key=self.client_key,
            short_server_id=layout.short_server_id or self.short_server_id,
        )
        match layout.trust:
            case Trust.CA:
                return whole
            case Trust.CA_WITH_USAGE:
                return replace(whole, certificate_usage=CertificateUsage.TRUST_ANCHOR_ASSERTION)
            case Trust.END_ENTITY:
                return replace(whole, server_public_key=self.lwm2m_end_entity_certificate)

    def bootstrap_security(self) -> SecurityInstance:
        """The bootstrap server's Security instance.

        Its private key never left the device: the absent resource 5 stays as it is there (§5.2.7.4). So does
        resource 3 if the device presented a chain, which it may hold in one value that we cannot rebuild.
        """
        return SecurityInstance(
            server_uri=self.bootstrap_account_uri,
            bootstrap_server=True,
            mode=SecurityMode.CERTIFICATE,
            public_key=self.device_certificate,
            server_public_key=self.bootstrap_server_certificate,
        )

    @property
    def bootstrap_account_uri(self) -> str:
        """Where the device asks next time, and whose it is."""
        return f"{self.bootstrap_uri}?aid={self.account_id}"

    def server(self, layout: AccountLayout = _IZUMA) -> ServerInstance:
        """The Server instance."""
        return ServerInstance(
            short_server_id=layout.short_server_id or self.short_server_id,
            lifetime=self.lifetime,
            notification_storing=True,
            binding=self.binding,
        )


@dataclass(frozen=True, slots=True)
class SequenceStep:
    """A step: its name in timelines, its request, and its good answers; None: every answer is one."""

    name: str
    message: Message
    accepted: frozenset[Code] | None


_WRITTEN = frozenset({Code.CHANGED, Code.CREATED})
# A client without such an instance, or one that does not let it be deleted, can still be written to.
_DELETED = frozenset({Code.DELETED, Code.NOT_FOUND, Code.METHOD_NOT_ALLOWED})


def delete(path: Path, *, required: bool) -> SequenceStep:
    """Bootstrap-Delete. `required`: an answer other than success, 4.04 or 4.05 ends the bootstrap."""
    return SequenceStep(
        f"Bootstrap-Delete {_text(path)}",
        request(Code.DELETE, _segments(path)),
        _DELETED if required else None,
    )


def discover() -> SequenceStep:
    """Bootstrap-Discover of everything: a widely used client takes no other path."""
    return SequenceStep("Bootstrap-Discover /", request(Code.GET, (), accept=_LINK_FORMAT), None)


def read_servers(content_format: int) -> SequenceStep:
    """Bootstrap-Read of the Server object, one of the two that may be read."""
    return SequenceStep("Bootstrap-Read /1", request(Code.GET, ("1",), accept=content_format), None)


def write_lwm2m_security(grant: BootstrapGrant, layout: AccountLayout, content_format: int) -> SequenceStep:
    """The LwM2M account, whole."""
    path = (_SECURITY, layout.lwm2m)
    return _write(path, _at(path, grant.lwm2m_security(layout).resources()), content_format)


def write_server(grant: BootstrapGrant, layout: AccountLayout, content_format: int) -> SequenceStep:
    """The Server instance, whole."""
    path = (_SERVER, layout.server)
    return _written(path, _server_payload(grant.server(layout), path, content_format), content_format)


def write_bootstrap_security(
    grant: BootstrapGrant, layout: AccountLayout, content_format: int
) -> SequenceStep:
    """The bootstrap account: of one that was found complete, the URI alone; else the whole instance.

    A client need not keep what a write of the instance leaves out (1.2 TS core §6.1.7.5), and we cannot write
    its private key.
    """
    path = (_SECURITY, layout.bootstrap)
    if layout.bootstrap_found:
        resource = (*path, _SERVER_URI)
        return _write(resource, {resource: grant.bootstrap_account_uri}, content_format)
    return _write(path, _at(path, grant.bootstrap_security().resources()), content_format)


def finish(grant: BootstrapGrant) -> SequenceStep:
    """Bootstrap-Finish."""
    return SequenceStep(
        "Bootstrap-Finish",
        request(Code.POST, ("bs",), query=(f"iep={grant.device_id}",)),
        frozenset({Code.CHANGED}),
    )


def pack(grant: BootstrapGrant, layout: AccountLayout, content_format: int) -> bytes:
    """The payload of a Bootstrap-Pack: LwM2M account and Server instance.

    The client deletes what else it has of these objects, except its bootstrap account (1.2 TS core §6.1.7.7).
    """
    return content.encode(
        content_format,
        (),
        {
            **_at((_SECURITY, layout.lwm2m), grant.lwm2m_security(layout).resources()),
            **_at((_SERVER, layout.server), grant.server(layout).resources()),
        },
    )


def _write(path: Path, values: Values, content_format: int) -> SequenceStep:
    return _written(path, content.encode(content_format, path, values), content_format)


@lru_cache(maxsize=64)  # one for each format and layout that is met: it says the same to all devices
def _server_payload(server: ServerInstance, path: Path, content_format: int) -> bytes:
    return content.encode(content_format, path, _at(path, server.resources()))


def _written(path: Path, payload: bytes, content_format: int) -> SequenceStep:
    message = request(Code.PUT, _segments(path), content_format=content_format, payload=payload)
    return SequenceStep(f"Bootstrap-Write {_text(path)}", message, _WRITTEN)


def _at(instance: Path, resources: Mapping[int, Value]) -> Values:
    return {(*instance, number): value for number, value in resources.items()}


def _segments(path: Path) -> tuple[str, ...]:
    return tuple(map(str, path))


def _text(path: Path) -> str:
    return "/" + "/".join(map(str, path))
