"""The two objects of a bootstrap, LwM2M Security (0) and LwM2M Server (1), as values and as TLV.

Sources: LwM2M 1.0.2 TS, Appendix E.1 and E.2 (resources and their types), Appendix C (data types: integers
are signed, big-endian, of 1, 2, 4 or 8 bytes; a Boolean is one byte, 0 or 1; strings are UTF-8).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

from ftc_core.lwm2m.tlv import BadTlv, MultipleResource, Resource

__all__ = ["SecurityInstance", "SecurityMode", "ServerInstance"]

_INTEGER_SIZES = (1, 2, 4, 8)


class SecurityMode(IntEnum):
    """Resource /0/*/2."""

    PSK = 0
    RAW_PUBLIC_KEY = 1
    CERTIFICATE = 2
    NO_SEC = 3
    EST = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityInstance:
    """An instance of LwM2M Security: how to reach one server, and with which credentials.

    A field that is None (or, for the URI, empty) is absent. `mode` is a plain number, since a server may
    write one that we do not know. Certificates and the key are DER. `hold_off` is in seconds.
    """

    server_uri: str = ""
    bootstrap_server: bool = False
    mode: int | None = None
    public_key: bytes | None = field(default=None, repr=False)
    server_public_key: bytes | None = field(default=None, repr=False)
    secret_key: bytes | None = field(default=None, repr=False)
    short_server_id: int | None = None
    hold_off: int | None = None

    def resources(self) -> tuple[Resource, ...]:
        """Every resource that is present, in the order of a safe write.

        The bootstrap flag goes before certificates and key: a widely used client routes these to its
        bootstrap or its LwM2M credential store by the flag that it has read so far.
        """
        return _present(
            (0, _string(self.server_uri) if self.server_uri else None),
            (1, _boolean(self.bootstrap_server)),
            (2, _integer(self.mode)),
            (3, self.public_key),
            (4, self.server_public_key),
            (5, self.secret_key),
            (10, _integer(self.short_server_id)),
            (11, _integer(self.hold_off)),
        )

    def written(self, resources: Iterable[Resource | MultipleResource]) -> SecurityInstance:
        """This instance after a Bootstrap-Write: what is absent from `resources` stays as it is (§5.2.6.2).

        Resources that are unknown here are ignored. Raises BadTlv if a known one has a malformed value.
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

    def resources(self) -> tuple[Resource, ...]:
        """Every resource that is present, by number."""
        return _present(
            (0, _integer(self.short_server_id)),
            (1, _integer(self.lifetime)),
            (6, None if self.notification_storing is None else _boolean(self.notification_storing)),
            (7, None if self.binding is None else _string(self.binding)),
        )

    def written(self, resources: Iterable[Resource | MultipleResource]) -> ServerInstance:
        """This instance after a Bootstrap-Write; rules and errors as in `SecurityInstance.written`."""
        return replace(self, **_changes(resources, _SERVER))


# --- values to bytes -------------------------------------------------------------------------------


def _present(*resources: tuple[int, bytes | None]) -> tuple[Resource, ...]:
    return tuple(Resource(identifier, value) for identifier, value in resources if value is not None)


def _string(value: str) -> bytes:
    return value.encode()


def _boolean(value: bool) -> bytes:
    return b"\x01" if value else b"\x00"


def _integer(value: int | None) -> bytes | None:
    if value is None:
        return None
    for size in _INTEGER_SIZES:
        if -(1 << 8 * size - 1) <= value < 1 << 8 * size - 1:
            return value.to_bytes(size, "big", signed=True)
    raise ValueError(f"{value} does not fit 64 bits")


# --- bytes to values -------------------------------------------------------------------------------


def _to_string(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BadTlv("a string is not UTF-8") from None


def _to_boolean(value: bytes) -> bool:
    if value not in (b"\x00", b"\x01"):
        raise BadTlv("a Boolean is not one byte of 0 or 1")
    return value == b"\x01"


def _to_integer(value: bytes) -> int:
    if len(value) not in _INTEGER_SIZES:
        raise BadTlv(f"an integer has {len(value)} bytes, not 1, 2, 4 or 8")
    return int.from_bytes(value, "big", signed=True)


_Field = tuple[str, Callable[[bytes], object]]
"""The name of an attribute, and what makes its value from bytes."""

_SECURITY: Mapping[int, _Field] = {
    0: ("server_uri", _to_string),
    1: ("bootstrap_server", _to_boolean),
    2: ("mode", _to_integer),
    3: ("public_key", bytes),
    4: ("server_public_key", bytes),
    5: ("secret_key", bytes),
    10: ("short_server_id", _to_integer),
    11: ("hold_off", _to_integer),
}
_SERVER: Mapping[int, _Field] = {
    0: ("short_server_id", _to_integer),
    1: ("lifetime", _to_integer),
    6: ("notification_storing", _to_boolean),
    7: ("binding", _to_string),
}


def _changes(resources: Iterable[Resource | MultipleResource], known: Mapping[int, _Field]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for resource in resources:
        if resource.id not in known:
            continue
        if isinstance(resource, MultipleResource):
            raise BadTlv(f"resource {resource.id} has a single instance")
        name, convert = known[resource.id]
        changes[name] = convert(resource.value)
    return changes
