"""The notes of when API keys were used."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ftc_core.application.context import ApplicationContext
from ftc_core.application.key_use import KeyUses
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.commands import Done, Outcome, RecordApiKeyUses, Submission
from ftc_core.storage.engines import open_store

NOW = datetime(2026, 11, 23, tzinfo=UTC)


class Recorder:
    """Takes submissions, and fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.written: list[dict[str, datetime]] = []

    async def execute(self, submission: Submission) -> Outcome:
        if self.failures:
            self.failures -= 1
            raise FtcError(Reason.INTERNAL_1)
        assert isinstance(submission.command, RecordApiKeyUses)
        self.written.append(submission.command.uses)
        return Done(1)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def context(tmp_path: Path, recorder: Recorder) -> ApplicationContext:
    store = open_store(f"lmdb://{tmp_path / 'store'}", create=True)
    return ApplicationContext(store=store, commit=recorder, pepper=bytes(32))


async def test_many_uses_of_a_key_are_one_write_with_the_latest(
    context: ApplicationContext, recorder: Recorder
) -> None:
    uses = KeyUses()
    for second in range(100):
        uses.note("a", NOW + timedelta(seconds=second))
    uses.note("b", NOW)

    assert await uses.record(context) == 2
    assert await uses.record(context) == 0

    assert recorder.written == [{"a": NOW + timedelta(seconds=99), "b": NOW}]


async def test_uses_that_could_not_be_written_are_written_later(
    context: ApplicationContext, recorder: Recorder
) -> None:
    uses = KeyUses()
    uses.note("a", NOW)
    uses.note("b", NOW)
    recorder.failures = 1
    with pytest.raises(FtcError):
        await uses.record(context)
    uses.note("a", NOW + timedelta(seconds=1))

    await uses.record(context)

    assert recorder.written == [{"a": NOW + timedelta(seconds=1), "b": NOW}]
