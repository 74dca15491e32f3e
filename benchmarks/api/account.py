"""A new account of a running instance, and its administrator as a caller of the API."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.api.load import Callers
from ftc_grpc._gen.ftc.v1.account_pb2 import Account, ApiKey
from ftc_grpc._gen.ftc.v1.account_service_pb2 import CreateAccountRequest, CreateApiKeyRequest
from ftc_grpc.client import ApiClient
from ftc_storm.instance import Instance

__all__ = ["Administrator", "create_account"]


@dataclass(frozen=True)
class Administrator:
    """The account's resource name, and an ADMIN key of it."""

    instance: Instance
    account: str
    api_key: str

    def client(self) -> ApiClient:
        """One connection, blocking calls."""
        return ApiClient(self.instance.api_endpoint, api_key=self.api_key, ca_pem=self.instance.server_ca_pem)

    def callers(self, *, connections: int = 4, in_flight: int = 16) -> Callers:
        """Many calls at once."""
        return Callers(
            self.instance.api_endpoint, self.instance.server_ca_pem, self.api_key, connections, in_flight
        )


def create_account(instance: Instance, display_name: str) -> Administrator:
    """By the operator."""
    with ApiClient(
        instance.api_endpoint, api_key=instance.operator_key, ca_pem=instance.server_ca_pem
    ) as api:
        account = api.call(
            api.accounts.CreateAccount, CreateAccountRequest(account=Account(display_name=display_name))
        )
        request = CreateApiKeyRequest(parent=account.name, api_key=ApiKey(role=ApiKey.ADMIN))
        key = api.call(api.accounts.CreateApiKey, request)
    return Administrator(instance, account.name, key.secret)
