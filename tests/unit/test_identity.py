"""Enrollment IDs and resource IDs."""

from __future__ import annotations

import hashlib

import pytest

from ftc_core.domain.identity import (
    fingerprint_of,
    format_enrollment_id,
    is_resource_id,
    parse_enrollment_id,
)
from ftc_core.errors import FtcError, Reason

FINGERPRINT = bytes(range(0xE0, 0x100))
OCTETS = "E0:E1:E2:E3:E4:E5:E6:E7:E8:E9:EA:EB:EC:ED:EE:EF:F0:F1:F2:F3:F4:F5:F6:F7:F8:F9:FA:FB:FC:FD:FE:FF"


def refusal(text: str) -> FtcError:
    with pytest.raises(FtcError) as caught:
        parse_enrollment_id(text, field="the_field")
    assert caught.value.field == "the_field"
    return caught.value


def test_a_fingerprint_is_the_sha_256_of_the_der() -> None:
    assert fingerprint_of(b"DER") == hashlib.sha256(b"DER").digest()


def test_an_enrollment_id_is_printed_in_upper_case() -> None:
    assert format_enrollment_id(FINGERPRINT) == f"A-{OCTETS}"
    assert len(format_enrollment_id(FINGERPRINT)) == 2 + 95


@pytest.mark.parametrize("length", [0, 31, 33])
def test_only_32_bytes_make_an_enrollment_id(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        format_enrollment_id(bytes(length))


@pytest.mark.parametrize("text", [f"A-{OCTETS}", f"a-{OCTETS.lower()}", f"A-{OCTETS.title()}"])
def test_either_case_is_read(text: str) -> None:
    assert parse_enrollment_id(text) == FINGERPRINT


@pytest.mark.parametrize(("letter", "rest"), [("B", OCTETS), ("b", OCTETS), ("Z", "anything"), ("C", "")])
def test_another_version_is_named_in_its_refusal(letter: str, rest: str) -> None:
    error = refusal(f"{letter}-{rest}")
    assert error.reason is Reason.ENROLLMENT_ID_VERSION_UNSUPPORTED
    assert error.message == f"enrollment ID version '{letter}' is not supported; supported: A"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "does not begin with a version letter"),
        (OCTETS, "does not begin with a version letter"),
        (f"A{OCTETS}", "does not begin with a version letter"),
        (f" A-{OCTETS}", "does not begin with a version letter"),
        (f"1-{OCTETS}", "does not begin with a version letter"),
        (f"Ä-{OCTETS}", "does not begin with a version letter"),
        ("A-", "has 0 characters after 'A-', expected 95"),
        (f"A-{OCTETS[:-3]}", "has 92 characters"),
        (f"A-{OCTETS}:00", "has 98 characters"),
        (f"A-{OCTETS}\n", "has 96 characters"),
        (f"A-{OCTETS.replace(':', '')}", "has 64 characters"),
        (f"A-{OCTETS.replace(':', '-')}", "is not 32 hex octets"),
        (f"A-{OCTETS.replace('E0', 'G0')}", "is not 32 hex octets"),
        (f"A-{OCTETS.replace('E0', '٠٠')}", "is not 32 hex octets"),
        (f"A-{OCTETS[1:]}:", "is not 32 hex octets"),
        (f"A-{OCTETS[:-1]}\n", "is not 32 hex octets"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    error = refusal(text)
    assert error.reason is Reason.ENROLLMENT_ID_INVALID
    assert said in error.message


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("0123456789abcdef" * 2, True),
        ("0123456789ABCDEF" * 2, False),
        ("0" * 31, False),
        ("0" * 33, False),
        ("0" * 31 + "g", False),
        ("0" * 32 + "\n", False),
        ("٠" * 32, False),
        ("00000000-0000-0000-0000-000000000000", False),
        ("", False),
    ],
)
def test_a_resource_id_is_32_lower_case_hex_characters(text: str, valid: bool) -> None:
    assert is_resource_id(text) is valid
