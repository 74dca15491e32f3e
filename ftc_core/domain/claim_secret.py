"""Claim secrets: what a device proves beside its certificate before its first owner gets it.

docs/decisions/0008-claim-secret.md has the design: the secret is known to device and buyer; an enrollment
keeps the verifier that is derived from it; the proof is bound to the association over which it is sent.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ftc_core.errors import FtcError, Reason

__all__ = [
    "CHANNEL_BINDING_BYTES",
    "NEW_SECRET_BYTES",
    "claim_proof",
    "claim_verifier",
    "format_claim_secret",
    "proves",
    "read_claim_secret",
]

CHANNEL_BINDING_BYTES = 32
"""Of keying material that is exported from an association for its proofs."""
NEW_SECRET_BYTES = 20
"""Random bytes of a secret that the factory makes: 32 characters."""

_FORM = re.compile(r"[A-Za-z2-7]{26,64}")
_DISTINCT_MIN = 8
"""Of 26 random characters fewer differ once in 10¹³ times."""
_IGNORED = str.maketrans("", "", " -\t\r\n")
_VERIFIER_INFO = b"ftc-claim-secret-1"
_PROOF_CONTEXT = b"ftc-claim-1\x00"
_PROOF_VERSION = "1."
_PROOF_BYTES = 16
"""Of an HMAC-SHA-256: half of it is the least that RFC 2104 §5 allows."""


def format_claim_secret(random_bytes: bytes) -> str:
    """The secret that NEW_SECRET_BYTES random bytes make, in base32 (RFC 4648 §6)."""
    return base64.b32encode(random_bytes).decode()


def read_claim_secret(text: str, *, field: str) -> str:
    """The secret in `text`, as it is hashed: blanks and hyphens left out, in upper case.

    Raises FtcError FIELD_INVALID, which does not repeat it, unless it is 26 to 64 characters of base32, of
    which enough differ.
    """
    secret = text.translate(_IGNORED)
    if _FORM.fullmatch(secret) is None:
        raise FtcError(
            Reason.FIELD_INVALID, f"{field} is not 26 to 64 characters of A-Z and 2-7", field=field
        )
    secret = secret.upper()
    if len(set(secret)) < _DISTINCT_MIN:
        raise FtcError(
            Reason.FIELD_INVALID, f"{field} has too few different characters to be random", field=field
        )
    return secret


def claim_verifier(secret: str, fingerprint: bytes) -> bytes:
    """What is stored of a secret, as `read_claim_secret` gives it, for one device certificate: 32 bytes."""
    derivation = HKDF(SHA256(), length=32, salt=fingerprint, info=_VERIFIER_INFO)
    return derivation.derive(secret.encode())


def claim_proof(verifier: bytes, fingerprint: bytes, channel_binding: bytes) -> str:
    """The proof for one association, as it stands in a Bootstrap-Request."""
    mac = hmac.digest(verifier, _PROOF_CONTEXT + fingerprint + channel_binding, hashlib.sha256)
    return _PROOF_VERSION + base64.urlsafe_b64encode(mac[:_PROOF_BYTES]).rstrip(b"=").decode()


def proves(proof: str, verifier: bytes, fingerprint: bytes, channel_binding: bytes) -> bool:
    """Whether `proof`, whatever it is, shows the secret over this association. Takes constant time.

    An association without binding proves nothing.
    """
    if len(channel_binding) != CHANNEL_BINDING_BYTES:
        return False
    expected = claim_proof(verifier, fingerprint, channel_binding)
    return hmac.compare_digest(expected.encode(), proof.encode(errors="replace"))
