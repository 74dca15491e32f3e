"""The checkpoints that a real instance makes by itself: when, and what metrics and log tell of them."""

from __future__ import annotations

import json
import time
from pathlib import Path

from ftc_core.credentials.data_directory import DataDirectory
from ftc_grpc._gen.ftc.v1.ledger_pb2 import LedgerCheckpoint
from ftc_grpc._gen.ftc.v1.ledger_service_pb2 import ExportLedgerRequest, ListLedgerCheckpointsRequest
from tests.certificates import Manufacturer
from tests.instance import Instance, eventually, make_data_directory, running_instance
from tests.integration.test_metrics import scrape
from tests.things import claimed_thing


def directory_with_interval(place: Path, seconds: int) -> DataDirectory:
    """A data directory whose `ftc.toml` says how often."""
    directory = make_data_directory(place)
    default = "# ledger_checkpoint_interval_s = 3600"
    settings = directory.config_file.read_text()
    assert default in settings
    directory.config_file.write_text(settings.replace(default, f"ledger_checkpoint_interval_s = {seconds}"))
    return directory


def checkpoints(instance: Instance) -> list[LedgerCheckpoint]:
    """The newest first."""
    api = instance.api
    answer = api.call(api.ledger.ListLedgerCheckpoints, ListLedgerCheckpointsRequest())
    return list(answer.ledger_checkpoints)


async def test_a_checkpoint_is_made_by_itself_once_something_was_entered(
    tmp_path: Path, manufacturer: Manufacturer
) -> None:
    directory = directory_with_interval(tmp_path / "data", 1)
    with running_instance(directory, "--log-format=json") as instance:
        [empty] = eventually(lambda: checkpoints(instance), what="the first, of nothing")
        assert (empty.number, empty.history_count, empty.entry_count) == (1, 0, 0)
        tenant = instance.tenant()
        tenant.trust(manufacturer)

        await claimed_thing(tenant, manufacturer)
        made = eventually(lambda: checkpoints(instance)[:-1], what="one that covers the claim")

        def at_rest() -> dict[str, float] | None:
            samples = scrape(instance)
            idle = samples.get("ftc_ledger_checkpoints_total{result=unchanged}", 0)
            return samples if idle >= 2 else None

        samples = eventually(at_rest, what="two turns that find nothing new")
        assert [(each.number, each.history_count, each.entry_count) for each in made] == [(2, 1, 1)]
        assert len(checkpoints(instance)) == 2
        assert samples["ftc_ledger_checkpoints_total{result=made}"] == 2
        assert samples["ftc_ledger_checkpoint_duration_seconds_count{}"] == 2
        assert samples["ftc_ledger_checkpoint_histories{}"] == 1
        assert samples["ftc_ledger_checkpoint_entries{}"] == 1
        assert time.time() - samples["ftc_ledger_checkpoint_timestamp_seconds{}"] < 10
        told = [
            json.loads(line) for line in instance.log.read_text().splitlines() if "checkpoint made" in line
        ]
        assert [(line["number"], line["entries"], line["process"]) for line in told] == [
            (1, 0, "api"),
            (2, 1, "api"),
        ]


def test_with_the_interval_0_only_who_asks_gets_one(tmp_path: Path) -> None:
    with running_instance(directory_with_interval(tmp_path / "data", 0)) as instance:
        tenant = instance.tenant()
        time.sleep(0.3)  # the periodic one comes at once
        assert checkpoints(instance) == []

        request = ExportLedgerRequest(parent=tenant.name)
        assert list(instance.api.stream(instance.api.ledger.ExportLedger, request))

        assert [each.number for each in checkpoints(instance)] == [1]
