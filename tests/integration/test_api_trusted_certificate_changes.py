"""Changing and deleting trusted certificates over a real channel."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from ftc_core.domain.account import Role
from ftc_core.errors import Reason
from ftc_grpc._gen.ftc.v1.trusted_certificate_pb2 import TrustedCertificate
from ftc_grpc._gen.ftc.v1.trusted_certificate_service_pb2 import (
    CreateTrustedCertificateRequest,
    DeleteTrustedCertificateRequest,
    GetTrustedCertificateRequest,
    UpdateTrustedCertificateRequest,
)
from tests.api import Tenant, TestApi
from tests.certificates import Manufacturer


@pytest.fixture
def certificate(tenant: Tenant, manufacturer: Manufacturer) -> TrustedCertificate:
    wanted = TrustedCertificate(
        display_name="CA",
        description="Line 4",
        certificate=manufacturer.pem.decode(),
        service=TrustedCertificate.BOOTSTRAP,
        enrollment_mode=True,
    )
    client = tenant.client
    return client.call(
        client.trusted_certificates.CreateTrustedCertificate,
        CreateTrustedCertificateRequest(trusted_certificate=wanted),
    )


def change(
    certificate: TrustedCertificate, /, *paths: str, etag: str = "", request_id: str = "", **fields: Any
) -> UpdateTrustedCertificateRequest:
    return UpdateTrustedCertificateRequest(
        trusted_certificate=TrustedCertificate(name=certificate.name, **fields),
        update_mask=FieldMask(paths=paths),
        etag=etag,
        request_id=request_id,
    )


def update(tenant: Tenant, request: UpdateTrustedCertificateRequest) -> TrustedCertificate:
    return tenant.client.call(tenant.client.trusted_certificates.UpdateTrustedCertificate, request)


def read(tenant: Tenant, name: str) -> TrustedCertificate:
    request = GetTrustedCertificateRequest(name=name)
    return tenant.client.call(tenant.client.trusted_certificates.GetTrustedCertificate, request)


def test_masked_fields_change_and_the_others_stay(tenant: Tenant, certificate: TrustedCertificate) -> None:
    changed = update(
        tenant,
        change(
            certificate, "status", "enrollment_mode", status=TrustedCertificate.INACTIVE, display_name="x"
        ),
    )

    assert (changed.status, changed.enrollment_mode) == (TrustedCertificate.INACTIVE, False)
    assert (changed.display_name, changed.description) == ("CA", "Line 4")
    assert changed.certificate == certificate.certificate
    assert changed.etag != certificate.etag
    assert read(tenant, certificate.name) == changed


def test_without_a_mask_the_fields_that_are_set_change(
    tenant: Tenant, certificate: TrustedCertificate
) -> None:
    changed = update(tenant, change(certificate, description="Line 5"))

    assert (changed.description, changed.display_name, changed.enrollment_mode) == ("Line 5", "CA", True)


def test_star_replaces_all_that_can_change(tenant: Tenant, certificate: TrustedCertificate) -> None:
    changed = update(tenant, change(certificate, "*", display_name="New", status=TrustedCertificate.ACTIVE))

    assert (changed.display_name, changed.description, changed.enrollment_mode) == ("New", "", False)


@pytest.mark.parametrize(
    ("paths", "fields", "reason", "field"),
    [
        (["certificate"], {"certificate": "x"}, Reason.FIELD_INVALID, "update_mask"),
        (["service"], {}, Reason.FIELD_INVALID, "update_mask"),
        (["statuz"], {}, Reason.FIELD_INVALID, "update_mask"),
        ([], {}, Reason.FIELD_REQUIRED, "update_mask"),
        ([], {"certificate": "x"}, Reason.FIELD_REQUIRED, "update_mask"),
        (["status"], {}, Reason.FIELD_REQUIRED, "trusted_certificate.status"),
        (["status"], {"status": 7}, Reason.FIELD_INVALID, "trusted_certificate.status"),
        (["display_name"], {}, Reason.FIELD_REQUIRED, "trusted_certificate.display_name"),
        ([], {"description": "x" * 501}, Reason.FIELD_INVALID, "trusted_certificate.description"),
    ],
)
def test_bad_update_names_its_field(
    api: TestApi,
    tenant: Tenant,
    certificate: TrustedCertificate,
    paths: list[str],
    fields: dict[str, Any],
    reason: Reason,
    field: str,
) -> None:
    client = tenant.client

    error = api.refused(
        client, client.trusted_certificates.UpdateTrustedCertificate, change(certificate, *paths, **fields)
    )

    assert (error.reason, error.field) == (reason, field)
    if paths and field == "update_mask":
        assert repr(paths[0]) in error.message


def test_stale_etag_stops_change_and_deletion(
    api: TestApi, tenant: Tenant, certificate: TrustedCertificate
) -> None:
    client, stale = tenant.client, certificate.etag
    fresh = update(tenant, change(certificate, description="Line 5", etag=stale)).etag

    errors = [
        api.refused(
            client,
            client.trusted_certificates.UpdateTrustedCertificate,
            change(certificate, description="Line 6", etag=stale),
        ),
        api.refused(
            client,
            client.trusted_certificates.DeleteTrustedCertificate,
            DeleteTrustedCertificateRequest(name=certificate.name, etag=stale),
        ),
    ]

    assert [error.reason for error in errors] == [Reason.ETAG_MISMATCH] * 2
    deletion = DeleteTrustedCertificateRequest(name=certificate.name, etag=fresh)
    client.call(client.trusted_certificates.DeleteTrustedCertificate, deletion)


def test_stale_certificate_that_is_sent_back_whole_overwrites_nothing(
    api: TestApi, tenant: Tenant, certificate: TrustedCertificate
) -> None:
    client = tenant.client
    method = client.trusted_certificates.UpdateTrustedCertificate
    fresh = update(tenant, change(certificate, description="Line 5"))

    whole = UpdateTrustedCertificateRequest(trusted_certificate=certificate)
    assert api.refused(client, method, whole).reason is Reason.ETAG_MISMATCH

    differing = UpdateTrustedCertificateRequest(trusted_certificate=certificate, etag=fresh.etag)
    error = api.refused(client, method, differing)
    assert (error.reason, error.field) == (Reason.FIELD_INVALID, "trusted_certificate.etag")

    fresh.display_name = "Mine"
    changed = update(tenant, UpdateTrustedCertificateRequest(trusted_certificate=fresh))
    assert (changed.display_name, changed.description) == ("Mine", "Line 5")


def test_repeated_update_has_one_effect(tenant: Tenant, certificate: TrustedCertificate) -> None:
    once = str(uuid4())
    first = update(tenant, change(certificate, description="Once", request_id=once))
    update(tenant, change(certificate, description="Later"))

    assert update(tenant, change(certificate, description="Once", request_id=once)) == first
    assert read(tenant, certificate.name).description == "Later"


def test_deleted_certificate_is_gone_and_may_be_uploaded_again(
    api: TestApi, tenant: Tenant, certificate: TrustedCertificate
) -> None:
    client = tenant.client
    deletion = DeleteTrustedCertificateRequest(name=certificate.name, validate_only=True)
    client.call(client.trusted_certificates.DeleteTrustedCertificate, deletion)
    assert read(tenant, certificate.name) == certificate

    deletion.validate_only = False
    client.call(client.trusted_certificates.DeleteTrustedCertificate, deletion)

    again = api.refused(client, client.trusted_certificates.DeleteTrustedCertificate, deletion)
    assert (again.reason, again.resource) == (Reason.RESOURCE_NOT_FOUND, certificate.name)
    certificate.name = ""
    uploaded = client.call(
        client.trusted_certificates.CreateTrustedCertificate,
        CreateTrustedCertificateRequest(trusted_certificate=certificate),
    )
    assert uploaded.id != certificate.id


def test_certificate_of_another_account_looks_like_none(
    api: TestApi, other: Tenant, certificate: TrustedCertificate
) -> None:
    client = other.client

    errors = [
        api.refused(
            client,
            client.trusted_certificates.UpdateTrustedCertificate,
            change(certificate, description="Mine"),
        ),
        api.refused(
            client,
            client.trusted_certificates.DeleteTrustedCertificate,
            DeleteTrustedCertificateRequest(name=certificate.name),
        ),
    ]

    assert {(error.reason, error.resource) for error in errors} == {
        (Reason.RESOURCE_NOT_FOUND, certificate.name)
    }


def test_reader_changes_nothing(api: TestApi, tenant: Tenant, certificate: TrustedCertificate) -> None:
    reader = api.client(api.key(tenant.id, Role.READER))

    errors = [
        api.refused(
            reader,
            reader.trusted_certificates.UpdateTrustedCertificate,
            change(certificate, description="Read"),
        ),
        api.refused(
            reader,
            reader.trusted_certificates.DeleteTrustedCertificate,
            DeleteTrustedCertificateRequest(name=certificate.name),
        ),
    ]

    assert {error.reason for error in errors} == {Reason.PERMISSION_DENIED}
