"""The unit of `deploy/systemd`, judged by systemd's own tools, and held against what an instance calls."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from ftc_core.endpoint.supervisor import Endpoints
from tests.instance import eventually
from tests.interop.fleet import provision
from tests.interop.instance import BIN, Instance, ftc

UNIT = Path(__file__).resolve().parents[2] / "deploy" / "systemd" / "ftc.service"
EXPOSURE_MAX = 20
"""Tenths; systemd calls 2.0 and less OK."""


def analyze(*arguments: str | Path) -> str:
    done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a program that is there."""
    copy = tmp_path / "ftc.service"
    copy.write_text(UNIT.read_text().replace("/opt/ftc/bin/ftc", str(BIN / "ftc")))
    return copy


def test_unit_has_no_fault(unit: Path) -> None:
    analyze("verify", "--man=no", unit)


def test_unit_is_hardened(unit: Path) -> None:
    analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", unit)


def allowed_calls() -> set[str]:
    """The system calls of the unit's filter, its groups taken apart."""
    groups: dict[str, set[str]] = {}
    for line in analyze("syscall-filter").splitlines():
        if line.startswith("@"):
            members = groups.setdefault(line.strip(), set())
        elif line.startswith("    ") and not line.strip().startswith("#"):
            members.add(line.strip())

    def members_of(group: str) -> set[str]:
        parts = (members_of(part) if part.startswith("@") else {part} for part in groups[group])
        return set().union(*parts)

    (filtered,) = re.findall(r"^SystemCallFilter=(@\S+)$", UNIT.read_text(), re.MULTILINE)
    return members_of(filtered)


@contextmanager
def traced_instance(data: Path, trace: Path) -> Iterator[Instance]:
    """An instance whose system calls, those of all its processes, are written to `trace`."""
    ftc("init", "--data-dir", data)
    listen = [f"--{server}-listen=127.0.0.1:0" for server in ("bootstrap", "lwm2m", "grpc", "metrics")]
    serve = [BIN / "ftc", "serve", "--workers=1", f"--data-dir={data}", *listen]
    published = data / "endpoints.json"
    with subprocess.Popen(["strace", "-f", "-qq", "-o", trace, *serve], stderr=subprocess.DEVNULL) as strace:
        try:
            eventually(published.exists, "the instance serves", patience_s=120)
            endpoints = msgspec.json.decode(published.read_bytes(), type=Endpoints)
            yield Instance.of(data, endpoints)
            os.kill(endpoints.pid, signal.SIGTERM)
            assert strace.wait(60) == 0
        finally:
            strace.kill()


def test_unit_allows_every_system_call_of_an_instance(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    with traced_instance(tmp_path / "data", trace) as instance:
        fleet = provision(instance, tmp_path, count=1)
        owner = instance.create_account("Fleet owner")
        owner.upload_ca(fleet.ca)
        [device] = fleet.devices
        owner.enroll(device.certificate)
        device.onboarded()

    called = set(re.findall(r"^\d+ +([a-z0-9_]+)\(", trace.read_text(errors="replace"), re.MULTILINE))
    assert called >= {"recvmsg", "sendmsg", "fdatasync"}, "a device was served, and its claim is on disk"
    assert called - allowed_calls() == set()
