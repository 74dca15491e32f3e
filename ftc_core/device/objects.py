"""The objects that a bootstrap server writes, as the device holds them: its accounts.

The rules are those of the device's `ClientModel`. A widely used client [I] is stricter here and laxer there
than LwM2M 1.0 §5.2:

- it starts with two Security instances: /0/0, empty, to become the LwM2M server's, and /0/1, its bootstrap
  server's, which no Delete removes;
- a write is TLV, of whole object instances or of one instance's resources; what a write does not mention
  stays; /3 (Device) is accepted and kept nowhere;
- after each write to /0 every Security instance must be usable.

A client by the book starts with its bootstrap account alone, takes single resources, too, and judges at
Finish what it was given.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ftc_core.device.model import IZUMA, ClientModel
from ftc_core.lwm2m import content
from ftc_core.lwm2m.discovery import VERSION_1_1
from ftc_core.lwm2m.objects import SecurityInstance, SecurityMode, ServerInstance
from ftc_core.lwm2m.values import BadPayload, Path, Value, Values

__all__ = ["AccountObjects", "RefusedError"]

_SECURITY, _SERVER, _DEVICE = 0, 1, 3
_LWM2M_INSTANCE = 0


class RefusedError(Exception):
    """The device refuses a request of the bootstrap server with 4.00 and this text."""


class AccountObjects:
    """Objects /0 and /1 during one bootstrap. `bootstrap` is the account that the device starts with."""

    def __init__(self, bootstrap: SecurityInstance, model: ClientModel = IZUMA) -> None:
        self._model = model
        self._security = {model.bootstrap_instance: bootstrap}
        if model.izuma:
            self._security[_LWM2M_INSTANCE] = SecurityInstance()
        self._servers: dict[int, ServerInstance] = {}

    def delete(self, path: Sequence[str]) -> None:
        """Bootstrap-Delete. Raises RefusedError for a path that is not "/", "/o" or "/o/i" of one digit each.

        Nothing but the LwM2M accounts can be deleted; other paths of that form are accepted without effect.
        """
        if len(path) > 2 or not all(len(part) == 1 and part in "0123456789" for part in path):
            raise RefusedError("Invalid path")
        target = (*map(int, path), None, None)[:2]
        if target[0] in (None, _SECURITY):
            for number, instance in list(self._security.items()):
                if not instance.bootstrap_server and target[1] in (None, number):
                    del self._security[number]
        if target[0] in (None, _SERVER):
            for number in list(self._servers):
                if target[1] in (None, number):
                    del self._servers[number]

    def write(self, path: Sequence[str], content_format: int | None, payload: bytes) -> None:
        """Bootstrap-Write. Raises RefusedError; the bootstrap is then over, so nothing is rolled back."""
        target = _target(path, 2 if self._model.izuma else 3)
        if target[0] not in (_SECURITY, _SERVER, _DEVICE):
            raise RefusedError("Invalid path")
        self.take(target, content_format, payload)
        if (
            self._model.izuma
            and target[0] == _SECURITY
            and not all(map(self._usable, self._security.values()))
        ):
            raise RefusedError("BS FIN fails :Invalid security object")

    def take(self, path: Path, content_format: int | None, payload: bytes) -> None:
        """What is below `path`. Raises RefusedError."""
        if content_format not in self._model.content_formats:
            raise RefusedError("Content-Format is not supported")
        try:
            values = content.decode(content_format, path, payload)
        except BadPayload as error:
            raise RefusedError(str(error)) from error
        for (object_id, instance), resources in _by_instance(values).items():
            if object_id == _SECURITY:
                account = self._security.get(instance, SecurityInstance())
                self._security[instance] = account.written(resources)
            else:
                server = self._servers.get(instance, ServerInstance())
                self._servers[instance] = server.written(resources)

    def unpack(self, content_format: int | None, payload: bytes) -> None:
        """A Bootstrap-Pack, which replaces all accounts but the bootstrap server's. Raises RefusedError."""
        self.delete(())
        self.take((), content_format, payload)
        self.check()

    def discover(self, path: Sequence[str]) -> bytes:
        """The answer to Bootstrap-Discover of everything or of one object. Raises RefusedError."""
        target = _target(path, 1) if path else ()
        version = self._model.version_text
        links = [f"</>;lwm2m={version}" if self._model.version >= VERSION_1_1 else f'lwm2m="{version}"']
        if target in ((), (_SECURITY,)):
            links += [f"</0/{n}>{_ssid(i.short_server_id)}" for n, i in sorted(self._security.items())]
        if target in ((), (_SERVER,)):
            links += [f"</1/{n}>{_ssid(i.short_server_id)}" for n, i in sorted(self._servers.items())]
        if target in ((), (_DEVICE,)):
            links.append("</3/0>")
        return ",".join(links).encode()

    def read(self, path: Sequence[str], content_format: int) -> bytes:
        """The answer to Bootstrap-Read of /1 or /1/i, in SenML or LwM2M CBOR. Raises RefusedError."""
        target = _target(path, 2)
        if target[0] != _SERVER or content_format not in self._model.content_formats & content.PACK_FORMATS:
            raise RefusedError("Invalid path")
        values: dict[Path, Value] = {
            (_SERVER, number, resource): value
            for number, server in self._servers.items()
            for resource, value in server.resources().items()
            if target in ((_SERVER,), (_SERVER, number))
        }
        return content.encode(content_format, target, values)

    def check(self) -> None:
        """What a client by the book looks at in the end. Raises RefusedError."""
        account = self.lwm2m_account()
        if not self._usable(account):
            raise RefusedError("The LwM2M account is not usable")
        if not any(server.short_server_id == account.short_server_id for server in self._servers.values()):
            raise RefusedError("No Server instance for the LwM2M account")

    def _usable(self, instance: SecurityInstance) -> bool:
        credentials = (instance.public_key, instance.server_public_key, instance.secret_key)
        if not instance.server_uri:
            return False
        match instance.mode:
            case SecurityMode.CERTIFICATE:
                return all(credentials)
            case SecurityMode.EST if self._model.enrolls:  # the device is going to get its own certificate
                return bool(instance.server_public_key) and not (
                    instance.bootstrap_server or instance.public_key or instance.secret_key
                )
            case SecurityMode.NO_SEC:
                return True
            case _:
                return False

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


def _target(path: Sequence[str], length_max: int) -> Path:
    if not 1 <= len(path) <= length_max or not all(map(_is_number, path)):
        raise RefusedError("Invalid path")
    return tuple(map(int, path))


def _is_number(part: str) -> bool:
    return part.isascii() and part.isdecimal() and len(part) <= 5


def _by_instance(values: Values) -> dict[tuple[int, int], dict[int, Value]]:
    instances: dict[tuple[int, int], dict[int, Value]] = defaultdict(dict)
    for (object_id, instance, resource), value in values.items():
        instances[object_id, instance][resource] = value
    return instances


def _ssid(short_server_id: int | None) -> str:
    return "" if short_server_id is None else f";ssid={short_server_id}"
