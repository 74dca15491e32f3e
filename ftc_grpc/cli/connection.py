"""Where the API is and who calls it: the options that every client command has."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from ftc_core.credentials.certificate_file import load_chain
from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.credentials.pki import Identity
from ftc_core.errors import FtcError, Reason
from ftc_core.files import read_file
from ftc_core.settings import Settings
from ftc_grpc._gen.ftc.v1.account_service_pb2 import GetAccountRequest
from ftc_grpc.client import ApiClient, ClientCertificate
from ftc_grpc.resource_names import NamePattern

__all__ = ["Connection", "api_command", "device_command"]

DEFAULT_ENDPOINT = "localhost:50051"

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Connection:
    """A client, the account to work in, and whether output is for a program."""

    api: ApiClient
    account: str
    json: bool

    @property
    def parent(self) -> str:
        """The `parent` of requests; empty for the caller's own account."""
        if not self.account or "/" in self.account:
            return self.account
        return f"accounts/{self.account}"

    def resource_name(self, text: str, pattern: NamePattern) -> str:
        """The resource name for what the user gave: the name itself, or an ID in the account."""
        (name,) = self.resource_names([text], pattern)
        return name

    def resource_names(self, texts: Sequence[str], pattern: NamePattern) -> list[str]:
        """As `resource_name`, for each; with one look at the caller's own account at most."""
        parent = self.parent
        if not parent and any("/" not in text for text in texts):
            parent = self.api.call(self.api.accounts.GetAccount, GetAccountRequest()).name
        account = parent.removeprefix("accounts/")
        return [text if "/" in text else pattern.format(account, text) for text in texts]


def api_command(command: Command) -> Command:
    """Give a command the connection options, and a `Connection` as its first argument."""
    return _with_connection(command, "--endpoint")


def device_command(command: Command) -> Command:
    """As `api_command`, for a command whose `--endpoint` is a device's: the API's is `--api-endpoint`."""
    return _with_connection(command, "--api-endpoint")


def _with_connection(command: Command, endpoint_flag: str) -> Command:
    @click.option(
        endpoint_flag,
        "api_endpoint",
        envvar="FTC_ENDPOINT",
        show_envvar=True,
        default=DEFAULT_ENDPOINT,
        show_default=True,
        help="Where the API listens, host:port.",
    )
    @click.option(
        "--api-key",
        envvar="FTC_API_KEY",
        show_envvar=True,
        help="The API key. Other users can see flags: prefer the environment or a file.",
    )
    @click.option(
        "--api-key-file",
        envvar="FTC_API_KEY_FILE",
        show_envvar=True,
        type=click.Path(path_type=Path, dir_okay=False),
        help="A file that holds the API key. Default: operator.key of the data directory here.",
    )
    @click.option(
        "--client-cert",
        envvar="FTC_CLIENT_CERT",
        show_envvar=True,
        type=click.Path(path_type=Path, dir_okay=False),
        help="Your certificate, PEM, with intermediates if any, for the API's mTLS port; instead of a key.",
    )
    @click.option(
        "--client-key",
        envvar="FTC_CLIENT_KEY",
        show_envvar=True,
        type=click.Path(path_type=Path, dir_okay=False),
        help="The private key of --client-cert, PEM, not encrypted.",
    )
    @click.option(
        "--ca",
        envvar="FTC_CA",
        show_envvar=True,
        type=click.Path(path_type=Path, dir_okay=False),
        help="CA of the API's certificate, PEM. Default: the server CA of the data directory here.",
    )
    @click.option(
        "--account", default="", help="Account ID or name to work in. Default: the caller's own account."
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
    @functools.wraps(command)
    def run(
        *args: Any,
        api_endpoint: str,
        api_key: str | None,
        api_key_file: Path | None,
        client_cert: Path | None,
        client_key: Path | None,
        ca: Path | None,
        account: str,
        as_json: bool,
        **kwargs: Any,
    ) -> Any:
        certificate = _client_certificate(client_cert, client_key)
        with _connected(api_endpoint, api_key, api_key_file, certificate, ca) as api:
            return command(Connection(api, account, as_json), *args, **kwargs)

    return run  # type: ignore[return-value] # click takes the options away again


@contextmanager
def _connected(
    endpoint: str,
    api_key: str | None,
    api_key_file: Path | None,
    certificate: ClientCertificate | None,
    ca: Path | None,
) -> Iterator[ApiClient]:
    here = DataDirectory(Path(os.environ.get("FTC_DATA_DIR") or Settings().data_dir))
    # A key that is sent decides who calls: the one that merely lies here must not outdo a certificate.
    if not api_key and (api_key_file or certificate is None):
        api_key = _read(api_key_file, here.operator_key, "API key", "--api-key-file").decode(errors="replace")
    ca_pem = _read(ca, here.server_ca_file, "CA of the API", "--ca")
    load_chain(ca or here.server_ca_file)  # gRPC would only say that there is no connection
    key = api_key.strip() if api_key else None
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise FtcError(Reason.CREDENTIALS_INVALID, "the API key is no key: one line, ftc_<key id>_<secret>")
    with ApiClient(endpoint, ca_pem=ca_pem, api_key=key, certificate=certificate) as api:
        yield api


def _client_certificate(certificate: Path | None, key: Path | None) -> ClientCertificate | None:
    """What the files hold, None if none is named. Raises FtcError FILE_UNREADABLE."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise click.UsageError("--client-cert and --client-key go together")
    held = ClientCertificate(read_file(certificate), read_file(key))
    try:
        Identity.from_pem(held.certificate_pem, held.private_key_pem)  # gRPC would only say "no connection"
    except (ValueError, TypeError) as error:  # TypeError: an encrypted key
        raise FtcError(Reason.FILE_UNREADABLE, f"{certificate}, {key}: {error}") from error
    return held


def _read(given: Path | None, default: Path, what: str, option: str) -> bytes:
    path = given or default
    if given is None and not default.exists():
        raise FtcError(
            Reason.DATA_DIRECTORY_MISSING, f"no {what}: {default} does not exist, and {option} is not given"
        )
    return read_file(path)
