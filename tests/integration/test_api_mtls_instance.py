"""Client certificates as an operator sets them up: settings in `ftc.toml`, `ftc serve`, `ftc` as a client."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509

from ftc_core.cli.main import cli
from ftc_core.credentials.data_directory import DataDirectory
from tests.certificates import Manufacturer
from tests.instance import FTC, Instance, eventually, make_data_directory, running_instance
from tests.printed_commands import page

SECTION = page("operators").partition("## Client certificates\n")[2].partition("\n## ")[0]
SETTINGS, COMMANDS = (
    re.search(rf"^```{fence}\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL) for fence in ("toml", "shell")
)
IDENTITIES = ("spiffe://acme.example/provisioning", "spiffe://ftc.example/operator")


@pytest.fixture
def client_ca() -> Manufacturer:
    return Manufacturer("Callers CA")


@pytest.fixture
def directory(tmp_path: Path, client_ca: Manufacturer) -> DataDirectory:
    """A data directory with the CA of clients, and with their certificates beside it."""
    made = make_data_directory(tmp_path / "ftc-data")
    (made.root / "client-ca.pem").write_bytes(client_ca.pem)
    for uri in IDENTITIES:
        write_certificate(tmp_path, client_ca, uri)
    return made


def write_certificate(place: Path, ca: Manufacturer, uri: str) -> None:
    """Write NAME.pem and NAME.key for a URI that ends in `/NAME`."""
    name = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
    credential = ca.device("caller", extensions=[name])
    stem = uri.rpartition("/")[2]
    (place / f"{stem}.pem").write_bytes(credential.pem)
    (place / f"{stem}.key").write_bytes(credential.key_pem)


def configure(directory: DataDirectory, text: str) -> None:
    with directory.config_file.open("a") as file:
        file.write(text)


def settings(account_id: str) -> str:
    """As printed, but for the account and a free port."""
    assert SETTINGS is not None
    return SETTINGS[1].replace("0123456789abcdef" * 2, account_id).replace("[::]:50052", "127.0.0.1:0")


def mtls_endpoint(instance: Instance) -> str:
    return "{}:{}".format(*instance.address("mtls"))


def ftc(place: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FTC_")}
    return subprocess.run(
        [*FTC, *arguments], cwd=place, env={**kept, **environment}, capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def served(directory: DataDirectory) -> Iterator[tuple[Instance, str]]:
    """An instance with the guide's settings, for an account of its own: its ID."""
    with running_instance(directory) as first:
        account_id = first.tenant().id
    configure(directory, settings(account_id))
    with running_instance(directory, f"--config={directory.config_file}") as instance:
        yield instance, account_id


def test_the_guide_s_settings_and_commands_work(
    served: tuple[Instance, str], tmp_path: Path, client_ca: Manufacturer
) -> None:
    instance, account_id = served
    assert COMMANDS is not None
    endpoint = mtls_endpoint(instance)

    script = (
        COMMANDS[1]
        .replace("localhost:50052", endpoint)
        .replace("ftc enrollment", f"{' '.join(FTC)} enrollment")
    )
    done = subprocess.run(
        ["bash", "-euc", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    caller = {
        "FTC_ENDPOINT": endpoint,
        "FTC_CLIENT_CERT": "provisioning.pem",
        "FTC_CLIENT_KEY": "provisioning.key",
    }
    own = ftc(tmp_path, "account", "get", "--json", **caller)
    assert json.loads(own.stdout)["id"] == account_id, own.stderr
    denied = ftc(tmp_path, "account", "list", **caller)
    assert (denied.returncode, "it needs OPERATOR" in denied.stderr) == (1, True)
    operator = {**caller, "FTC_CLIENT_CERT": "operator.pem", "FTC_CLIENT_KEY": "operator.key"}
    assert account_id in ftc(tmp_path, "account", "list", "--json", **operator).stdout
    by_key = ftc(tmp_path, "account", "list", FTC_API_KEY_FILE="ftc-data/operator.key", **caller)
    assert by_key.returncode == 0, "the key decides"


def test_restarted_api_listens_on_the_same_two_ports(served: tuple[Instance, str], tmp_path: Path) -> None:
    instance, account_id = served
    before = instance.processes()["api"], instance.address("grpc"), instance.address("mtls")

    os.kill(before[0], signal.SIGKILL)
    eventually(lambda: instance.processes()["api"] != before[0], "the API is restarted")

    assert (instance.address("grpc"), instance.address("mtls")) == before[1:]
    own = ftc(
        tmp_path,
        *("account", "get", "--json", f"--endpoint={mtls_endpoint(instance)}"),
        *("--client-cert=provisioning.pem", "--client-key=provisioning.key"),
    )
    assert json.loads(own.stdout)["id"] == account_id, own.stderr


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('mtls_listen = "127.0.0.1:0"\n', "setting mtls_listen (from {config}): needs mtls_client_ca"),
        (
            'mtls_listen = "127.0.0.1:0"\nmtls_client_ca = "client-ca.pem"\n'
            '[[mtls_identities]]\nuri = "spiffe://a/b"\nrole = "ADMIN"\n',
            "setting mtls_identities (from {config}): spiffe://a/b: role ADMIN needs an account",
        ),
        ('mtls_listen = "127.0.0.1:0"\nmtls_client_ca = "none.pem"\n', "none.pem: No such file"),
        (
            'mtls_listen = "127.0.0.1:0"\nmtls_client_ca = "ftc.toml"\n',
            "setting mtls_client_ca: {config} holds no certificates in PEM",
        ),
    ],
)
def test_bad_settings_keep_the_server_from_starting(
    directory: DataDirectory, tmp_path: Path, lines: str, said: str
) -> None:
    configure(directory, lines)
    listen = [f"--{server}-listen=127.0.0.1:0" for server in ("bootstrap", "lwm2m", "grpc", "metrics")]

    ended = ftc(tmp_path, "serve", f"--config={directory.config_file}", "--data-dir=ftc-data", *listen)

    assert ended.returncode == 1
    assert said.format(config=directory.config_file) in ended.stderr


@pytest.mark.parametrize(
    ("flags", "status", "said"),
    [
        (["--client-cert=operator.pem"], 2, "--client-cert and --client-key go together"),
        (["--client-cert=operator.pem", "--client-key=none.key"], 1, "none.key: No such file"),
        (["--client-cert=operator.key", "--client-key=operator.pem"], 1, "operator.key, operator.pem: "),
        (
            ["--client-cert=operator.pem", "--client-key=provisioning.key"],
            1,
            "operator.pem, provisioning.key: ",
        ),
    ],
)
def test_files_that_cannot_work_are_refused_before_connecting(
    tmp_path: Path,
    client_ca: Manufacturer,
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
    status: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for uri in IDENTITIES:
        write_certificate(tmp_path, client_ca, uri)

    refused = CliRunner().invoke(cli, ["account", "list", "--endpoint=127.0.0.1:1", *flags])

    assert refused.exit_code == status
    assert said in refused.stderr
