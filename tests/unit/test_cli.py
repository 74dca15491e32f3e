"""The command line: what it prints, what it refuses, and with which exit code."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from ftc_core.cli import group as group_module
from ftc_core.cli.group import ExtensibleGroup, RootGroup
from ftc_core.cli.main import cli
from ftc_core.device.bundle import Bundle
from ftc_core.domain.identity import fingerprint_of, format_enrollment_id
from tests.certificates import Manufacturer


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], prog_name="ftc")


def done(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert " / what to do: " in result.stderr
    assert result.stderr.count("\n") == 1, "one line"
    return result.stderr


def test_enrollment_id_is_the_fingerprint_of_pem_der_and_first_in_chain(manufacturer: Manufacturer) -> None:
    device = manufacturer.device("device-1")
    expected = format_enrollment_id(fingerprint_of(device.der))
    Path("d.pem").write_bytes(device.pem)
    Path("d.der").write_bytes(device.der)
    Path("chain.pem").write_bytes(b"subject=CN = device-1\n" + device.pem + manufacturer.pem)
    for name in ("d.pem", "d.der", "chain.pem"):
        assert done("enrollment-id", name) == f"{expected}\n"


def test_several_certificates_give_a_line_each_with_its_file(manufacturer: Manufacturer) -> None:
    expected = []
    for name in ("a.pem", "b.pem"):
        device = manufacturer.device(name)
        Path(name).write_bytes(device.pem)
        expected.append(f"{format_enrollment_id(fingerprint_of(device.der))}  {name}")
    assert done("enrollment-id", "a.pem", "b.pem").splitlines() == expected


def test_enrollment_id_as_qr_code(manufacturer: Manufacturer) -> None:
    Path("d.pem").write_bytes(manufacturer.device("d").pem)
    done("enrollment-id", "d.pem", "--qr", "out.svg")
    assert b"<svg" in Path("out.svg").read_bytes()
    assert run("enrollment-id", "d.pem", "d.pem", "--qr", "out.svg").exit_code == 2


def test_what_is_no_certificate_is_refused_naming_the_file() -> None:
    Path("x.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    Path("x.der").write_bytes(b"\x30\x03\x02\x01")
    assert "x.pem holds no certificate" in refused("enrollment-id", "x.pem")
    assert "x.der holds no certificate" in refused("enrollment-id", "x.der")
    assert "none.pem: No such file" in refused("enrollment-id", "none.pem")


def test_factory_and_init_work_together_without_options() -> None:
    done("init")
    done("factory", "init-ca")
    output = done("factory", "provision", "--count", "2", "--out", "factory")
    assert "2 device(s) made in factory" in output
    bundle = Bundle.load(Path("factory/devices/device-000002"))
    assert bundle.bootstrap_server_uri == "coaps://localhost:5784"
    assert Path("ftc-data/pki/server-ca.pem").exists()
    (text,) = done("enrollment-id", "factory/devices/device-000002/device.pem").splitlines()
    assert text == bundle.enrollment_id


def test_ca_in_out_directory_is_used_before_the_default_one(manufacturer: Manufacturer) -> None:
    Path("server.pem").write_bytes(manufacturer.pem)
    done("factory", "init-ca", "--out", "factory", "--name", "here")
    done("factory", "init-ca", "--name", "default")
    done(
        "factory", "provision", "--count", "1", "--out", "factory", "--server-ca", "server.pem", "--no-labels"
    )
    bundle = Bundle.load(Path("factory/devices/device-000001"))
    assert bundle.bootstrap_server_ca == manufacturer.der
    assert not Path("factory/labels.html").exists()
    error = refused(
        "factory",
        "provision",
        "--count",
        "1",
        "--out",
        "factory",
        "--server-ca",
        "server.pem",
        "--ca",
        "factory-ca",
    )
    assert "factory/ca.pem is another CA" in error


def test_provisioning_says_what_is_missing() -> None:
    arguments = ("factory", "provision", "--count", "1", "--out", "factory")
    assert "make one with `ftc factory init-ca`" in refused(*arguments)
    done("factory", "init-ca")
    assert "run `ftc init`" in refused(*arguments)
    assert not Path("factory").exists()


def test_bootstrap_uri_with_aid_is_refused(manufacturer: Manufacturer) -> None:
    Path("server.pem").write_bytes(manufacturer.pem)
    done("factory", "init-ca")
    error = refused(
        *("factory", "provision", "--count", "1", "--out", "factory", "--server-ca", "server.pem"),
        *("--bootstrap-uri", "coaps://localhost:5784?aid=0193a0b0c0d07000800000000000000a"),
    )
    assert "first to claim not allowed" in error
    assert not Path("factory").exists()


def test_init_tells_where_things_are_and_what_comes_next() -> None:
    output = done("init", "--data-dir", "here/data", "--public-host", "ftc.example")
    assert "here/data/operator.key" in output
    assert "next: ftc serve --data-dir here/data" in output
    assert 'public_host = "ftc.example"' in Path("here/data/ftc.toml").read_text()
    assert "is a data directory already, for `ftc serve` to run" in refused("init", "--data-dir", "here/data")
    Path("full").mkdir()
    assert "full exists; a data directory is never overwritten" in refused("init", "--data-dir", "full")


def test_bad_setting_is_one_line_naming_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "setting public_host (from --public-host)" in refused("init", "--public-host", "a b")
    monkeypatch.setenv("FTC_PUBLIC_HOST", "a b")
    assert "setting public_host (from FTC_PUBLIC_HOST)" in refused("init")
    assert not Path("ftc-data").exists()


def test_variables_of_the_client_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(cli, RootGroup)
    cli.load_extensions()

    def parameters(command: click.Command) -> Iterator[click.Parameter]:
        yield from command.params
        for sub in command.commands.values() if isinstance(command, click.Group) else ():
            yield from parameters(sub)

    variables = {str(each.envvar) for each in parameters(cli) if each.envvar}
    assert "FTC_TRANSFER_CODE" in variables
    for variable in variables:
        monkeypatch.setenv(variable, "x")
    done("init")


def test_internal_error_is_told_with_its_cause() -> None:
    done("init")
    Path("ftc-data/store/data.mdb").write_bytes(b"")
    listen = [f"--{name}-listen=127.0.0.1:0" for name in ("bootstrap", "lwm2m", "grpc", "metrics")]
    process = subprocess.run(
        [sys.executable, "-m", "ftc_core", "serve", "--workers=1", *listen],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert process.returncode == 1
    assert re.search(
        r"^error: Internal error #1: .+ / what to do: The store is", process.stderr, re.MULTILINE
    )


def test_bug_of_the_supervisor_is_in_the_log_with_its_traceback() -> None:
    done("init")
    script = (
        "import sys; from ftc_core.cli import serve; from ftc_core.cli.main import cli\n"
        "class Broken:\n"
        "    def __init__(self, *_): pass\n"
        "    async def run(self): 1 // 0\n"
        "serve.Supervisor = Broken; cli(['serve'])\n"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)

    output = process.stdout + process.stderr
    assert process.returncode == 1
    assert "supervisor failed" in output
    assert "Traceback" in output
    assert "error: a bug in ftc: ZeroDivisionError: integer division" in process.stderr.splitlines()[-1]


def test_system_refusal_is_one_line_as_well() -> None:
    Path("file").touch()
    assert "file" in refused("init", "--data-dir", "file/data")


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("enrollment-id",),
        ("factory", "provision", "--out", "x"),
        ("factory", "provision", "--count", "0", "--out", "x"),
        ("factory", "provision", "--count", "many", "--out", "x"),
    ],
)
def test_wrong_usage_exits_2(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Usage: ftc" in result.stderr


def test_every_command_explains_itself_with_an_example() -> None:
    def commands(command: click.Command, path: list[str]) -> list[list[str]]:
        own = [path]
        if isinstance(command, click.Group):
            own += [p for name, sub in command.commands.items() for p in commands(sub, [*path, name])]
        return own

    assert isinstance(cli, RootGroup)
    cli.load_extensions()
    for path in commands(cli, []):
        text = done(*path, "--help")
        assert "ftc " in text.partition("Options:")[0].partition("\n")[2], path


def test_interrupt_ends_quietly_with_130() -> None:
    script = (
        "import signal, time\n"
        "from ftc_core.cli.entry import main\nfrom ftc_core.cli.main import cli\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background job may ignore it
        "nap = lambda: [time.sleep(0.01) for _ in range(6000)]\n"  # signal.pause could just miss the signal
        "cli.command('wait')(lambda: (print('waiting', flush=True), nap()))\n"
        "import sys; sys.argv[1:] = ['wait']\n"
        "main()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors == ""


def test_module_runs_like_the_command() -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "ftc_core", "--version"],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert completed.stdout.startswith("ftc, version ")


def register_example(root: click.Group) -> None:
    """An extension: a command of its own and one more in `device`."""
    root.add_command(click.Command("example", callback=lambda: click.echo("from outside")))
    device = root.commands["device"]
    assert isinstance(device, click.Group)
    device.add_command(click.Command("list", callback=lambda: click.echo("devices")))


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> RootGroup:
    points = [
        EntryPoint("broken", "no.such.module:register", group_module.EXTENSION_GROUP),
        EntryPoint("example", f"{__name__}:register_example", group_module.EXTENSION_GROUP),
    ]
    monkeypatch.setattr(group_module, "entry_points", lambda group: points)
    root = RootGroup("ftc")
    root.add_command(ExtensibleGroup("device", root=root))
    root.add_command(click.Command("own", callback=lambda: click.echo("own")))
    return root


def test_extensions_add_commands_at_the_root_and_in_groups(root: RootGroup) -> None:
    assert CliRunner().invoke(root, ["example"]).stdout == "from outside\n"
    assert CliRunner().invoke(root, ["device", "list"]).stdout == "devices\n"
    assert "example" in CliRunner().invoke(root, ["--help"]).stdout


def test_device_group_finds_extensions_by_itself(root: RootGroup) -> None:
    assert "list" in CliRunner().invoke(root, ["device", "--help"]).stdout


def test_broken_extension_is_named_and_harms_no_other(root: RootGroup) -> None:
    result = CliRunner().invoke(root, ["example"])
    assert result.exit_code == 0
    assert result.stderr == "warning: the commands of 'broken' are missing: No module named 'no'\n"
    assert CliRunner().invoke(root, ["own"]).stderr == "", "own commands do not load extensions"
