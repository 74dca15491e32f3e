"""The objects that a bootstrap server writes, as the device holds them: its accounts.

The rules are those of a widely used client [I], which are stricter here and laxer there than LwM2M 1.0 §5.2:

- it starts with two Security instances: /0/0, empty, to become the LwM2M server's, and /0/1, its bootstrap
  server's, which no Delete removes;
- a write is TLV, of whole object instances or of one instance's resources; what a write does not mention
  stays; /3 (Device) is accepted and kept nowhere;
- after each write to /0 every Security instance must be usable.
"""

from __future__ import annotations

from collections.abc import Sequence

from ftc_core.lwm2m import tlv
from ftc_core.lwm2m.objects import SecurityInstance, SecurityMode, ServerInstance

__all__ = ["AccountObjects", "RefusedError"]

_Resources = Sequence[tlv.Resource | tlv.MultipleResource]

_SECURITY, _SERVER, _DEVICE = "0", "1", "3"
_LWM2M_INSTANCE, _BOOTSTRAP_INSTANCE = 0, 1
_TLV_FORMATS = frozenset({tlv.CONTENT_FORMAT, tlv.LEGACY_CONTENT_FORMAT})


class RefusedError(Exception):
    """The device refuses a request of the bootstrap server with 4.00 and this text."""


class AccountObjects:
    """Objects /0 and /1 during one bootstrap. `bootstrap` is the account that the device starts with."""

    def __init__(self, bootstrap: SecurityInstance) -> None:
        self._security = {_LWM2M_INSTANCE: SecurityInstance(), _BOOTSTRAP_INSTANCE: bootstrap}
        self._servers: dict[int, ServerInstance] = {}

    def delete(self, path: Sequence[str]) -> None:
        """Bootstrap-Delete. Raises RefusedError for a path that is not "/", "/o" or "/o/i" of one digit each.

        Nothing but the LwM2M accounts can be deleted; other paths of that form are accepted without effect.
        """
        if len(path) > 2 or not all(len(part) == 1 and part in "0123456789" for part in path):
            raise RefusedError("Invalid path")
        target = (*path, None, None)[:2]
        if target[0] in (None, _SECURITY):
            for number, instance in list(self._security.items()):
                if not instance.bootstrap_server and target[1] in (None, str(number)):
                    del self._security[number]
        if target[0] in (None, _SERVER):
            for number in list(self._servers):
                if target[1] in (None, str(number)):
                    del self._servers[number]

    def write(self, path: Sequence[str], content_format: int | None, payload: bytes) -> None:
        """Bootstrap-Write. Raises RefusedError; the bootstrap is then over, so nothing is rolled back."""
        if not 1 <= len(path) <= 2 or path[0] not in (_SECURITY, _SERVER, _DEVICE):
            raise RefusedError("Invalid path")
        if content_format not in _TLV_FORMATS:
            raise RefusedError("Content-Format is not TLV")
        try:
            for instance, resources in _instances(path, tlv.decode(payload)):
                if path[0] == _SECURITY:
                    self._security[instance] = self._security.get(instance, SecurityInstance()).written(
                        resources
                    )
                elif path[0] == _SERVER:
                    self._servers[instance] = self._servers.get(instance, ServerInstance()).written(resources)
        except tlv.BadTlv as error:
            raise RefusedError(str(error)) from error
        if path[0] == _SECURITY and not all(map(_is_usable, self._security.values())):
            raise RefusedError("BS FIN fails :Invalid security object")

    def lwm2m_account(self) -> SecurityInstance:
        """The Security instance to register with. Raises RefusedError if the server wrote none."""
        for instance in self._security.values():
            if not instance.bootstrap_server and instance.server_uri:
                return instance
        raise RefusedError("No security object found for Registration")

    def bootstrap_account(self) -> SecurityInstance:
        """The Security instance for the next bootstrap. Raises RefusedError if it was overwritten."""
        for instance in self._security.values():
            if instance.bootstrap_server:
                return instance
        raise RefusedError("No bootstrap server account is left")

    def server(self) -> ServerInstance:
        """The Server instance with the lowest number; an empty one if none was written."""
        return self._servers[min(self._servers)] if self._servers else ServerInstance()


def _instances(path: Sequence[str], entries: Sequence[tlv.Entry]) -> list[tuple[int, _Resources]]:
    """The instances that a write means: those of the payload, or the one of the path for bare resources."""
    instances = [(entry.id, entry.resources) for entry in entries if isinstance(entry, tlv.ObjectInstance)]
    if instances or not entries:
        return list(instances)
    if len(path) != 2 or not (path[1].isascii() and path[1].isdecimal() and len(path[1]) <= 5):
        raise RefusedError("Invalid path")
    return [(int(path[1]), [entry for entry in entries if not isinstance(entry, tlv.ObjectInstance)])]


def _is_usable(instance: SecurityInstance) -> bool:
    credentials = (instance.public_key, instance.server_public_key, instance.secret_key)
    if not instance.server_uri:
        return False
    match instance.mode:
        case SecurityMode.CERTIFICATE:
            return all(credentials)
        case SecurityMode.EST:  # the device is going to enroll its own certificate
            return bool(instance.server_public_key) and not (
                instance.bootstrap_server or instance.public_key or instance.secret_key
            )
        case SecurityMode.NO_SEC:
            return True
        case _:
            return False
