"""What one transfer answers, one call after the other: it is decided once, if at all (PRODUCT §4.2)."""

from __future__ import annotations

from collections.abc import Iterator

from ftc_core.domain.transfer import TransferState
from ftc_core.errors import Reason
from tests.proof.history import Decide, Decision, Entry, ReadTransfer

__all__ = ["follow"]

_DECIDED = {
    Decision.ACCEPT: TransferState.ACCEPTED,
    Decision.REJECT: TransferState.REJECTED,
    Decision.CANCEL: TransferState.CANCELLED,
}
_OPEN = (TransferState.OFFERED, TransferState.EXPIRED)


def follow(state: TransferState, entry: Entry) -> Iterator[TransferState]:
    """The states that `entry` may leave; none if it cannot have been answered so."""
    assert isinstance(entry.action, Decide | ReadTransfer)
    expires_at = entry.action.expires_at
    may_be_open = state is TransferState.OFFERED and entry.began_at < expires_at
    may_have_expired = state in _OPEN and (entry.ended_at is None or entry.ended_at >= expires_at)
    answer = entry.answer
    if isinstance(entry.action, ReadTransfer):
        if answer is None or answer.state == state:
            yield state
        elif may_have_expired and answer.state == TransferState.EXPIRED:
            yield TransferState.EXPIRED
        return
    if answer is None or answer.reason is None:
        if may_be_open:
            yield _DECIDED[entry.action.decision]
        return
    match answer.reason:
        case Reason.TRANSFER_DECIDED:
            if state not in _OPEN and answer.state == state:
                yield state
        case Reason.TRANSFER_EXPIRED:
            if may_have_expired:
                yield state
        case _:
            if may_be_open:
                yield state
