"""Recording denials: what a worker's sessions refused, on its way to the store and off their path.

Whoever refuses a device notes that in `DenialRecorder` and goes on. What was noted is gathered for a second
and then written in small commands, the next one only once the last is durable: a store that is slow, or busy
with claims, is not pressed. What there is no room for, or cannot be written, is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

import structlog

from ftc_core.application.commit import Commit, submit
from ftc_core.application.presented import Presented, find_issuers, read_presented, shown
from ftc_core.domain.denial import Denial, Refusal, Sighting
from ftc_core.domain.denial_collector import DenialCollector, Gathered
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import DENIAL_BACKLOG_S, DENIAL_FLUSH_S, DENIALS_AT_ONCE
from ftc_core.storage.commands import Outcome
from ftc_core.storage.denial_commands import DenialsRecorded, RecordDenials
from ftc_core.storage.port import Store, View

__all__ = ["DenialRecorder"]

_log = structlog.get_logger(__name__)


class Timer(Protocol):
    """A call that is yet to come."""

    def cancel(self) -> None:
        """It shall not come."""
        ...


CallLater = Callable[[float, Callable[[], None]], Timer]
"""Calls a function after so many seconds, on the thread of everything else here."""


class DenialRecorder:
    """Takes the refusals of one worker. Every call is for the thread that runs it.

    `counts` is told of each refusal what became of it: `recorded`, `coalesced` or `dropped`.
    """

    def __init__(
        self,
        store: Store,
        commit: Commit,
        utc_now: Callable[[], datetime],
        new_id: Callable[[], str],
        call_later: CallLater,
        counts: Counter[str],
        collector: DenialCollector | None = None,
    ) -> None:
        self._store = store
        self._commit = commit
        self._utc_now = utc_now
        self._new_id = new_id
        self._call_later = call_later
        self._counts = counts
        self._collector = DenialCollector() if collector is None else collector
        self._due: Timer | None = None  # the next flush
        self._under_way = False  # to the disk
        self._finished: Callable[[], None] | None = None

    def note(self, refusal: Refusal) -> None:
        """Add a refusal to what is to be recorded. Never raises, never waits."""
        if not self._collector.note(refusal, self._utc_now()):
            self._counts["dropped"] += 1
            return
        self._flush_after(DENIAL_FLUSH_S)

    def finish(self, finished: Callable[[], None]) -> None:
        """Write what is left without delay; call `finished` once it is written, or could not be."""
        self._finished = finished
        if self._due is not None:
            self._due.cancel()
        if not self._under_way:
            self._flush()

    def _flush_after(self, delay_s: float) -> None:
        if self._due is None and not self._under_way:
            self._due = self._call_later(delay_s, self._flush)

    def _flush(self) -> None:
        self._due = None
        if not len(self._collector):
            if self._finished is not None:
                self._finished()
            return
        self._under_way = True
        gathered = self._collector.take(DENIALS_AT_ONCE)
        try:
            with self._store.view() as view:
                sightings = tuple(self._sighting(view, each) for each in gathered)
        except FtcError as error:
            self._settled(gathered, error)
            return
        except Exception as error:  # it costs these, not all that are still to come
            _log.error("denials not readable", exc_info=error)
            self._settled(gathered, FtcError(Reason.INTERNAL_10))
            return
        command = RecordDenials(sightings, self._utc_now())
        submit(self._commit, command, lambda outcome: self._settled(gathered, outcome))

    def _settled(self, gathered: Sequence[Gathered], outcome: Outcome | FtcError) -> None:
        seen = sum(each.count for each in gathered)
        if isinstance(outcome, DenialsRecorded):
            self._counts["recorded"] += outcome.new
            self._counts["coalesced"] += seen - outcome.new
        else:
            self._counts["dropped"] += seen
            _log.warning("denials not recorded", count=seen, reason=getattr(outcome, "reason", None))
        self._under_way = False
        if self._finished is not None:
            self._flush()
        elif len(self._collector):
            self._flush_after(DENIAL_BACKLOG_S)

    def _sighting(self, view: View, gathered: Gathered) -> Sighting:
        refusal = gathered.refusal
        leaf = read_presented(refusal.chain[0]) if refusal.chain else Presented()
        return Sighting(
            denial=Denial(
                id=self._new_id(),
                reason=refusal.reason,
                detail=shown(refusal.detail),
                alert=refusal.alert,
                fingerprint=refusal.fingerprint,
                endpoint_name=shown(refusal.endpoint_name),
                common_name=leaf.common_name,
                issuer=leaf.issuer,
                issuer_key_id=leaf.issuer_key_id,
                address=refusal.address,
                proven=refusal.proven,
                first_seen_at=gathered.first_at,
                last_seen_at=gathered.last_at,
                count=gathered.count,
            ),
            issuing_cas=refusal.issuing_cas or find_issuers(view, refusal.chain),
            named_account_id=refusal.named_account_id,
        )
