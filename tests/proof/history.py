"""What clients ask and are answered, and when: the history of one round."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from enum import StrEnum
from typing import Self

import msgspec

from ftc_core.application.context import utc_now
from ftc_core.errors import Reason

__all__ = [
    "Action",
    "Answer",
    "Block",
    "Claim",
    "Decide",
    "Decision",
    "Enroll",
    "Entry",
    "History",
    "LookUp",
    "Offer",
    "ReadDevice",
    "ReadTransfer",
    "Register",
    "Release",
    "Unblock",
    "UnknownOutcomeError",
]


class _OfDevice(msgspec.Struct, frozen=True, tag=True):
    """An action on one device, which is known by its number in the round."""

    device: int

    @property
    def devices(self) -> tuple[int, ...]:
        return (self.device,)


class Enroll(_OfDevice, frozen=True, tag=True):
    """CreateDeviceEnrollment → `enrollment_id`."""

    account_id: str
    expires_at: datetime | None = None


class Release(_OfDevice, frozen=True, tag=True):
    """DeleteDeviceEnrollment."""

    account_id: str
    enrollment_id: str


class LookUp(_OfDevice, frozen=True, tag=True):
    """LookupDeviceEnrollment → `enrollment_id`, and `device_id` if it was claimed."""

    account_id: str


class Claim(_OfDevice, frozen=True, tag=True):
    """A Bootstrap-Request, with `aid` unless that is None → `account_id`, `device_id`."""

    aid: str | None = None


class ReadDevice(_OfDevice, frozen=True, tag=True):
    """GetDevice."""

    account_id: str
    device_id: str


class Register(_OfDevice, frozen=True, tag=True):
    """An LwM2M Register with the credentials of an earlier claim."""

    account_id: str
    device_id: str


class Block(_OfDevice, frozen=True, tag=True):
    """BlockDevice, by its owner."""

    account_id: str
    device_id: str


class Unblock(_OfDevice, frozen=True, tag=True):
    """UnblockDevice, by its owner."""

    account_id: str
    device_id: str


class Offer(msgspec.Struct, frozen=True, tag=True):
    """CreateDeviceTransfer → `transfer_id`; `device_ids` in the order of `devices`."""

    devices: tuple[int, ...]
    device_ids: tuple[str, ...]
    account_id: str
    receiver_id: str
    expires_at: datetime


class Decision(StrEnum):
    """What may be done about a transfer."""

    ACCEPT = "ACCEPT"
    REJECT = "REJECT"
    CANCEL = "CANCEL"


class Decide(msgspec.Struct, frozen=True, tag=True):
    """Accept-, Reject- or CancelDeviceTransfer, of a transfer that is open until `expires_at`."""

    devices: tuple[int, ...]
    account_id: str
    transfer_id: str
    decision: Decision
    expires_at: datetime


class ReadTransfer(msgspec.Struct, frozen=True, tag=True):
    """GetDeviceTransfer → `state`."""

    devices: tuple[int, ...]
    account_id: str
    transfer_id: str
    expires_at: datetime


Action = (
    Enroll
    | Release
    | LookUp
    | Claim
    | ReadDevice
    | Register
    | Block
    | Unblock
    | Offer
    | Decide
    | ReadTransfer
)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back: done, or refused for `reason`; then `about` is the device that the refusal names."""

    reason: Reason | None = None
    about: int | None = None
    account_id: str = ""
    enrollment_id: str = ""
    device_id: str = ""
    transfer_id: str = ""
    state: str = ""


class UnknownOutcomeError(Exception):
    """No answer came, or none that tells whether the action took effect."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One call. `answer`, and what is told of its end, is None if the outcome is unknown.

    `invoked` and `returned` are ticks of the history; `revision_before` and `revision_after` what the store
    was at just before and just after; `began_at` and `ended_at` are wall time, which expiries go by.
    """

    client: str
    action: Action
    answer: Answer | None
    invoked: int
    returned: int | None
    revision_before: int
    revision_after: int | None
    began_at: datetime
    ended_at: datetime | None

    def without_answer(self) -> Self:
        """As if its caller had never heard of it again."""
        return msgspec.structs.replace(self, answer=None, returned=None, revision_after=None, ended_at=None)

    def __str__(self) -> str:
        """One line for people."""
        action = msgspec.to_builtins(self.action)
        kind = action.pop("type")
        asked = " ".join(f"{name}={value}" for name, value in action.items())
        told = "no answer"
        if self.answer is not None:
            answer = {
                name: value
                for name, value in msgspec.to_builtins(self.answer).items()
                if value not in (None, "")
            }
            told = " ".join(f"{name}={value}" for name, value in answer.items()) or "done"
        return f"[{self.invoked}…{self.returned or ''}] {self.client}: {kind} {asked} → {told}"


class History:
    """Keeps what happens, from any thread. `revision` gives the store's revision as of now."""

    def __init__(self, revision: Callable[[], int]) -> None:
        self._revision = revision
        self._ticks = itertools.count()
        self._lock = threading.Lock()
        self._entries: list[Entry] = []

    def perform(self, client: str, action: Action, act: Callable[[Action], Answer]) -> Answer | None:
        """The answer of `act`, or None if it raises UnknownOutcomeError; either is kept."""
        revision, began_at, invoked = self._revision(), utc_now(), next(self._ticks)
        answer: Answer | None = None
        with contextlib.suppress(UnknownOutcomeError):
            answer = act(action)
        returned, ended_at = next(self._ticks), utc_now()
        known = answer is not None
        entry = Entry(
            client=client,
            action=action,
            answer=answer,
            invoked=invoked,
            returned=returned if known else None,
            revision_before=revision,
            revision_after=self._revision() if known else None,
            began_at=began_at,
            ended_at=ended_at if known else None,
        )
        with self._lock:
            self._entries.append(entry)
        return answer

    @property
    def entries(self) -> list[Entry]:
        """All calls, in the order of their invocations."""
        with self._lock:
            return sorted(self._entries, key=lambda entry: entry.invoked)

    def of_device(self, number: int) -> Iterator[Entry]:
        """The calls that concern one device."""
        return (entry for entry in self.entries if number in entry.action.devices)

    def of_transfers(self) -> dict[str, list[Entry]]:
        """The calls that concern each transfer whose ID somebody learned."""
        found: dict[str, list[Entry]] = {}
        for entry in self.entries:
            if isinstance(entry.action, Decide | ReadTransfer):
                found.setdefault(entry.action.transfer_id, []).append(entry)
        return found
