"""Field masks of updates (AIP-134, AIP-161): which fields a request changes."""

from __future__ import annotations

from collections.abc import Collection

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from ftc_core.errors import FtcError, Reason

__all__ = ["masked_fields"]

_FIELD = "update_mask"
_ALL = "*"


def masked_fields(resource: Message, mask: FieldMask, changeable: Collection[str]) -> frozenset[str]:
    """The fields of `resource` to change: those that `mask` names, without one those that are set.

    Raises FtcError FIELD_INVALID for a path that is not `changeable`, naming it; FIELD_REQUIRED if nothing
    would change.
    """
    if not mask.paths:
        populated = {descriptor.name for descriptor, _ in resource.ListFields()}
        chosen = populated.intersection(changeable)
        if not chosen:
            raise FtcError(Reason.FIELD_REQUIRED, f"nothing to change: set a field or {_FIELD}", field=_FIELD)
        return frozenset(chosen)
    for path in mask.paths:
        if path != _ALL and path not in changeable:
            shown = ", ".join(sorted(changeable))
            raise FtcError(
                Reason.FIELD_INVALID,
                f"{_FIELD} names {path[:100]!r}, which cannot be changed; can be: {shown}",
                field=_FIELD,
            )
    return frozenset(changeable if _ALL in mask.paths else mask.paths)
