"""Who may call what, over a real channel."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from ftc_core.domain.account import Role
from ftc_core.errors import FtcError, Reason
from ftc_grpc._gen.ftc.v1.account_pb2 import Account, ApiKey
from ftc_grpc._gen.ftc.v1.account_service_pb2 import (
    CreateAccountRequest,
    CreateApiKeyRequest,
    GetAccountRequest,
    ListAccountsRequest,
)
from ftc_grpc._gen.ftc.v1.device_enrollment_service_pb2 import CreateDeviceEnrollmentRequest
from ftc_grpc.authorization import OPEN_METHODS, REQUIRED_ROLE, check_complete
from ftc_grpc.client import ApiClient
from tests.api import Tenant, TestApi


@pytest.fixture
def channel(api: TestApi) -> Iterator[grpc.Channel]:
    """A channel that sends no key by itself."""
    with grpc.secure_channel(api.endpoint, grpc.ssl_channel_credentials(api.ca_pem)) as raw:
        yield raw


def code_of(channel: grpc.Channel, method: str, *headers: str, body: bytes = b"") -> grpc.StatusCode:
    """The status of a raw call with these authorization headers."""
    metadata = tuple(("authorization", header) for header in headers)
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(method, None, None)(body, metadata=metadata, timeout=10)
    assert isinstance(caught.value, grpc.Call)
    return caught.value.code()


@pytest.mark.parametrize("method", sorted(REQUIRED_ROLE))
def test_method_without_a_key_is_unauthenticated(channel: grpc.Channel, method: str) -> None:
    assert code_of(channel, method) is grpc.StatusCode.UNAUTHENTICATED


def test_request_of_a_stranger_is_not_even_parsed(channel: grpc.Channel) -> None:
    method = "/ftc.v1.DeviceService/ListDevices"

    assert code_of(channel, method, body=b"\xff\xff") is grpc.StatusCode.UNAUTHENTICATED


def test_keys_that_are_not_valid_all_look_alike(api: TestApi, tenant: Tenant) -> None:
    key_id, secret = tenant.api_key.split("_")[1:]
    expired = api.key(tenant.id, Role.ADMIN, expired=True)
    wrong = ["x", tenant.api_key[:-1], f"ftc_{key_id}_{'0' * 64}", f"ftc_{'0' * 32}_{secret}", expired]

    errors = [
        api.refused(client, client.accounts.GetAccount, GetAccountRequest())
        for client in map(api.client, wrong)
    ]

    assert {(error.reason, error.message) for error in errors} == {
        (Reason.CREDENTIALS_INVALID, "API key is not valid")
    }


def test_scheme_other_than_bearer_and_two_keys_are_refused(
    api: TestApi, channel: grpc.Channel, tenant: Tenant
) -> None:
    method, key = "/ftc.v1.AccountService/GetAccount", tenant.api_key

    assert code_of(channel, method, f"Basic {key}") is grpc.StatusCode.UNAUTHENTICATED
    assert code_of(channel, method, f"Bearer {key}", f"Bearer {key}") is grpc.StatusCode.UNAUTHENTICATED
    channel.unary_unary(method, None, None)(b"", metadata=(("authorization", f"bearer {key}"),), timeout=10)


def test_unknown_method_is_unimplemented(channel: grpc.Channel) -> None:
    assert code_of(channel, "/ftc.v1.AccountService/Nothing") is grpc.StatusCode.UNIMPLEMENTED


def test_reader_may_read_and_not_write(api: TestApi, tenant: Tenant) -> None:
    reader = api.client(api.key(tenant.id, Role.READER))

    assert reader.call(reader.accounts.GetAccount, GetAccountRequest()).id == tenant.id
    error = api.refused(
        reader, reader.device_enrollments.CreateDeviceEnrollment, CreateDeviceEnrollmentRequest()
    )
    assert error.reason is Reason.PERMISSION_DENIED
    assert error.message == "role READER does not allow this method; it needs ADMIN"


def test_admin_may_not_work_on_accounts(api: TestApi, tenant: Tenant) -> None:
    client = tenant.client
    request = CreateAccountRequest(account=Account(display_name="Mine"))

    assert api.refused(client, client.accounts.CreateAccount, request).reason is Reason.PERMISSION_DENIED
    listing = api.refused(client, client.accounts.ListAccounts, ListAccountsRequest())
    assert listing.reason is Reason.PERMISSION_DENIED


def test_another_account_looks_like_one_that_does_not_exist(
    api: TestApi, tenant: Tenant, other: Tenant
) -> None:
    client = tenant.client

    names = [other.name, "accounts/" + "0" * 32]
    errors = [api.refused(client, client.accounts.GetAccount, GetAccountRequest(name=name)) for name in names]

    assert [error.reason for error in errors] == [Reason.RESOURCE_NOT_FOUND] * 2
    assert [error.resource for error in errors] == names


def create_key(client: ApiClient, parent: str, role: ApiKey.Role.ValueType) -> str:
    request = CreateApiKeyRequest(parent=parent, api_key=ApiKey(role=role))
    return client.call(client.accounts.CreateApiKey, request).secret


def test_admin_hands_out_keys_of_its_own_account_up_to_its_own_role(
    api: TestApi, tenant: Tenant, other: Tenant
) -> None:
    fresh = api.client(create_key(tenant.client, "", ApiKey.READER))
    assert fresh.call(fresh.accounts.GetAccount, GetAccountRequest()).id == tenant.id

    with pytest.raises(FtcError) as above:
        create_key(tenant.client, "", ApiKey.OPERATOR)
    with pytest.raises(FtcError) as elsewhere:
        create_key(tenant.client, other.name, ApiKey.READER)

    assert above.value.reason is Reason.PERMISSION_DENIED
    assert elsewhere.value.reason is Reason.RESOURCE_NOT_FOUND


def test_operator_works_in_every_account(api: TestApi, tenant: Tenant) -> None:
    admin = api.client(create_key(api.client(), tenant.name, ApiKey.ADMIN))

    assert admin.call(admin.accounts.GetAccount, GetAccountRequest()).id == tenant.id


def test_method_without_a_row_and_a_row_without_a_method_stop_the_start() -> None:
    methods = {*REQUIRED_ROLE, *OPEN_METHODS}

    check_complete(methods)
    with pytest.raises(FtcError, match="NewService/New"):
        check_complete({*methods, "/ftc.v1.NewService/New"})
    with pytest.raises(FtcError, match="ListDevices"):
        check_complete(methods - {"/ftc.v1.DeviceService/ListDevices"})


def test_each_call_is_recorded_with_its_caller_and_outcome(api: TestApi, tenant: Tenant) -> None:
    api.records.clear()
    client = tenant.client

    client.call(client.accounts.GetAccount, GetAccountRequest())
    api.refused(client, client.accounts.ListAccounts, ListAccountsRequest())
    stranger = api.client("ftc_x")
    api.refused(stranger, stranger.accounts.GetAccount, GetAccountRequest())

    seen = [(record.method.rpartition("/")[2], record.outcome, record.account_id) for record in api.records]
    assert seen == [
        ("GetAccount", "OK", tenant.id),
        ("ListAccounts", "PERMISSION_DENIED", tenant.id),
        ("GetAccount", "CREDENTIALS_INVALID", ""),
    ]
    assert all(record.peer.startswith("ipv4:127.0.0.1:") for record in api.records)
