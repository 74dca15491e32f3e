"""Nothing blocks the loop of a worker: no step of it takes long while a fleet is onboarded."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import threading
import time
from asyncio import events
from collections.abc import Iterator

import pytest

from ftc_core.device.client import Succeeded
from ftc_core.endpoint.child import calm_collector
from tests.worker import LocalThing, Workshop

DEVICES, AT_ONCE = 300, 100
STALL_S = 0.020


@pytest.fixture
def calm() -> Iterator[None]:
    """The garbage collector as a worker's process has it: what is there already is not looked at again."""
    thresholds = gc.get_threshold()
    gc.collect()
    calm_collector()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[float, str]]]:
    """CPU seconds of each callback of the loop in this thread, with its name.

    CPU time, not time on the wall: on a busy machine any step may be interrupted by others.
    """
    measured: list[tuple[float, str]] = []
    run, here = events.Handle._run, threading.get_ident()

    def timed(handle: events.Handle) -> None:
        if threading.get_ident() != here:
            run(handle)
            return
        began = time.thread_time()
        run(handle)
        measured.append((time.thread_time() - began, repr(handle)))

    monkeypatch.setattr(events.Handle, "_run", timed)
    yield measured


def onboard(things: list[LocalThing], claimed: multiprocessing.SimpleQueue[bool]) -> None:
    """In a process of its own, so that its work is not taken for the worker's: all of them, some at once."""

    async def all_of_them() -> None:
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(thing: LocalThing) -> None:
            async with turns:
                claimed.put(isinstance(await thing.bootstrap(), Succeeded))

        await asyncio.gather(*map(one, things))

    asyncio.run(all_of_them())


@pytest.mark.usefixtures("calm")
async def test_no_step_of_the_loop_stalls_a_worker_that_onboards_a_fleet(
    workshop: Workshop, steps: list[tuple[float, str]]
) -> None:
    things = [workshop.enroll(workshop.thing()) for _ in range(DEVICES)]
    context = multiprocessing.get_context("fork")
    claimed = context.SimpleQueue()
    async with workshop.running():
        fleet = context.Process(target=onboard, args=(things, claimed))
        fleet.start()
        await asyncio.sleep(0)
        steps.clear()  # the step that forked was this test's, not the worker's
        await asyncio.to_thread(fleet.join)
        onboarding = sorted(steps, reverse=True)

    assert [claimed.get() for _ in things] == [True] * DEVICES
    longest_s, step = onboarding[0]
    assert longest_s < STALL_S, f"{longest_s * 1_000:.0f} ms in {step}"
    assert sum(seconds for seconds, _ in onboarding) > DEVICES * 0.0005, "the worker's work was measured"
