"""`buf curl`, which knows nothing of our protos, against the API through server reflection over TLS."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.interop.instance import BIN, Account, Instance

SERVICES = {
    "ftc.v1.AccountService",
    "ftc.v1.DeviceEnrollmentService",
    "ftc.v1.DeviceService",
    "ftc.v1.TrustedCertificateService",
}


@dataclass(frozen=True)
class Reply:
    """What `buf curl` ended with: its exit code, standard output and standard error."""

    exit_code: int
    output: str
    error: str

    @property
    def json(self) -> Any:
        return json.loads(self.output)


def curl(instance: Instance, path: str, *options: str, api_key: str | None = None) -> Reply:
    command = [BIN / "buf", "curl", "--protocol", "grpc", "--cacert", instance.ca, *options]
    if api_key is not None:
        command += ["--header", f"authorization: Bearer {api_key}"]
    url = f"https://localhost:{instance.ports['grpc']}{path}"
    done = subprocess.run([*map(str, command), url], capture_output=True, text=True, timeout=30, check=False)
    return Reply(done.returncode, done.stdout, done.stderr)


def test_reflection_lists_the_services(instance: Instance) -> None:
    listed = curl(instance, "", "--list-services", api_key=instance.operator_key)

    assert set(listed.output.split()) >= SERVICES, listed.error


def test_enrollment_is_created_and_read_back(account: Account) -> None:
    identity = "A-" + ":".join(["AB"] * 32)
    body = json.dumps({"deviceEnrollment": {"enrollmentIdentity": identity}})

    service = "/ftc.v1.DeviceEnrollmentService"
    created = curl(
        account.instance, f"{service}/CreateDeviceEnrollment", "--data", body, api_key=account.api_key
    )
    assert created.exit_code == 0, created.error
    read = curl(
        account.instance,
        f"{service}/GetDeviceEnrollment",
        "--data",
        json.dumps({"name": created.json["name"]}),
        api_key=account.api_key,
    )

    assert read.json["enrollmentIdentity"] == identity
    assert read.json["accountId"] == account.id


def test_account_of_somebody_else_is_not_found(account: Account, owner: Account) -> None:
    body = json.dumps({"name": f"accounts/{owner.id}"})

    refused = curl(
        account.instance, "/ftc.v1.AccountService/GetAccount", "--data", body, api_key=account.api_key
    )

    assert '"code": "not_found"' in refused.error, refused


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda key: None, id="none"),
        pytest.param(lambda key: key + "0", id="one digit more"),
        pytest.param(lambda key: "open sesame", id="no key of ours"),
    ],
)
def test_call_without_a_valid_api_key_is_unauthenticated(
    instance: Instance, damage: Callable[[str], str | None]
) -> None:
    refused = curl(
        instance,
        "/ftc.v1.DeviceService/ListDevices",
        "--data",
        "{}",
        api_key=damage(instance.operator_key),
    )

    assert '"code": "unauthenticated"' in refused.error, refused
