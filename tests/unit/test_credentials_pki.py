"""Our own authorities, server identities and the credentials issued to devices."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store
from OpenSSL import crypto

from ftc_core.credentials.issuer import CredentialIssuer, IssuedCredential
from ftc_core.credentials.pki import Identity, create_authority, create_server_identity, new_serial_number
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import CREDENTIAL_DER_MAX_BYTES

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DEVICE_ID = "0193a0b0c0d07000800000000000000d"
ACCOUNT_ID = "0193a0b0c0d07000800000000000000a"


@pytest.fixture(scope="module")
def authority() -> Identity:
    return create_authority("Test issuing CA", now=NOW)


@pytest.fixture(scope="module")
def issuer(authority: Identity) -> CredentialIssuer:
    return CredentialIssuer(authority, timedelta(days=3_650))


def issue(issuer: CredentialIssuer, name: str = "device-1", now: datetime = NOW) -> IssuedCredential:
    return issuer.issue(endpoint_name=name, device_id=DEVICE_ID, account_id=ACCOUNT_ID, now=now)


def parsed(credential: IssuedCredential) -> x509.Certificate:
    return x509.load_der_x509_certificate(credential.certificate_der)


def subject_value(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str:
    (attribute,) = certificate.subject.get_attributes_for_oid(oid)
    return str(attribute.value)


def openssl_accepts(leaf_der: bytes, authority: Identity, *, at: datetime) -> bool:
    """OpenSSL's path check with `authority` as the only trust anchor."""
    store = crypto.X509Store()
    store.add_cert(crypto.X509.from_cryptography(authority.certificate))
    store.set_time(at)
    leaf = crypto.X509.from_cryptography(x509.load_der_x509_certificate(leaf_der))
    try:
        crypto.X509StoreContext(store, leaf).verify_certificate()
    except crypto.X509StoreContextError:
        return False
    return True


def test_authority_is_a_self_signed_p256_ca_of_path_length_0(authority: Identity) -> None:
    certificate = authority.certificate
    certificate.verify_directly_issued_by(certificate)
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_cert_sign
    assert not usage.digital_signature
    assert certificate.not_valid_before_utc <= NOW
    assert certificate.not_valid_after_utc == NOW + timedelta(days=20 * 365)


def test_authority_has_the_short_key_identifier_and_names_it_in_what_it_signs(
    authority: Identity, issuer: CredentialIssuer
) -> None:
    """RFC 5280 §4.2.1.2 (2): 0100, then the least significant 60 bits of the key's SHA-1."""
    extensions = authority.certificate.extensions
    identifier = extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    whole = x509.SubjectKeyIdentifier.from_public_key(authority.certificate.public_key()).digest
    mask = (1 << 60) - 1
    assert len(identifier) == 8
    assert int.from_bytes(identifier) == 0b0100 << 60 | int.from_bytes(whole) & mask
    signed = parsed(issue(issuer)).extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert signed.key_identifier == identifier


def test_serial_numbers_are_positive_and_9_bytes_long_with_70_random_bits() -> None:
    numbers = [new_serial_number() for _ in range(500)]
    assert len(set(numbers)) == len(numbers)
    assert {number.bit_length() for number in numbers} == {71}, "9 bytes in DER, the sign bit clear"
    always_set = always_clear = (1 << 70) - 1
    for number in numbers:
        always_set &= number
        always_clear &= ~number
    assert (always_set, always_clear) == (0, 0), "no bit below the first stands still"


def test_authority_name_longer_than_64_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="64"):
        create_authority("x" * 65, now=NOW)


def test_server_identity_is_accepted_for_each_of_its_hosts(authority: Identity) -> None:
    identity = create_server_identity(
        authority, "bootstrap", hosts=["localhost", "127.0.0.1", "::1", "ftc.example", "localhost"], now=NOW
    )
    builder = PolicyBuilder().store(Store([authority.certificate])).time(NOW)
    for host in (x509.DNSName("localhost"), x509.DNSName("ftc.example")):
        assert builder.build_server_verifier(host).verify(identity.certificate, [])
    for address in ("127.0.0.1", "::1"):
        verifier = builder.build_server_verifier(x509.IPAddress(ipaddress.ip_address(address)))
        assert verifier.verify(identity.certificate, [])
    with pytest.raises(x509.verification.VerificationError):
        builder.build_server_verifier(x509.DNSName("other.example")).verify(identity.certificate, [])


def test_server_identity_never_outlives_its_authority() -> None:
    short = create_authority("short", now=NOW, validity=timedelta(days=1))
    identity = create_server_identity(short, "grpc", hosts=["localhost"], now=NOW)
    assert identity.certificate.not_valid_after_utc == short.certificate.not_valid_after_utc


def test_identity_survives_pem_and_refuses_another_ones_key(authority: Identity) -> None:
    again = Identity.from_pem(authority.certificate_pem, authority.private_key_pem)
    assert again.certificate == authority.certificate
    other = create_authority("other", now=NOW)
    with pytest.raises(ValueError, match="does not belong"):
        Identity.from_pem(authority.certificate_pem, other.private_key_pem)


def test_credential_names_endpoint_device_and_account_in_this_order(issuer: CredentialIssuer) -> None:
    certificate = parsed(issue(issuer))
    assert [attribute.oid for attribute in certificate.subject] == [
        NameOID.COMMON_NAME,
        NameOID.LOCALITY_NAME,
        NameOID.ORGANIZATIONAL_UNIT_NAME,
    ]
    assert subject_value(certificate, NameOID.COMMON_NAME) == "device-1"
    assert subject_value(certificate, NameOID.LOCALITY_NAME) == DEVICE_ID
    assert subject_value(certificate, NameOID.ORGANIZATIONAL_UNIT_NAME) == ACCOUNT_ID


def test_credential_passes_the_path_check_and_is_for_clients_only(
    issuer: CredentialIssuer, authority: Identity
) -> None:
    credential = issue(issuer)
    certificate = parsed(credential)
    certificate.verify_directly_issued_by(authority.certificate)
    assert openssl_accepts(credential.certificate_der, authority, at=NOW)
    other = create_authority("Test issuing CA", now=NOW)
    assert not openssl_accepts(credential.certificate_der, other, at=NOW)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert isinstance(certificate.signature_hash_algorithm, hashes.SHA256)


def test_credential_key_is_pkcs8_p256_and_belongs_to_the_certificate(issuer: CredentialIssuer) -> None:
    credential = issue(issuer)
    key = serialization.load_der_private_key(credential.private_key_der, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert key.public_key() == parsed(credential).public_key()
    assert credential.private_key_der == key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def test_each_credential_has_its_own_key_and_serial_number(issuer: CredentialIssuer) -> None:
    first, second = parsed(issue(issuer)), parsed(issue(issuer))
    assert first.serial_number != second.serial_number
    assert first.public_key() != second.public_key()


def test_credential_is_valid_for_the_set_time_and_from_an_hour_before(issuer: CredentialIssuer) -> None:
    certificate = parsed(issue(issuer))
    assert certificate.not_valid_before_utc == NOW - timedelta(hours=1)
    assert certificate.not_valid_after_utc == NOW + timedelta(days=3_650)


def test_credential_never_outlives_the_issuing_ca_and_an_expired_ca_issues_none() -> None:
    authority = create_authority("short", now=NOW, validity=timedelta(days=1))
    issuer = CredentialIssuer(authority, timedelta(days=30))
    assert parsed(issue(issuer)).not_valid_after_utc == authority.certificate.not_valid_after_utc
    with pytest.raises(FtcError) as caught:
        issue(issuer, now=NOW + timedelta(days=1))
    assert caught.value.reason is Reason.INTERNAL_4


@pytest.mark.parametrize("name", ["x" * 64, "x" * 65, "é" * 33, "x" * 256, "ü" * 128])
@pytest.mark.filterwarnings("ignore:Attribute's length")  # cryptography says so when such a name is read
def test_endpoint_name_up_to_256_bytes_stands_whole_in_cn(
    issuer: CredentialIssuer, authority: Identity, name: str
) -> None:
    credential = issue(issuer, name)
    assert len(credential.certificate_der) <= CREDENTIAL_DER_MAX_BYTES
    assert openssl_accepts(credential.certificate_der, authority, at=NOW)
    certificate = parsed(credential)
    assert [a.oid for a in certificate.subject] == [a.oid for a in parsed(issue(issuer)).subject]
    assert subject_value(certificate, NameOID.COMMON_NAME) == name
    assert subject_value(certificate, NameOID.LOCALITY_NAME) == DEVICE_ID


def test_long_names_are_encoded_like_short_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    from ftc_core.credentials import subject

    built = subject.credential_subject("device-1", DEVICE_ID, ACCOUNT_ID).public_bytes()
    monkeypatch.setattr(subject, "_UB_COMMON_NAME_BYTES", 0)
    assert subject.credential_subject("device-1", DEVICE_ID, ACCOUNT_ID).public_bytes() == built


@pytest.mark.parametrize("name", ["", "x" * 700])
def test_credential_that_cannot_be_made_is_internal_error_4(issuer: CredentialIssuer, name: str) -> None:
    with pytest.raises(FtcError) as caught:
        issue(issuer, name)
    assert caught.value.reason is Reason.INTERNAL_4
    assert caught.value.message == "Internal error #4", "the device learns no more than the number"
    assert caught.value.metadata["cause"]


def test_private_key_does_not_show_in_a_printed_credential(issuer: CredentialIssuer) -> None:
    assert "private_key" not in repr(issue(issuer))
