"""RotateLedgerKey, whose caller goes away in the middle."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from ftc_core.application.context import Committer
from ftc_core.storage.commands import Outcome, Submission
from ftc_core.storage.ledger_commands import AddLedgerKey
from ftc_grpc._gen.ftc.v1 import ledger_service_pb2 as ledger
from tests.api import TestApi, running_api


class SlowCommit:
    """A commit that takes its time with keys of the ledger; what it was given, nobody takes back."""

    def __init__(self, commit: Committer) -> None:
        self._commit = commit
        self._tasks: list[asyncio.Task[Outcome]] = []
        self.go_on = asyncio.Event()

    @property
    def waiting(self) -> int:
        return sum(not task.done() for task in self._tasks)

    async def execute(self, submission: Submission) -> Outcome:
        if not isinstance(submission.command, AddLedgerKey):
            return await self._commit.execute(submission)
        self._tasks.append(asyncio.create_task(self._late(submission)))
        return await asyncio.shield(self._tasks[-1])

    async def _late(self, submission: Submission) -> Outcome:
        await self.go_on.wait()
        return await self._commit.execute(submission)


def eventually(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


async def slow_down(api: TestApi) -> SlowCommit:
    commit = SlowCommit(api.context.commit)
    object.__setattr__(api.context, "commit", commit)
    return commit


async def let_go(commit: SlowCommit) -> None:
    commit.go_on.set()


@pytest.mark.parametrize("leave", ["cancels", "runs out of time"])
def test_rotation_whose_caller_goes_away_leaves_key_and_store_in_agreement(
    tmp_path: Path, leave: str
) -> None:
    with running_api(tmp_path) as api:
        client = api.client()
        client.call(client.ledger.CreateLedgerCheckpoint, ledger.CreateLedgerCheckpointRequest())
        commit = api.run(slow_down(api))
        rotate, request = client.ledger.RotateLedgerKey, ledger.RotateLedgerKeyRequest()

        first = rotate.future(request, timeout=1 if leave == "runs out of time" else 30)
        eventually(lambda: commit.waiting == 1)
        if leave == "cancels":
            first.cancel()
        eventually(lambda: any(record.outcome == "CANCELLED" for record in api.records))
        with pytest.raises((grpc.FutureCancelledError, grpc.RpcError)):
            first.result(timeout=10)
        second = rotate.future(request, timeout=30)
        time.sleep(0.3)  # time enough for the second to get in the way of the first
        api.run(let_go(commit))

        newest = second.result(timeout=10)
        keys = client.call(client.ledger.ListLedgerKeys, ledger.ListLedgerKeysRequest()).ledger_keys
        assert len(keys) == 3, "both rotations took place, one after the other"
        assert keys[-1] == newest
        with api.context.store.view() as view:
            api.ledger_keys.load(view.list_ledger_keys()[-1].public_key)
        api.tenant()
        client.call(client.ledger.CreateLedgerCheckpoint, ledger.CreateLedgerCheckpointRequest())
