"""The data directory: where each key and secret of an instance lies, and who may use it.

    FORMAT              version of this layout
    ftc.toml            settings
    operator.key        the first operator's API key
    store/              the enrollment index (LMDB)
    bulk/               uploads of bulk jobs, one directory each
    pki/NAME.pem|.key   server-ca, bootstrap, lwm2m, grpc, issuing-ca
    pki/ledger.key|.pub what signs the ledger now; the first of its public keys (`ledger_keys`)
    secrets/            api-key-pepper, cookie-secret
    instance.lock       held by the running server

Material is read when it is first asked for, so that a process touches only the keys that it needs.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

from cryptography import x509

from ftc_core.credentials.pki import Identity
from ftc_core.errors import FtcError, Reason
from ftc_core.files import read_file

__all__ = ["FORMAT_VERSION", "SECRET_BYTES", "DataDirectory", "ServerName"]

FORMAT_VERSION: Final = "2"
"""Version of the layout above; another one is refused."""
SECRET_BYTES: Final = 32
"""Length of each random secret: a full HMAC-SHA-256 key (RFC 2104 §3)."""

ServerName = Literal["bootstrap", "lwm2m", "grpc"]


class DataDirectory:
    """Paths and material under `root`. The constructor touches nothing; `open` checks."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = root / "store"
        self.bulk = root / "bulk"
        self.pki = root / "pki"
        self.secrets = root / "secrets"
        self.operator_key = root / "operator.key"
        self.config_file = root / "ftc.toml"
        self.format_file = root / "FORMAT"
        self.server_ca_file = self.certificate_file("server-ca")
        self.ledger_public_key_file = self.pki / "ledger.pub"
        self.api_key_pepper_file = self.secrets / "api-key-pepper"
        self.cookie_secret_file = self.secrets / "cookie-secret"
        self._lock_file = root / "instance.lock"

    @classmethod
    def open(cls, root: Path) -> DataDirectory:
        """The directory made by `ftc init`.

        Raises FtcError DATA_DIRECTORY_MISSING if there is none, DATA_DIRECTORY_INCOMPATIBLE if it has
        another layout.
        """
        directory = cls(root)
        if not directory.format_file.is_file():
            what = "is not a data directory" if root.exists() else "does not exist"
            raise FtcError(Reason.DATA_DIRECTORY_MISSING, f"no data directory: {root} {what}")
        found = read_file(directory.format_file).decode(errors="replace").strip()
        if found != FORMAT_VERSION:
            raise FtcError(
                Reason.DATA_DIRECTORY_INCOMPATIBLE,
                f"{root} has format {found!r}; this version reads {FORMAT_VERSION!r}",
            )
        return directory

    def certificate_file(self, name: str) -> Path:
        """The PEM certificate of `name` ("server-ca", "bootstrap", …)."""
        return self.pki / f"{name}.pem"

    def key_file(self, name: str) -> Path:
        """The PEM private key of `name`."""
        return self.pki / f"{name}.key"

    @cached_property
    def server_ca(self) -> x509.Certificate:
        """What devices and API clients trust. Raises FtcError FILE_UNREADABLE."""
        path = self.server_ca_file
        try:
            return x509.load_pem_x509_certificate(read_file(path))
        except ValueError as error:
            raise FtcError(Reason.FILE_UNREADABLE, f"{path}: {error}") from error

    def server_ca_identity(self) -> Identity:
        """The same with its key, which signs nothing but our servers' certificates. Raises the same."""
        return self._identity("server-ca")

    @cached_property
    def issuing_ca(self) -> Identity:
        """The CA of the LwM2M client certificates. Raises FtcError FILE_UNREADABLE."""
        return self._identity("issuing-ca")

    def server_identity(self, name: ServerName) -> Identity:
        """The certificate and key of one of our servers. Raises FtcError FILE_UNREADABLE."""
        return self._identity(name)

    @cached_property
    def api_key_pepper(self) -> bytes:
        """The key under which API keys are hashed. Raises FtcError FILE_UNREADABLE."""
        return _secret(self.api_key_pepper_file)

    @cached_property
    def cookie_secret(self) -> bytes:
        """The key of the stateless DTLS cookies, shared by all workers. Raises FtcError FILE_UNREADABLE."""
        return _secret(self.cookie_secret_file)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the directory for one instance, until the block or the process ends, however it ends.

        Raises FtcError DATA_DIRECTORY_IN_USE, naming the holder.
        """
        descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
                raise FtcError(
                    Reason.DATA_DIRECTORY_IN_USE,
                    f"data directory {self.root} is in use by another instance (process {holder})",
                ) from None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            # The file stays: unlinking it would let two instances hold locks on two files of one name.
            os.close(descriptor)

    def is_in_use(self) -> bool:
        """Whether an instance holds the directory now. Nothing is written, and nobody kept from starting."""
        try:
            descriptor = os.open(self._lock_file, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _identity(self, name: str) -> Identity:
        certificate, key = self.certificate_file(name), self.key_file(name)
        try:
            return Identity.from_pem(read_file(certificate), read_file(key))
        except (ValueError, TypeError) as error:  # TypeError: an encrypted key
            raise FtcError(Reason.FILE_UNREADABLE, f"{certificate}, {key}: {error}") from error


def _secret(path: Path) -> bytes:
    secret = read_file(path)
    if len(secret) != SECRET_BYTES:
        raise FtcError(Reason.FILE_UNREADABLE, f"{path} has {len(secret)} bytes, expected {SECRET_BYTES}")
    return secret
