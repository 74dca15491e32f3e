"""Callers with client certificates, through real TLS: who they are, and who is refused."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ftc_core.domain.account import Role
from ftc_core.errors import FtcError, Reason
from ftc_core.listen import ListenAddress
from ftc_core.settings import Settings
from ftc_grpc._gen.ftc.v1.account_pb2 import Account
from ftc_grpc._gen.ftc.v1.account_service_pb2 import (
    CreateAccountRequest,
    DeleteAccountRequest,
    GetAccountRequest,
    ListAccountsRequest,
    ListApiKeysRequest,
    UpdateAccountRequest,
)
from ftc_grpc._gen.ftc.v1.trusted_certificate_pb2 import TrustedCertificate
from ftc_grpc._gen.ftc.v1.trusted_certificate_service_pb2 import CreateTrustedCertificateRequest
from ftc_grpc.client import ApiClient, ClientCertificate
from ftc_grpc.mutual_tls import MutualTls
from tests.api import Tenant, TestApi
from tests.certificates import Manufacturer, now


def own_account(client: ApiClient) -> str:
    return client.call(client.accounts.GetAccount, GetAccountRequest()).id


def refusal(api: TestApi, client: ApiClient) -> FtcError:
    return api.refused(client, client.accounts.GetAccount, GetAccountRequest())


def uri_of(tenant: Tenant) -> str:
    return f"spiffe://ftc.example/{tenant.id}/admin"


@pytest.fixture
def admin(api: TestApi, tenant: Tenant) -> ApiClient:
    """The tenant's administrator, by certificate alone."""
    return api.certified(api.certificate(api.map(uri_of(tenant), Role.ADMIN, tenant.id)))


def test_mapped_uri_is_its_account_in_its_role(api: TestApi, tenant: Tenant, admin: ApiClient) -> None:
    reader = api.certified(api.certificate(api.map(f"urn:reader:{tenant.id}", Role.READER, tenant.id)))

    assert own_account(admin) == tenant.id
    assert own_account(reader) == tenant.id
    admin.call(admin.accounts.ListApiKeys, ListApiKeysRequest())
    assert (
        api.refused(reader, reader.accounts.ListApiKeys, ListApiKeysRequest()).message
        == "role READER does not allow this method; it needs ADMIN"
    )


def test_other_account_looks_like_none(api: TestApi, admin: ApiClient, other: Tenant) -> None:
    error = api.refused(admin, admin.accounts.GetAccount, GetAccountRequest(name=other.name))

    assert (error.reason, error.resource) == (Reason.RESOURCE_NOT_FOUND, other.name)


def test_operator_without_an_account_works_in_every_one_and_must_name_it(
    api: TestApi, tenant: Tenant
) -> None:
    operator = api.certified(api.certificate(api.map("urn:operator", Role.OPERATOR)))

    assert operator.call(operator.accounts.GetAccount, GetAccountRequest(name=tenant.name)).id == tenant.id
    wanted = CreateAccountRequest(account=Account(display_name="By certificate"), request_id="")
    assert operator.call(operator.accounts.CreateAccount, wanted).id
    for method, request in (
        (operator.accounts.GetAccount, GetAccountRequest()),
        (operator.accounts.ListApiKeys, ListApiKeysRequest()),
    ):
        error = api.refused(operator, method, request)
        assert error.reason is Reason.FIELD_REQUIRED
        assert "has no account of his own" in error.message


def test_certificate_that_nothing_maps_is_unauthenticated(
    api: TestApi, tenant: Tenant, admin: ApiClient
) -> None:
    uri = uri_of(tenant)
    strangers = [
        api.certificate(),
        api.certificate("spiffe://ftc.example/stranger"),
        api.certificate(uri + "/"),
        api.certificate(uri[:-1]),
        api.certificate(uri.upper()),
        api.certificate(uri + "\0.evil"),
        api.certificate(dns=[uri]),  # the right text as a name of another type
    ]

    for certificate in strangers:
        error = refusal(api, api.certified(certificate))
        assert error.reason is Reason.CERTIFICATE_NOT_MAPPED
        assert error.message == "client certificate stands for nobody"


def test_one_mapped_uri_among_several_counts_and_two_are_refused(
    api: TestApi, tenant: Tenant, admin: ApiClient
) -> None:
    uri = uri_of(tenant)
    second = api.map(f"urn:second:{tenant.id}", Role.ADMIN, tenant.id)

    assert own_account(api.certified(api.certificate("urn:unknown", uri, "urn:another"))) == tenant.id
    error = refusal(api, api.certified(api.certificate("urn:unknown", second, uri)))
    assert error.reason is Reason.CERTIFICATE_AMBIGUOUS
    assert error.message == f"client certificate stands for several identities: {uri}, {second}"


def test_identity_of_an_account_that_is_gone_stands_for_nobody(api: TestApi) -> None:
    tenant = api.tenant()
    client = api.certified(api.certificate(api.map(uri_of(tenant), Role.ADMIN, tenant.id)))
    assert own_account(client) == tenant.id
    operator = api.client()

    suspend = UpdateAccountRequest(account=Account(name=tenant.name, status=Account.SUSPENDED))
    suspend.update_mask.paths.append("status")
    operator.call(operator.accounts.UpdateAccount, suspend)
    assert own_account(client) == tenant.id, "as with a key: suspension refuses devices, not callers"
    operator.call(operator.accounts.DeleteAccount, DeleteAccountRequest(name=tenant.name))

    assert refusal(api, client).reason is Reason.CERTIFICATE_NOT_MAPPED


def test_key_decides_where_there_is_a_certificate_too(
    api: TestApi, tenant: Tenant, other: Tenant, admin: ApiClient
) -> None:
    certificate = api.certificate(uri_of(tenant))

    assert own_account(api.certified(certificate, other.api_key)) == other.id
    assert own_account(api.certified(api.certificate("urn:unmapped"), other.api_key)) == other.id
    error = refusal(api, api.certified(certificate, "ftc_x"))
    assert error.reason is Reason.CREDENTIALS_INVALID, "a bad key never falls back to the certificate"


def test_certificate_that_tls_does_not_trust_gets_no_connection(api: TestApi, tenant: Tenant) -> None:
    uri = api.map(uri_of(tenant), Role.ADMIN, tenant.id)
    name = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
    server_only = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    expired = api.client_ca.device("late", extensions=[name], not_after=now() - timedelta(minutes=1))
    misused = api.client_ca.device("server", extensions=[name, server_only])
    untrusted: list[ClientCertificate | None] = [
        None,
        api.certificate(uri, ca=Manufacturer("Client CA")),  # the same name, another key
        *(ClientCertificate(each.pem, each.key_pem) for each in (expired, misused)),
    ]

    for certificate in untrusted:
        client = api.certified(certificate, tenant.api_key)
        with pytest.raises(FtcError) as caught:
            own_account(client)
        assert caught.value.reason is Reason.API_UNREACHABLE


def test_port_for_keys_asks_for_no_certificate_and_heeds_none(
    api: TestApi, tenant: Tenant, admin: ApiClient
) -> None:
    certificate = api.certificate(uri_of(tenant))

    with ApiClient(api.endpoint, ca_pem=api.ca_pem, certificate=certificate) as client:
        assert refusal(api, client).reason is Reason.CREDENTIALS_MISSING
    with ApiClient(api.endpoint, ca_pem=api.ca_pem, api_key=tenant.api_key) as client:
        assert own_account(client) == tenant.id


def test_open_methods_need_no_mapping(api: TestApi) -> None:
    certificate = api.certificate("urn:unmapped")
    credentials = grpc.ssl_channel_credentials(
        api.ca_pem, certificate.private_key_pem, certificate.certificate_pem
    )
    with grpc.secure_channel(api.mtls_endpoint, credentials) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)

    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_records_say_which_certificate_it_was(api: TestApi, tenant: Tenant, admin: ApiClient) -> None:
    api.records.clear()
    wanted = TrustedCertificate(
        display_name="CA",
        certificate=Manufacturer("Devices").pem.decode(),
        service=TrustedCertificate.BOOTSTRAP,
    )

    uploaded = admin.call(
        admin.trusted_certificates.CreateTrustedCertificate,
        CreateTrustedCertificateRequest(trusted_certificate=wanted),
    )
    api.refused(admin, admin.accounts.ListAccounts, ListAccountsRequest())

    assert uploaded.owner_id == uri_of(tenant)
    assert [(record.outcome, record.account_id, record.key_id, record.uri) for record in api.records] == [
        ("OK", tenant.id, "", uri_of(tenant)),
        ("PERMISSION_DENIED", tenant.id, "", uri_of(tenant)),
    ]


def test_file_of_client_cas_holds_nothing_else(tmp_path: Path) -> None:
    first, second = Manufacturer("One"), Manufacturer("Two")
    file = tmp_path / "clients.pem"
    settings = Settings(mtls_listen=ListenAddress("localhost", 0), mtls_client_ca=file)

    file.write_bytes(first.pem + second.pem)
    loaded = MutualTls.from_settings(settings)
    assert loaded is not None
    assert loaded.client_ca_pem == first.pem + second.pem
    for content, cause in (
        (b"", "holds no certificates in PEM"),
        (first.der, "holds no certificates in PEM"),
        (first.pem + second.device("d").pem, "CN=d is not the certificate of a CA"),
        (Manufacturer("Plain", is_authority=False).pem, "CN=Plain is not the certificate of a CA"),
    ):
        file.write_bytes(content)
        with pytest.raises(FtcError, match=cause) as caught:
            MutualTls.from_settings(settings)
        assert caught.value.reason is Reason.SETTING_INVALID
    file.unlink()
    with pytest.raises(FtcError) as missing:
        MutualTls.from_settings(settings)
    assert missing.value.reason is Reason.FILE_UNREADABLE
    assert MutualTls.from_settings(Settings()) is None
