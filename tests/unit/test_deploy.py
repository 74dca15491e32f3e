"""What `deploy/` asks of the metrics is there, and docs/metrics.md tells of the same alerts.

`make interop` shows more: that Prometheus and systemd take them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.metric_families import FAMILIES

ROOT = Path(__file__).resolve().parents[2]
RULES = (ROOT / "deploy" / "prometheus" / "ftc.rules.yml").read_text()
DASHBOARD = (ROOT / "deploy" / "grafana" / "ftc.json").read_text()
PAGE = (ROOT / "docs" / "metrics.md").read_text()

SUFFIXES = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}


def asked_for(text: str) -> set[str]:
    return set(re.findall(r"\bftc_[a-z0-9_]+", text))


def test_every_metric_that_is_asked_for_is_there() -> None:
    exposed = {family.name + suffix for family in FAMILIES for suffix in SUFFIXES[family.type]}

    assert asked_for(RULES) - exposed == set()
    assert asked_for(DASHBOARD) - exposed == set()
    assert len(asked_for(DASHBOARD)) > 15


def test_page_tells_of_the_alerts_in_their_order() -> None:
    rules = re.findall(r"- alert: (\w+)\n\s+expr: (.+)\n", RULES)
    told = re.findall(r"^\| `(Ftc\w+)` \| `(.+?)` \|", PAGE, re.MULTILINE)

    assert len(rules) == RULES.count("- alert:")
    assert [(name, condition.replace("\\|", "|")) for name, condition in told] == rules


def test_every_panel_has_a_place_of_its_own() -> None:
    panels = json.loads(DASHBOARD)["panels"]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)
    assert all(panel["targets"] for panel in panels)
