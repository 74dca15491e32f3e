"""Path validation: which trusted CAs vouch for a presented certificate chain (RFC 5280 §6.1).

The trusted CAs of all accounts may be thousands, and several may share a name. So the index is asked for the
few that could have issued something in the presented chain, and each of these is tried alone, as the only
anchor of an OpenSSL store, with the presented certificates as untrusted material. All that succeed are the
answer: any CA of a chain may be the trusted one, and which account trusts which is decided later.

OpenSSL checks names, key identifiers, signatures, validity (of the anchor, too), basic constraints, path
length, keyCertSign, name constraints and critical extensions. `profile` adds what it leaves out. Each check
has a store of its own: `X509Store.set_time` takes effect only the first time that it is called on a store, so
that a store which is kept would judge by the time of its first use for ever. What is kept is the parsed CA,
and, of a path that was found good, the span of time in which nothing but its CA's trust can change that: a
device that comes again within it costs no signature check. Whether its CA is trusted is asked every time.

A blocked certificate vouches for nothing: it is taken out before any path is tried. A chain that would hold
with it is refused for the block; a blocked leaf at once, before any signature is checked.

A CA is looked up by the DER of its subject as `cryptography` encodes it, so a leaf that spells its issuer's
name in another string type finds only CAs that it also presents (RFC 5280 §4.1.2.6 forbids such spellings).
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache

import msgspec
from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL, crypto

from ftc_core.domain.certificate import TrustAnchor
from ftc_core.dtls.alert import Alert
from ftc_core.dtls.profile import UNREADABLE, certificate_objection, leaf_objection
from ftc_core.dtls.proven_paths import ProvenPaths, path_key
from ftc_core.errors import Reason
from ftc_core.limits import (
    PRESENTED_CHAIN_MAX,
    TRUST_ANCHORS_KEPT_MAX,
    TRUST_CANDIDATES_MAX,
)

__all__ = [
    "AnchorFinder",
    "BlockFinder",
    "PathRefused",
    "PathVerifier",
    "ReadCertificate",
    "TrustEvaluator",
    "VerifiedPath",
    "fixed_anchors",
]

AnchorFinder = Callable[[Sequence[bytes], Sequence[bytes]], Sequence[TrustAnchor]]
"""Trust anchors that have one of the DER subjects (first argument) or one of the SHA-256 fingerprints."""

BlockFinder = Callable[[Sequence[bytes]], Collection[bytes]]
"""Those of the given SHA-256 fingerprints whose certificates are blocked everywhere."""

_Codes = SSL.X509VerificationCodes
_OUT_OF_VALIDITY = frozenset({_Codes.ERR_CERT_NOT_YET_VALID, _Codes.ERR_CERT_HAS_EXPIRED})
_NO_PATH = frozenset(
    {
        _Codes.ERR_UNABLE_TO_GET_ISSUER_CERT,
        _Codes.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
        _Codes.ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
        _Codes.ERR_SELF_SIGNED_CERT_IN_CHAIN,
        _Codes.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
    }
)
_PRECEDENCE = (Alert.UNKNOWN_CA, Alert.BAD_CERTIFICATE, Alert.CERTIFICATE_EXPIRED)
"""If each anchor fails for another reason, the one that came closest is told: validity is checked last."""


class ReadCertificate(bytes):
    """A certificate in DER that OpenSSL has read already: with its `handle`, the path check need not do so.

    Reading one costs a third of what checking a signature does.
    """

    handle: crypto.X509

    @classmethod
    def of(cls, handle: crypto.X509) -> ReadCertificate:
        """The certificate that `handle` stands for."""
        certificate = cls(crypto.dump_certificate(crypto.FILETYPE_ASN1, handle))
        certificate.handle = handle
        return certificate


class VerifiedPath(msgspec.Struct, frozen=True, kw_only=True):
    """A peer's certificate that at least one trusted CA vouches for.

    `leaf_der` is the certificate; `leaf_fingerprint` and `issuing_cas`, the nearest to the leaf first, are
    SHA-256 over DER, 32 bytes each. The names are the leaf's subject attributes CN, L and OU; "" where one is
    absent, occurs twice, or is not printable text (a NUL in a name has fooled verifiers before).
    `chain_length` counts the presented certificates.

    `channel_binding` is there once the handshake is complete: keying material of this very association (RFC
    5705), to which the peer binds what it proves over it.
    """

    leaf_der: bytes
    leaf_fingerprint: bytes
    issuing_cas: tuple[bytes, ...]
    common_name: str
    locality: str
    organizational_unit: str
    chain_length: int
    channel_binding: bytes = b""


class PathRefused(msgspec.Struct, frozen=True):
    """No trusted CA vouches: the alert that the peer gets, and what the log gets.

    `reason` is the catalogue's word for it: the refusal as an account's user knows it.
    """

    alert: Alert
    detail: str
    reason: Reason = Reason.CA_NOT_UPLOADED


PathVerifier = Callable[[Sequence[bytes]], VerifiedPath | PathRefused]
"""A `TrustEvaluator.evaluate` with its wall clock bound: takes the chain in DER, leaf first."""


class TrustEvaluator:
    """Judges chains against whatever `find_anchors` and `find_blocked` find at the moment of each judgement.

    `purpose` is the extended key usage that a leaf must allow: clientAuth for devices, serverAuth for
    servers. With `pin_leaf`, a leaf that is itself an anchor is trusted (LwM2M gives a device the very
    certificate of its server); without, a leaf needs an issuer. To be used by one thread at a time.
    """

    def __init__(
        self,
        find_anchors: AnchorFinder,
        *,
        purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
        pin_leaf: bool = False,
        find_blocked: BlockFinder = lambda fingerprints: (),
    ) -> None:
        self._find_anchors = find_anchors
        self._find_blocked = find_blocked
        self._purpose = purpose
        self._pin_leaf = pin_leaf
        # By the DER itself, so that a wrong fingerprint in the index can never select another CA.
        self._authority = lru_cache(maxsize=TRUST_ANCHORS_KEPT_MAX)(_Certificate)
        self._proven_paths = ProvenPaths()

    def evaluate(self, chain_der: Sequence[bytes], now: datetime) -> VerifiedPath | PathRefused:
        """Judge `chain_der` (leaf first) at `now` (aware). Raises only what the finders raise."""
        if not 1 <= len(chain_der) <= PRESENTED_CHAIN_MAX:
            return PathRefused(Alert.BAD_CERTIFICATE, f"chain of {len(chain_der)} certificates")
        with warnings.catch_warnings():
            # Zero serial numbers and such, which OpenSSL takes and which fielded devices have.
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            return self._evaluate(chain_der, now)

    def _evaluate(self, chain_der: Sequence[bytes], now: datetime) -> VerifiedPath | PathRefused:
        try:
            chain = [_Certificate(der) for der in chain_der]
            issuers = [certificate.issuer for certificate in chain]
        except (*UNREADABLE, crypto.Error) as error:
            return PathRefused(Alert.BAD_CERTIFICATE, f"unreadable certificate: {error}")
        leaf = chain[0]
        if objection := leaf_objection(leaf.parsed, self._purpose):
            return PathRefused(Alert.BAD_CERTIFICATE, f"leaf: {objection}")
        presented = [item.fingerprint for item in chain]
        if leaf.fingerprint in self._find_blocked(presented[:1]):
            return PathRefused(Alert.CERTIFICATE_REVOKED, "leaf: blocked", Reason.DEVICE_BLOCKED)
        wanted = presented if self._pin_leaf else presented[1:]
        anchors = self._find_anchors(_unique(issuers), _unique(wanted))[:TRUST_CANDIDATES_MAX]
        blocked = self._find_blocked(_unique([*presented[1:], *(anchor.fingerprint for anchor in anchors)]))
        vouching = self._vouching(
            [anchor for anchor in anchors if anchor.fingerprint not in blocked],
            [item for item in chain if item.fingerprint not in blocked],
            now,
        )
        if isinstance(vouching, PathRefused) and blocked:
            if isinstance(refusal := self._vouching(anchors, chain, now), PathRefused):
                return refusal
            return PathRefused(
                Alert.CERTIFICATE_REVOKED, "a CA on the path is blocked", Reason.CERTIFICATE_BLOCKED
            )
        if isinstance(vouching, PathRefused):
            return vouching
        return VerifiedPath(
            leaf_der=leaf.der,
            leaf_fingerprint=leaf.fingerprint,
            issuing_cas=self._by_distance(vouching, issuers),
            common_name=_sole_text(leaf.parsed, NameOID.COMMON_NAME),
            locality=_sole_text(leaf.parsed, NameOID.LOCALITY_NAME),
            organizational_unit=_sole_text(leaf.parsed, NameOID.ORGANIZATIONAL_UNIT_NAME),
            chain_length=len(chain),
        )

    def _vouching(
        self, anchors: Sequence[TrustAnchor], chain: Sequence[_Certificate], now: datetime
    ) -> Sequence[TrustAnchor] | PathRefused:
        """The anchors that vouch for the chain's leaf; if none does, the refusal that came closest."""
        vouching: list[TrustAnchor] = []
        worst = PathRefused(Alert.UNKNOWN_CA, "no trusted CA has the issuer's name")
        for anchor in anchors:
            refusal = self._try_anchor(anchor, chain, now)
            if refusal is None:
                vouching.append(anchor)
            elif _PRECEDENCE.index(refusal.alert) >= _PRECEDENCE.index(worst.alert):
                worst = refusal
        return vouching or worst

    def _by_distance(self, vouching: Sequence[TrustAnchor], issuers: Sequence[bytes]) -> tuple[bytes, ...]:
        """Fingerprints in the order in which the presented chain names them as issuers, from the leaf up."""

        def distance(anchor: TrustAnchor) -> int:
            subject = self._authority(anchor.certificate_der).parsed.subject.public_bytes()
            return issuers.index(subject) if subject in issuers else len(issuers)

        nearest = sorted(vouching, key=distance) if len(vouching) > 1 else vouching
        return tuple(_unique(anchor.fingerprint for anchor in nearest))

    def _try_anchor(
        self, anchor: TrustAnchor, chain: Sequence[_Certificate], now: datetime
    ) -> PathRefused | None:
        """None if this anchor alone vouches for the chain's leaf."""
        leaf, *others = chain
        if anchor.certificate_der == leaf.der and not self._pin_leaf:
            return PathRefused(Alert.UNKNOWN_CA, "the leaf is itself the trusted CA")
        try:
            authority = self._authority(anchor.certificate_der)
            key = path_key(authority.fingerprint, (item.fingerprint for item in chain))
            if self._proven_paths.holds(key, now):
                return None
            store = _single_anchor_store(authority.handle, now)
            context = crypto.X509StoreContext(store, leaf.handle, [item.handle for item in others])
            if others:
                path = [handle.to_cryptography() for handle in context.get_verified_chain()]
            else:
                context.verify_certificate()
                path = [leaf.parsed, authority.parsed]
        except crypto.X509StoreContextError as error:
            return _refusal(error)
        except (*UNREADABLE, crypto.Error) as error:
            return PathRefused(Alert.UNKNOWN_CA, f"trusted CA cannot be used: {error}")
        for certificate in path[1:-1]:
            if objection := certificate_objection(certificate, self._purpose):
                return PathRefused(Alert.BAD_CERTIFICATE, f"intermediate: {objection}")
        self._proven_paths.note(key, path)
        return None


def fixed_anchors(certificates_der: Iterable[bytes]) -> AnchorFinder:
    """A finder over a fixed, small set of CAs: each is a candidate for every chain."""
    anchors = [
        TrustAnchor(fingerprint=hashlib.sha256(der).digest(), certificate_der=der) for der in certificates_der
    ]
    return lambda subjects, fingerprints: anchors


class _Certificate:
    """One certificate, as each of the two libraries wants it. Raises ValueError or crypto.Error."""

    def __init__(self, der: bytes) -> None:
        self.der = bytes(der)
        self.parsed = x509.load_der_x509_certificate(self.der)
        self.fingerprint = hashlib.sha256(self.der).digest()
        self._handle = der.handle if isinstance(der, ReadCertificate) else None

    @property
    def handle(self) -> crypto.X509:
        if self._handle is None:
            self._handle = crypto.load_certificate(crypto.FILETYPE_ASN1, self.der)
        return self._handle

    @property
    def issuer(self) -> bytes:
        return self.parsed.issuer.public_bytes()


def _single_anchor_store(anchor: crypto.X509, now: datetime) -> crypto.X509Store:
    store = crypto.X509Store()
    store.add_cert(anchor)
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)  # an anchor need not be self-signed
    store.set_time(now.astimezone(UTC))  # it drops the zone of what it is given
    return store


def _refusal(error: crypto.X509StoreContextError) -> PathRefused:
    code, depth, text = error.errors
    if code in _OUT_OF_VALIDITY:
        alert = Alert.CERTIFICATE_EXPIRED  # RFC 5246 §7.2.2: "has expired or is not currently valid"
    elif code in _NO_PATH:
        alert = Alert.UNKNOWN_CA
    else:
        alert = Alert.BAD_CERTIFICATE
    return PathRefused(alert, f"{text} (depth {depth})")


def _sole_text(certificate: x509.Certificate, attribute: x509.ObjectIdentifier) -> str:
    try:
        values = [item.value for item in certificate.subject.get_attributes_for_oid(attribute)]
    except UNREADABLE:
        return ""
    if len(values) != 1 or not isinstance(values[0], str) or not values[0].isprintable():
        return ""
    return values[0]


def _unique(values: Iterable[bytes]) -> list[bytes]:
    return list(dict.fromkeys(values))
