"""The API client's verbs of `ftc`, against a running API."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from ftc_core.cli.main import cli
from ftc_core.domain.identity import format_enrollment_id
from ftc_grpc.cli.commands import register
from tests.api import Tenant, TestApi
from tests.certificates import Manufacturer


class Shell:
    """Runs `ftc` with the environment of one key's owner."""

    def __init__(self, api: TestApi, api_key: str, directory: Path) -> None:
        self.ca = directory / "ca.pem"
        self.ca.write_bytes(api.ca_pem)
        self.environment = {"FTC_ENDPOINT": api.endpoint, "FTC_CA": str(self.ca), "FTC_API_KEY": api_key}

    def run(self, *arguments: str, **environment: str) -> Result:
        return CliRunner().invoke(cli, arguments, env={**self.environment, **environment})

    def json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert done.exit_code == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def operator(api: TestApi, tmp_path: Path) -> Shell:
    return Shell(api, api.operator.secret, tmp_path)


@pytest.fixture
def admin(api: TestApi, tenant: Tenant, tmp_path: Path) -> Shell:
    return Shell(api, tenant.api_key, tmp_path)


def test_account_and_key_are_made_for_a_new_customer(operator: Shell) -> None:
    account = operator.json("account", "create", "Acme", "--device-quota", "10")
    issued = operator.json("key", "create", "--role", "ADMIN", "--account", account["id"], "--name", "CI")

    own = operator.run("account", "get", FTC_API_KEY=issued["secret"])

    assert (account["display_name"], account["device_quota"]) == ("Acme", 10)
    assert issued["api_key"]["display_name"] == "CI"
    assert own.exit_code == 0
    assert account["id"] in own.stdout
    assert operator.json("account", "get", account["id"]) == account
    assert operator.json("account", "get", account["name"]) == account


def test_account_is_changed_and_deleted(operator: Shell) -> None:
    account = operator.json("account", "create", "Acme", "--device-quota", "10")

    changed = operator.json("account", "update", account["id"], "--status", "SUSPENDED", "--no-device-quota")
    stale = operator.run("account", "delete", account["name"], "--etag", account["etag"])
    deleted = operator.run("account", "delete", account["name"], "--etag", changed["etag"])

    assert (changed["status"], changed["display_name"], "device_quota" in changed) == (
        "SUSPENDED",
        "Acme",
        False,
    )
    assert operator.run("account", "update", account["id"]).exit_code == 2
    assert (stale.exit_code, deleted.exit_code) == (1, 0)
    assert "Read the resource again" in stale.stderr
    assert operator.run("account", "get", account["id"]).exit_code == 1


def test_keys_are_listed_and_revoked(admin: Shell) -> None:
    issued = admin.json("key", "create", "--role", "READER", "--name", "CI")["api_key"]

    listed = admin.json("key", "list")
    revoked = admin.run("key", "delete", issued["id"])

    assert listed[-1] == issued
    assert issued["name"] in revoked.stdout
    assert admin.json("key", "list") == listed[:-1]
    assert "READER" not in admin.run("key", "list").stdout


def test_key_is_printed_alone_on_a_line(admin: Shell) -> None:
    done = admin.run("key", "create", "--role", "READER", "--expires-at", "2099-01-01")

    key = next(line for line in done.stdout.splitlines() if line.startswith("ftc_"))
    assert admin.run("account", "get", FTC_API_KEY=key).exit_code == 0
    assert "2099-01-01T00:00:00Z" in done.stdout
    assert "cannot be shown again" in done.stderr


def test_ca_is_uploaded_listed_and_shown(admin: Shell, manufacturer: Manufacturer, tmp_path: Path) -> None:
    file = tmp_path / "factory.pem"
    file.write_bytes(manufacturer.pem)

    uploaded = admin.json("cert", "upload", str(file), "--enrollment-mode")

    assert (uploaded["display_name"], uploaded["enrollment_mode"]) == ("factory.pem", True)
    assert admin.json("cert", "list") == [uploaded]
    assert admin.json("cert", "get", uploaded["id"]) == uploaded
    assert uploaded["id"] in admin.run("cert", "list").stdout


def test_ca_is_changed_and_deleted(admin: Shell, manufacturer: Manufacturer, tmp_path: Path) -> None:
    file = tmp_path / "factory.pem"
    file.write_bytes(manufacturer.pem)
    uploaded = admin.json("cert", "upload", str(file), "--enrollment-mode", "--description", "Line 4")

    changed = admin.json(
        *("cert", "update", uploaded["id"], "--status", "INACTIVE", "--no-enrollment-mode"),
        *("--description", ""),
    )
    nothing = admin.run("cert", "update", uploaded["id"])
    deleted = admin.run("cert", "delete", uploaded["id"], "--etag", changed["etag"])

    assert (changed["status"], changed["enrollment_mode"], changed["description"]) == ("INACTIVE", False, "")
    assert changed["display_name"] == "factory.pem"
    assert nothing.exit_code == 2
    assert deleted.exit_code == 0
    assert admin.json("cert", "list") == []


def test_enrollment_is_created_listed_and_deleted(admin: Shell) -> None:
    identity = format_enrollment_id(os.urandom(32))

    created = admin.json("enrollment", "create", identity, "--expires-at", "2099-01-01T00:00:00+01:00")
    assert created["expires_at"] == "2098-12-31T23:00:00Z"
    assert admin.json("enrollment", "get", created["id"]) == created
    assert admin.json("enrollment", "list") == [created]
    assert identity in admin.run("enrollment", "list").stdout

    deleted = admin.run("enrollment", "delete", created["name"], "--etag", created["etag"])
    assert deleted.exit_code == 0
    assert created["name"] in deleted.stdout
    assert admin.json("enrollment", "list") == []


def test_several_enrollments_are_created_at_once_and_looked_up(admin: Shell) -> None:
    identities = [format_enrollment_id(os.urandom(32)) for _ in range(3)]

    created = admin.json("enrollment", "create", *identities)
    refused = admin.run("enrollment", "create", format_enrollment_id(os.urandom(32)), identities[0])

    assert [row["enrollment_identity"] for row in created] == identities
    assert refused.exit_code == 1
    assert admin.json("enrollment", "list") == created
    assert admin.json("enrollment", "lookup", identities[1]) == created[1]


def test_lists_are_filtered_and_turned_round(admin: Shell) -> None:
    created = admin.json("enrollment", "create", *(format_enrollment_id(os.urandom(32)) for _ in range(3)))
    one = created[1]["enrollment_identity"]

    assert admin.json("enrollment", "list", "--filter", f"enrollment_identity = {one}") == [created[1]]
    assert admin.json("enrollment", "list", "--newest-first", "--limit", "3") == created[::-1]
    refused = admin.run("device", "list", "--filter", "state = ASLEEP")
    assert refused.exit_code == 1
    assert "'ASLEEP' is none of" in refused.stderr


def test_identity_is_printed_to_the_letter(admin: Shell) -> None:
    identity = "A-" + ":".join(["AB", "B0"] * 16)  # ":AB:" and the like are emoji to some

    created = admin.run("enrollment", "create", identity)

    assert identity in created.stdout
    assert identity in admin.run("enrollment", "list").stdout


def test_list_stops_at_the_limit_and_says_so(admin: Shell) -> None:
    made = [admin.json("enrollment", "create", format_enrollment_id(os.urandom(32)))["id"] for _ in range(3)]

    cut = admin.run("enrollment", "list", "--limit", "2", "--json")
    whole = admin.run("enrollment", "list", "--limit", "3", "--json")

    assert [row["id"] for row in json.loads(cut.stdout)] == made[:2]
    assert "there are more" in cut.stderr
    assert [row["id"] for row in json.loads(whole.stdout)] == made
    assert whole.stderr == ""


def test_devices_are_listed_and_shown_beside_the_group_s_own_commands(admin: Shell) -> None:
    assert admin.json("device", "list") == []
    missing = admin.run("device", "show", "0" * 32)
    assert admin.run("device", "get", "0" * 32).stderr == missing.stderr, "get, as of other things"

    assert missing.exit_code == 1
    assert "device not found" in missing.stderr
    for given in ("lamp-17", "a*b", 'a "quoted" \\ name', format_enrollment_id(bytes(32)), "*"):
        nobody = admin.run("device", "show", given)
        assert nobody.exit_code == 1
        assert "no claimed device has the" in nobody.stderr
    assert "run" in admin.run("device", "--help").stdout


def test_group_device_is_made_if_there_is_none() -> None:
    root = click.Group("ftc")

    register(root)

    device = root.commands["device"]
    assert isinstance(device, click.Group)
    assert set(device.commands) == {"get", "show", "list", "watch", "block", "unblock", "blocks"}
    assert set(root.commands) >= {"account", "key", "cert", "enrollment", "device"}


def test_refusal_says_what_to_do_on_stderr_and_exits_1(admin: Shell) -> None:
    done = admin.run("enrollment", "create", "B-00")

    assert done.exit_code == 1
    assert done.stdout == ""
    assert "enrollment ID version 'B' is not supported; supported: A" in done.stderr
    assert "starts with 'A-'" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("enrollment", "create"),
        ("enrollment", "create", "A-00", "--expires-at", "tomorrow"),
        ("key", "create", "--role", "KING"),
        ("account", "list", "--limit", "0"),
    ],
)
def test_wrong_usage_exits_2(admin: Shell, arguments: tuple[str, ...]) -> None:
    assert admin.run(*arguments).exit_code == 2


def test_wrong_key_and_missing_files_are_refused(admin: Shell, tmp_path: Path) -> None:
    wrong = admin.run("account", "get", FTC_API_KEY="ftc_x")
    no_ca = admin.run("account", "get", FTC_CA=str(tmp_path / "absent.pem"))
    no_file = admin.run("cert", "upload", str(tmp_path / "absent.pem"))

    assert [done.exit_code for done in (wrong, no_ca, no_file)] == [1, 1, 1]
    assert "API key is not valid" in wrong.stderr
    assert "absent.pem" in no_ca.stderr
    assert "absent.pem" in no_file.stderr


def test_file_that_is_not_text_is_not_pem(admin: Shell, manufacturer: Manufacturer, tmp_path: Path) -> None:
    file = tmp_path / "ca.der"
    file.write_bytes(manufacturer.der)

    done = admin.run("cert", "upload", str(file))

    assert done.exit_code == 1
    assert "ca.der is not PEM" in done.stderr


def test_server_that_is_not_there_is_one_line(admin: Shell) -> None:
    done = admin.run("account", "get", FTC_ENDPOINT="127.0.0.1:1")

    assert done.exit_code == 1
    assert "127.0.0.1:1: UNAVAILABLE" in done.stderr
    assert "ftc serve" in done.stderr


def test_key_and_ca_come_from_the_data_directory_here(
    api: TestApi, tenant: Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    empty = CliRunner().invoke(cli, ["account", "get"], env={"FTC_ENDPOINT": api.endpoint})
    (tmp_path / "ftc-data" / "pki").mkdir(parents=True)
    (tmp_path / "ftc-data" / "pki" / "server-ca.pem").write_bytes(api.ca_pem)
    (tmp_path / "ftc-data" / "operator.key").write_text(f"{tenant.api_key}\n")

    done = CliRunner().invoke(cli, ["account", "get"], env={"FTC_ENDPOINT": api.endpoint})

    assert empty.exit_code == 1
    assert "ftc init" in empty.stderr
    assert done.exit_code == 0, done.stderr
    assert tenant.id in done.stdout


def test_key_may_come_from_a_file(admin: Shell, api: TestApi, tmp_path: Path) -> None:
    file = tmp_path / "operator.key"
    file.write_text(api.operator.secret)

    done = admin.run("account", "list", FTC_API_KEY="", FTC_API_KEY_FILE=str(file))

    assert done.exit_code == 0, done.stderr


def test_what_can_be_no_ca_or_key_is_named(admin: Shell, tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    junk.write_text("no\nkey and no certificate")

    ca = admin.run("account", "get", "--ca", str(junk))
    key = admin.run("account", "get", FTC_API_KEY="", FTC_API_KEY_FILE=str(junk))

    assert (ca.exit_code, key.exit_code) == (1, 1)
    assert f"{junk} holds no certificate" in ca.stderr
    assert "the API key is no key" in key.stderr
