"""What a client says of its accounts in answer to Bootstrap-Discover.

Sources: LwM2M 1.0.2 TS §5.2.7.3 and 1.1 TS core §6.1.7.3 (Bootstrap-Discover), RFC 6690 (link format). The
payload lists instances with `ssid`, the Short Server ID, except for the bootstrap server's. The version
stands in `</>;lwm2m=1.1`, but 1.0 writes `lwm2m="1.0"` in front of the links, where the link format knows
nothing of the kind. Later versions allow a server to take that (1.2 TS core §6.1.7.3, note).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ftc_core.limits import COAP_BODY_MAX_BYTES
from ftc_core.lwm2m.links import BadLinks, parse_links

__all__ = ["VERSION_1_0", "VERSION_1_1", "Discovered", "Version", "parse_discovered"]

Version = tuple[int, int]
"""Of the LwM2M enabler: major and minor."""
VERSION_1_0: Version = (1, 0)
VERSION_1_1: Version = (1, 1)

_LEADING_VERSION = re.compile(r'\s*lwm2m="?([0-9]\.[0-9])"?\s*(?:,|$)')
_VERSION = re.compile(r"([0-9])\.([0-9])")
_INSTANCE = re.compile(r"/([0-9]{1,5})/([0-9]{1,5})/?")
_SHORT_SERVER_ID = re.compile(r"[0-9]{1,5}")
_SECURITY, _SERVER = 0, 1


@dataclass(frozen=True, slots=True)
class Discovered:
    """`security` and `servers`: the instances of /0 and /1, and their Short Server IDs, None if not said."""

    version: Version
    security: Mapping[int, int | None]
    servers: Mapping[int, int | None]

    @property
    def bootstrap_account(self) -> int | None:
        """The number of the bootstrap server's Security instance; None if the links do not single one out."""
        without_ssid = [number for number, ssid in self.security.items() if ssid is None]
        return without_ssid[0] if len(without_ssid) == 1 else None


def parse_discovered(payload: bytes) -> Discovered:
    """The accounts that `payload` lists. Raises BadLinks, and nothing else.

    Links to other objects are ignored, and so is an attribute whose value is not what it should be. An
    unknown version counts as 1.0, which is what the least of clients can do.
    """
    if len(payload) > COAP_BODY_MAX_BYTES:
        raise BadLinks(f"{len(payload)} bytes are more than {COAP_BODY_MAX_BYTES}")
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        raise BadLinks("not UTF-8") from None
    version = VERSION_1_0
    leading = _LEADING_VERSION.match(text)
    if leading is not None:
        version, text = _version(leading[1]), text[leading.end() :]
    instances: dict[int, dict[int, int | None]] = {_SECURITY: {}, _SERVER: {}}
    for target, attributes in parse_links(text):
        if target == "/":
            version = _version(attributes.get("lwm2m") or "")
        place = _INSTANCE.fullmatch(target)
        if place is not None and int(place[1]) in instances:
            instances[int(place[1])][int(place[2])] = _short_server_id(attributes.get("ssid"))
    return Discovered(version, instances[_SECURITY], instances[_SERVER])


def _version(text: str) -> Version:
    match = _VERSION.fullmatch(text)
    return VERSION_1_0 if match is None else (int(match[1]), int(match[2]))


def _short_server_id(text: str | None) -> int | None:
    return None if text is None or _SHORT_SERVER_ID.fullmatch(text) is None else int(text)
