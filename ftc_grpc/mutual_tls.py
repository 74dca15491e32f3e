"""Client certificates of the API: which CAs they come from, and whom they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from ftc_core.client_identity import ClientIdentity
from ftc_core.errors import FtcError, Reason
from ftc_core.files import read_file
from ftc_core.settings import Settings

__all__ = ["MutualTls"]


@dataclass(frozen=True, slots=True)
class MutualTls:
    """The CAs of client certificates (PEM, one or more), and the identities by their URI."""

    client_ca_pem: bytes
    identities: Mapping[str, ClientIdentity]

    @classmethod
    def from_settings(cls, settings: Settings) -> MutualTls | None:
        """What the settings say; None if they give it no port.

        Raises FtcError FILE_UNREADABLE, or SETTING_INVALID if the file holds anything but CA certificates.
        """
        if settings.mtls_listen is None or settings.mtls_client_ca is None:
            return None
        pem = read_file(settings.mtls_client_ca)
        _check_authorities(pem, settings.mtls_client_ca)
        return cls(pem, {identity.uri: identity for identity in settings.mtls_identities})


def _check_authorities(pem: bytes, path: Path) -> None:
    try:
        certificates = x509.load_pem_x509_certificates(pem)
        plain = [each.subject.rfc4514_string() for each in certificates if not _is_authority(each)]
    except ValueError as error:
        raise _invalid(f"{path} holds no certificates in PEM: {error}") from error
    if plain:
        raise _invalid(f"{path}: {plain[0]} is not the certificate of a CA")


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _invalid(cause: str) -> FtcError:
    return FtcError(Reason.SETTING_INVALID, f"setting mtls_client_ca: {cause}", field="mtls_client_ca")
