"""The commands of a page of `docs/`, as printed, against a real instance."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from ftc_core.credentials.data_directory import DataDirectory
from tests.instance import running_instance

__all__ = ["needs_jq", "page", "run_blocks", "run_story", "shell_blocks"]

_DOCS = Path(__file__).resolve().parents[1] / "docs"
_PROGRAMS = Path(sys.executable).parent
_PORTS = {"grpc": 50051, "bootstrap": 5784}
"""Where `ftc serve` listens if it is not told otherwise: the ports that pages print."""

needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="the page's commands need jq")


def page(name: str) -> str:
    """The text of `docs/name.md`."""
    return (_DOCS / f"{name}.md").read_text()


def shell_blocks(text: str) -> list[str]:
    """What stands in its blocks of shell commands, in order."""
    return re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def run_blocks(blocks: Sequence[str], directory: Path) -> str:
    """The output of the commands, all of them in one shell in `directory`; each must succeed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FTC_")}
    environment["PATH"] = f"{_PROGRAMS}:{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def run_story(blocks: Sequence[str], directory: Path) -> str:
    """The output of what follows the set-up and `ftc serve`, on an instance on free ports in `directory`."""
    setup, serve, *story = blocks
    assert serve == "ftc serve\n", "this one is started here"
    run_blocks([setup], directory)
    with running_instance(DataDirectory.open(directory / "ftc-data")) as instance:
        text = "\n".join(story)
        for server, printed in _PORTS.items():
            text = text.replace(f"localhost:{printed}", f"localhost:{instance.address(server)[1]}")
        return run_blocks([text], directory)
