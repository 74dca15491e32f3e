"""A real instance: `ftc init`, `ftc serve`, and the API through `ftc`, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ftc_core.domain.identity import format_enrollment_id
from ftc_core.endpoint.serve_process import ServeProcess
from ftc_core.endpoint.supervisor import Endpoints

__all__ = ["BIN", "Account", "Instance", "ftc", "running_instance"]

BIN = Path(sys.executable).parent
"""Where the programs of this environment are: `ftc`, `buf`."""

_ENDPOINTS = ("bootstrap", "lwm2m", "grpc", "metrics")
_COMMAND_SECONDS = 30.0


def ftc(*arguments: str | Path, **variables: str) -> str:
    """Run `ftc` with `variables` in its environment and no other FTC_… ones; give its standard output."""
    done = subprocess.run(
        [BIN / "ftc", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_COMMAND_SECONDS,
        env={**_clean_environment(), **variables},
        check=False,
    )
    assert done.returncode == 0, f"ftc {' '.join(map(str, arguments))}: {done.stderr}"
    return done.stdout


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("FTC_")}


@dataclass(frozen=True)
class Account:
    """One account of an instance, and its own ADMIN key."""

    instance: Instance
    id: str
    api_key: str

    def ftc(self, *arguments: str | Path) -> Any:
        """The JSON that an API command prints for this account."""
        return self.instance.ftc(*arguments, api_key=self.api_key)

    def upload_ca(self, certificate: Path) -> None:
        """Trust devices of this CA on first claim."""
        self.ftc("cert", "upload", certificate, "--enrollment-mode")

    def enroll(self, certificate: Path) -> str:
        """Put the device that has this certificate on the enrollment list; give the enrollment's name."""
        fingerprint = x509.load_pem_x509_certificate(certificate.read_bytes()).fingerprint(hashes.SHA256())
        return str(self.ftc("enrollment", "create", format_enrollment_id(fingerprint))["name"])

    def release(self, enrollment: str) -> None:
        """Take an enrollment off the list: its device belongs to nobody again."""
        self.ftc("enrollment", "delete", enrollment)

    def devices_named(self, endpoint_name: str) -> list[dict[str, Any]]:
        """The account's devices of this endpoint name: one, or none."""
        devices = self.ftc("device", "list", "--limit", "1000")
        return [device for device in devices if device["endpoint_name"] == endpoint_name]


@dataclass(frozen=True)
class Instance:
    """A running server: its data directory and the TCP or UDP `ports` of its endpoints."""

    data_directory: Path
    ports: dict[str, int]

    @classmethod
    def of(cls, data_directory: Path, endpoints: Endpoints) -> Instance:
        """The instance that has published these."""
        published = msgspec.to_builtins(endpoints)
        return cls(data_directory, {name: int(published[name][0].rpartition(":")[2]) for name in _ENDPOINTS})

    @property
    def ca(self) -> Path:
        """The CA that devices and API clients trust."""
        return self.data_directory / "pki" / "server-ca.pem"

    @property
    def operator_key(self) -> str:
        """The API key that `ftc init` made."""
        return (self.data_directory / "operator.key").read_text().strip()

    def ftc(self, *arguments: str | Path, api_key: str | None = None) -> Any:
        """The JSON that an API command prints, by default for the operator."""
        output = ftc(
            *arguments,
            "--json",
            FTC_ENDPOINT=f"localhost:{self.ports['grpc']}",
            FTC_API_KEY=api_key or self.operator_key,
            FTC_CA=str(self.ca),
        )
        return json.loads(output)

    def create_account(self, display_name: str) -> Account:
        """A new account with an ADMIN key."""
        account = self.ftc("account", "create", display_name)["name"]
        key = self.ftc("key", "create", "--account", account, "--role", "ADMIN")
        return Account(self, account.removeprefix("accounts/"), key["secret"])


@contextmanager
def running_instance(data_directory: Path, *flags: str) -> Iterator[Instance]:
    """Serve a new data directory with `flags` on free loopback ports; SIGTERM must end it with status 0."""
    ftc("init", "--data-dir", data_directory)
    server = ServeProcess(data_directory, "--workers=2", *flags, log=data_directory / "serve.log")
    try:
        yield Instance.of(data_directory, server.wait_until_serving())
        server.drain()
    finally:
        server.stop()
