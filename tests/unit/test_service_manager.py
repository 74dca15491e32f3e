"""What a service manager is told, over the socket that it names."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ftc_core.endpoint.service_manager import READY, ServiceManager


@pytest.mark.parametrize("abstract", [False, True])
def test_one_message_has_all_that_is_told(tmp_path: Path, abstract: bool) -> None:
    name = f"@{tmp_path}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name[1:]}" if abstract else name)

        ServiceManager({"NOTIFY_SOCKET": name}).tell(READY, "STATUS=serving")

        assert manager.recv(1_000) == b"READY=1\nSTATUS=serving"


def test_without_a_manager_nothing_happens() -> None:
    with capture_logs() as logs:
        ServiceManager({}).tell(READY)

    assert logs == []


def test_manager_that_is_gone_is_logged_and_harms_nobody(tmp_path: Path) -> None:
    with capture_logs() as logs:
        ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "none")}).tell(READY)

    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("service manager not told", "warning")
    ]
