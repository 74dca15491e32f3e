"""What may be remembered of a path that was found good, and what must not."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from OpenSSL import crypto

from ftc_core.domain.certificate import TrustAnchor
from ftc_core.dtls.alert import Alert
from ftc_core.dtls.proven_paths import ProvenPaths, path_key
from ftc_core.dtls.trust import PathRefused, TrustEvaluator, VerifiedPath
from tests.certificates import Credential, Manufacturer, now

NOON = now()
DAY = timedelta(days=1)


def presented(device: Credential) -> list[bytes]:
    chain = [device.certificate, *device.intermediates]
    return [
        crypto.dump_certificate(crypto.FILETYPE_ASN1, crypto.X509.from_cryptography(one)) for one in chain
    ]


class Index:
    """Trusted CAs that come and go."""

    def __init__(self, *authorities: Manufacturer) -> None:
        self.authorities = list(authorities)
        self.evaluator = TrustEvaluator(lambda subjects, fingerprints: self._anchors())

    def judge(self, device: Credential, at: datetime = NOON) -> VerifiedPath | PathRefused:
        return self.evaluator.evaluate(presented(device), at)

    def _anchors(self) -> list[TrustAnchor]:
        return [TrustAnchor(fingerprint=bytes(32), certificate_der=one.der) for one in self.authorities]


@pytest.fixture
def signature_checks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each path that OpenSSL validated."""
    made: list[int] = []
    for name in ("verify_certificate", "get_verified_chain"):
        original = getattr(crypto.X509StoreContext, name)

        def counted(self: crypto.X509StoreContext, original: object = original) -> object:
            made.append(1)
            return original(self)  # type: ignore[operator]

        monkeypatch.setattr(crypto.X509StoreContext, name, counted)
    return made


def test_signatures_of_a_path_are_checked_once(signature_checks: list[int]) -> None:
    root = Manufacturer("Root")
    for authority in (root, Manufacturer("Lower", issuer=root)):
        device, index = authority.device("dev-1"), Index(root)
        before = len(signature_checks)
        first, second = index.judge(device), index.judge(device)
        assert isinstance(first, VerifiedPath)
        assert first == second
        assert len(signature_checks) - before == 1


def test_a_remembered_path_is_worth_nothing_without_its_ca(manufacturer: Manufacturer) -> None:
    index, device = Index(manufacturer), manufacturer.device("dev-1")
    assert isinstance(index.judge(device), VerifiedPath)
    index.authorities.clear()
    assert isinstance(index.judge(device), PathRefused)


def test_a_remembered_path_says_nothing_of_another_ca_of_that_name(manufacturer: Manufacturer) -> None:
    index, device = Index(manufacturer), manufacturer.device("dev-1")
    index.judge(device)
    index.authorities[:] = [Manufacturer("Test Devices CA")]
    refused = index.judge(device)
    assert isinstance(refused, PathRefused)
    assert refused.alert is Alert.BAD_CERTIFICATE


def test_a_remembered_path_says_nothing_of_another_certificate_with_that_key(
    manufacturer: Manufacturer,
) -> None:
    index, device = Index(manufacturer), manufacturer.device("dev-1")
    index.judge(device)
    impostor = Manufacturer("Test Devices CA").device("dev-1", key=device.private_key)
    assert isinstance(index.judge(impostor), PathRefused)


@pytest.mark.parametrize("short_lived", ["device", "intermediate", "root"])
def test_a_remembered_path_ends_with_the_first_of_its_certificates(short_lived: str) -> None:
    def until(what: str) -> datetime:
        return NOON + (DAY if what == short_lived else 9 * DAY)

    root = Manufacturer("Root", not_after=until("root"))
    lower = Manufacturer("Lower", issuer=root, not_after=until("intermediate"))
    index, device = Index(root), lower.device("dev-1", not_after=until("device"))
    assert isinstance(index.judge(device), VerifiedPath)
    assert isinstance(index.judge(device, NOON + DAY), VerifiedPath)
    for at in (NOON + DAY + timedelta(seconds=1), NOON - DAY):
        refused = index.judge(device, at)
        assert isinstance(refused, PathRefused)
        assert refused.alert is Alert.CERTIFICATE_EXPIRED
    assert isinstance(index.judge(device), VerifiedPath)


def test_a_refusal_is_not_remembered() -> None:
    late = Manufacturer("Late", not_before=NOON + DAY)
    index, device = Index(late), late.device("dev-1", not_before=NOON + DAY)
    assert isinstance(index.judge(device), PathRefused)
    assert isinstance(index.judge(device, NOON + 2 * DAY), VerifiedPath)


def test_the_paths_that_were_used_last_are_kept(manufacturer: Manufacturer) -> None:
    paths, path = ProvenPaths(limit=2), [manufacturer.certificate]
    for key in (b"a", b"b"):
        paths.note(key, path)
    assert paths.holds(b"a", NOON)
    paths.note(b"c", path)
    assert [paths.holds(key, NOON) for key in (b"a", b"b", b"c")] == [True, False, True]


def test_a_key_tells_what_was_presented_and_in_which_order() -> None:
    a, b, c = (bytes((number,)) * 32 for number in range(3))
    assert len({path_key(a, [b, c]), path_key(a, [c, b]), path_key(b, [a, c]), path_key(a, [b])}) == 4
