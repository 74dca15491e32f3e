"""A running API for tests: real store, real commit, real TLS, in this process; and its callers."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, TypeVar

import grpc
import pytest
from cryptography import x509

from ftc_core.application import accounts, api_keys
from ftc_core.application.authentication import BootstrappedOperator, Principal, bootstrap_operator
from ftc_core.application.context import ApplicationContext, WriteOptions, utc_now
from ftc_core.application.policy import Policy
from ftc_core.client_identity import ClientIdentity
from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.credentials.ledger_keys import LedgerKeyFiles
from ftc_core.credentials.pki import create_authority, create_server_identity
from ftc_core.domain.account import Account, Role
from ftc_core.errors import FtcError
from ftc_core.storage.async_commit import AsyncCommit
from ftc_core.storage.engines import open_store
from ftc_core.storage.group_commit import GroupCommit
from ftc_grpc.client import ApiClient, ClientCertificate
from ftc_grpc.interceptors.call_log import CallRecord
from ftc_grpc.mutual_tls import MutualTls
from ftc_grpc.server import ApiServer
from ftc_grpc.status import status_code
from tests.certificates import Manufacturer

__all__ = ["Tenant", "TestApi", "running_api"]

PEPPER = bytes(range(32))
T = TypeVar("T")
Request = TypeVar("Request")
Response = TypeVar("Response")


class Tenant:
    """An account and a client with its ADMIN key."""

    def __init__(self, account: Account, api_key: str, client: ApiClient) -> None:
        self.id = account.id
        self.name = f"accounts/{account.id}"
        self.api_key = api_key
        self.client = client


class TestApi:
    """The API on a port of its own; its event loop runs in a thread, so that tests may block."""

    __test__ = False  # not a test, whatever its name says to pytest

    def __init__(self, directory: Path, now: Callable[[], datetime], policy: Policy) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="api")
        self._thread.start()
        self.store_url = f"lmdb://{directory / 'store'}"
        self._store = open_store(self.store_url, create=True)
        self._commit = GroupCommit(self._store)
        self.context = ApplicationContext(
            store=self._store,
            commit=AsyncCommit(self._commit, self._loop),
            pepper=PEPPER,
            now=now,
            policy=policy,
        )
        authority = create_authority("Test server CA", now=utc_now())
        identity = create_server_identity(authority, "api", hosts=["localhost", "127.0.0.1"], now=utc_now())
        self.ca_pem = authority.certificate_pem
        self.records: list[CallRecord] = []
        self._clients: list[ApiClient] = []
        self.client_ca = Manufacturer("Client CA")
        self.identities: dict[str, ClientIdentity] = {}
        self.bulk_directory = directory / "bulk"
        self.ledger_keys = LedgerKeyFiles(DataDirectory(directory))
        (directory / "pki").mkdir()
        self.ledger_keys.create()
        self.server, ports = self.run(self._serve(identity.certificate_pem, identity.private_key_pem))
        self.endpoint, self.mtls_endpoint = (f"127.0.0.1:{port}" for port in ports)
        self.operator: BootstrappedOperator = self.run(bootstrap_operator(self.context))

    async def _serve(
        self, certificate_pem: bytes, private_key_pem: bytes
    ) -> tuple[ApiServer, tuple[int, ...]]:
        server = ApiServer(
            self.context,
            certificate_pem=certificate_pem,
            private_key_pem=private_key_pem,
            bulk_directory=self.bulk_directory,
            ledger_keys=self.ledger_keys,
            mutual_tls=MutualTls(self.client_ca.pem, self.identities),
            observers=[self.records.append],
        )
        return server, await server.start("127.0.0.1:0", "127.0.0.1:0")

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine, run on the API's event loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=30)

    def client(self, api_key: str | None = None) -> ApiClient:
        """A client with this key, the operator's if none is given."""
        client = ApiClient(self.endpoint, api_key=api_key or self.operator.secret, ca_pem=self.ca_pem)
        self._clients.append(client)
        return client

    def map(self, uri: str, role: Role, account_id: str = "") -> str:
        """Add an identity to the table; gives its URI."""
        self.identities[uri] = ClientIdentity(uri=uri, role=role.value, account=account_id)
        return uri

    def certificate(
        self, *uris: str, dns: Sequence[str] = (), ca: Manufacturer | None = None
    ) -> ClientCertificate:
        """A client certificate with these names, from the CA of clients unless another is given."""
        names = [x509.UniformResourceIdentifier(uri) for uri in uris]
        hosts = [x509.DNSName(name) for name in dns]
        other = x509.IPAddress(IPv4Address("127.0.0.1"))
        credential = (ca or self.client_ca).device(
            "client", extensions=[x509.SubjectAlternativeName([*hosts, other, *names])]
        )
        return ClientCertificate(credential.pem, credential.key_pem)

    def certified(self, certificate: ClientCertificate | None, api_key: str | None = None) -> ApiClient:
        """A client of the port that demands certificates."""
        client = ApiClient(self.mtls_endpoint, ca_pem=self.ca_pem, api_key=api_key, certificate=certificate)
        self._clients.append(client)
        return client

    def tenant(self, display_name: str = "Tenant") -> Tenant:
        """A new account with an ADMIN key."""
        caller = Principal(self.operator.account.id, Role.OPERATOR, self.operator.key.id)
        account = self.run(
            accounts.create_account(
                self.context, caller, accounts.NewAccount(display_name=display_name), WriteOptions()
            )
        )
        api_key = self.key(account.id, Role.ADMIN)
        return Tenant(account, api_key, self.client(api_key))

    def key(self, account_id: str, role: Role, *, expired: bool = False) -> str:
        """A new key of an account; `expired`: made a day ago, for an hour."""
        caller = Principal(self.operator.account.id, Role.OPERATOR, self.operator.key.id)
        made_at = self.context.now() - timedelta(days=1 if expired else 0)
        expires_at = made_at + timedelta(hours=1) if expired else None
        issued = self.run(
            api_keys.create_api_key(
                dataclasses.replace(self.context, now=lambda: made_at),
                caller,
                api_keys.NewApiKey(account_id=account_id, role=role, expires_at=expires_at),
                WriteOptions(),
            )
        )
        assert issued.secret
        return issued.secret

    def refused(
        self,
        client: ApiClient,
        method: grpc.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
    ) -> FtcError:
        """The error of a call that must fail, change nothing, and bear the catalogue's status code."""
        before = self.revision()
        with pytest.raises(FtcError) as caught:
            client.call(method, request)
        assert self.revision() == before
        cause = caught.value.__cause__
        assert isinstance(cause, grpc.Call)
        assert cause.code() is status_code(caught.value)
        return caught.value

    def revision(self) -> int:
        """The store's revision: unchanged if nothing was written."""
        with self._store.view() as view:
            return view.revision()

    def close(self) -> None:
        """Stop everything."""
        for client in self._clients:
            client.close()
        self.run(self.server.stop(0))
        self._commit.close()
        self._store.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@contextmanager
def running_api(
    directory: Path, now: Callable[[], datetime] = utc_now, policy: Policy | None = None
) -> Iterator[TestApi]:
    """A fresh API over a store in `directory`; `now` is its wall clock, `policy` its operator's."""
    api = TestApi(directory, now, policy or Policy())
    try:
        yield api
    finally:
        api.close()
