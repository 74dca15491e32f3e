"""Certificates of a fleet: made once, found again, made anew in time."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key

from ftc_core.application.context import utc_now
from ftc_storm.certificates import CertificateCache

NOW = utc_now()


def test_each_device_has_a_certificate_of_its_name_and_of_a_key_of_the_pool(tmp_path: Path) -> None:
    batch = CertificateCache(tmp_path).batch("storm", 1, 70, now=NOW, processes=1)
    assert len(set(batch.certificates)) == 70
    for index in (0, 69):
        certificate = x509.load_der_x509_certificate(batch.certificates[index])
        key = load_der_private_key(batch.keys[index % len(batch.keys)], password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        assert certificate.public_key() == key.public_key()
        assert certificate.subject.rfc4514_string() == f"CN={batch.endpoint_name(index)}"
        certificate.verify_directly_issued_by(batch.authority.certificate)


def test_a_larger_storm_keeps_the_identities_of_a_smaller_one(tmp_path: Path) -> None:
    cache = CertificateCache(tmp_path / "made" / "here")
    small = cache.batch("storm", 1, 10, now=NOW, processes=1)
    large = cache.batch("storm", 1, 20, now=NOW, processes=1)
    assert large.certificates[:10] == small.certificates
    assert cache.batch("storm", 1, 5, now=NOW, processes=1) == large


def test_seeds_and_cas_are_kept_apart(tmp_path: Path) -> None:
    cache = CertificateCache(tmp_path)
    batches = [cache.batch(*which, 1, now=NOW, processes=1) for which in (("a", 1), ("a", 2), ("b", 1))]
    assert len({batch.authority_certificate for batch in batches}) == 3


def test_a_batch_about_to_expire_or_damaged_is_made_anew(tmp_path: Path) -> None:
    cache = CertificateCache(tmp_path)
    old = cache.batch("storm", 1, 3, now=NOW - timedelta(days=364, hours=1), processes=1)
    new = cache.batch("storm", 1, 3, now=NOW, processes=1)
    assert not set(old.certificates) & set(new.certificates)
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o077 == 0
    file.write_bytes(file.read_bytes()[:100])
    assert len(cache.batch("storm", 1, 3, now=NOW, processes=1).certificates) == 3


def test_two_processes_make_as_many_as_one(tmp_path: Path) -> None:
    batch = CertificateCache(tmp_path).batch("storm", 1, 5_003, now=NOW, processes=2)
    names = {x509.load_der_x509_certificate(der).subject.rfc4514_string() for der in batch.certificates}
    assert names == {f"CN={batch.endpoint_name(index)}" for index in range(5_003)}
