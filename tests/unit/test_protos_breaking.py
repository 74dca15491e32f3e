"""The check of the API's compatibility: what it lets pass, what it names."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tools.protos import PROTO_ROOT, PUBLISHED, breaking

TOTAL = "include_total_size = 5 [(google.api.field_behavior) = OPTIONAL];"


@pytest.fixture
def protos(tmp_path: Path) -> Path:
    """A copy of the protos that the test may change."""
    return Path(shutil.copytree(PROTO_ROOT, tmp_path / "proto"))


def change(protos: Path, file: str, old: str, new: str) -> None:
    path = protos / "ftc" / "v1" / file
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_protos_as_they_are_break_nobody() -> None:
    assert breaking() == 0


def test_new_field_breaks_nobody(protos: Path) -> None:
    change(protos, "device.proto", "message Device {", "message Device {\n  string new = 999;")

    assert breaking(protos) == 0


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("account_service.proto", f"  bool {TOTAL}", "", '"5" with name "include_total_size"'),
        ("account_service.proto", "include_total_size = 5", "include_total_size = 55", '"5"'),
        ("account_service.proto", f"bool {TOTAL}", f"int32 {TOTAL}", "changed type"),
        ("account_service.proto", "rpc ListAccounts(", "rpc EnumerateAccounts(", '"ListAccounts"'),
        ("device.proto", " REGISTERED = 4;", " ON_LINE = 4;", '"REGISTERED"'),
    ],
)
def test_what_callers_would_miss_is_named(
    protos: Path, capfd: pytest.CaptureFixture[str], file: str, old: str, new: str, said: str
) -> None:
    change(protos, file, old, new)

    assert breaking(protos) != 0
    assert said in capfd.readouterr().out


def test_published_surface_is_ours_alone() -> None:
    assert '"package": "ftc.v1"' in PUBLISHED.read_text()
    assert '"package": "google' not in PUBLISHED.read_text()
