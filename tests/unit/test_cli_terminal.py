"""What `ftc` prints is text: nothing that somebody else chose is obeyed by the terminal."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

import ftc_core.cli
import ftc_grpc.cli
import ftc_storm
from ftc_core.cli.group import Refusal
from ftc_core.cli.terminal import print_json, print_table, say, visible, write
from ftc_grpc._gen.ftc.v1.account_pb2 import Account
from ftc_grpc.cli.output import print_list, print_resource

HOSTILE = "\x1b]0;owned\x07\x1b[2K\x00\x7f\x9b31m\u202egnp\u2066\u2028\r\n\t\udc80"
OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\udc80]")


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_what_a_terminal_obeys_is_escaped() -> None:
    assert visible(HOSTILE) == (r"\x1b]0;owned\x07\x1b[2K\x00\x7f\x9b31m\u202egnp\u2066\u2028\r\n\t\udc80")


@pytest.mark.parametrize(
    "text", ["", "plain", "Zürich „4“", "山田\u3000太郎", "می\u200cخواهم", "👩\u200d🔧", "\\x1b"]
)
def test_what_is_text_stays(text: str) -> None:
    assert visible(text) == text


def test_a_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"note {HOSTILE}")
    say(f"error {HOSTILE}", err=True)
    Refusal(f"server says {HOSTILE}", "Nothing.").show()

    text = shown(capsys)
    assert text.count("\n") == 3
    assert not OBEYED.search(text)


def test_cells_of_tables_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(HOSTILE, box=None)
    table.add_row(HOSTILE)
    print_table(table)
    account = Account(id="1", display_name=HOSTILE.replace("\udc80", ""))
    print_list([account], ("id", "display_name"), more=False, as_json=False)
    print_resource(account, as_json=False)

    text = shown(capsys)
    assert not OBEYED.search(text)
    assert text.count(r"\x1b]0;owned\x07") == 4


def test_json_is_exact_and_obeyed_by_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"note": HOSTILE})

    text = shown(capsys)
    assert not OBEYED.search(text)
    assert json.loads(text) == {"note": HOSTILE}


def test_data_is_exact_in_a_pipe_and_visible_on_a_terminal(
    capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b'"a"\r\n"\x1b[2K\xff"\r\n'
    write(data)
    assert capsysbinary.readouterr().out == data

    master, slave = pty.openpty()
    with os.fdopen(master, "rb") as reader, os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        write(data)
        terminal.flush()
        assert [reader.readline(), reader.readline()] == [b'"a"\r\n', b'"\\x1b[2K\\xff"\r\n']


def test_every_verb_prints_through_the_terminal() -> None:
    for package in (ftc_core.cli, ftc_grpc.cli, ftc_storm):
        for path in Path(package.__path__[0]).glob("*.py"):
            assert path.name == "terminal.py" or "click.echo" not in path.read_text(), path


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_an_encoding_lacks_is_escaped(encoding: str) -> None:
    script = (
        "from ftc_core.cli.terminal import open_streams, say; open_streams(); say('… \\udc80');"
        "say('…', err=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding}
    )

    # ASCII is what C says that is set to nothing at all: click takes it for UTF-8.
    ellipsis = b"\\u2026" if encoding == "latin-1" else "…".encode()
    assert (done.returncode, done.stdout) == (0, ellipsis + b" \\udc80\n")
    assert done.stderr == ellipsis + b"\n"


@pytest.mark.parametrize("stream", [0, 1, 2])
def test_the_number_of_a_closed_stream_is_given_to_no_file(stream: int, tmp_path: Path) -> None:
    script = (
        f"import os; os.close({stream})\n"
        "import sys; sys.stdin, sys.stdout, sys.stderr = [\n"
        f"    None if number == {stream} else each\n"
        "    for number, each in enumerate((sys.stdin, sys.stdout, sys.stderr))\n"
        "]\n"
        "from ftc_core.cli.terminal import open_streams, say\n"
        "open_streams()\n"
        "with open(sys.argv[1], 'w') as file:\n"
        "    say('out'); say('err', err=True); assert sys.stdin.read() == ''\n"
        "    assert file.fileno() > 2\n"
    )
    file = tmp_path / "file"
    done = subprocess.run(
        [sys.executable, "-c", script, str(file)], capture_output=True, input=b"", check=True
    )

    assert file.read_bytes() == b""
    assert done.stdout == (b"" if stream == 1 else b"out\n")
    assert done.stderr == (b"" if stream == 2 else b"err\n")


def test_say_takes_a_file() -> None:
    file = io.StringIO()
    say("\x1b", file=file)
    assert file.getvalue() == "\\x1b\n"
