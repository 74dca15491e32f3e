"""AccountService."""

from __future__ import annotations

from ftc_core.application import accounts
from ftc_core.application.context import ApplicationContext
from ftc_core.domain.account import AccountStatus, Role
from ftc_grpc._gen.ftc.v1 import account_pb2, account_service_pb2, account_service_pb2_grpc
from ftc_grpc.caller import current_caller, named_resource, parent_account
from ftc_grpc.convert import (
    account_to_proto,
    api_key_to_proto,
    enum_field,
    optional_time,
    required_message,
    write_options,
)
from ftc_grpc.pagination import Paginator
from ftc_grpc.resource_names import ACCOUNT
from ftc_grpc.services.context import RpcContext

__all__ = ["AccountService"]


class AccountService(account_service_pb2_grpc.AccountServiceServicer):
    """Accounts and their API keys."""

    def __init__(self, context: ApplicationContext, paginator: Paginator) -> None:
        self._context = context
        self._paginator = paginator

    async def CreateAccount(
        self, request: account_service_pb2.CreateAccountRequest, context: RpcContext
    ) -> account_pb2.Account:
        """Create an account."""
        required_message(request, "account")
        wanted = request.account
        new = accounts.NewAccount(
            display_name=wanted.display_name,
            device_quota=wanted.device_quota if wanted.HasField("device_quota") else None,
            status=enum_field(
                wanted, "status", AccountStatus, field="account.status", default=AccountStatus.ACTIVE
            ),
        )
        account = await accounts.create_account(self._context, current_caller(), new, write_options(request))
        return account_to_proto(account)

    async def GetAccount(
        self, request: account_service_pb2.GetAccountRequest, context: RpcContext
    ) -> account_pb2.Account:
        """Get an account, the caller's own if no name is given."""
        if request.name:
            (account_id,) = named_resource(request.name, ACCOUNT)
        else:
            account_id = current_caller().account_id
        return account_to_proto(await accounts.get_account(self._context, account_id))

    async def ListAccounts(
        self, request: account_service_pb2.ListAccountsRequest, context: RpcContext
    ) -> account_service_pb2.ListAccountsResponse:
        """List all accounts."""
        scope = "accounts"
        page = await accounts.list_accounts(self._context, self._paginator.read(request, scope=scope))
        return account_service_pb2.ListAccountsResponse(
            accounts=[account_to_proto(account) for account in page.records],
            next_page_token=self._paginator.token(page.next_after, scope=scope),
            total_size=page.total,
        )

    async def CreateApiKey(
        self, request: account_service_pb2.CreateApiKeyRequest, context: RpcContext
    ) -> account_service_pb2.CreateApiKeyResponse:
        """Create an API key and show its secret."""
        account_id = parent_account(request.parent)
        required_message(request, "api_key")
        wanted = request.api_key
        new = accounts.NewApiKey(
            account_id=account_id,
            role=enum_field(wanted, "role", Role, field="api_key.role"),
            display_name=wanted.display_name,
            expires_at=optional_time(wanted, "expires_at", field="api_key.expires_at"),
        )
        issued = await accounts.create_api_key(self._context, current_caller(), new, write_options(request))
        return account_service_pb2.CreateApiKeyResponse(
            api_key=api_key_to_proto(issued.key), secret=issued.secret or ""
        )
