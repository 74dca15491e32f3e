"""Changing and deleting accounts, revoking keys, over a real channel."""

from __future__ import annotations

import os
from uuid import uuid4

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from ftc_core.application.context import utc_now
from ftc_core.domain.account import Role
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.errors import Reason
from ftc_grpc._gen.ftc.v1.account_pb2 import Account, ApiKey
from ftc_grpc._gen.ftc.v1.account_service_pb2 import (
    CreateApiKeyRequest,
    DeleteAccountRequest,
    DeleteApiKeyRequest,
    GetAccountRequest,
    ListApiKeysRequest,
    UpdateAccountRequest,
)
from ftc_grpc._gen.ftc.v1.device_enrollment_pb2 import DeviceEnrollment
from ftc_grpc._gen.ftc.v1.device_enrollment_service_pb2 import CreateDeviceEnrollmentRequest
from ftc_grpc.client import ApiClient
from tests.api import Tenant, TestApi


def account_of(tenant: Tenant) -> Account:
    return tenant.client.call(tenant.client.accounts.GetAccount, GetAccountRequest())


def update(api: TestApi, wanted: Account, *paths: str, **more: object) -> Account:
    operator = api.client()
    request = UpdateAccountRequest(
        account=wanted,
        update_mask=FieldMask(paths=paths),
        **more,  # type: ignore[arg-type]
    )
    return operator.call(operator.accounts.UpdateAccount, request)


def keys_of(client: ApiClient, parent: str = "") -> list[ApiKey]:
    request = ListApiKeysRequest(parent=parent)
    return list(client.call(client.accounts.ListApiKeys, request).api_keys)


def test_masked_fields_change_and_the_others_stay(api: TestApi, tenant: Tenant) -> None:
    before = account_of(tenant)
    wanted = Account(name=tenant.name, display_name="Ignored", device_quota=3)

    limited = update(api, wanted, "device_quota")

    assert (limited.display_name, limited.device_quota) == (before.display_name, 3)
    assert limited.etag != before.etag
    assert account_of(tenant) == limited
    lifted = update(api, Account(name=tenant.name), "device_quota")
    assert not lifted.HasField("device_quota")


def test_without_a_mask_the_fields_that_are_set_change(api: TestApi, tenant: Tenant) -> None:
    changed = update(api, Account(name=tenant.name, status=Account.SUSPENDED))

    assert (changed.display_name, changed.status) == ("Tenant", Account.SUSPENDED)


def test_star_replaces_all_that_can_change(api: TestApi, tenant: Tenant) -> None:
    update(api, Account(name=tenant.name, device_quota=3))

    changed = update(api, Account(name=tenant.name, display_name="All", status=Account.ACTIVE), "*")

    assert (changed.display_name, changed.status, changed.HasField("device_quota")) == (
        "All",
        Account.ACTIVE,
        False,
    )


@pytest.mark.parametrize(
    ("wanted", "paths", "reason", "field"),
    [
        (Account(display_name="x"), ["nonsense"], Reason.FIELD_INVALID, "update_mask"),
        (Account(display_name="x"), ["display_name", "device_count"], Reason.FIELD_INVALID, "update_mask"),
        (Account(display_name="x"), ["display_name.x"], Reason.FIELD_INVALID, "update_mask"),
        (Account(), [], Reason.FIELD_REQUIRED, "update_mask"),
        (Account(), ["display_name"], Reason.FIELD_REQUIRED, "account.display_name"),
        (Account(), ["status"], Reason.FIELD_REQUIRED, "account.status"),
        (Account(status=9), ["status"], Reason.FIELD_INVALID, "account.status"),  # type: ignore[arg-type]
        (Account(device_quota=-1), ["device_quota"], Reason.FIELD_INVALID, "account.device_quota"),
        (Account(display_name="x" * 101), [], Reason.FIELD_INVALID, "account.display_name"),
    ],
)
def test_bad_update_names_its_field(
    api: TestApi, tenant: Tenant, wanted: Account, paths: list[str], reason: Reason, field: str
) -> None:
    operator = api.client()
    account = Account()
    account.CopyFrom(wanted)
    account.name = tenant.name
    request = UpdateAccountRequest(account=account, update_mask=FieldMask(paths=paths))

    error = api.refused(operator, operator.accounts.UpdateAccount, request)

    assert (error.reason, error.field) == (reason, field)
    if field == "update_mask" and paths:
        assert repr(paths[-1]) in error.message


def test_update_of_no_account_says_which(api: TestApi) -> None:
    operator = api.client()
    name = "accounts/" + "0" * 32
    requests = [
        UpdateAccountRequest(),
        UpdateAccountRequest(account=Account(display_name="x")),
        UpdateAccountRequest(account=Account(name="x", display_name="x")),
        UpdateAccountRequest(account=Account(name=name, display_name="x")),
    ]

    errors = [api.refused(operator, operator.accounts.UpdateAccount, request) for request in requests]

    assert [(error.reason, error.field) for error in errors] == [
        (Reason.FIELD_REQUIRED, "account"),
        (Reason.FIELD_REQUIRED, "account.name"),
        (Reason.RESOURCE_NAME_INVALID, "account.name"),
        (Reason.RESOURCE_NOT_FOUND, ""),
    ]
    assert errors[-1].resource == name


def test_update_with_a_stale_etag_is_refused(api: TestApi, tenant: Tenant) -> None:
    stale = account_of(tenant).etag
    fresh = update(api, Account(name=tenant.name, display_name="One"), etag=stale).etag
    operator = api.client()

    for etag in (stale, "nonsense"):
        request = UpdateAccountRequest(account=Account(name=tenant.name, display_name="Two"), etag=etag)
        assert api.refused(operator, operator.accounts.UpdateAccount, request).reason is Reason.ETAG_MISMATCH

    assert update(api, Account(name=tenant.name, display_name="Two"), etag=fresh).display_name == "Two"


def test_stale_account_that_is_sent_back_whole_overwrites_nothing(api: TestApi, tenant: Tenant) -> None:
    operator, stale = api.client(), account_of(tenant)
    fresh = update(api, Account(name=tenant.name, device_quota=7))
    stale.display_name = "Mine"

    whole = UpdateAccountRequest(account=stale, update_mask=FieldMask(paths=["*"]))
    assert api.refused(operator, operator.accounts.UpdateAccount, whole).reason is Reason.ETAG_MISMATCH

    differing = UpdateAccountRequest(account=stale, etag=fresh.etag)
    error = api.refused(operator, operator.accounts.UpdateAccount, differing)
    assert (error.reason, error.field) == (Reason.FIELD_INVALID, "account.etag")

    fresh.display_name = "Mine"
    changed = update(api, fresh, "*", etag=fresh.etag)
    assert (changed.display_name, changed.device_quota) == ("Mine", 7)


def test_repeated_update_has_one_effect_and_a_validated_one_none(api: TestApi, tenant: Tenant) -> None:
    wanted, once = Account(name=tenant.name, display_name="Once"), str(uuid4())
    would_be = update(api, wanted, validate_only=True)
    assert (would_be.display_name, account_of(tenant).display_name) == ("Once", "Tenant")

    first = update(api, wanted, request_id=once)
    update(api, Account(name=tenant.name, display_name="Later"))

    assert update(api, wanted, request_id=once) == first
    assert account_of(tenant).display_name == "Later"


def test_only_operators_change_and_delete_accounts(api: TestApi, tenant: Tenant) -> None:
    client = tenant.client
    change = UpdateAccountRequest(account=Account(name=tenant.name, device_quota=9))
    deletion = DeleteAccountRequest(name=tenant.name)

    assert api.refused(client, client.accounts.UpdateAccount, change).reason is Reason.PERMISSION_DENIED
    assert api.refused(client, client.accounts.DeleteAccount, deletion).reason is Reason.PERMISSION_DENIED


def test_account_is_deleted_once_nothing_stands(api: TestApi, tenant: Tenant) -> None:
    operator, client = api.client(), tenant.client
    identity = format_enrollment_id(os.urandom(32))
    request = CreateDeviceEnrollmentRequest(
        device_enrollment=DeviceEnrollment(enrollment_identity=identity), request_id=str(uuid4())
    )
    client.call(client.device_enrollments.CreateDeviceEnrollment, request)

    standing = api.refused(operator, operator.accounts.DeleteAccount, DeleteAccountRequest(name=tenant.name))
    empty = api.tenant("Empty")
    stale = api.refused(
        operator, operator.accounts.DeleteAccount, DeleteAccountRequest(name=empty.name, etag='"0"')
    )
    operator.call(operator.accounts.DeleteAccount, DeleteAccountRequest(name=empty.name))

    assert standing.reason is Reason.ACCOUNT_NOT_EMPTY
    assert "1 enrollment(s)" in standing.message
    assert stale.reason is Reason.ETAG_MISMATCH
    locked_out = api.refused(empty.client, empty.client.accounts.GetAccount, GetAccountRequest())
    assert locked_out.reason is Reason.CREDENTIALS_INVALID
    gone = api.refused(operator, operator.accounts.GetAccount, GetAccountRequest(name=empty.name))
    assert gone.reason is Reason.RESOURCE_NOT_FOUND


def test_operator_cannot_delete_the_account_or_key_that_asks(api: TestApi) -> None:
    operator = api.client()
    account, key = api.operator.account.id, api.operator.key.id
    own_account = DeleteAccountRequest(name=f"accounts/{account}")
    own_key = DeleteApiKeyRequest(name=f"accounts/{account}/apiKeys/{key}")

    errors = [
        api.refused(operator, operator.accounts.DeleteAccount, own_account),
        api.refused(operator, operator.accounts.DeleteApiKey, own_key),
    ]

    assert [error.reason for error in errors] == [Reason.OWN_KEY] * 2


def test_keys_are_listed_without_secrets_in_pages(api: TestApi, tenant: Tenant) -> None:
    for _ in range(3):
        api.key(tenant.id, Role.READER)
    client = tenant.client

    pages = list(
        client.pages(client.accounts.ListApiKeys, ListApiKeysRequest(page_size=3, include_total_size=True))
    )

    listed = [key for page in pages for key in page.api_keys]
    assert [len(page.api_keys) for page in pages] == [3, 1]
    assert pages[0].total_size == 4
    assert [key.role for key in listed] == [ApiKey.ADMIN] + [ApiKey.READER] * 3
    assert tenant.api_key.rpartition("_")[2] not in str(pages)
    assert keys_of(api.client(), tenant.name) == listed


def test_revoked_key_is_refused_at_the_next_call(api: TestApi, tenant: Tenant) -> None:
    client = tenant.client
    reader = api.client(api.key(tenant.id, Role.READER))
    reader.call(reader.accounts.GetAccount, GetAccountRequest())
    key = keys_of(client)[-1]
    stale = api.refused(client, client.accounts.DeleteApiKey, DeleteApiKeyRequest(name=key.name, etag='"1"'))

    client.call(client.accounts.DeleteApiKey, DeleteApiKeyRequest(name=key.name, etag=key.etag))

    assert stale.reason is Reason.ETAG_MISMATCH
    error = api.refused(reader, reader.accounts.GetAccount, GetAccountRequest())
    assert error.reason is Reason.CREDENTIALS_INVALID
    again = api.refused(client, client.accounts.DeleteApiKey, DeleteApiKeyRequest(name=key.name))
    assert again.reason is Reason.RESOURCE_NOT_FOUND


def test_admin_cannot_revoke_operators_nor_keys_of_others(
    api: TestApi, tenant: Tenant, other: Tenant
) -> None:
    operator_account = f"accounts/{api.operator.account.id}"
    admin = api.client(api.key(api.operator.account.id, Role.ADMIN))
    operator_key = DeleteApiKeyRequest(name=f"{operator_account}/apiKeys/{api.operator.key.id}")
    foreign = DeleteApiKeyRequest(name=keys_of(other.client)[0].name)
    client = tenant.client

    above = api.refused(admin, admin.accounts.DeleteApiKey, operator_key)
    elsewhere = api.refused(client, client.accounts.DeleteApiKey, foreign)
    list_elsewhere = api.refused(client, client.accounts.ListApiKeys, ListApiKeysRequest(parent=other.name))

    assert above.reason is Reason.PERMISSION_DENIED
    assert elsewhere.reason is list_elsewhere.reason is Reason.RESOURCE_NOT_FOUND


def test_reader_sees_no_keys(api: TestApi, tenant: Tenant) -> None:
    reader = api.client(api.key(tenant.id, Role.READER))

    error = api.refused(reader, reader.accounts.ListApiKeys, ListApiKeysRequest())

    assert error.reason is Reason.PERMISSION_DENIED


def test_last_use_of_a_key_is_told_once_it_is_recorded(api: TestApi, tenant: Tenant) -> None:
    [key] = keys_of(tenant.client)
    assert not key.HasField("last_used_at")

    assert api.run(api.server.key_uses.record(api.context)) >= 1
    assert api.run(api.server.key_uses.record(api.context)) == 0

    [used] = keys_of(tenant.client)
    assert abs((used.last_used_at.ToDatetime() - utc_now().replace(tzinfo=None)).total_seconds()) < 60
    assert used.etag == key.etag


def test_key_made_by_the_api_is_revoked_by_its_name(api: TestApi, tenant: Tenant) -> None:
    client = tenant.client
    issued = client.call(
        client.accounts.CreateApiKey, CreateApiKeyRequest(api_key=ApiKey(role=ApiKey.READER))
    )

    client.call(client.accounts.DeleteApiKey, DeleteApiKeyRequest(name=issued.api_key.name))

    assert [key.id for key in keys_of(client)] == [tenant.api_key.split("_")[1]]
