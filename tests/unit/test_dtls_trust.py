"""Path validation: RFC 5280 §6.1, and the checks that security level 0 leaves to us."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import crypto

from ftc_core.domain.certificate import TrustAnchor
from ftc_core.dtls.alert import Alert
from ftc_core.dtls.trust import AnchorFinder, PathRefused, TrustEvaluator, VerifiedPath, fixed_anchors
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import PRESENTED_CHAIN_MAX, TRUST_CANDIDATES_MAX
from tests.certificates import Credential, Manufacturer, now

CLIENT_AUTH, SERVER_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


def sha256(der: bytes) -> bytes:
    return hashlib.sha256(der).digest()


def chain_of(credential: Credential) -> list[bytes]:
    return [credential.der, *(one.public_bytes(Encoding.DER) for one in credential.intermediates)]


def judge(
    chain: Sequence[bytes], *anchors: Manufacturer, at: datetime | None = None
) -> VerifiedPath | PathRefused:
    return TrustEvaluator(fixed_anchors(one.der for one in anchors)).evaluate(chain, at or now())


def alert_for(chain: Sequence[bytes], *anchors: Manufacturer, at: datetime | None = None) -> Alert | None:
    verdict = judge(chain, *anchors, at=at)
    return verdict.alert if isinstance(verdict, PathRefused) else None


def index(*authorities: Manufacturer, asked: list[tuple[list[bytes], list[bytes]]]) -> AnchorFinder:
    """Finds as the store does, and remembers what it was asked."""

    def find(subjects: Sequence[bytes], fingerprints: Sequence[bytes]) -> list[TrustAnchor]:
        asked.append((list(subjects), list(fingerprints)))
        return [
            TrustAnchor(fingerprint=sha256(one.der), certificate_der=one.der)
            for one in authorities
            if one.certificate.subject.public_bytes() in subjects or sha256(one.der) in fingerprints
        ]

    return find


def key_usage(**allowed: bool) -> x509.KeyUsage:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in names})


def make(
    subject: x509.Name,
    issuer: Manufacturer,
    *extensions: x509.ExtensionType,
    critical: bool = False,
    digest: hashes.SHA256 | hashes.SHA384 | None = None,
) -> bytes:
    """A leaf with a free choice of subject and extensions."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject)
        .serial_number(7)
        .not_valid_before(now() - timedelta(hours=1))
        .not_valid_after(now() + timedelta(days=1))
        .public_key(ec.generate_private_key(ec.SECP256R1()).public_key())
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer.private_key, digest or hashes.SHA256()).public_bytes(Encoding.DER)


def make_plain(issuer: Manufacturer, *, digest: str = "sha256", serial: int = 0, years: int = 20) -> bytes:
    """A version 1 certificate without extensions: `cryptography` makes none, old factories do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        plain = crypto.X509()
        plain.set_version(0)
        plain.set_serial_number(serial)
        plain.get_subject().CN = "plain"
        plain.set_issuer(crypto.X509.from_cryptography(issuer.certificate).get_subject())
        plain.gmtime_adj_notBefore(-3_600)
        plain.gmtime_adj_notAfter(years * 365 * 86_400)
        public = crypto.PKey.from_cryptography_key(ec.generate_private_key(ec.SECP256R1()).public_key())
        plain.set_pubkey(public)
        plain.sign(crypto.PKey.from_cryptography_key(issuer.private_key), digest)
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, plain)


# --- who vouches -----------------------------------------------------------------------------------------


def test_a_leaf_directly_under_a_trusted_ca_passes(manufacturer: Manufacturer) -> None:
    device = manufacturer.device("dev-1")
    assert judge([device.der], manufacturer) == VerifiedPath(
        leaf_der=device.der,
        leaf_fingerprint=sha256(device.der),
        issuing_cas=(sha256(manufacturer.der),),
        common_name="dev-1",
        locality="",
        organizational_unit="",
        chain_length=1,
    )


def test_every_trusted_ca_of_a_chain_vouches_and_the_nearest_is_told_first() -> None:
    root = Manufacturer("Root")
    middle = Manufacturer("Middle", issuer=root)
    lower = Manufacturer("Lower", issuer=middle)
    chain = chain_of(lower.device("dev-1"))
    assert len(chain) == 3
    for trusted in ([root], [middle], [lower], [lower, root], [lower, middle, root]):
        verdict = judge(chain, *reversed(trusted))
        assert isinstance(verdict, VerifiedPath)
        assert verdict.issuing_cas == tuple(sha256(one.der) for one in trusted)


def test_a_presented_root_does_no_harm_and_vouches_only_if_trusted() -> None:
    root = Manufacturer("Root")
    lower = Manufacturer("Lower", issuer=root)
    chain = [*chain_of(lower.device("dev-1")), root.der]
    assert isinstance(judge(chain, lower), VerifiedPath)
    assert isinstance(judge(chain, root), VerifiedPath)
    assert alert_for(chain) is Alert.UNKNOWN_CA


def test_two_cas_with_one_name_and_key_both_vouch() -> None:
    """A CA renewed under its old key: devices of either certificate are devices of both."""
    key = ec.generate_private_key(ec.SECP256R1())
    old, new = Manufacturer("CA", key=key), Manufacturer("CA", key=key)
    verdict = judge([new.device("dev-1").der], old, new)
    assert isinstance(verdict, VerifiedPath)
    assert verdict.issuing_cas == (sha256(old.der), sha256(new.der))


def test_of_two_cas_with_one_name_only_the_issuer_vouches() -> None:
    """Rotation: both stand in the index under the same subject."""
    old, new = Manufacturer("CA"), Manufacturer("CA")
    verdict = judge([new.device("dev-1").der], old, new)
    assert isinstance(verdict, VerifiedPath)
    assert verdict.issuing_cas == (sha256(new.der),)


def test_the_index_is_asked_for_the_issuers_and_for_the_presented_cas() -> None:
    root = Manufacturer("Root")
    lower = Manufacturer("Lower", issuer=root)
    asked: list[tuple[list[bytes], list[bytes]]] = []
    evaluator = TrustEvaluator(index(root, asked=asked))
    assert isinstance(evaluator.evaluate(chain_of(lower.device("dev-1")), now()), VerifiedPath)
    names = [one.certificate.subject.public_bytes() for one in (lower, root)]
    assert asked == [(names, [sha256(lower.der)])]


def test_the_index_is_asked_again_for_each_judgement(manufacturer: Manufacturer) -> None:
    trusted = [TrustAnchor(fingerprint=sha256(manufacturer.der), certificate_der=manufacturer.der)]
    evaluator = TrustEvaluator(lambda subjects, fingerprints: trusted)
    device = manufacturer.device("dev-1")
    assert isinstance(evaluator.evaluate([device.der], now()), VerifiedPath)
    trusted.clear()
    assert isinstance(evaluator.evaluate([device.der], now()), PathRefused)


def test_no_more_candidates_are_tried_than_the_limit_says(manufacturer: Manufacturer) -> None:
    device = manufacturer.device("dev-1")
    lookalikes = [Manufacturer("Test Devices CA") for _ in range(TRUST_CANDIDATES_MAX)]
    assert alert_for([device.der], *lookalikes, manufacturer) is Alert.BAD_CERTIFICATE
    assert alert_for([device.der], *lookalikes[1:], manufacturer) is None


def test_a_failing_index_is_not_a_verdict(manufacturer: Manufacturer) -> None:
    def find(subjects: Sequence[bytes], fingerprints: Sequence[bytes]) -> list[TrustAnchor]:
        raise FtcError(Reason.INTERNAL_1)

    with pytest.raises(FtcError):
        TrustEvaluator(find).evaluate([manufacturer.device("dev-1").der], now())


# --- forgeries -------------------------------------------------------------------------------------------


def flip_signature(der: bytes) -> bytes:
    """The certificate with one bit of its signature's last octet changed; it still parses."""
    return der[:-1] + bytes((der[-1] ^ 1,))


def test_no_trusted_ca_with_the_issuers_name_is_unknown_ca(manufacturer: Manufacturer) -> None:
    chain = [manufacturer.device("dev-1").der]
    assert alert_for(chain) is Alert.UNKNOWN_CA
    assert alert_for(chain, Manufacturer("Another CA")) is Alert.UNKNOWN_CA


def test_a_forged_leaf_signature_is_bad_certificate(manufacturer: Manufacturer) -> None:
    assert (
        alert_for([flip_signature(manufacturer.device("dev-1").der)], manufacturer) is Alert.BAD_CERTIFICATE
    )


def test_a_forged_intermediate_signature_is_bad_certificate() -> None:
    root = Manufacturer("Root")
    leaf, intermediate = chain_of(Manufacturer("Lower", issuer=root).device("dev-1"))
    assert alert_for([leaf, intermediate], root) is None
    assert alert_for([leaf, flip_signature(intermediate)], root) is Alert.BAD_CERTIFICATE


def test_a_ca_with_the_same_name_and_another_key_does_not_vouch(manufacturer: Manufacturer) -> None:
    impostor = Manufacturer("Test Devices CA")
    assert alert_for([impostor.device("dev-1").der], manufacturer) is Alert.BAD_CERTIFICATE


def test_a_leaf_that_names_the_trusted_key_but_was_signed_by_another_is_refused(
    manufacturer: Manufacturer,
) -> None:
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(manufacturer.private_key.public_key())
    impostor = Manufacturer("Test Devices CA")
    chain = [impostor.device("dev-1", extensions=[identifier]).der]
    assert alert_for(chain, manufacturer) is Alert.BAD_CERTIFICATE
    assert alert_for(chain, impostor) is Alert.UNKNOWN_CA  # its key identifier is not the one that is named
    assert isinstance(
        judge([manufacturer.device("dev-1", extensions=[identifier]).der], manufacturer), VerifiedPath
    )


def test_a_forged_chain_cannot_borrow_a_trusted_certificate_in_the_middle(manufacturer: Manufacturer) -> None:
    """The attacker presents the real CA between its own leaf and its own root."""
    attacker = Manufacturer("Test Devices CA")
    chain = [attacker.device("dev-1").der, manufacturer.der, attacker.der]
    assert alert_for(chain, manufacturer) is not None


def test_an_omitted_intermediate_is_unknown_ca() -> None:
    root = Manufacturer("Root")
    leaf, _ = chain_of(Manufacturer("Lower", issuer=root).device("dev-1"))
    assert alert_for([leaf], root) is Alert.UNKNOWN_CA


def test_an_anchor_is_selected_by_its_own_bytes_whatever_fingerprint_the_index_gives() -> None:
    good, bad = Manufacturer("CA"), Manufacturer("CA")
    wrong = TrustAnchor(fingerprint=sha256(good.der), certificate_der=bad.der)
    evaluator = TrustEvaluator(lambda subjects, fingerprints: [wrong])
    right = TrustEvaluator(fixed_anchors([good.der]))
    device = good.device("dev-1")
    assert isinstance(right.evaluate([device.der], now()), VerifiedPath)
    assert isinstance(evaluator.evaluate([device.der], now()), PathRefused)


# --- who may issue ---------------------------------------------------------------------------------------


def test_an_intermediate_that_is_no_ca_is_refused() -> None:
    root = Manufacturer("Root")
    fake = Manufacturer("Fake", issuer=root, is_authority=False)
    assert alert_for(chain_of(fake.device("dev-1")), root) is Alert.BAD_CERTIFICATE


def test_a_device_cannot_issue_another_device() -> None:
    root = Manufacturer("Root")
    device = root.device("dev-1")
    forged = Manufacturer("unused", issuer=root, key=device.private_key)
    forged.certificate = device.certificate
    assert alert_for(chain_of(forged.device("dev-2")), root) is Alert.BAD_CERTIFICATE


def test_a_trusted_certificate_that_is_no_ca_does_not_vouch() -> None:
    fake = Manufacturer("Fake", is_authority=False)
    assert alert_for([fake.device("dev-1").der], fake) is Alert.BAD_CERTIFICATE


def test_an_intermediate_without_basic_constraints_is_no_ca_whatever_its_key_usage() -> None:
    """RFC 5280 §6.1.4 (k)."""
    root = Manufacturer("Root")
    pretender = Manufacturer("Pretender", issuer=root)
    builder = (
        x509.CertificateBuilder()
        .subject_name(pretender.certificate.subject)
        .issuer_name(root.certificate.subject)
        .serial_number(9)
        .not_valid_before(now() - timedelta(hours=1))
        .not_valid_after(now() + timedelta(days=1))
        .public_key(pretender.private_key.public_key())
        .add_extension(key_usage(key_cert_sign=True), critical=True)
    )
    pretender.certificate = builder.sign(root.private_key, hashes.SHA256())
    assert alert_for(chain_of(pretender.device("dev-1")), root) is Alert.BAD_CERTIFICATE


def test_the_path_length_of_an_anchor_binds() -> None:
    root = Manufacturer("Root", path_length=0)
    lower = Manufacturer("Lower", issuer=root)
    assert alert_for([root.device("dev-1").der], root) is None
    assert alert_for(chain_of(lower.device("dev-1")), root) is Alert.BAD_CERTIFICATE


def test_the_path_length_of_an_intermediate_binds() -> None:
    root = Manufacturer("Root")
    middle = Manufacturer("Middle", issuer=root, path_length=0)
    lower = Manufacturer("Lower", issuer=middle)
    assert alert_for(chain_of(middle.device("dev-1")), root) is None
    assert alert_for(chain_of(lower.device("dev-1")), root) is Alert.BAD_CERTIFICATE


def test_a_trusted_ca_is_no_device(manufacturer: Manufacturer) -> None:
    assert alert_for([manufacturer.der], manufacturer) is Alert.UNKNOWN_CA


def test_a_self_signed_device_is_unknown(manufacturer: Manufacturer) -> None:
    assert alert_for([Manufacturer("dev-1", is_authority=False).der], manufacturer) is Alert.UNKNOWN_CA


# --- when ------------------------------------------------------------------------------------------------


def test_an_expired_leaf_is_certificate_expired(manufacturer: Manufacturer) -> None:
    device = manufacturer.device(
        "dev-1", not_before=now() - timedelta(days=2), not_after=now() - timedelta(days=1)
    )
    assert alert_for([device.der], manufacturer) is Alert.CERTIFICATE_EXPIRED


def test_a_leaf_that_is_not_yet_valid_is_certificate_expired(manufacturer: Manufacturer) -> None:
    device = manufacturer.device("dev-1", not_before=now() + timedelta(days=1))
    assert alert_for([device.der], manufacturer) is Alert.CERTIFICATE_EXPIRED


def test_an_expired_intermediate_and_an_expired_anchor_are_certificate_expired() -> None:
    root = Manufacturer("Root")
    yesterday = now() - timedelta(days=1)
    stale = Manufacturer("Stale", issuer=root, not_before=yesterday - timedelta(days=1), not_after=yesterday)
    chain = chain_of(stale.device("dev-1"))
    assert alert_for(chain, root) is Alert.CERTIFICATE_EXPIRED
    assert alert_for(chain, stale) is Alert.CERTIFICATE_EXPIRED


def test_validity_is_judged_at_the_time_that_is_given_in_any_zone(manufacturer: Manufacturer) -> None:
    device = manufacturer.device("dev-1", not_before=now(), not_after=now() + timedelta(minutes=10))
    evaluator = TrustEvaluator(fixed_anchors([manufacturer.der]))
    elsewhere = timezone(timedelta(hours=9))
    for moment, passes in (
        (now() + timedelta(minutes=5), True),
        (now() + timedelta(minutes=11), False),
        (now() - timedelta(minutes=1), False),
        ((now() + timedelta(minutes=5)).astimezone(elsewhere), True),
        ((now() + timedelta(minutes=11)).astimezone(elsewhere), False),
    ):
        assert isinstance(evaluator.evaluate([device.der], moment), VerifiedPath) is passes


def test_a_lookalike_does_not_hide_that_the_certificate_has_expired(manufacturer: Manufacturer) -> None:
    device = manufacturer.device(
        "dev-1", not_before=now() - timedelta(days=2), not_after=now() - timedelta(days=1)
    )
    lookalike = Manufacturer("Test Devices CA")
    assert alert_for([device.der], manufacturer, lookalike) is Alert.CERTIFICATE_EXPIRED
    assert alert_for([device.der], lookalike, manufacturer) is Alert.CERTIFICATE_EXPIRED


# --- the profile -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usages", "passes"),
    [
        ([CLIENT_AUTH], True),
        ([SERVER_AUTH, CLIENT_AUTH], True),
        ([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE], True),
        ([SERVER_AUTH], False),
        ([ExtendedKeyUsageOID.CODE_SIGNING], False),
    ],
)
def test_an_extended_key_usage_must_allow_client_authentication(
    usages: list[x509.ObjectIdentifier], passes: bool, manufacturer: Manufacturer
) -> None:
    device = manufacturer.device("dev-1", extensions=[x509.ExtendedKeyUsage(usages)])
    assert alert_for([device.der], manufacturer) is (None if passes else Alert.BAD_CERTIFICATE)


def test_a_server_must_allow_server_authentication(manufacturer: Manufacturer) -> None:
    evaluator = TrustEvaluator(fixed_anchors([manufacturer.der]), purpose=SERVER_AUTH)
    for usage, expected in ((SERVER_AUTH, VerifiedPath), (CLIENT_AUTH, PathRefused)):
        server = manufacturer.device("server", extensions=[x509.ExtendedKeyUsage([usage])])
        assert isinstance(evaluator.evaluate([server.der], now()), expected)


def test_a_key_usage_must_allow_digital_signature(manufacturer: Manufacturer) -> None:
    for usage, expected in (
        (key_usage(digital_signature=True), None),
        (key_usage(key_agreement=True), Alert.BAD_CERTIFICATE),
    ):
        assert alert_for([manufacturer.device("dev-1", extensions=[usage]).der], manufacturer) is expected


SAN, AKI = x509.ObjectIdentifier("2.5.29.17"), x509.ObjectIdentifier("2.5.29.35")
MADE_UP = {
    "x400Address in SAN": (SAN, "3002a300"),
    "a directory name of bits in SAN": (SAN, "3012a410300e310c300a06035504030303000102"),
    "x400Address in AKI": (AKI, "3004a102a300"),
}


@pytest.mark.parametrize("extension", MADE_UP)
def test_a_made_up_extension_is_refused_and_raises_nothing(
    extension: str, manufacturer: Manufacturer
) -> None:
    oid, value = MADE_UP[extension]
    odd = manufacturer.device("dev-1", extensions=[x509.UnrecognizedExtension(oid, bytes.fromhex(value))])

    assert alert_for([odd.der], manufacturer) is Alert.BAD_CERTIFICATE
    assert alert_for([odd.der], Manufacturer("Somebody else")) is Alert.BAD_CERTIFICATE


def test_a_made_up_version_is_refused_and_raises_nothing(manufacturer: Manufacturer) -> None:
    der = manufacturer.device("dev-1").der
    odd = der.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020106"), 1)

    assert alert_for([odd], manufacturer) is Alert.BAD_CERTIFICATE


def test_an_unknown_critical_extension_is_refused(manufacturer: Manufacturer) -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dev-1")])
    assert alert_for([make(subject, manufacturer, unknown)], manufacturer) is None
    assert (
        alert_for([make(subject, manufacturer, unknown, critical=True)], manufacturer)
        is Alert.BAD_CERTIFICATE
    )


@pytest.mark.parametrize(
    ("key", "objection"),
    [
        (ec.generate_private_key(ec.SECP224R1()), "leaf: elliptic-curve key of 224 bits"),
        (rsa.generate_private_key(65537, 1024), "leaf: RSA key of 1024 bits"),  # noqa: S505 - refused
    ],
    ids=["P-224", "RSA-1024"],
)
def test_a_weak_key_is_refused(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, objection: str, manufacturer: Manufacturer
) -> None:
    verdict = judge([manufacturer.device("dev-1", key=key).der], manufacturer)
    assert verdict == PathRefused(Alert.BAD_CERTIFICATE, objection)


def test_a_key_of_another_kind_is_judged_by_that_alone(manufacturer: Manufacturer) -> None:
    """Its kind is no secret of the key: to load one of Diffie-Hellman may take a minute (`profile`)."""
    ec_key, other = bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2a8648ce3d0209")
    leaf = manufacturer.device("dev-1").der.replace(ec_key, other)
    verdict = judge([leaf], manufacturer)
    assert verdict == PathRefused(Alert.BAD_CERTIFICATE, "leaf: key is neither elliptic-curve nor RSA")


def test_a_weak_intermediate_key_is_refused_and_one_above_the_anchor_is_not() -> None:
    root = Manufacturer("Root")
    weak = Manufacturer("Weak", issuer=root, key=ec.generate_private_key(ec.SECP224R1()))
    lower = Manufacturer("Lower", issuer=weak)
    chain = chain_of(lower.device("dev-1"))
    verdict = judge(chain, root)
    assert verdict == PathRefused(Alert.BAD_CERTIFICATE, "intermediate: elliptic-curve key of 224 bits")
    assert isinstance(judge(chain, lower), VerifiedPath)


def test_an_anchor_is_not_held_to_the_profile_of_what_it_issues() -> None:
    """RFC 5280 §6.1: the anchor is no part of the path. What may be uploaded as a CA is decided there."""
    root = Manufacturer("Root", key=ec.generate_private_key(ec.SECP224R1()))
    lower = Manufacturer("Lower", issuer=root)
    assert isinstance(judge(chain_of(lower.device("dev-1")), root), VerifiedPath)


def test_a_sha_1_signature_is_refused(manufacturer: Manufacturer) -> None:
    verdict = judge([make_plain(manufacturer, digest="sha1")], manufacturer)
    assert verdict == PathRefused(Alert.BAD_CERTIFICATE, "leaf: signature hash is sha1")


def test_a_version_1_leaf_with_serial_zero_and_twenty_years_passes(manufacturer: Manufacturer) -> None:
    verdict = judge([make_plain(manufacturer)], manufacturer)
    assert isinstance(verdict, VerifiedPath)
    assert verdict.common_name == "plain"


def test_a_version_1_certificate_is_no_intermediate() -> None:
    root = Manufacturer("Root")
    plain = make_plain(root)
    pretender = Manufacturer("plain")
    assert alert_for([pretender.device("dev-1").der, plain], root) is not None


# --- names -----------------------------------------------------------------------------------------------


def named(*attributes: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])


def test_the_names_of_the_leaf_are_given(manufacturer: Manufacturer) -> None:
    subject = named(
        (NameOID.COMMON_NAME, "ep"),
        (NameOID.LOCALITY_NAME, "device"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "account"),
    )
    verdict = judge([make(subject, manufacturer)], manufacturer)
    assert isinstance(verdict, VerifiedPath)
    assert (verdict.common_name, verdict.locality, verdict.organizational_unit) == ("ep", "device", "account")


@pytest.mark.parametrize(
    "subject",
    [
        named(),
        named((NameOID.LOCALITY_NAME, "no common name")),
        named((NameOID.COMMON_NAME, "bank.example\0.evil.example")),
        named((NameOID.COMMON_NAME, "line\nbreak")),
        named((NameOID.COMMON_NAME, "one"), (NameOID.COMMON_NAME, "two")),
    ],
    ids=["empty subject", "absent", "NUL", "line break", "two"],
)
def test_a_common_name_that_cannot_be_used_is_empty_and_the_path_still_passes(
    subject: x509.Name, manufacturer: Manufacturer
) -> None:
    verdict = judge([make(subject, manufacturer)], manufacturer)
    assert isinstance(verdict, VerifiedPath)
    assert verdict.common_name == ""


def test_a_common_name_in_latin_1_is_empty_and_the_path_still_passes(
    manufacturer: Manufacturer,
) -> None:
    der = make(named((NameOID.COMMON_NAME, "Zürich")), manufacturer)
    body = x509.load_der_x509_certificate(der).tbs_certificate_bytes
    old = body.replace(b"\x0c\x07" + "Zürich".encode(), b"\x14\x07Z\xfc\xfcrich")  # a TeletexString
    assert old != body
    assert isinstance(manufacturer.private_key, ec.EllipticCurvePrivateKey)
    signature = manufacturer.private_key.sign(old, ec.ECDSA(hashes.SHA256()))
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")  # ecdsa-with-SHA256 (RFC 5758 §3.2)
    rest = algorithm + b"\x03" + bytes((len(signature) + 1,)) + b"\x00" + signature
    resigned = b"\x30\x82" + (len(old) + len(rest)).to_bytes(2, "big") + old + rest
    verdict = judge([resigned], manufacturer)
    assert isinstance(verdict, VerifiedPath)
    assert verdict.common_name == ""


# --- garbage ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("garbage", [b"", b"\x30\x03\x02\x01\x00", bytes(500)])
def test_what_is_no_certificate_is_bad_certificate(garbage: bytes, manufacturer: Manufacturer) -> None:
    device = manufacturer.device("dev-1")
    assert alert_for([garbage], manufacturer) is Alert.BAD_CERTIFICATE
    assert alert_for([device.der, garbage], manufacturer) is Alert.BAD_CERTIFICATE


def test_an_empty_and_an_overlong_chain_are_bad_certificate(manufacturer: Manufacturer) -> None:
    device = manufacturer.device("dev-1")
    assert alert_for([], manufacturer) is Alert.BAD_CERTIFICATE
    assert alert_for([device.der] * PRESENTED_CHAIN_MAX, manufacturer) is None
    assert alert_for([device.der] * (PRESENTED_CHAIN_MAX + 1), manufacturer) is Alert.BAD_CERTIFICATE


def test_a_broken_anchor_in_the_index_does_not_break_the_others(manufacturer: Manufacturer) -> None:
    anchors = [
        TrustAnchor(fingerprint=bytes(32), certificate_der=b"\x30\x00"),
        TrustAnchor(fingerprint=sha256(manufacturer.der), certificate_der=manufacturer.der),
    ]
    evaluator = TrustEvaluator(lambda subjects, fingerprints: anchors)
    assert isinstance(evaluator.evaluate([manufacturer.device("dev-1").der], datetime.now(UTC)), VerifiedPath)


# --- pinned servers --------------------------------------------------------------------------------------


def test_a_pinned_server_certificate_is_trusted_only_where_asked_for(manufacturer: Manufacturer) -> None:
    server = manufacturer.device("server")
    anchors = fixed_anchors([server.der])
    pinned = TrustEvaluator(anchors, purpose=SERVER_AUTH, pin_leaf=True)
    assert isinstance(pinned.evaluate([server.der], now()), VerifiedPath)
    assert isinstance(pinned.evaluate([manufacturer.device("server").der], now()), PathRefused)
    assert isinstance(TrustEvaluator(anchors, purpose=SERVER_AUTH).evaluate([server.der], now()), PathRefused)
