"""The objects that a device lists when it registers.

Sources: LwM2M 1.0.2 TS §5.3.1 and 1.1 TS core §6.2.1 (Register), RFC 6690 (link format). The payload links
each object and object instance: `</1/0>,</3>;ver=1.1`. They may lie under another root, which a link with the
resource type `oma.lwm2m` names: `</lwm2m>;rt="oma.lwm2m",</lwm2m/1/0>`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ftc_core.lwm2m.links import BadLinks, parse_links

__all__ = ["RegisteredObject", "parse_object_links"]

_ROOT_TYPE = "oma.lwm2m"
_PLACE = re.compile(r"/([0-9]{1,5})(?:/([0-9]{1,5}))?/?")
_ID_MAX = 65_535
_VERSION = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}")


@dataclass(frozen=True, slots=True)
class RegisteredObject:
    """An object: its ID, its version ("" if not said), and its instances, lowest first."""

    id: int
    version: str
    instances: tuple[int, ...]


def parse_object_links(text: str) -> tuple[RegisteredObject, ...]:
    """The objects in `text`, lowest ID first.

    What is no link to an object is passed over. A text that is not in the link format, which devices in the
    field have been registered with all the same, has no objects.
    """
    try:
        links = parse_links(text)
    except BadLinks:
        return ()
    root = next((href.rstrip("/") for href, named in links if _is_root(named.get("rt"))), "")
    instances: dict[int, set[int]] = {}
    versions: dict[int, str] = {}
    for href, named in links:
        place = _PLACE.fullmatch(href.removeprefix(root))
        if place is None or int(place[1]) > _ID_MAX:
            continue
        object_id = int(place[1])
        found = instances.setdefault(object_id, set())
        if place[2] is not None and int(place[2]) <= _ID_MAX:
            found.add(int(place[2]))
        version = named.get("ver") or ""
        if _VERSION.fullmatch(version):
            versions[object_id] = version
    return tuple(
        RegisteredObject(object_id, versions.get(object_id, ""), tuple(sorted(instances[object_id])))
        for object_id in sorted(instances)
    )


def _is_root(resource_types: str | None) -> bool:
    return _ROOT_TYPE in (resource_types or "").split()
