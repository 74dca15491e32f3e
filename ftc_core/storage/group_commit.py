"""Group commit: what many callers want written becomes one durable transaction.

One thread writes. While a commit is on its way to the disk, submissions queue; the next commit takes all of
them, up to its bounds. A lone submission is committed at once. Where several came together, more are to be
expected: then the next commit begins no sooner than `pace_s` after this one, so that a busy store makes few
large commits of which each costs an fsync and thread switches, instead of many small ones.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog

from ftc_core.errors import FtcError, Reason
from ftc_core.limits import COMMIT_BATCH_MAX, COMMIT_QUEUE_MAX, COMMIT_QUEUE_RETRY_S
from ftc_core.storage.bulk_commands import AdvanceBulkJob
from ftc_core.storage.commands import CreateEnrollments, Outcome, Submission
from ftc_core.storage.ledger_commands import AddCheckpoint
from ftc_core.storage.port import Store

__all__ = ["Callback", "CommitObserver", "Delivery", "GroupCommit", "Settled", "deliver_here"]

_log = structlog.get_logger(__name__)

Callback = Callable[[Outcome | FtcError], None]
"""Gets the outcome once it is durable, or why there is none."""


class Settled(NamedTuple):
    """A callback and what to call it with."""

    callback: Callback
    answer: Outcome | FtcError


Delivery = Callable[[Sequence[Settled]], None]
"""Takes, on the writer thread, all that one commit settled for one destination."""

CommitObserver = Callable[[int, float, float], None]
"""Told of each commit: submissions in it, seconds that the oldest waited, seconds for writing and fsync."""


def deliver_here(settled: Sequence[Settled]) -> None:
    """Call back on the writer thread; callbacks must be short."""
    for callback, answer in settled:
        try:
            callback(answer)
        except Exception as error:
            _log.error("commit callback failed", exc_info=error)


class _Waiting(NamedTuple):
    submission: Submission
    callback: Callback
    delivery: Delivery
    since: float


class GroupCommit:
    """The queue before a store, and the thread that empties it.

    `max_batch` bounds one transaction, in records created or commands, whichever is more; `max_queue` the
    submissions that may wait. `pace_s` is the pace of commits under load, in seconds; 0 waits for nobody.
    """

    def __init__(
        self,
        store: Store,
        *,
        max_batch: int = COMMIT_BATCH_MAX,
        max_queue: int = COMMIT_QUEUE_MAX,
        pace_s: float = 0.0,
        observer: CommitObserver | None = None,
    ) -> None:
        self._store = store
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._pace_s = pace_s
        self._not_before = 0.0
        self._observer = observer
        self._queue: deque[_Waiting] = deque()
        self._oldest_in_write: float | None = None
        self._closing = False
        self._changed = threading.Condition()
        self._writer = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._writer.start()

    def submit(self, submission: Submission, callback: Callback, delivery: Delivery = deliver_here) -> None:
        """Queue `submission`; `delivery` gets `callback` and its answer once it is durable or has failed.

        From any thread. Raises FtcError OVERLOADED, with when to come again, if the queue is full,
        SHUTTING_DOWN after `close`; then there is no callback.
        """
        waiting = _Waiting(submission, callback, delivery, time.monotonic())
        with self._changed:
            if self._closing:
                raise FtcError(Reason.SHUTTING_DOWN)
            if len(self._queue) >= self._max_queue:
                raise FtcError(Reason.OVERLOADED, retry_after_s=COMMIT_QUEUE_RETRY_S)
            self._queue.append(waiting)
            if len(self._queue) == 1:  # else the writer knows that there is work
                self._changed.notify()

    def backlog_s(self) -> float:
        """For how many seconds the oldest submission without an outcome has waited; 0.0 if there is none.

        From any thread.
        """
        with self._changed:
            oldest = self._oldest_in_write
            if oldest is None and self._queue:
                oldest = self._queue[0].since
        return 0.0 if oldest is None else time.monotonic() - oldest

    def close(self) -> None:
        """Refuse new submissions, commit those that wait, stop. Returns when all is delivered; idempotent.

        Not for the writer thread: a callback that called this would wait for itself.
        """
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._writer.join()

    def _run(self) -> None:
        while batch := self._take():
            started = time.monotonic()
            answers = self._write(batch)
            ended = time.monotonic()
            self._oldest_in_write = None
            _deliver(batch, answers)
            self._observe(len(batch), started - batch[0].since, ended - started)

    def _take(self) -> list[_Waiting]:
        """What the next transaction holds; empty when closed and drained."""
        batch: list[_Waiting] = []
        with self._changed:
            while not self._queue and not self._closing:
                self._changed.wait()
            while not self._closing and (early_s := self._not_before - time.monotonic()) > 0:
                self._changed.wait(early_s)
            room = self._max_batch
            while self._queue:
                room -= _weight(self._queue[0].submission)
                if batch and room < 0:
                    break
                batch.append(self._queue.popleft())
            if batch:
                self._oldest_in_write = batch[0].since
        self._not_before = time.monotonic() + self._pace_s if len(batch) > 1 and not self._queue else 0.0
        return batch

    def _write(self, batch: Sequence[_Waiting]) -> Sequence[Outcome | FtcError]:
        try:
            return self._store.write([waiting.submission for waiting in batch])
        except FtcError as error:
            _log.error("commit failed", submissions=len(batch), reason=error.reason, **error.metadata)
            return [error] * len(batch)
        except Exception as error:
            _log.error("commit failed", submissions=len(batch), exc_info=error)
            return [FtcError(Reason.INTERNAL_10)] * len(batch)

    def _observe(self, size: int, queued_s: float, write_s: float) -> None:
        if self._observer is not None:
            try:
                self._observer(size, queued_s, write_s)
            except Exception as error:
                _log.error("commit observer failed", exc_info=error)


def _weight(submission: Submission) -> int:
    """Of a submission in its transaction: the pages that it dirties grow with its records."""
    match submission.command:
        case (
            CreateEnrollments(enrollments=records)
            | AdvanceBulkJob(rows=records)
            | AddCheckpoint(tiles=records)
        ):
            return max(1, len(records))
        case _:
            return 1


def _deliver(batch: Sequence[_Waiting], answers: Sequence[Outcome | FtcError]) -> None:
    """One call per destination, however many submissions it has in the batch."""
    by_delivery: dict[Delivery, list[Settled]] = {}
    for waiting, answer in zip(batch, answers, strict=True):
        by_delivery.setdefault(waiting.delivery, []).append(Settled(waiting.callback, answer))
    for delivery, settled in by_delivery.items():
        try:
            delivery(settled)
        except Exception as error:
            _log.error("commit outcomes not delivered", submissions=len(settled), exc_info=error)
