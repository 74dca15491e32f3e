"""The page on the ledger: its commands, as printed, against a real instance; and its table of faults."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.domain.ledger_verification import LedgerFault
from tests.instance import running_instance
from tests.integration.test_docs_operators import run

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "ledger.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(shutil.which("jq") is None, reason="the page's commands need jq")
def test_commands_of_the_page_do_what_it_says(tmp_path: Path) -> None:
    setup, serve, *story = BLOCKS
    assert serve == "ftc serve\n", "this one is started below, on free ports"

    run([setup], tmp_path)
    with running_instance(DataDirectory.open(tmp_path / "ftc-data")) as instance:
        ports = {name: instance.address(name)[1] for name in ("grpc", "bootstrap")}
        output = run(
            [
                block.replace("localhost:50051", f"localhost:{ports['grpc']}").replace(
                    "localhost:5784", f"localhost:{ports['bootstrap']}"
                )
                for block in story
            ],
            tmp_path,
        )

    assert len(re.findall(r"^1 +CLAIMED", output, re.MULTILINE)) == 2, "for the operator and the vendor"
    assert len(re.findall(r"^2 +TRANSFERRED", output, re.MULTILINE)) == 3
    assert '"kind": "TRANSFERRED"' in output
    assert "ownership history verified: 2 entries shown to you" in output
    exported = re.search(r"^ledger\.jsonl: (\d+) changes", output, re.MULTILINE)
    assert exported is not None
    assert exported[1] == "3"
    assert len(re.findall(r"^verified: every entry", output, re.MULTILINE)) == 4
    identity = next(
        line.split(",")[0] for line in (tmp_path / "factory" / "enrollments.csv").read_text().splitlines()[1:]
    )
    assert re.search(rf"^{identity}: entry 2: its content does not give its hash$", output, re.MULTILINE)
    assert output.count("\nforged\n") == 1
    assert "the document ends at line 5 without its end\n" in output
    assert output.count("\ncut\n") == 1
    assert output.count("\noutdated\n") == 1


def test_every_fault_is_told() -> None:
    table = PAGE.partition("## What may be found")[2]

    assert {fault.value for fault in LedgerFault} == set(re.findall(r"`([A-Z]+_[A-Z_]+)`", table))
