"""The manufacturer's CA: `ca.pem` for the customers, `ca.key` for the factory only."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from cryptography import x509

from ftc_core.credentials.pki import Identity, create_authority
from ftc_core.dtls.profile import UNREADABLE
from ftc_core.errors import FtcError, Reason
from ftc_core.files import PRIVATE, read_file, remove_file, write_new_file

__all__ = [
    "CERTIFICATE_FILE_NAME",
    "KEY_FILE_NAME",
    "create_factory_ca",
    "find_factory_ca",
    "load_factory_ca",
]

CERTIFICATE_FILE_NAME = "ca.pem"
KEY_FILE_NAME = "ca.key"


def create_factory_ca(directory: Path, *, name: str, now: datetime) -> Identity:
    """Make a CA called `name` (1 to 64 characters) and write it to `directory`, which is made if needed.

    Raises FtcError FILE_EXISTS if a CA is there already, FIELD_INVALID for the name.
    """
    certificate, key = directory / CERTIFICATE_FILE_NAME, directory / KEY_FILE_NAME
    for path in (certificate, key):
        if path.exists():
            raise FtcError(Reason.FILE_EXISTS, f"{path} exists; a CA is never overwritten")
    try:
        authority = create_authority(name, now=now)
    except ValueError as error:
        raise FtcError(Reason.FIELD_INVALID, f"CA name: {error}", field="name") from error
    directory.mkdir(parents=True, exist_ok=True)
    # The key first: a certificate without its key would look like a CA that was handed out.
    write_new_file(key, authority.private_key_pem, PRIVATE)
    try:
        write_new_file(certificate, authority.certificate_pem)
    except BaseException:
        remove_file(key)  # alone it would be no CA, and keep one from being made here
        raise
    return authority


def load_factory_ca(directory: Path) -> Identity:
    """The CA in `directory`. Raises FtcError FILE_UNREADABLE, CERTIFICATE_NOT_CA."""
    certificate, key = directory / CERTIFICATE_FILE_NAME, directory / KEY_FILE_NAME
    try:
        authority = Identity.from_pem(read_file(certificate), read_file(key))
        constraints = authority.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound as error:
        raise FtcError(Reason.CERTIFICATE_NOT_CA, f"{certificate} is not a CA certificate") from error
    except UNREADABLE as error:  # also an encrypted key
        raise FtcError(Reason.FILE_UNREADABLE, f"{certificate}, {key}: {error}") from error
    if not constraints.ca:
        raise FtcError(Reason.CERTIFICATE_NOT_CA, f"{certificate} is not a CA certificate")
    return authority


def find_factory_ca(candidates: tuple[Path, ...]) -> Identity:
    """The CA in the first of the `candidates` that holds a CA key.

    Raises FtcError FILE_UNREADABLE, saying where it looked and how to make one.
    """
    for directory in candidates:
        if (directory / KEY_FILE_NAME).exists():
            return load_factory_ca(directory)
    places = ", ".join(str(directory / KEY_FILE_NAME) for directory in candidates)
    raise FtcError(
        Reason.FILE_UNREADABLE, f"no factory CA (looked for {places}); make one with `ftc factory init-ca`"
    )
