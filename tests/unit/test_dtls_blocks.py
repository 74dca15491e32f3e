"""Blocked certificates on a path: refused with an alert of their own, whatever was found good before."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from ftc_core.dtls.alert import Alert
from ftc_core.dtls.trust import PathRefused, TrustEvaluator, VerifiedPath, fixed_anchors
from ftc_core.errors import Reason
from tests.certificates import Credential, Manufacturer, now


def sha256(der: bytes) -> bytes:
    return hashlib.sha256(der).digest()


class Blocklist:
    """A verifier that trusts `anchors`, and what it refuses at the moment."""

    def __init__(self, *anchors: Manufacturer) -> None:
        self.blocked: set[bytes] = set()
        finder = fixed_anchors(one.der for one in anchors)
        self._evaluator = TrustEvaluator(finder, find_blocked=self._find)

    def block(self, der: bytes) -> None:
        self.blocked.add(sha256(der))

    def judge(self, device: Credential) -> VerifiedPath | PathRefused:
        chain = [device.der, *(one.public_bytes(Encoding.DER) for one in device.intermediates)]
        return self._evaluator.evaluate(chain, now())

    def refusal(self, device: Credential) -> tuple[Alert, Reason] | None:
        verdict = self.judge(device)
        return (verdict.alert, verdict.reason) if isinstance(verdict, PathRefused) else None

    def _find(self, fingerprints: Sequence[bytes]) -> set[bytes]:
        return self.blocked.intersection(fingerprints)


DEVICE_BLOCKED = (Alert.CERTIFICATE_REVOKED, Reason.DEVICE_BLOCKED)
CERTIFICATE_BLOCKED = (Alert.CERTIFICATE_REVOKED, Reason.CERTIFICATE_BLOCKED)
UNKNOWN_CA = (Alert.UNKNOWN_CA, Reason.CA_NOT_UPLOADED)


@pytest.fixture
def root() -> Manufacturer:
    return Manufacturer("Root")


@pytest.fixture
def lower(root: Manufacturer) -> Manufacturer:
    return Manufacturer("Lower", issuer=root)


def test_a_blocked_device_is_refused_until_its_block_is_lifted(root: Manufacturer) -> None:
    blocklist, device = Blocklist(root), root.device("dev-1")
    assert blocklist.refusal(device) is None
    blocklist.block(device.der)
    assert blocklist.refusal(device) == DEVICE_BLOCKED
    assert blocklist.refusal(root.device("dev-2")) is None
    blocklist.blocked.clear()
    assert blocklist.refusal(device) is None


def test_a_blocked_device_costs_no_signature_check(root: Manufacturer) -> None:
    blocklist = Blocklist()
    device = root.device("dev-1")
    blocklist.block(device.der)
    assert blocklist.refusal(device) == DEVICE_BLOCKED  # although nothing here trusts its CA


def test_a_blocked_ca_vouches_for_nothing(root: Manufacturer) -> None:
    blocklist, device = Blocklist(root), root.device("dev-1")
    assert blocklist.refusal(device) is None
    blocklist.block(root.der)
    assert blocklist.refusal(device) == CERTIFICATE_BLOCKED


def test_a_blocked_intermediate_spoils_the_path_through_it(root: Manufacturer, lower: Manufacturer) -> None:
    blocklist, device = Blocklist(root), lower.device("dev-1")
    assert blocklist.refusal(device) is None
    blocklist.block(lower.der)
    assert blocklist.refusal(device) == CERTIFICATE_BLOCKED
    assert blocklist.refusal(root.device("dev-2")) is None


def test_a_blocked_root_leaves_those_who_trust_the_intermediate(
    root: Manufacturer, lower: Manufacturer
) -> None:
    blocklist, device = Blocklist(root, lower), lower.device("dev-1")
    blocklist.block(root.der)
    verdict = blocklist.judge(device)
    assert isinstance(verdict, VerifiedPath)
    assert verdict.issuing_cas == (sha256(lower.der),)


def test_an_untrusted_device_is_told_so_whatever_else_it_presents(root: Manufacturer) -> None:
    other = Manufacturer("Other")
    blocklist = Blocklist(root)
    blocklist.block(root.der)
    assert blocklist.refusal(other.device("dev-1")) == UNKNOWN_CA


def test_issuing_cas_are_told_from_the_leaf_up(root: Manufacturer, lower: Manufacturer) -> None:
    for anchors in ((root, lower), (lower, root)):
        verdict = Blocklist(*anchors).judge(lower.device("dev-1"))
        assert isinstance(verdict, VerifiedPath)
        assert verdict.issuing_cas == (sha256(lower.der), sha256(root.der))
