"""Credentials for any endpoint name that the protocol allows."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from ftc_core.credentials.issuer import CredentialIssuer
from ftc_core.credentials.pki import create_authority
from ftc_core.limits import CREDENTIAL_DER_MAX_BYTES, ENDPOINT_NAME_MAX_BYTES

NOW = datetime(2026, 11, 23, tzinfo=UTC)
ISSUER = CredentialIssuer(create_authority("Test issuing CA", now=NOW), timedelta(days=1))
NAMES = st.text(
    st.characters(exclude_categories=["Cs"]), min_size=1, max_size=ENDPOINT_NAME_MAX_BYTES
).filter(lambda name: len(name.encode()) <= ENDPOINT_NAME_MAX_BYTES)


@given(NAMES)
def test_every_endpoint_name_of_up_to_256_bytes_gets_a_credential_that_fits(name: str) -> None:
    issued = ISSUER.issue(endpoint_name=name, device_id="d" * 32, account_id="a" * 32, now=NOW)
    assert len(issued.certificate_der) <= CREDENTIAL_DER_MAX_BYTES
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the reader remarks on names above 64 bytes
        subject = x509.load_der_x509_certificate(issued.certificate_der).subject
    assert [attribute.value for attribute in subject] == [name, "d" * 32, "a" * 32]
    assert subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == name
