"""The instance's own certificates: read, and renewed for the same keys under the same CA."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from ftc_core.application.initialise import initialise
from ftc_core.application.own_certificates import own_certificates, renew_server_certificates
from ftc_core.cli.main import cli
from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.credentials.pki import AUTHORITY_VALIDITY, SERVER_VALIDITY
from ftc_core.errors import FtcError, Reason
from ftc_core.settings import Settings

MADE = datetime(2026, 11, 29, 12, tzinfo=UTC)
SERVERS = ("bootstrap", "lwm2m", "grpc")


@pytest.fixture
def directory(tmp_path: Path) -> DataDirectory:
    return asyncio.run(initialise(Settings(data_dir=tmp_path / "data"), host_name="factory-1", now=MADE))


def reopened(directory: DataDirectory) -> DataDirectory:
    return DataDirectory.open(directory.root)


def contents(directory: DataDirectory) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.pki.iterdir()}


def test_both_cas_and_each_server_are_told_with_names_and_validity(directory: DataDirectory) -> None:
    told = {own.name: own for own in own_certificates(directory)}

    assert list(told) == ["server-ca", "issuing-ca", *SERVERS]
    assert told["issuing-ca"].hosts == ()
    assert told["server-ca"].not_after == MADE + AUTHORITY_VALIDITY
    assert told["grpc"].hosts == ("localhost", "127.0.0.1", "::1", "factory-1")
    assert told["grpc"].not_after == MADE + SERVER_VALIDITY


def test_renewed_server_has_its_key_and_names_and_what_is_added(directory: DataDirectory) -> None:
    later = MADE + timedelta(days=1_800)
    before = {name: reopened(directory).server_identity(name) for name in SERVERS}  # type: ignore[arg-type]

    told = renew_server_certificates(reopened(directory), hosts=("ftc.example", "localhost"), now=later)

    for own in told:
        if own.name not in SERVERS:
            continue
        renewed = reopened(directory).server_identity(own.name)  # type: ignore[arg-type]
        assert own.not_after == later + SERVER_VALIDITY
        assert own.hosts == ("localhost", "127.0.0.1", "::1", "factory-1", "ftc.example")
        assert renewed.certificate_pem != before[own.name].certificate_pem
        assert renewed.private_key_pem == before[own.name].private_key_pem
        assert renewed.certificate.subject == before[own.name].certificate.subject
        assert renewed.certificate.serial_number != before[own.name].certificate.serial_number
        renewed.certificate.verify_directly_issued_by(directory.server_ca)


def test_no_key_and_no_ca_changes(directory: DataDirectory) -> None:
    before = contents(directory)

    renew_server_certificates(directory, hosts=(), now=MADE)

    after = contents(directory)
    assert {name for name in after if after[name] != before.get(name)} == {f"{name}.pem" for name in SERVERS}
    assert after.keys() == before.keys()


def test_no_server_outlives_its_ca(directory: DataDirectory) -> None:
    end = MADE + AUTHORITY_VALIDITY

    told = renew_server_certificates(directory, hosts=(), now=end - timedelta(days=1))

    assert {own.not_after for own in told} == {end}


def test_nothing_is_renewed_under_a_ca_that_has_expired(directory: DataDirectory) -> None:
    before = contents(directory)

    with pytest.raises(FtcError) as refused:
        renew_server_certificates(directory, hosts=(), now=MADE + AUTHORITY_VALIDITY)

    assert refused.value.reason is Reason.SERVER_CA_EXPIRED
    assert contents(directory) == before


def test_one_server_that_cannot_be_read_leaves_all_as_they_were(directory: DataDirectory) -> None:
    directory.key_file("grpc").write_text("no key")
    before = contents(directory)

    with pytest.raises(FtcError) as refused:
        renew_server_certificates(directory, hosts=(), now=MADE)

    assert refused.value.reason is Reason.FILE_UNREADABLE
    assert contents(directory) == before


def run(*arguments: str) -> tuple[str, str]:
    result = CliRunner().invoke(cli, arguments, prog_name="ftc")
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def test_command_shows_and_renews(directory: DataDirectory) -> None:
    place = f"--data-dir={directory.root}"
    shown, _ = run("pki", "show", place)
    assert [line.split()[0] for line in shown.splitlines()] == ["server-ca", "issuing-ca", *SERVERS]
    assert "localhost, 127.0.0.1, ::1, factory-1" in shown

    renewed, advice = run("pki", "renew", place, "--public-host=ftc.example", "--json")

    assert {tuple(own["hosts"])[4:] for own in json.loads(renewed)[2:]} == {("ftc.example",)}
    assert advice == "next: restart ftc serve\n"
    assert json.loads(run("pki", "show", place, "--json")[0]) == json.loads(renewed)
