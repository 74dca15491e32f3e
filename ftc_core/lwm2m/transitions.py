"""The server's bootstrap session as a table; `lwm2m.bootstrap` has its theory of operation."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

__all__ = ["TRANSITIONS", "UNDER_WAY", "BootstrapInput", "BootstrapState"]


class BootstrapState(Enum):
    """Where the session stands."""

    IDLE = auto()
    CLAIMING = auto()
    DELETING = auto()
    DISCOVERING = auto()
    CLEARING = auto()
    READING = auto()
    WRITING_LWM2M_SECURITY = auto()
    WRITING_SERVER = auto()
    WRITING_BOOTSTRAP_SECURITY = auto()
    FINISHING = auto()
    PACKING = auto()
    ENROLLING = auto()
    HANDING_OUT = auto()
    COMPLETED = auto()
    FAILED = auto()


class BootstrapInput(Enum):
    """What moves it."""

    REQUESTED = auto()
    GRANTED = auto()
    PACK_GRANTED = auto()
    ACCEPTED = auto()
    """A step is done, and nothing else is to be asked or removed before the next write."""
    NUMBERS_WANTED = auto()
    """The client's instance numbers are not known yet."""
    REMAINS_FOUND = auto()
    """Something of an earlier owner is left on the client."""
    READ_WANTED = auto()
    """The client keeps servers whose Short Server IDs are not known."""
    CERTIFICATE_DUE = auto()
    """All is written, but for the certificate, which the device is to ask for."""
    BROKEN = auto()


_S, _I = BootstrapState, BootstrapInput

_ALWAYS: Mapping[BootstrapInput, BootstrapState] = {_I.REQUESTED: _S.CLAIMING, _I.BROKEN: _S.FAILED}
_NEXT = {_I.ACCEPTED: _S.WRITING_LWM2M_SECURITY}

TRANSITIONS: Mapping[BootstrapState, Mapping[BootstrapInput, BootstrapState]] = {
    _S.IDLE: {_I.REQUESTED: _S.CLAIMING},
    _S.CLAIMING: {**_ALWAYS, _I.GRANTED: _S.DELETING, _I.PACK_GRANTED: _S.PACKING},
    _S.DELETING: {**_ALWAYS, **_NEXT, _I.NUMBERS_WANTED: _S.DISCOVERING},
    _S.DISCOVERING: {
        **_ALWAYS,
        **_NEXT,
        _I.NUMBERS_WANTED: _S.DISCOVERING,
        _I.REMAINS_FOUND: _S.CLEARING,
        _I.READ_WANTED: _S.READING,
    },
    _S.CLEARING: {**_ALWAYS, **_NEXT, _I.REMAINS_FOUND: _S.CLEARING, _I.READ_WANTED: _S.READING},
    _S.READING: {**_ALWAYS, **_NEXT},
    _S.WRITING_LWM2M_SECURITY: {**_ALWAYS, _I.ACCEPTED: _S.WRITING_SERVER},
    _S.WRITING_SERVER: {**_ALWAYS, _I.ACCEPTED: _S.WRITING_BOOTSTRAP_SECURITY},
    _S.WRITING_BOOTSTRAP_SECURITY: {**_ALWAYS, _I.ACCEPTED: _S.FINISHING},
    _S.FINISHING: {**_ALWAYS, _I.ACCEPTED: _S.COMPLETED, _I.CERTIFICATE_DUE: _S.ENROLLING},
    _S.PACKING: {**_ALWAYS, _I.ACCEPTED: _S.COMPLETED, _I.CERTIFICATE_DUE: _S.ENROLLING},
    _S.ENROLLING: {**_ALWAYS, _I.ACCEPTED: _S.HANDING_OUT},
    _S.HANDING_OUT: {**_ALWAYS, _I.ACCEPTED: _S.COMPLETED},
    _S.COMPLETED: {_I.REQUESTED: _S.CLAIMING},
    _S.FAILED: {_I.REQUESTED: _S.CLAIMING},
}
"""The whole machine: an input that a state does not list is ignored in it."""

UNDER_WAY = frozenset(state for state, moves in TRANSITIONS.items() if BootstrapInput.BROKEN in moves)
"""The states in which something is awaited, so that it can fail to come."""
