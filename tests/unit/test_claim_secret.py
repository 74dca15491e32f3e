"""Claim secrets: their form, what is stored of one, and the proof."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from ftc_core.domain.claim_secret import (
    CHANNEL_BINDING_BYTES,
    NEW_SECRET_BYTES,
    claim_proof,
    claim_verifier,
    format_claim_secret,
    proves,
    read_claim_secret,
)
from ftc_core.errors import FtcError, Reason
from tests.certificates import Manufacturer
from tests.dtls_pair import Pair, client_for, device_verifier
from tests.unit.test_dtls_resumption import known

SECRET = format_claim_secret(bytes(range(NEW_SECRET_BYTES)))
FINGERPRINT = hashlib.sha256(b"device").digest()
BINDING = bytes(range(CHANNEL_BINDING_BYTES))


def bindings(pair: Pair) -> tuple[bytes, bytes]:
    """What the device's end and the server's have of their association."""
    return pair.client_events[0].path.channel_binding, pair.server_handshake().path.channel_binding  # type: ignore[union-attr]


# --- the form --------------------------------------------------------------------------------------


def test_a_secret_of_the_factory_has_32_characters_and_is_read_as_it_is_written() -> None:
    assert SECRET == "AAAQEAYEAUDAOCAJBIFQYDIOB4IBCEQT"
    assert read_claim_secret(SECRET, field="claim_secret") == SECRET


def test_a_secret_that_was_typed_from_a_label_is_the_same() -> None:
    typed = " aaaq eaye-audaocaj\tbifqydiob4ibceqt\n"
    assert read_claim_secret(typed, field="claim_secret") == SECRET


@pytest.mark.parametrize(
    "bad",
    [
        "",
        SECRET[:25],
        SECRET * 2 + "A",
        SECRET.replace("A", "0"),
        SECRET[:-1] + "é",
        SECRET[:-1] + "ß",  # two letters in upper case
        "ABCDEFG" * 4,
    ],
)
def test_what_is_no_secret_is_refused_without_repeating_it(bad: str) -> None:
    with pytest.raises(FtcError) as refusal:
        read_claim_secret(bad, field="claim_secret")
    assert (refusal.value.reason, refusal.value.field) == (Reason.FIELD_INVALID, "claim_secret")
    assert not bad or bad not in refusal.value.message


# --- verifier and proof ----------------------------------------------------------------------------


def test_the_verifier_is_that_of_the_decision_record() -> None:
    # RFC 5869 §2, with HMAC alone: one block of output.
    extracted = hmac.digest(FINGERPRINT, SECRET.encode(), "sha256")
    assert claim_verifier(SECRET, FINGERPRINT) == hmac.digest(extracted, b"ftc-claim-secret-1\x01", "sha256")


def test_the_proof_is_that_of_the_decision_record() -> None:
    # (printf 'ftc-claim-1\0'; head -c 64 /dev/zero) | openssl dgst -sha256 -mac HMAC \
    #   -macopt hexkey:<64 zeros> -binary | head -c 16 | base64
    assert claim_proof(bytes(32), bytes(32), bytes(32)) == "1.3pPtORls_gkGVcS7uCS7uQ"
    assert len(claim_proof(claim_verifier(SECRET, FINGERPRINT), FINGERPRINT, BINDING)) == 24


def test_one_secret_makes_another_verifier_for_each_device() -> None:
    other = hashlib.sha256(b"another").digest()
    assert claim_verifier(SECRET, FINGERPRINT) != claim_verifier(SECRET, other)


def test_a_proof_holds_for_its_secret_its_device_and_its_association_alone() -> None:
    verifier = claim_verifier(SECRET, FINGERPRINT)
    proof = claim_proof(verifier, FINGERPRINT, BINDING)
    assert proves(proof, verifier, FINGERPRINT, BINDING)
    assert not proves(proof, claim_verifier(SECRET[::-1], FINGERPRINT), FINGERPRINT, BINDING)
    assert not proves(proof, verifier, hashlib.sha256(b"another").digest(), BINDING)
    assert not proves(proof, verifier, FINGERPRINT, bytes(CHANNEL_BINDING_BYTES))
    for changed in ("", proof[:-1], proof + "A", proof.swapcase(), "2" + proof[1:]):
        assert not proves(changed, verifier, FINGERPRINT, BINDING)


def test_nothing_is_proved_without_a_binding() -> None:
    verifier = claim_verifier(SECRET, FINGERPRINT)
    for short in (b"", BINDING[:-1]):
        assert not proves(claim_proof(verifier, FINGERPRINT, short), verifier, FINGERPRINT, short)


# --- the binding -----------------------------------------------------------------------------------


def test_both_ends_have_the_same_binding_and_no_other_association_has_it(manufacturer: Manufacturer) -> None:
    device = manufacturer.device("dev-1")
    seen = set()
    for _ in range(3):
        ours, theirs = bindings(Pair(client_for(device), device_verifier(manufacturer)).run())
        assert ours == theirs
        assert len(ours) == CHANNEL_BINDING_BYTES
        seen.add(ours)
    assert len(seen) == 3


def test_a_resumed_session_has_a_binding_of_its_own(manufacturer: Manufacturer) -> None:
    device = known(manufacturer)
    first, second = device.connect(), device.connect()
    assert first.accepted.resumed
    assert second.accepted.resumed
    assert bindings(first)[0] == bindings(first)[1]
    assert bindings(first) != bindings(second)
