"""Enrollment IDs and resource identifiers.

An enrollment ID is the version prefix `A-` and the SHA-256 of the DER device bootstrap certificate as 32
hex octets joined by `:` (95 characters after the prefix's two: 97 in all). Either case is accepted; it is
held as 32 bytes and printed in upper case (PRODUCT §1).
"""

from __future__ import annotations

import hashlib
import re

from ftc_core.errors import FtcError, Reason

__all__ = [
    "fingerprint_of",
    "format_enrollment_id",
    "is_enrollment_id",
    "is_resource_id",
    "parse_enrollment_id",
]

SUPPORTED_VERSION = "A"
_SHAPE = re.compile(r"([A-Za-z])-(.*)", re.DOTALL)
_OCTETS = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){31}")
_RESOURCE_ID = re.compile(r"[0-9a-f]{32}")


def fingerprint_of(certificate_der: bytes) -> bytes:
    """The SHA-256 of a DER certificate: 32 bytes."""
    return hashlib.sha256(certificate_der).digest()


def format_enrollment_id(fingerprint: bytes) -> str:
    """`A-AD:1E:…` for a 32-byte fingerprint."""
    if len(fingerprint) != 32:
        raise ValueError(f"a fingerprint has 32 bytes, not {len(fingerprint)}")
    return f"{SUPPORTED_VERSION}-{fingerprint.hex(':').upper()}"


def is_enrollment_id(text: str) -> bool:
    """Whether `text` is an enrollment ID of the version that is supported, its letter in upper case."""
    return text.startswith(f"{SUPPORTED_VERSION}-") and _OCTETS.fullmatch(text[2:]) is not None


def parse_enrollment_id(text: str, *, field: str = "enrollment_identity") -> bytes:
    """The 32-byte fingerprint in an enrollment ID of either case.

    Raises FtcError ENROLLMENT_ID_VERSION_UNSUPPORTED for another version letter, and
    ENROLLMENT_ID_INVALID for anything else that is wrong, saying what.
    """
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise FtcError(
            Reason.ENROLLMENT_ID_INVALID,
            "enrollment ID does not begin with a version letter and '-'",
            field=field,
        )
    version, octets = shape.groups()
    if version.upper() != SUPPORTED_VERSION:
        raise FtcError(
            Reason.ENROLLMENT_ID_VERSION_UNSUPPORTED,
            f"enrollment ID version '{version}' is not supported; supported: {SUPPORTED_VERSION}",
            field=field,
        )
    if len(octets) != 95:
        raise FtcError(
            Reason.ENROLLMENT_ID_INVALID,
            f"enrollment ID has {len(octets)} characters after 'A-', "
            "expected 95 (32 hex octets joined by ':')",
            field=field,
        )
    if _OCTETS.fullmatch(octets) is None:
        raise FtcError(
            Reason.ENROLLMENT_ID_INVALID, "enrollment ID is not 32 hex octets joined by ':'", field=field
        )
    return bytes.fromhex(octets.replace(":", ""))


def is_resource_id(text: str) -> bool:
    """Whether `text` has the form of our identifiers: 32 lower-case hex characters (UUIDv7, no hyphens)."""
    return _RESOURCE_ID.fullmatch(text) is not None
