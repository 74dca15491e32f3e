"""AccountService."""

from __future__ import annotations

from google.protobuf import empty_pb2
from msgspec import UNSET

from ftc_core.application import accounts, api_keys
from ftc_core.application.context import ApplicationContext
from ftc_core.domain.account import AccountChanges, AccountStatus, Role
from ftc_grpc._gen.ftc.v1 import account_pb2, account_service_pb2, account_service_pb2_grpc
from ftc_grpc.caller import current_caller, named_resource, own_account, parent_account
from ftc_grpc.convert import (
    account_to_proto,
    api_key_to_proto,
    enum_field,
    optional_time,
    required_message,
    revision_of_etag,
    revision_of_update,
    write_options,
)
from ftc_grpc.field_mask import masked_fields
from ftc_grpc.pagination import Paginator
from ftc_grpc.resource_names import ACCOUNT, API_KEY
from ftc_grpc.services.context import RpcContext

__all__ = ["AccountService"]

_CHANGEABLE = ("display_name", "device_quota", "status")


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
            account_id = own_account(field="name")
        return account_to_proto(await accounts.get_account(self._context, account_id))

    async def ListAccounts(
        self, request: account_service_pb2.ListAccountsRequest, context: RpcContext
    ) -> account_service_pb2.ListAccountsResponse:
        """List all accounts."""
        scope = "accounts"
        page = await accounts.list_accounts(self._context, self._paginator.read(request, scope=scope))
        return account_service_pb2.ListAccountsResponse(
            accounts=[account_to_proto(account) for account in page.records],
            next_page_token=self._paginator.token(page.next_after, request, scope=scope),
            total_size=page.total,
        )

    async def UpdateAccount(
        self, request: account_service_pb2.UpdateAccountRequest, context: RpcContext
    ) -> account_pb2.Account:
        """Change an account."""
        required_message(request, "account")
        wanted = request.account
        (account_id,) = named_resource(wanted.name, ACCOUNT, field="account.name")
        fields = masked_fields(wanted, request.update_mask, _CHANGEABLE)
        quota = wanted.device_quota if wanted.HasField("device_quota") else None
        update = accounts.AccountUpdate(
            account_id=account_id,
            changes=AccountChanges(
                display_name=wanted.display_name if "display_name" in fields else UNSET,
                device_quota=quota if "device_quota" in fields else UNSET,
                status=enum_field(wanted, "status", AccountStatus, field="account.status")
                if "status" in fields
                else UNSET,
            ),
            revision=revision_of_update(request.etag, wanted.etag, field="account.etag"),
        )
        account = await accounts.update_account(
            self._context, current_caller(), update, write_options(request)
        )
        return account_to_proto(account)

    async def DeleteAccount(
        self, request: account_service_pb2.DeleteAccountRequest, context: RpcContext
    ) -> empty_pb2.Empty:
        """Delete an account and its API keys."""
        (account_id,) = named_resource(request.name, ACCOUNT)
        deletion = accounts.AccountDeletion(account_id=account_id, revision=revision_of_etag(request.etag))
        await accounts.delete_account(self._context, current_caller(), deletion, write_options(request))
        return empty_pb2.Empty()

    async def CreateApiKey(
        self, request: account_service_pb2.CreateApiKeyRequest, context: RpcContext
    ) -> account_service_pb2.CreateApiKeyResponse:
        """Create an API key and show its secret."""
        account_id = parent_account(request.parent)
        required_message(request, "api_key")
        wanted = request.api_key
        new = api_keys.NewApiKey(
            account_id=account_id,
            role=enum_field(wanted, "role", Role, field="api_key.role"),
            display_name=wanted.display_name,
            expires_at=optional_time(wanted, "expires_at", field="api_key.expires_at"),
        )
        issued = await api_keys.create_api_key(self._context, current_caller(), new, write_options(request))
        return account_service_pb2.CreateApiKeyResponse(
            api_key=api_key_to_proto(issued.key), secret=issued.secret or ""
        )

    async def ListApiKeys(
        self, request: account_service_pb2.ListApiKeysRequest, context: RpcContext
    ) -> account_service_pb2.ListApiKeysResponse:
        """List an account's API keys."""
        account_id = parent_account(request.parent)
        scope = f"{account_id}/apiKeys"
        page = await api_keys.list_api_keys(
            self._context, account_id, self._paginator.read(request, scope=scope)
        )
        return account_service_pb2.ListApiKeysResponse(
            api_keys=[api_key_to_proto(key) for key in page.records],
            next_page_token=self._paginator.token(page.next_after, request, scope=scope),
            total_size=page.total,
        )

    async def DeleteApiKey(
        self, request: account_service_pb2.DeleteApiKeyRequest, context: RpcContext
    ) -> empty_pb2.Empty:
        """Revoke an API key."""
        account_id, key_id = named_resource(request.name, API_KEY)
        deletion = api_keys.ApiKeyDeletion(
            account_id=account_id, key_id=key_id, revision=revision_of_etag(request.etag)
        )
        await api_keys.delete_api_key(self._context, current_caller(), deletion, write_options(request))
        return empty_pb2.Empty()
