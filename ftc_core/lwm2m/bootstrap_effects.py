"""What a bootstrap session asks of its edge, beside what `lwm2m.effects` has for all sessions."""

from __future__ import annotations

from dataclasses import dataclass

from ftc_core.errors import FtcError
from ftc_core.lwm2m.effects import Cancel, Respond, SendRequest
from ftc_core.lwm2m.request import BootstrapRequest
from ftc_core.lwm2m.timeline import Step

__all__ = ["BootstrapEffect", "Claim", "Completed", "Enroll", "Failed", "Finished", "Superseded"]


@dataclass(frozen=True, slots=True)
class Claim:
    """Decide this request's claim, then call `claim_granted` or `claim_refused`, once."""

    request: BootstrapRequest


@dataclass(frozen=True, slots=True)
class Finished:
    """All is with the device but its certificate, which it is to ask for: record its new state."""

    account_id: str
    device_id: str


@dataclass(frozen=True, slots=True)
class Enroll:
    """Judge this certificate request (PKCS#10, as it came), and call `certificate_issued` or
    `certificate_refused` before any other input."""

    csr: bytes


@dataclass(frozen=True, slots=True)
class Completed:
    """The device has all that it needs: record it, then close the association.

    Without `enrolled`, that is with the acknowledged Bootstrap-Finish; with it, `Finished` came before.
    `lingers`: the last message was an answer of ours, a pack or a certificate, which may be asked for again.
    """

    account_id: str
    device_id: str
    steps: tuple[Step, ...]
    lingers: bool = False
    enrolled: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """The bootstrap ended; the device has been answered if it can be. A claim that was granted stays.

    `error` is the refusal, or INTERNAL_7 (reset or lost), _8 (a write was rejected) or _9 (timed out), with
    the step and the device's answer in its text.
    """

    error: FtcError
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Superseded:
    """A new Bootstrap-Request replaced a bootstrap that had got as far as `steps`."""

    steps: tuple[Step, ...]


BootstrapEffect = Respond | SendRequest | Cancel | Claim | Finished | Enroll | Completed | Failed | Superseded
