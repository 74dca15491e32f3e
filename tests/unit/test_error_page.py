"""The page that lists every error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ftc_core.errors import CATALOGUE, ErrorSpec, Reason
from tools import errors


def test_every_reason_has_one_row_with_all_that_there_is_to_know() -> None:
    rows = [line for line in errors.render().splitlines() if line.startswith("| `")]

    assert len(rows) == len(CATALOGUE) == len(Reason)
    row = next(line for line in rows if "`QUOTA_REACHED`" in line)
    spec = CATALOGUE[Reason.QUOTA_REACHED]
    assert row == f"| `QUOTA_REACHED` | `RESOURCE_EXHAUSTED` | 4.03 | {spec.text} | {spec.action} |"


def test_text_cannot_break_the_table() -> None:
    spec = ErrorSpec("INTERNAL", "", "a|b", "use <x>")

    assert "| `INTERNAL_1` | `INTERNAL` | – | a\\|b | use &lt;x> |\n" in errors.render(
        {Reason.INTERNAL_1: spec}
    )


def test_check_tells_a_stale_page_from_a_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "errors.md"
    monkeypatch.setattr(errors, "PAGE", page)

    monkeypatch.setattr(sys, "argv", ["errors", "--check"])
    assert errors.main() == 1
    monkeypatch.setattr(sys, "argv", ["errors"])
    assert errors.main() == 0
    monkeypatch.setattr(sys, "argv", ["errors", "--check"])
    assert errors.main() == 0
    page.write_text(page.read_text() + "edited by hand\n")
    assert errors.main() == 1
    assert "make docs" in capsys.readouterr().err


def test_page_in_the_repository_is_current() -> None:
    root = Path(errors.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-m", "tools.errors", "--check"], cwd=root, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
