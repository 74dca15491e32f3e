"""docs/conformance.md: every test that it names exists, and every row names one or says why not."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
PAGE = TESTS.parent / "docs" / "conformance.md"
_NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")


@cache
def functions(file: str) -> frozenset[str]:
    """The test functions of a file below tests/, none if there is no such file."""
    path = TESTS / file
    if not path.is_file():
        return frozenset()
    nodes = ast.walk(ast.parse(path.read_text()))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in nodes if isinstance(node, kinds) and node.name.startswith("test_"))


def problems(page: str) -> list[str]:
    """What is wrong with the page's tables, a line each."""
    found = []
    for line in page.splitlines():
        if not line.startswith("|") or line.startswith(("|---", "| § |", "| RFC |", "| clause |")):
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 4:
            found.append(f"{len(cells)} cells instead of 4: {line}")
            continue
        named = _NAMED.findall(cells[3])
        if not named and not cells[3].startswith("**Not**"):
            found.append(f"neither a test nor a reason: {cells[0]} {cells[1]}")
        found += [f"no such test: {file}::{test}" for file, test in named if test not in functions(file)]
        if cells[3].count("::") != len(named):
            found.append(f"a test that is not named as `file.py::test`: {cells[3]}")
    return found


def test_every_row_names_tests_that_exist_or_says_why_not() -> None:
    page = PAGE.read_text()
    assert len(_NAMED.findall(page)) >= 80
    assert problems(page) == []


@pytest.mark.parametrize(
    ("shown_by", "problem"),
    [
        ("`unit/test_conformance_page.py::test_that_nobody_wrote`", "no such test"),
        ("`unit/test_conformance_page.py::problems`", "no such test"),
        ("`unit/nowhere.py::test_a`", "no such test"),
        ("", "neither a test nor a reason"),
        ("the code", "neither a test nor a reason"),
        ("unit/test_a.py::test_a, **Not**", "neither a test nor a reason"),
        ("**Not**: see unit/test_a.py::test_a", "not named as"),
        ("`unit/test_a.py::test_a` | more", "5 cells"),
    ],
)
def test_a_row_that_shows_nothing_is_found(shown_by: str, problem: str) -> None:
    row = f"| § | rule | | shown by |\n|---|---|---|---|\n| 1 | Rule | MUST | {shown_by} |\n"
    assert problem in problems(row)[0]
