"""The page on the ledger: its commands, as printed, against a real instance; and its table of faults."""

from __future__ import annotations

import re
from pathlib import Path

from ftc_core.domain.ledger_verification import LedgerFault
from tests.printed_commands import needs_jq, page, run_story, shell_blocks

PAGE = page("ledger")


@needs_jq
def test_commands_of_the_page_do_what_it_says(tmp_path: Path) -> None:
    output = run_story(shell_blocks(PAGE), tmp_path)

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
