"""AccountService over a real channel."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from ftc_core.errors import Reason
from ftc_grpc._gen.ftc.v1.account_pb2 import Account, ApiKey
from ftc_grpc._gen.ftc.v1.account_service_pb2 import (
    CreateAccountRequest,
    CreateApiKeyRequest,
    GetAccountRequest,
    ListAccountsRequest,
)
from tests.api import Tenant, TestApi


def test_account_is_created_with_its_defaults_and_read_back(api: TestApi) -> None:
    operator = api.client()

    created = operator.call(
        operator.accounts.CreateAccount, CreateAccountRequest(account=Account(display_name="Acme"))
    )

    assert created.name == f"accounts/{created.id}"
    assert (created.display_name, created.status, created.device_count) == ("Acme", Account.ACTIVE, 0)
    assert not created.HasField("device_quota")
    assert created.etag.startswith('"')
    assert abs(created.created_at.ToDatetime(tzinfo=UTC) - datetime.now(UTC)).total_seconds() < 60
    assert operator.call(operator.accounts.GetAccount, GetAccountRequest(name=created.name)) == created


def test_quota_of_zero_is_kept_apart_from_no_quota(api: TestApi) -> None:
    operator = api.client()
    wanted = Account(display_name="Closed", device_quota=0, status=Account.SUSPENDED)

    created = operator.call(operator.accounts.CreateAccount, CreateAccountRequest(account=wanted))

    assert created.HasField("device_quota")
    assert created.device_quota == 0
    assert created.status == Account.SUSPENDED


@pytest.mark.parametrize(
    ("request_", "reason", "field"),
    [
        (CreateAccountRequest(), Reason.FIELD_REQUIRED, "account"),
        (CreateAccountRequest(account=Account()), Reason.FIELD_REQUIRED, "account.display_name"),
        (
            CreateAccountRequest(account=Account(display_name="  ")),
            Reason.FIELD_REQUIRED,
            "account.display_name",
        ),
        (
            CreateAccountRequest(account=Account(display_name="x" * 101)),
            Reason.FIELD_INVALID,
            "account.display_name",
        ),
        (
            CreateAccountRequest(account=Account(display_name="a\x00b")),
            Reason.FIELD_INVALID,
            "account.display_name",
        ),
        (
            CreateAccountRequest(account=Account(display_name="x", device_quota=-1)),
            Reason.FIELD_INVALID,
            "account.device_quota",
        ),
        (
            CreateAccountRequest(account=Account(display_name="x", status=7)),  # type: ignore[arg-type]
            Reason.FIELD_INVALID,
            "account.status",
        ),
        (
            CreateAccountRequest(account=Account(display_name="x"), request_id="1"),
            Reason.FIELD_INVALID,
            "request_id",
        ),
    ],
)
def test_bad_field_is_named(api: TestApi, request_: CreateAccountRequest, reason: Reason, field: str) -> None:
    operator = api.client()

    error = api.refused(operator, operator.accounts.CreateAccount, request_)

    assert (error.reason, error.field) == (reason, field)


def test_repeated_request_id_creates_one_account(api: TestApi) -> None:
    operator = api.client()
    request = CreateAccountRequest(account=Account(display_name="Once"), request_id=str(uuid4()))

    first = operator.call(operator.accounts.CreateAccount, request)
    before = api.revision()
    assert operator.call(operator.accounts.CreateAccount, request) == first
    assert api.revision() == before

    request.account.display_name = "Twice"
    error = api.refused(operator, operator.accounts.CreateAccount, request)
    assert (error.reason, error.field) == (Reason.REQUEST_ID_REUSED, "request_id")


def test_validate_only_answers_and_keeps_nothing(api: TestApi) -> None:
    operator = api.client()
    before = api.revision()
    request = CreateAccountRequest(account=Account(display_name="Perhaps"), validate_only=True)

    would_be = operator.call(operator.accounts.CreateAccount, request)

    assert would_be.display_name == "Perhaps"
    assert api.revision() == before
    absent = api.refused(operator, operator.accounts.GetAccount, GetAccountRequest(name=would_be.name))
    assert absent.reason is Reason.RESOURCE_NOT_FOUND


def test_accounts_are_listed_in_the_order_of_their_creation(api: TestApi) -> None:
    operator = api.client()
    made = [api.tenant(f"Listed {index}").id for index in range(5)]

    pages = list(operator.pages(operator.accounts.ListAccounts, ListAccountsRequest(page_size=2)))
    listed = [account.id for page in pages for account in page.accounts]

    assert listed == sorted(listed)
    assert listed[-5:] == made
    assert all(len(page.accounts) == 2 for page in pages[:-1])


def test_key_is_shown_once_and_never_again(api: TestApi, tenant: Tenant) -> None:
    client = tenant.client
    request = CreateApiKeyRequest(
        api_key=ApiKey(role=ApiKey.READER, display_name="Dashboard"), request_id=str(uuid4())
    )

    issued = client.call(client.accounts.CreateApiKey, request)
    repeated = client.call(client.accounts.CreateApiKey, request)

    assert issued.secret.startswith(f"ftc_{issued.api_key.id}_")
    assert repeated.api_key == issued.api_key
    assert repeated.secret == ""
    assert issued.api_key.name == f"{tenant.name}/apiKeys/{issued.api_key.id}"
    assert issued.secret.rpartition("_")[2] not in str(issued.api_key)


def test_key_that_is_only_validated_has_no_secret(api: TestApi, tenant: Tenant) -> None:
    client = tenant.client
    request = CreateApiKeyRequest(api_key=ApiKey(role=ApiKey.ADMIN), validate_only=True)

    assert client.call(client.accounts.CreateApiKey, request).secret == ""


@pytest.mark.parametrize(
    ("key", "field"),
    [
        (ApiKey(), "api_key.role"),
        (ApiKey(role=ApiKey.ADMIN, display_name="x" * 101), "api_key.display_name"),
        (ApiKey(role=ApiKey.ADMIN, expires_at=Timestamp(seconds=1)), "api_key.expires_at"),
        (ApiKey(role=ApiKey.ADMIN, expires_at=Timestamp(seconds=2**60)), "api_key.expires_at"),
    ],
)
def test_bad_field_of_a_key_is_named(api: TestApi, tenant: Tenant, key: ApiKey, field: str) -> None:
    client = tenant.client

    error = api.refused(client, client.accounts.CreateApiKey, CreateApiKeyRequest(api_key=key))

    assert error.field == field


def test_key_of_an_account_that_does_not_exist_is_not_made(api: TestApi) -> None:
    operator = api.client()
    request = CreateApiKeyRequest(parent="accounts/" + "0" * 32, api_key=ApiKey(role=ApiKey.ADMIN))

    error = api.refused(operator, operator.accounts.CreateApiKey, request)

    assert error.reason is Reason.RESOURCE_NOT_FOUND
