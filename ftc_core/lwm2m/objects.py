"""The two objects of a bootstrap, LwM2M Security (0) and LwM2M Server (1), as values.

Sources: LwM2M 1.0.2 TS, Appendix E.1 and E.2 (resources); 1.1 TS core, Appendix E.1 for resource 15.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

from ftc_core.lwm2m.values import Value

__all__ = ["CertificateUsage", "SecurityInstance", "SecurityMode", "ServerInstance"]


class SecurityMode(IntEnum):
    """Resource /0/*/2."""

    PSK = 0
    RAW_PUBLIC_KEY = 1
    CERTIFICATE = 2
    NO_SEC = 3
    EST = 4


class CertificateUsage(IntEnum):
    """Resource /0/*/15 (LwM2M 1.1): what resource 4 holds, and how it is matched (RFC 6698 §2.1.1)."""

    CA_CONSTRAINT = 0
    SERVICE_CERTIFICATE_CONSTRAINT = 1
    TRUST_ANCHOR_ASSERTION = 2
    DOMAIN_ISSUED_CERTIFICATE = 3
    """The server's own certificate; what holds if the resource is absent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityInstance:
    """An instance of LwM2M Security: how to reach one server, and with which credentials.

    A field that is None (or, for the URI, empty) is absent. `mode` and `certificate_usage` are plain numbers,
    since a server may write one that we do not know. Certificates and the key are DER. `hold_off` is in
    seconds.
    """

    server_uri: str = ""
    bootstrap_server: bool = False
    mode: int | None = None
    public_key: bytes | None = field(default=None, repr=False)
    server_public_key: bytes | None = field(default=None, repr=False)
    secret_key: bytes | None = field(default=None, repr=False)
    short_server_id: int | None = None
    hold_off: int | None = None
    certificate_usage: int | None = None

    def resources(self) -> dict[int, Value]:
        """Every resource that is present, in the order of a safe write.

        The bootstrap flag goes before certificates and key: a widely used client routes these to its
        bootstrap or its LwM2M credential store by the flag that it has read so far.
        """
        return _present(self, _SECURITY)

    def written(self, resources: Mapping[int, Value]) -> SecurityInstance:
        """This instance after a Bootstrap-Write: what is absent from `resources` stays as it is (§5.2.7.4).

        Resources that are unknown here are ignored. Values have the types of `values.RESOURCE_TYPES`.
        """
        return replace(self, **_changes(resources, _SECURITY))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInstance:
    """An instance of LwM2M Server. `lifetime` is the registration's, in seconds; None means absent.

    Resource 8 (registration update trigger) is executable: it is not written.
    """

    short_server_id: int | None = None
    lifetime: int | None = None
    notification_storing: bool | None = None
    binding: str | None = None

    def resources(self) -> dict[int, Value]:
        """Every resource that is present, by number."""
        return _present(self, _SERVER)

    def written(self, resources: Mapping[int, Value]) -> ServerInstance:
        """This instance after a Bootstrap-Write; rules as in `SecurityInstance.written`."""
        return replace(self, **_changes(resources, _SERVER))


_SECURITY: Mapping[int, str] = {
    0: "server_uri",
    1: "bootstrap_server",
    2: "mode",
    3: "public_key",
    4: "server_public_key",
    5: "secret_key",
    10: "short_server_id",
    11: "hold_off",
    15: "certificate_usage",
}
_SERVER: Mapping[int, str] = {0: "short_server_id", 1: "lifetime", 6: "notification_storing", 7: "binding"}


def _present(instance: SecurityInstance | ServerInstance, known: Mapping[int, str]) -> dict[int, Value]:
    present: dict[int, Value] = {}
    for number, name in known.items():
        value = getattr(instance, name)
        if value is None or value == "":
            continue
        # A member of an enumeration goes as the number that it stands for: not every codec knows them.
        present[number] = int(value) if isinstance(value, IntEnum) else value
    return present


def _changes(resources: Mapping[int, Value], known: Mapping[int, str]) -> dict[str, Any]:
    return {known[number]: value for number, value in resources.items() if number in known}
