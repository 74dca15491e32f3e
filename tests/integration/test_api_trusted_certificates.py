"""TrustedCertificateService over a real channel."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, timedelta
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from ftc_core.errors import Reason
from ftc_grpc._gen.ftc.v1.trusted_certificate_pb2 import TrustedCertificate
from ftc_grpc._gen.ftc.v1.trusted_certificate_service_pb2 import (
    CreateTrustedCertificateRequest,
    GetTrustedCertificateRequest,
    ListTrustedCertificatesRequest,
)
from tests.api import Tenant, TestApi
from tests.certificates import Manufacturer, now

FIELD = "trusted_certificate.certificate"


def upload(pem: str | bytes, **fields: object) -> CreateTrustedCertificateRequest:
    text = pem if isinstance(pem, str) else pem.decode()
    given = {"display_name": "CA", "service": TrustedCertificate.BOOTSTRAP, **fields}
    return CreateTrustedCertificateRequest(
        trusted_certificate=TrustedCertificate(certificate=text, **given)  # type: ignore[arg-type]
    )


def test_ca_is_uploaded_described_and_read_back(
    api: TestApi, tenant: Tenant, manufacturer: Manufacturer
) -> None:
    client = tenant.client
    request = upload(manufacturer.pem, description="Line 4\n\tand 5 \u200d💡", enrollment_mode=True)

    created = client.call(client.trusted_certificates.CreateTrustedCertificate, request)

    assert created.name == f"{tenant.name}/trustedCertificates/{created.id}"
    assert created.certificate_fingerprint == hashlib.sha256(manufacturer.der).hexdigest()
    assert created.subject == created.issuer == manufacturer.certificate.subject.rfc4514_string()
    assert created.validity.ToDatetime(tzinfo=UTC) == manufacturer.certificate.not_valid_after_utc
    assert created.valid_from.ToDatetime(tzinfo=UTC) == manufacturer.certificate.not_valid_before_utc
    assert created.valid
    assert created.enrollment_mode
    assert (created.status, created.device_execution_mode) == (TrustedCertificate.ACTIVE, 0)
    assert created.description == "Line 4\n\tand 5 \u200d💡"
    assert created.owner_id == tenant.api_key.split("_")[1]
    read = client.call(
        client.trusted_certificates.GetTrustedCertificate, GetTrustedCertificateRequest(name=created.name)
    )
    assert read == created


def test_chain_is_taken_in_either_order_and_its_lower_end_is_trusted(api: TestApi, tenant: Tenant) -> None:
    client = tenant.client
    root = Manufacturer("Root")
    factory = Manufacturer("Factory", issuer=root)
    create = client.trusted_certificates.CreateTrustedCertificate

    root_first = client.call(create, upload(root.pem + factory.pem, service=TrustedCertificate.BOOTSTRAP))
    root_last = client.call(create, upload(factory.pem + root.pem, service=TrustedCertificate.LWM2M))

    assert root_first.subject == root_last.subject == "CN=Factory"
    assert root_first.certificate == root_last.certificate == (root.pem + factory.pem).decode()


def ed25519_ca() -> bytes:
    """A CA whose key is of a kind that our handshake does not take."""
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Ed25519 CA")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now(), now() + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, None)
    )
    return certificate.public_bytes(Encoding.PEM)


def private_key() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


BAD_UPLOADS: dict[str, tuple[Callable[[], bytes], Reason]] = {
    "empty": (lambda: b"", Reason.FIELD_REQUIRED),
    "not PEM": (lambda: b"hello", Reason.CERTIFICATE_UNPARSEABLE),
    "DER in disguise": (
        lambda: b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        Reason.CERTIFICATE_UNPARSEABLE,
    ),
    "private key alone": (private_key, Reason.FIELD_INVALID),
    "private key beside": (lambda: Manufacturer().pem + private_key(), Reason.FIELD_INVALID),
    "device certificate": (lambda: Manufacturer().device("d").pem, Reason.CERTIFICATE_NOT_CA),
    "marked as no CA": (lambda: Manufacturer(is_authority=False).pem, Reason.CERTIFICATE_NOT_CA),
    "chain down to a device": (
        lambda: (ca := Manufacturer()).pem + ca.device("d").pem,
        Reason.CERTIFICATE_NOT_CA,
    ),
    "expired": (
        lambda: Manufacturer(not_before=now() - timedelta(days=9), not_after=now() - timedelta(days=1)).pem,
        Reason.CERTIFICATE_EXPIRED,
    ),
    "not yet valid": (
        lambda: Manufacturer(not_before=now() + timedelta(days=1)).pem,
        Reason.CERTIFICATE_EXPIRED,
    ),
    "short RSA": (
        lambda: Manufacturer(key=rsa.generate_private_key(65_537, 1_024)).pem,  # noqa: S505 - the point
        Reason.CERTIFICATE_KEY_UNSUPPORTED,
    ),
    "small curve": (
        lambda: Manufacturer(key=ec.generate_private_key(ec.SECP224R1())).pem,
        Reason.CERTIFICATE_KEY_UNSUPPORTED,
    ),
    "key of another kind": (ed25519_ca, Reason.CERTIFICATE_KEY_UNSUPPORTED),
    "unrelated": (lambda: Manufacturer("A").pem + Manufacturer("B").pem, Reason.CERTIFICATE_CHAIN_BROKEN),
    "too many": (lambda: Manufacturer().pem * 11, Reason.FIELD_INVALID),
    "too large": (lambda: b"#" * 65_537, Reason.FIELD_INVALID),
}


@pytest.mark.parametrize("what", BAD_UPLOADS)
def test_what_is_no_usable_ca_is_refused_by_its_reason(api: TestApi, tenant: Tenant, what: str) -> None:
    make, reason = BAD_UPLOADS[what]
    client = tenant.client

    error = api.refused(client, client.trusted_certificates.CreateTrustedCertificate, upload(make()))

    assert (error.reason, error.field) == (reason, FIELD)


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"display_name": ""}, Reason.FIELD_REQUIRED, "trusted_certificate.display_name"),
        ({"display_name": "x" * 101}, Reason.FIELD_INVALID, "trusted_certificate.display_name"),
        ({"description": "x" * 501}, Reason.FIELD_INVALID, "trusted_certificate.description"),
        ({"description": "\x1b[2J"}, Reason.FIELD_INVALID, "trusted_certificate.description"),
        ({"service": 0}, Reason.FIELD_REQUIRED, "trusted_certificate.service"),
        ({"service": 9}, Reason.FIELD_INVALID, "trusted_certificate.service"),
        ({"status": 9}, Reason.FIELD_INVALID, "trusted_certificate.status"),
    ],
)
def test_bad_field_is_named(
    api: TestApi,
    tenant: Tenant,
    manufacturer: Manufacturer,
    fields: dict[str, object],
    reason: Reason,
    field: str,
) -> None:
    client = tenant.client

    error = api.refused(
        client, client.trusted_certificates.CreateTrustedCertificate, upload(manufacturer.pem, **fields)
    )

    assert (error.reason, error.field) == (reason, field)


def test_same_ca_may_be_in_many_accounts_and_once_in_each(
    api: TestApi, tenant: Tenant, other: Tenant, manufacturer: Manufacturer
) -> None:
    request = upload(manufacturer.pem)
    first, _ = (
        one.client.call(one.client.trusted_certificates.CreateTrustedCertificate, request)
        for one in (tenant, other)
    )

    client = tenant.client
    error = api.refused(client, client.trusted_certificates.CreateTrustedCertificate, request)

    assert (error.reason, error.resource) == (Reason.CERTIFICATE_ALREADY_EXISTS, first.name)


def test_cas_with_one_subject_work_side_by_side(api: TestApi, tenant: Tenant) -> None:
    client = tenant.client
    rotation = [Manufacturer("Rotating CA"), Manufacturer("Rotating CA")]

    for ca in rotation:
        client.call(client.trusted_certificates.CreateTrustedCertificate, upload(ca.pem))

    request = ListTrustedCertificatesRequest(include_total_size=True)
    listed = client.call(client.trusted_certificates.ListTrustedCertificates, request)
    assert [row.subject for row in listed.trusted_certificates] == ["CN=Rotating CA"] * 2
    assert listed.total_size == 2


def test_repeated_request_id_uploads_once(api: TestApi, tenant: Tenant, manufacturer: Manufacturer) -> None:
    client = tenant.client
    request = upload(manufacturer.pem)
    request.request_id = str(uuid4())

    first = client.call(client.trusted_certificates.CreateTrustedCertificate, request)

    assert client.call(client.trusted_certificates.CreateTrustedCertificate, request) == first


def test_validate_only_uploads_nothing(api: TestApi, tenant: Tenant, manufacturer: Manufacturer) -> None:
    client = tenant.client
    request = upload(manufacturer.pem)
    request.validate_only = True
    before = api.revision()

    client.call(client.trusted_certificates.CreateTrustedCertificate, request)

    assert api.revision() == before
    with api.context.store.view() as view:
        assert view.count_trusted_certificates(tenant.id) == 0


def test_certificate_of_another_account_is_not_found(
    api: TestApi, tenant: Tenant, other: Tenant, manufacturer: Manufacturer
) -> None:
    theirs = other.client.call(
        other.client.trusted_certificates.CreateTrustedCertificate, upload(manufacturer.pem)
    )
    client = tenant.client
    in_mine = theirs.name.replace(other.id, tenant.id)

    for name in (theirs.name, in_mine):
        error = api.refused(
            client,
            client.trusted_certificates.GetTrustedCertificate,
            GetTrustedCertificateRequest(name=name),
        )
        assert (error.reason, error.resource) == (Reason.RESOURCE_NOT_FOUND, name)
