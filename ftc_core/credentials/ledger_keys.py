"""The keys that sign the ledger, in the data directory, and their public halves as PEM (Ed25519, RFC 8410).

`ledger.key` signs now. `ledger.pub` is the public half of the very first key: what verifiers keep, since all
later keys follow from it. A rotation writes `ledger.next.key`, has the new key entered in the store, and then
puts it in the place of the old one; if it is cut short between, the next use of the key ends it.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.errors import FtcError, Reason
from ftc_core.files import PRIVATE, read_file, replace_file, sync_directory, write_new_file

__all__ = ["LedgerKeyFiles", "public_key_pem", "read_public_key"]


class LedgerKeyFiles:
    """The signing key of one data directory."""

    def __init__(self, directory: DataDirectory) -> None:
        self._key = directory.key_file("ledger")
        self._next = directory.key_file("ledger.next")
        self._first = directory.ledger_public_key_file

    def create(self) -> None:
        """The first key. Raises FtcError FILE_EXISTS."""
        key = Ed25519PrivateKey.generate()
        write_new_file(self._key, _private_pem(key), PRIVATE)
        write_new_file(self._first, public_key_pem(key.public_key().public_bytes_raw()))

    def first_public_key(self) -> bytes:
        """Raw (32 bytes), of the very first key. Raises FtcError FILE_UNREADABLE."""
        return read_public_key(self._first)

    def held(self) -> list[bytes]:
        """Raw public halves of the private keys: the present one's, and that of a rotation not yet ended.

        Raises FtcError FILE_UNREADABLE.
        """
        files = [self._key, *([self._next] if self._next.exists() else [])]
        return [_read(file).public_key().public_bytes_raw() for file in files]

    def load(self, public_key: bytes) -> Ed25519PrivateKey:
        """The key with this raw public half, which the store has as its newest; ends a rotation cut short.

        Raises FtcError DATA_DIRECTORY_INCOMPATIBLE if the data directory does not have it, FILE_UNREADABLE.
        """
        key = _read(self._key)
        if key.public_key().public_bytes_raw() == public_key:
            return key
        if self._next.exists():
            following = _read(self._next)
            if following.public_key().public_bytes_raw() == public_key:
                self._next.replace(self._key)
                sync_directory(self._key.parent)
                return following
        raise FtcError(
            Reason.DATA_DIRECTORY_INCOMPATIBLE,
            f"{self._key} is not the newest key of the store's ledger: they do not belong together",
        )

    def pem_of(self, public_key: bytes) -> bytes | None:
        """The private key with this raw public half, if it is here, also in the middle of a rotation.

        Changes nothing. Raises FtcError FILE_UNREADABLE.
        """
        for path in (self._key, self._next, self._key):  # the next may have become the key meanwhile
            try:
                key = _read(path)
            except FtcError:
                if path == self._key:
                    raise
            else:
                if key.public_key().public_bytes_raw() == public_key:
                    return _private_pem(key)
        return None

    def prepare(self) -> Ed25519PrivateKey:
        """The next key, on disk beside the present one: `load` takes it once the store has it."""
        key = Ed25519PrivateKey.generate()
        replace_file(self._next, _private_pem(key), PRIVATE)
        return key


def public_key_pem(public_key: bytes) -> bytes:
    """A raw public key (32 bytes) as PEM, SubjectPublicKeyInfo (RFC 8410 §4)."""
    return Ed25519PublicKey.from_public_bytes(public_key).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def read_public_key(path: Path) -> bytes:
    """The raw public key in a PEM file. Raises FtcError FILE_UNREADABLE if there is none, or another kind."""
    try:
        key = serialization.load_pem_public_key(read_file(path))
    except (ValueError, TypeError) as error:
        raise FtcError(Reason.FILE_UNREADABLE, f"{path}: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise FtcError(Reason.FILE_UNREADABLE, f"{path} has no Ed25519 public key")
    return key.public_bytes_raw()


def _read(path: Path) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(read_file(path), password=None)
    except (ValueError, TypeError) as error:  # TypeError: an encrypted key
        raise FtcError(Reason.FILE_UNREADABLE, f"{path}: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise FtcError(Reason.FILE_UNREADABLE, f"{path} has no Ed25519 key")
    return key


def _private_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
