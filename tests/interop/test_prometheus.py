"""Prometheus itself, scraping a real instance: the alerts of `deploy/`, and what the dashboard asks."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.instance import eventually
from tests.interop.fleet import Device
from tests.interop.instance import Account, Instance

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "ftc.rules.yml"
DASHBOARD = DEPLOY / "grafana" / "ftc.json"

EMPTY_AT_PEACE = {"ClientHellos shed"}
"""Panels that have nothing to show of an instance that serves whoever comes."""


class Prometheus:
    """A running server, by its HTTP API."""

    def __init__(self, port: int) -> None:
        self._root = f"http://127.0.0.1:{port}"

    def get(self, path: str, **parameters: str) -> Any:
        """The `data` of an answer."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self._root}{path}?{query}", timeout=10) as answer:  # noqa: S310
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[Any]:
        """The samples that an expression has now."""
        result: list[Any] = self.get("/api/v1/query", query=expression)["result"]
        return result

    def serves(self) -> bool:
        """Whether it answers."""
        try:
            return urllib.request.urlopen(f"{self._root}/-/ready", timeout=1).status == 200  # noqa: S310
        except OSError:
            return False


@contextmanager
def prometheus_of(instance: Instance, directory: Path) -> Iterator[Prometheus]:
    """Scrapes `instance` each second, with our rules."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {
                "job_name": "ftc",
                "static_configs": [{"targets": [f"127.0.0.1:{instance.ports['metrics']}"]}],
            }
        ],
    }
    file = directory / "prometheus.yml"
    file.write_text(json.dumps(config))  # JSON is YAML
    command = [
        "prometheus",
        f"--config.file={file}",
        f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            server = Prometheus(port)
            eventually(server.serves, "prometheus serves")
            yield server
        finally:
            process.terminate()
            process.wait(20)


@pytest.mark.parametrize("check", [("check", "rules", str(RULES)), ("test", "rules", "alerts.yml")])
def test_alerts_are_rules_and_each_is_raised_by_its_trouble_alone(check: tuple[str, ...]) -> None:
    done = subprocess.run(
        ["promtool", *check],
        cwd=Path(__file__).parent / "prometheus",
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_and_dashboard_find_what_they_ask_for(
    instance: Instance, owner: Account, device: Device, tmp_path: Path
) -> None:
    with prometheus_of(instance, tmp_path) as prometheus:
        eventually(lambda: prometheus.query("ftc_build_info"), "a first scrape")
        with pytest.raises(AssertionError, match="Enrollment ID not registered"):
            device.onboarded()
        owner.enroll(device.certificate)
        device.onboarded()
        time.sleep(4)  # counts are published each second, and a rate takes two scrapes that differ

        groups = prometheus.get("/api/v1/rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        empty = {
            panel["title"]
            for panel in json.loads(DASHBOARD.read_text())["panels"]
            if not all(prometheus.query(as_asked(target["expr"])) for target in panel["targets"])
        }
    assert len(rules) == RULES.read_text().count("- alert:")
    assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []
    assert empty <= EMPTY_AT_PEACE


def as_asked(expression: str) -> str:
    """An expression of the dashboard, as Grafana fills it in."""
    return expression.replace("$__rate_interval", "30s").replace("$instance", ".*")
