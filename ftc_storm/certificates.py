"""Bootstrap certificates for tens of thousands of devices, made once and kept.

A certificate costs a signature, some 50 µs; they are made by all cores and kept in a file per seed and CA, so
that the next storm starts at once, with the same identities. The devices of a CA share a small pool of keys:
a server never compares keys, and its work per handshake is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_der_private_key

from ftc_core.credentials.pki import Identity, create_authority, private_key_der
from ftc_core.factory.device_certificate import DeviceCertificateIssuer
from ftc_core.files import PRIVATE, replace_file

__all__ = ["Batch", "CertificateCache"]

_VALIDITY = timedelta(days=365)
_RENEWAL = timedelta(days=1)
"""A batch that ends within this time is made anew."""
_POOL_KEYS = 64
_CHUNK = 5_000
"""Certificates that a process makes at a time; fewer are not worth a process of their own."""
_FORMAT = "1"


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Certificates in DER under one CA (its certificate and key in PEM), device `i` with key `i % len(keys)`.

    `keys` are PKCS#8 in DER. Their names are `endpoint_name(prefix, i)`.
    """

    prefix: str
    authority_certificate: bytes
    authority_key: bytes
    not_after: datetime
    keys: tuple[bytes, ...]
    certificates: tuple[bytes, ...] = ()

    @property
    def authority(self) -> Identity:
        """The CA."""
        return Identity.from_pem(self.authority_certificate, self.authority_key)

    def endpoint_name(self, index: int) -> str:
        """The name (CN) of a device."""
        return f"{self.prefix}-{index + 1:06d}"


class CertificateCache:
    """Batches in a directory, which is made if need be; the files hold private keys: for their owner."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def batch(self, prefix: str, seed: int, count: int, *, now: datetime, processes: int) -> Batch:
        """At least `count` certificates of the CA for this prefix and seed, made by up to `processes`."""
        file = self._directory / f"{_FORMAT}-{prefix}-{seed}.msgpack"
        batch = _load(file)
        if batch is None or batch.not_after - now < _RENEWAL:
            batch = _new_batch(prefix, now)
        missing = range(len(batch.certificates), count)
        if missing:
            made = _issue_all(batch, missing, now, processes)
            batch = msgspec.structs.replace(batch, certificates=(*batch.certificates, *made))
            self._directory.mkdir(parents=True, exist_ok=True)
            replace_file(file, msgspec.msgpack.encode(batch), PRIVATE)
        return batch


def _load(file: Path) -> Batch | None:
    try:
        return msgspec.msgpack.decode(file.read_bytes(), type=Batch)
    except (FileNotFoundError, msgspec.DecodeError, msgspec.ValidationError):
        return None


def _new_batch(prefix: str, now: datetime) -> Batch:
    authority = create_authority(f"{prefix} manufacturer", now=now, validity=_VALIDITY)
    keys = (ec.generate_private_key(ec.SECP256R1()) for _ in range(_POOL_KEYS))
    return Batch(
        prefix=prefix,
        authority_certificate=authority.certificate_pem,
        authority_key=authority.private_key_pem,
        not_after=authority.certificate.not_valid_after_utc,
        keys=tuple(map(private_key_der, keys)),
    )


def _issue_all(batch: Batch, indices: range, now: datetime, processes: int) -> list[bytes]:
    chunks = [indices[start : start + _CHUNK] for start in range(0, len(indices), _CHUNK)]
    if processes == 1 or len(chunks) == 1:
        return [der for chunk in chunks for der in _issue(batch, chunk, now)]
    bare = msgspec.structs.replace(batch, certificates=())
    with ProcessPoolExecutor(min(processes, len(chunks)), mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(_issue, bare, chunk, now) for chunk in chunks]
        return [der for job in jobs for der in job.result()]


def _issue(batch: Batch, indices: Sequence[int], now: datetime) -> list[bytes]:
    issuer = DeviceCertificateIssuer(batch.authority, now=now, validity=_VALIDITY)
    keys = [load_der_private_key(der, password=None) for der in batch.keys]
    made = []
    for index in indices:
        key = keys[index % len(keys)]
        assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101 - `_new_batch` made it
        certificate = issuer.certify(batch.endpoint_name(index), key.public_key())
        made.append(certificate.public_bytes(Encoding.DER))
    return made
