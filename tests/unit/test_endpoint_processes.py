"""The supervisor's side of one process: what a cancelled start and a cancelled stop do."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from pathlib import Path

import pytest

from ftc_core.endpoint.child import ChildSpec, Ready
from ftc_core.endpoint.nursery import ForkedProcess, Signal
from ftc_core.endpoint.processes import Child
from ftc_core.settings import Settings

SPEC = ChildSpec(name="bootstrap-0", settings=Settings(data_dir=Path("/nowhere")))
TURNS = range(8)
"""More turns of the loop than an answer needs from the process to whom awaits it."""


class Worker:
    """A child whose process answers and ends when the test says so."""

    def __init__(self) -> None:
        self.orders: list[Signal] = []
        self.process = ForkedProcess(SPEC.name, self.orders.append)
        self.child = Child(SPEC, self._launch)

    async def _launch(self, _: ChildSpec) -> ForkedProcess:
        return self.process


async def turn(times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


async def begin(what: Coroutine[None, None, None]) -> asyncio.Task[None]:
    task = asyncio.create_task(what)
    await turn(len(TURNS))
    assert not task.done()
    return task


@pytest.mark.parametrize("turns", TURNS)
async def test_start_that_is_cancelled_as_the_process_answers_is_cancelled(turns: int) -> None:
    worker = Worker()
    start = await begin(worker.child.start())

    worker.process.note_answer(7, Ready())
    await turn(turns)
    cancelled = start.cancel()
    await asyncio.wait({start})

    assert start.cancelled() == cancelled


@pytest.mark.parametrize("turns", TURNS)
async def test_stop_that_is_cancelled_as_the_process_ends_is_cancelled(turns: int) -> None:
    worker = Worker()
    worker.process.note_answer(7, Ready())
    await worker.child.start()
    stop = await begin(worker.child.stop(60))
    assert worker.orders == [Signal(SPEC.name, signal.SIGTERM)]

    worker.process.note_end(0)
    await turn(turns)
    cancelled = stop.cancel()
    await asyncio.wait({stop})

    assert stop.cancelled() == cancelled
