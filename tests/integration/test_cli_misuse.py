"""Whatever `ftc` is given: one line that says what is wrong, an exit code of the contract, no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from ftc_core.cli.group import RootGroup
from ftc_core.cli.main import cli
from tests.api import TestApi

FTC = (sys.executable, "-m", "ftc_core")
ID = "019a0c5e7b1d7c2e8f00112233445566"
HOSTILE = (
    "",
    "\udcff\udc80",  # bytes that are not UTF-8, as Python gets them
    "\x1b[2J\u202e",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-12:00",
    "10000-01-01",
    "9" * 30,
    "-1",
    "nan",
    "A-zz",
    "accounts/x/y",
    ".",
    "/dev/null",
    "missing/file",
    "x" * 5_000,
    ID,
)
FINE_FOR_WATCH = ("--account=", "--api-key=", "--limit=")
"""Options that may be empty, or any number."""


def verbs(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, sub in sorted(command.commands.items()):
        yield from verbs(sub, (*path, name))


def all_verbs() -> dict[str, click.Command]:
    assert isinstance(cli, RootGroup)
    cli.load_extensions()
    # Those that run for long whatever they are given have tests of their own.
    return {" ".join(path): verb for path, verb in verbs(cli) if path[0] not in ("demo", "serve", "storm")}


VERBS = all_verbs()


def required(verb: click.Command) -> list[str]:
    """Options without which it is wrong usage."""
    found: list[str] = []
    for option in verb.params:
        if isinstance(option, click.Option) and option.required:
            kind = option.type
            found += [option.opts[0], str(kind.choices[0]) if isinstance(kind, click.Choice) else "1"]
    return found


def arguments_with(verb: click.Command, value: str) -> Iterator[list[str]]:
    """Command lines with `value` at each place where one can be."""
    places = [each for each in verb.params if isinstance(each, click.Argument)]
    for place in range(len(places)):
        yield ["--", *(value if number == place else ID for number in range(len(places)))]
    for option in verb.params:
        if isinstance(option, click.Option) and not option.is_flag and option.name != "help":
            yield [f"{option.opts[0]}={value}", *(ID for _ in places)]


def assert_refused_in_order(done: Result, arguments: list[str]) -> None:
    assert done.exception is None or isinstance(done.exception, SystemExit), (arguments, done.exception)
    assert done.exit_code in (0, 1, 2), arguments
    assert "a bug in ftc" not in done.stderr, arguments
    assert "\x1b" not in done.output, arguments
    if done.exit_code == 1:
        assert done.stderr.splitlines()[-1].startswith("error: "), (arguments, done.stderr)
        assert " / what to do: " in done.stderr, arguments
    if done.exit_code == 2:
        assert done.stderr.startswith("Usage: "), (arguments, done.stderr)


# click leaves an argument's file to the garbage collector if a later argument is wrong.
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <_io.FileIO:pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("name", VERBS)
def test_every_verb_takes_what_it_is_given(
    name: str, api: TestApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ca.pem").write_bytes(api.ca_pem)
    Path("key").write_text(api.operator.secret)
    environment = {"FTC_ENDPOINT": api.endpoint, "FTC_CA": "ca.pem", "FTC_API_KEY_FILE": "key"}
    verb = VERBS[name]
    for value in HOSTILE:
        for more in arguments_with(verb, value):
            if name.endswith("watch") and more[0].startswith(FINE_FOR_WATCH):
                continue  # it would watch
            arguments = [*name.split(), *required(verb), *more]
            assert_refused_in_order(CliRunner().invoke(cli, arguments, env=environment), arguments)


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["device", "--help"], ["init"], ["factory", "init-ca"]],
    ids=" ".join,
)
def test_output_that_finds_no_room_is_one_line(arguments: list[str], tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*FTC, *arguments], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert done.returncode == 1
    assert done.stderr == "error: No space left on device / what to do: Free some space.\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_stops_nothing(closed: str, tmp_path: Path) -> None:
    command = f'"$@" init {closed} && "$@" factory init-ca {closed} && "$@" ledger verify - {closed}'
    done = subprocess.run(
        ["sh", "-c", command, "sh", *FTC], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1, "no input is no ledger"
    assert "Traceback" not in done.stderr
    assert (tmp_path / "ftc-data/operator.key").exists()
    assert (tmp_path / "factory-ca/ca.pem").exists()


def test_a_reader_that_leaves_ends_it_quietly(tmp_path: Path) -> None:
    command = '"$@" device --help | head -n 1'
    done = subprocess.run(
        ["bash", "-c", command, "bash", *FTC], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.startswith("Usage: ftc device")
    assert done.stderr == ""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_help_and_refusals_fit_into_every_encoding(encoding: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "LC_ALL": "C"}
    help_ = subprocess.run(
        [*FTC, "explain", "--help"], cwd=tmp_path, env=environment, capture_output=True, timeout=60
    )
    refused = subprocess.run(
        [*FTC, "enrollment-id", b"\xff\xe2\x80\xa6.pem"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        timeout=60,
    )
    assert (help_.returncode, refused.returncode) == (0, 1)
    assert help_.stderr == b""
    assert refused.stderr.count(b"\n") == 1


@pytest.mark.parametrize("after_s", [0.1, 0.2, 0.3, 0.4, 0.6])
def test_ctrl_c_is_quiet_from_the_first_import_on(after_s: float, tmp_path: Path) -> None:
    script = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from ftc_core.cli.entry import main; print(flush=True)\n"
        "sys.argv[1:] = ['ledger', 'verify', '-']; main()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # from here on it is ours; what is before is the interpreter's
        time.sleep(after_s)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode in (130, -signal.SIGINT)
    assert errors == ""
