"""Group commit: order, batching, bounds, failure, shutdown, delivery to an event loop."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ftc_core.domain.account import Account
from ftc_core.domain.enrollment import Enrollment
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import COMMIT_QUEUE_RETRY_S
from ftc_core.storage.async_commit import AsyncCommit
from ftc_core.storage.commands import CreateAccount, Created, CreateEnrollments, Outcome, Submission
from ftc_core.storage.group_commit import GroupCommit, Settled
from ftc_core.storage.lmdb import LmdbStore, open_lmdb

NOW = datetime(2026, 11, 23, tzinfo=UTC)


class GatedStore:
    """The real engine behind a gate: while it is shut, a commit waits before it begins.

    It also writes down what each batch held, and fails batches on demand.
    """

    def __init__(self, engine: LmdbStore) -> None:
        self.engine = engine
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.batches: list[int] = []
        self.failures: dict[int, Exception] = {}
        """Number of a batch, from 0 → what its transaction as a whole fails with."""

    def view(self) -> object:
        return self.engine.view()

    def write(self, submissions: Sequence[Submission]) -> list[Outcome | FtcError]:
        self.entered.release()
        assert self.gate.wait(10)
        self.batches.append(len(submissions))
        failure = self.failures.get(len(self.batches) - 1)
        if failure is not None:
            raise failure
        return self.engine.write(submissions)

    def close(self) -> None:
        self.engine.close()

    @contextmanager
    def busy(self, commit: GroupCommit) -> Iterator[None]:
        """While the block runs, a commit of one submission is under way."""
        self.gate.clear()
        commit.submit(account(999), lambda answer: None)  # its outcome is nobody's concern
        assert self.entered.acquire(timeout=10)
        yield
        self.gate.set()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[GatedStore]:
    engine = open_lmdb(tmp_path, create=True)
    yield GatedStore(engine)
    engine.close()


def start(store: GatedStore, **options: object) -> GroupCommit:
    return GroupCommit(store, **options)  # type: ignore[arg-type]


def account(number: int) -> Submission:
    return Submission(
        CreateAccount(Account(id=f"{number:032x}", display_name="A", created_at=NOW, updated_at=NOW))
    )


def enrollments(first: int, count: int) -> Submission:
    rows = tuple(
        Enrollment(id=f"{n:032x}", account_id=f"{0:032x}", fingerprint=n.to_bytes(32, "big"), created_at=NOW)
        for n in range(first, first + count)
    )
    return Submission(CreateEnrollments(rows, NOW))


def reason(answer: Outcome | FtcError) -> Reason | None:
    return answer.reason if isinstance(answer, FtcError) else None


def test_an_idle_writer_commits_at_once(store: GatedStore) -> None:
    commit = start(store)
    answers: queue.Queue[Outcome | FtcError] = queue.Queue()
    commit.submit(account(1), answers.put)
    assert isinstance(answers.get(timeout=10), Created)
    assert store.batches == [1]
    commit.close()


def test_a_callback_comes_after_the_commit_is_durable(store: GatedStore) -> None:
    commit = start(store)
    seen: queue.Queue[bool] = queue.Queue()

    def look(answer: Outcome | FtcError) -> None:
        with store.engine.view() as view:
            seen.put(view.get_account(f"{1:032x}") is not None)

    commit.submit(account(1), look)
    assert seen.get(timeout=10)
    commit.close()


def test_what_queued_during_a_commit_becomes_one_commit_in_order(store: GatedStore) -> None:
    commit = start(store)
    answered: list[int] = []
    with store.busy(commit):
        for number in range(50):
            commit.submit(account(number), lambda answer, n=number: answered.append(n))  # type: ignore[misc]
    commit.close()
    assert store.batches == [1, 50]
    assert answered == list(range(50))


def test_commits_keep_their_pace_while_submissions_come_together(store: GatedStore) -> None:
    commit = start(store, pace_s=0.5)
    answers: queue.Queue[Outcome | FtcError] = queue.Queue()
    with store.busy(commit):
        commit.submit(account(1), answers.put)
        commit.submit(account(2), answers.put)
    assert [answers.get(timeout=10) for _ in range(2)]
    commit.submit(account(3), answers.put)
    time.sleep(0.1)  # a hundred times what a commit takes
    commit.submit(account(4), answers.put)
    assert [answers.get(timeout=10) for _ in range(2)]
    commit.close()
    assert store.batches == [1, 2, 2]


def test_the_pace_does_not_delay_lone_submissions(store: GatedStore) -> None:
    commit = start(store, pace_s=3_600)
    answers: queue.Queue[Outcome | FtcError] = queue.Queue()
    for number in range(3):
        commit.submit(account(number), answers.put)
        assert isinstance(answers.get(timeout=10), Created)
    commit.close()
    assert store.batches == [1, 1, 1]


def test_the_pace_does_not_delay_the_end(store: GatedStore) -> None:
    commit = start(store, pace_s=3_600)
    answers: queue.Queue[Outcome | FtcError] = queue.Queue()
    with store.busy(commit):
        commit.submit(account(1), answers.put)
        commit.submit(account(2), answers.put)
    assert [answers.get(timeout=10) for _ in range(2)]
    commit.submit(account(3), answers.put)
    commit.close()
    assert isinstance(answers.get(timeout=10), Created)
    assert store.batches == [1, 2, 1]


def test_a_commit_holds_no_more_than_its_bound(store: GatedStore) -> None:
    commit = start(store, max_batch=20)
    with store.busy(commit):
        for number in range(50):
            commit.submit(account(number), lambda answer: None)
    commit.close()
    assert store.batches == [1, 20, 20, 10]


def test_a_batch_of_enrollments_counts_by_its_rows(store: GatedStore) -> None:
    store.engine.write([account(0)])
    commit = start(store, max_batch=20)
    with store.busy(commit):
        for submission in (account(1), enrollments(0, 15), enrollments(100, 10), enrollments(200, 70)):
            commit.submit(submission, lambda answer: None)
        commit.submit(account(2), lambda answer: None)
    commit.close()
    # 1 + 15 rows; 10 rows, since 70 more are too many; the 70 alone, being indivisible; the rest.
    assert store.batches == [1, 2, 1, 1, 1]


def test_the_backlog_is_the_wait_of_whoever_waits_for_longest(store: GatedStore) -> None:
    commit = start(store, max_batch=1)
    assert commit.backlog_s() == 0.0
    with store.busy(commit):
        time.sleep(0.2)
        since = time.monotonic()
        commit.submit(account(1), lambda answer: None)
        assert commit.backlog_s() >= 0.2  # of the one that is being written
        store.gate.set()
        assert store.entered.acquire(timeout=10)  # it is durable: the other one is at the gate or behind it
        assert commit.backlog_s() <= time.monotonic() - since
    commit.close()
    assert commit.backlog_s() == 0.0


def test_a_commit_that_failed_leaves_no_backlog(store: GatedStore) -> None:
    commit = start(store)
    store.failures[0] = OSError("no disk")
    answers: queue.Queue[Outcome | FtcError] = queue.Queue()
    commit.submit(account(1), answers.put)
    assert isinstance(answers.get(timeout=10), FtcError)
    assert commit.backlog_s() == 0.0
    commit.close()


def test_a_refused_command_refuses_only_its_caller(store: GatedStore) -> None:
    commit = start(store)
    answers: list[Outcome | FtcError] = []
    with store.busy(commit):
        for number in (1, 1, 2):
            commit.submit(account(number), answers.append)
    commit.close()
    assert [reason(answer) for answer in answers] == [None, Reason.RESOURCE_ALREADY_EXISTS, None]


@pytest.mark.parametrize(
    ("failure", "expected"),
    [(FtcError(Reason.INTERNAL_2), Reason.INTERNAL_2), (ZeroDivisionError(), Reason.INTERNAL_10)],
)
def test_a_failed_transaction_fails_each_submission_and_the_next_goes_on(
    store: GatedStore, failure: Exception, expected: Reason
) -> None:
    commit = start(store)
    answers: queue.Queue[Outcome | FtcError] = queue.Queue()
    store.failures = {1: failure}
    with store.busy(commit):
        for number in range(3):
            commit.submit(account(number), answers.put)
    assert [reason(answers.get(timeout=10)) for _ in range(3)] == [expected] * 3
    commit.submit(account(1), answers.put)
    assert isinstance(answers.get(timeout=10), Created)
    commit.close()


def test_a_full_queue_refuses_at_once_and_says_when_to_come_again(store: GatedStore) -> None:
    commit = start(store, max_queue=3)
    answers: list[Outcome | FtcError] = []
    with store.busy(commit):
        for number in range(3):
            commit.submit(account(number), answers.append)
        with pytest.raises(FtcError) as refusal:
            commit.submit(account(4), answers.append)
        assert refusal.value.reason is Reason.OVERLOADED
        assert refusal.value.retry_after_s == COMMIT_QUEUE_RETRY_S
    commit.close()
    assert [reason(answer) for answer in answers] == [None] * 3


def test_closing_commits_what_waits_and_refuses_what_comes(store: GatedStore) -> None:
    commit = start(store)
    answers: list[Outcome | FtcError] = []
    with store.busy(commit):
        commit.submit(account(1), answers.append)
        closer = threading.Thread(target=commit.close)
        closer.start()
        while True:
            try:
                commit.submit(account(2), lambda answer: None)
            except FtcError as refusal:
                assert refusal.reason is Reason.SHUTTING_DOWN
                break
        assert closer.is_alive()
    closer.join(10)
    assert [reason(answer) for answer in answers] == [None]
    commit.close()


def test_a_callback_that_fails_costs_no_other_its_answer(store: GatedStore) -> None:
    commit = start(store)
    answers: list[Outcome | FtcError] = []

    def fail(answer: Outcome | FtcError) -> None:
        raise RuntimeError

    with store.busy(commit):
        commit.submit(account(1), fail)
        commit.submit(account(2), answers.append)
    commit.close()
    assert len(answers) == 1


def test_a_delivery_that_fails_costs_no_other_its_answers(store: GatedStore) -> None:
    commit = start(store)
    answers: list[Outcome | FtcError] = []

    def closed_loop(settled: Sequence[Settled]) -> None:
        raise RuntimeError("Event loop is closed")

    with store.busy(commit):
        commit.submit(account(1), answers.append, closed_loop)
        commit.submit(account(2), answers.append)
    commit.close()
    assert len(answers) == 1


def test_the_observer_is_told_size_and_times_and_cannot_stop_the_writer(store: GatedStore) -> None:
    observed: list[tuple[int, float, float]] = []

    def observe(size: int, queued_s: float, write_s: float) -> None:
        observed.append((size, queued_s, write_s))
        raise RuntimeError

    commit = start(store, observer=observe)
    with store.busy(commit):
        for number in range(5):
            commit.submit(account(number), lambda answer: None)
        threading.Event().wait(0.02)
    commit.close()
    assert [size for size, _, _ in observed] == [1, 5]
    assert observed[0][2] >= 0.02, "the first commit waited at the gate"
    assert observed[1][1] >= 0.02, "the second one's submissions waited for the first"
    assert 0 < observed[1][2] < 10


# --- on an event loop ------------------------------------------------------------------------------


async def test_execute_returns_the_outcome_or_raises_the_refusal(store: GatedStore) -> None:
    commit = start(store)
    on_loop = AsyncCommit(commit, asyncio.get_running_loop())
    assert isinstance(await on_loop.execute(account(1)), Created)
    with pytest.raises(FtcError) as refusal:
        await on_loop.execute(account(1))
    assert refusal.value.reason is Reason.RESOURCE_ALREADY_EXISTS
    await asyncio.to_thread(commit.close)
    with pytest.raises(FtcError) as refusal:
        await on_loop.execute(account(2))
    assert refusal.value.reason is Reason.SHUTTING_DOWN


async def test_one_commit_wakes_the_loop_once_whatever_it_holds(
    store: GatedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = start(store)
    loop = asyncio.get_running_loop()
    on_loop = AsyncCommit(commit, loop)
    woken = 0
    wake = loop.call_soon_threadsafe

    def counting(*args: object, **options: object) -> asyncio.Handle:
        nonlocal woken
        woken += 1
        return wake(*args, **options)  # type: ignore[arg-type]

    with store.busy(commit):
        tasks = [asyncio.ensure_future(on_loop.execute(account(number))) for number in range(40)]
        await asyncio.sleep(0)
        monkeypatch.setattr(loop, "call_soon_threadsafe", counting)
    outcomes = await asyncio.gather(*tasks)
    assert all(isinstance(outcome, Created) for outcome in outcomes)
    assert (store.batches, woken) == ([1, 40], 1)
    monkeypatch.undo()
    await asyncio.to_thread(commit.close)


async def test_a_callback_on_the_loop_runs_in_its_thread(store: GatedStore) -> None:
    commit = start(store)
    answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    on_loop = AsyncCommit(commit, asyncio.get_running_loop())
    on_loop.submit(account(1), lambda answer: answered.set_result(threading.get_ident()))
    assert await answered == threading.get_ident()
    await asyncio.to_thread(commit.close)


async def test_a_cancelled_caller_disturbs_no_other(store: GatedStore) -> None:
    commit = start(store)
    on_loop = AsyncCommit(commit, asyncio.get_running_loop())
    with store.busy(commit):
        tasks = [asyncio.ensure_future(on_loop.execute(account(number))) for number in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.sleep(0)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [Created, asyncio.CancelledError, Created]
    await asyncio.to_thread(commit.close)


def test_a_loop_that_is_gone_does_not_stop_the_writer(store: GatedStore) -> None:
    commit = start(store)
    loop = asyncio.new_event_loop()
    on_loop = AsyncCommit(commit, loop)
    answers: queue.Queue[Outcome | FtcError] = queue.Queue()
    with store.busy(commit):
        on_loop.submit(account(1), answers.put)
        loop.close()
    commit.submit(account(2), answers.put)
    assert isinstance(answers.get(timeout=10), Created)
    commit.close()
    assert answers.empty()
    with store.engine.view() as view:
        assert view.get_account(f"{1:032x}") is not None, "nobody heard of it, but it took effect"


async def test_outcomes_of_a_large_commit_leave_room_for_others_between_them(store: GatedStore) -> None:
    commit = start(store)
    on_loop = AsyncCommit(commit, asyncio.get_running_loop())
    seen: list[str] = []
    done = asyncio.Event()

    def answered(_: object) -> None:
        time.sleep(0.003)
        seen.append("answer")
        if seen.count("answer") == 1:
            asyncio.get_running_loop().call_soon(seen.append, "other")
        if seen.count("answer") == 10:
            done.set()

    with store.busy(commit):
        for number in range(10):
            on_loop.submit(account(number), answered)
    await done.wait()

    assert seen.index("other") < len(seen) - 1, "it need not wait for all ten"
    await asyncio.to_thread(commit.close)
