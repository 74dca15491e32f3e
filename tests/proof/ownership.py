"""What one device certificate's ownership answers, one call after the other: the contract, PRODUCT §1 and §4.

Written from the contract, not from the code that it judges, and for one certificate alone. What also hangs on
other devices (quota, endpoint names) may refuse here at any time; `audit` checks that it did so with reason.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ftc_core.errors import Reason
from tests.proof.history import (
    Answer,
    Block,
    Claim,
    Decide,
    Decision,
    Enroll,
    Entry,
    LookUp,
    Offer,
    ReadDevice,
    ReadTransfer,
    Register,
    Release,
    Unblock,
)

__all__ = ["UNOWNED", "Enrolled", "Offered", "Owned", "Ownership", "Rules"]

ELSEWHERE = frozenset({Reason.QUOTA_REACHED, Reason.DUPLICATE_ENDPOINT})
"""Refusals that hang on other devices."""


class Enrolled(msgspec.Struct, frozen=True):
    """The identity's place on a list. `id` is "" until somebody learns it; `expires_at` a POSIX time."""

    account_id: str
    id: str
    expires_at: float | None = None


class Owned(msgspec.Struct, frozen=True):
    """Who owns the device, and who did before, handing it on by transfers. `device_id` as `Enrolled.id`."""

    account_id: str
    device_id: str
    former: tuple[str, ...] = ()
    blocked: bool = False


class Offered(msgspec.Struct, frozen=True):
    """The transfer that the device is in. `transfer_id` as `Enrolled.id`."""

    transfer_id: str
    receiver_id: str
    expires_at: float


class Ownership(msgspec.Struct, frozen=True):
    """All that is known of one certificate. A device is owned exactly while its enrollment is claimed."""

    enrolled: Enrolled | None = None
    owned: Owned | None = None
    offered: Offered | None = None


UNOWNED = Ownership()


class Rules(msgspec.Struct, frozen=True):
    """How certificate number `device` behaves, where only the accounts `trusting` hold its CA."""

    device: int
    trusting: frozenset[str]

    def follow(self, before: Ownership, entry: Entry) -> Iterator[Ownership]:
        """The states that `entry` may leave; none if it cannot have been answered so."""
        for state, lapsed in _windows(before, entry):
            if entry.answer is not None and _unconcerned(entry, entry.answer, self.device):
                yield state
            else:
                yield from self._follow(state, lapsed, entry, entry.answer)

    def _follow(
        self, state: Ownership, lapsed: bool, entry: Entry, answer: Answer | None
    ) -> Iterator[Ownership]:
        match entry.action:
            case Enroll() as enroll:
                yield from _enroll(state, lapsed, entry, enroll, answer)
            case Release() as release:
                yield from _release(state, release, answer)
            case LookUp() as look:
                yield from _look_up(state, lapsed, look, answer)
            case Claim() as claim:
                yield from self._claim(state, lapsed, claim, answer)
            case ReadDevice() as read:
                yield from _read(state, read, answer)
            case Register() as register:
                yield from _register(state, register, answer)
            case Block() | Unblock() as block:
                yield from _block(state, block, answer)
            case Offer() as offer:
                yield from self._offer(state, entry, offer, answer)
            case Decide() as decide:
                yield from self._decide(state, decide, answer)
            case ReadTransfer():
                yield state

    # --- claims ------------------------------------------------------------------------------------

    def _claim(
        self, state: Ownership, lapsed: bool, claim: Claim, answer: Answer | None
    ) -> Iterator[Ownership]:
        judged = self._judge(state, lapsed, claim)
        if answer is not None and answer.reason is not None:
            first_claim = state.owned is None
            elsewhere = answer.reason in ELSEWHERE and first_claim and not isinstance(judged, Reason)
            if elsewhere or answer.reason is judged:
                yield state
            return
        if isinstance(judged, Reason):
            return
        owned = state.owned or Owned(judged, "")
        if answer is not None:
            if answer.account_id != judged or not _same(owned.device_id, answer.device_id):
                return
            owned = msgspec.structs.replace(owned, device_id=answer.device_id)
        yield msgspec.structs.replace(state, owned=owned)

    def _judge(self, state: Ownership, lapsed: bool, claim: Claim) -> str | Reason:
        """The account that gets the device, or the refusal: the table of PRODUCT §1."""
        enrolled, owned = state.enrolled, state.owned
        if owned is not None and owned.blocked:
            return Reason.DEVICE_BLOCKED
        named = claim.aid
        if owned is not None and named in owned.former:
            named = owned.account_id
        if named is not None and named not in self.trusting:
            return Reason.CA_NOT_IN_ACCOUNT
        if enrolled is None or lapsed or named not in (None, enrolled.account_id):
            return Reason.ENROLLMENT_NOT_FOUND
        if enrolled.account_id not in self.trusting:
            return Reason.CA_NOT_IN_ACCOUNT
        return enrolled.account_id

    # --- transfers ---------------------------------------------------------------------------------

    def _offer(
        self, state: Ownership, entry: Entry, offer: Offer, answer: Answer | None
    ) -> Iterator[Ownership]:
        device_id = offer.device_ids[offer.devices.index(self.device)]
        if answer is not None and answer.reason is Reason.FIELD_INVALID:
            if _ended(entry) >= offer.expires_at.timestamp():
                yield state
            return
        if answer is not None and answer.reason is Reason.RESOURCE_NOT_FOUND:
            if not _certainly_owns(state, offer.account_id, device_id):
                yield state
            return
        state = _bound(state, offer.account_id, device_id)
        owned, standing = state.owned, state.offered
        if owned is None or not _owns(state, offer.account_id, device_id):
            return
        if answer is not None and answer.reason is Reason.DEVICE_BLOCKED:
            if owned.blocked:
                yield state
            return
        if owned.blocked:
            return
        may_stand = standing is not None and entry.began_at.timestamp() < standing.expires_at
        may_have_lapsed = standing is None or _ended(entry) >= standing.expires_at
        if answer is not None and answer.reason is Reason.TRANSFER_DEVICE_OFFERED:
            if may_stand:
                yield state
        elif may_have_lapsed and (answer is None or answer.reason is None):
            transfer_id = "" if answer is None else answer.transfer_id
            offered = Offered(transfer_id, offer.receiver_id, offer.expires_at.timestamp())
            yield msgspec.structs.replace(state, offered=offered)

    def _decide(self, state: Ownership, decide: Decide, answer: Answer | None) -> Iterator[Ownership]:
        offered, owned, enrolled = state.offered, state.owned, state.enrolled
        may_stand = offered is not None and _same(offered.transfer_id, decide.transfer_id)
        certain = offered is not None and offered.transfer_id == decide.transfer_id
        accepting = decide.decision is Decision.ACCEPT
        trusting = decide.account_id in self.trusting
        if answer is not None and answer.reason is not None:
            match answer.reason:
                case Reason.TRANSFER_OUTDATED:
                    possible = not certain
                case Reason.DEVICE_BLOCKED:
                    possible = may_stand and owned is not None and owned.blocked
                case Reason.CA_NOT_IN_ACCOUNT:
                    possible = may_stand and not trusting
                case reason:
                    possible = may_stand and reason in ELSEWHERE
            if possible and accepting:
                yield state
            return
        if not accepting:
            if may_stand:
                yield msgspec.structs.replace(state, offered=None)
            if not certain:
                yield state  # the device has left; the rest of the transfer is ended
            return
        if not may_stand or owned is None or enrolled is None or owned.blocked or not trusting:
            return
        former = tuple(
            account for account in (owned.account_id, *owned.former) if account != decide.account_id
        )
        yield Ownership(
            enrolled=msgspec.structs.replace(enrolled, account_id=decide.account_id),
            owned=Owned(decide.account_id, owned.device_id, tuple(dict.fromkeys(former))),
        )


# --- what each of the other calls may answer ---------------------------------------------------------


def _enroll(
    state: Ownership, lapsed: bool, entry: Entry, enroll: Enroll, answer: Answer | None
) -> Iterator[Ownership]:
    standing = state.enrolled is not None and not lapsed
    if answer is not None and answer.reason is not None:
        if answer.reason is Reason.FIELD_INVALID:
            possible = enroll.expires_at is not None and _ended(entry) >= enroll.expires_at.timestamp()
        else:
            possible = standing and answer.reason is Reason.ENROLLMENT_ALREADY_EXISTS
        if possible:
            yield state
    elif not standing:
        expires_at = None if enroll.expires_at is None else enroll.expires_at.timestamp()
        enrollment_id = "" if answer is None else answer.enrollment_id
        yield Ownership(enrolled=Enrolled(enroll.account_id, enrollment_id, expires_at))


def _release(state: Ownership, release: Release, answer: Answer | None) -> Iterator[Ownership]:
    enrolled = state.enrolled
    ours = enrolled is not None and enrolled.account_id == release.account_id
    if answer is not None and answer.reason is not None:
        certain = ours and enrolled is not None and enrolled.id == release.enrollment_id
        if answer.reason is Reason.RESOURCE_NOT_FOUND and not certain:
            yield state
    elif ours and enrolled is not None and _same(enrolled.id, release.enrollment_id):
        yield UNOWNED


def _look_up(state: Ownership, lapsed: bool, look: LookUp, answer: Answer | None) -> Iterator[Ownership]:
    enrolled, owned = state.enrolled, state.owned
    visible = enrolled is not None and enrolled.account_id == look.account_id and not lapsed
    if answer is None or answer.reason is not None:
        if answer is None or (answer.reason is Reason.RESOURCE_NOT_FOUND and not visible):
            yield state
        return
    if enrolled is None or not visible or not _same(enrolled.id, answer.enrollment_id):
        return
    if (owned is not None) is not bool(answer.device_id):
        return
    if owned is not None:
        if not _same(owned.device_id, answer.device_id):
            return
        owned = msgspec.structs.replace(owned, device_id=answer.device_id)
    enrolled = msgspec.structs.replace(enrolled, id=answer.enrollment_id)
    yield msgspec.structs.replace(state, enrolled=enrolled, owned=owned)


def _read(state: Ownership, read: ReadDevice, answer: Answer | None) -> Iterator[Ownership]:
    if answer is None:
        yield state
    elif answer.reason is None:
        if _owns(state, read.account_id, read.device_id):
            yield _bound(state, read.account_id, read.device_id)
    elif answer.reason is Reason.RESOURCE_NOT_FOUND and not _certainly_owns(
        state, read.account_id, read.device_id
    ):
        yield state


def _register(state: Ownership, register: Register, answer: Answer | None) -> Iterator[Ownership]:
    if answer is None:
        yield state
    elif answer.reason is Reason.CREDENTIALS_RELEASED:
        if not _certainly_owns(state, register.account_id, register.device_id):
            yield state
    elif _owns(state, register.account_id, register.device_id):
        bound = _bound(state, register.account_id, register.device_id)
        blocked = bound.owned is not None and bound.owned.blocked
        if answer.reason is (Reason.DEVICE_BLOCKED if blocked else None):
            yield bound


def _block(state: Ownership, block: Block | Unblock, answer: Answer | None) -> Iterator[Ownership]:
    placing = isinstance(block, Block)
    refused = answer is not None and answer.reason is not None
    if _owns(state, block.account_id, block.device_id):
        bound = _bound(state, block.account_id, block.device_id)
        if bound.owned is not None and not refused and (placing or bound.owned.blocked):
            yield msgspec.structs.replace(bound, owned=msgspec.structs.replace(bound.owned, blocked=placing))
    certain = _certainly_owns(state, block.account_id, block.device_id)
    nothing_to_do = certain and not placing and state.owned is not None and not state.owned.blocked
    if answer is not None and answer.reason is Reason.RESOURCE_NOT_FOUND and (not certain or nothing_to_do):
        yield state


# --- what every call must reckon with ----------------------------------------------------------------


def _windows(state: Ownership, entry: Entry) -> Iterator[tuple[Ownership, bool]]:
    """The state as the call may find it, and whether its enrollment counts as expired by then.

    The server looks at the clock once, between the call's beginning and its end. An expired enrollment is
    refused from that moment on, and removed by the sweep at any moment after.
    """
    expires_at = None
    if state.enrolled is not None and state.owned is None:
        expires_at = state.enrolled.expires_at
    if expires_at is None or entry.began_at.timestamp() < expires_at:
        yield state, False
    if expires_at is not None and _ended(entry) >= expires_at:
        yield state, True
        yield UNOWNED, False


def _unconcerned(entry: Entry, answer: Answer, device: int) -> bool:
    """Whether a refusal tells nothing of this device: it names another, or is about the transfer itself."""
    if answer.reason is None:
        return False
    if answer.about is not None:
        return answer.about != device
    return isinstance(entry.action, Decide) and answer.reason in (
        Reason.TRANSFER_DECIDED,
        Reason.TRANSFER_EXPIRED,
        Reason.QUOTA_REACHED,
    )


def _ended(entry: Entry) -> float:
    return float("inf") if entry.ended_at is None else entry.ended_at.timestamp()


def _same(known: str, told: str) -> bool:
    """Whether an ID may be the one that is known; "" is one that nobody has learned yet."""
    return known in ("", told)


def _owns(state: Ownership, account_id: str, device_id: str) -> bool:
    owned = state.owned
    return owned is not None and owned.account_id == account_id and _same(owned.device_id, device_id)


def _certainly_owns(state: Ownership, account_id: str, device_id: str) -> bool:
    owned = state.owned
    return owned is not None and (owned.account_id, owned.device_id) == (account_id, device_id)


def _bound(state: Ownership, account_id: str, device_id: str) -> Ownership:
    """With the device's ID learned, if it is this account's."""
    if state.owned is None or not _owns(state, account_id, device_id):
        return state
    return msgspec.structs.replace(state, owned=msgspec.structs.replace(state.owned, device_id=device_id))
