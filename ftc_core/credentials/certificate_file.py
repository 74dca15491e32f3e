"""Certificates in files, as people hand them around: PEM or DER."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509

from ftc_core.errors import FtcError, Reason
from ftc_core.files import read_file

__all__ = ["load_certificate", "load_chain"]


def load_certificate(path: Path) -> x509.Certificate:
    """The certificate in a PEM or DER file; of a PEM chain the first, which is the leaf (RFC 8446 §4.4.2).

    Raises FtcError FILE_UNREADABLE, or CERTIFICATE_UNPARSEABLE naming the file.
    """
    return load_chain(path)[0]


def load_chain(path: Path) -> list[x509.Certificate]:
    """Every certificate in a PEM file, in its order, or the one in a DER file; at least one.

    Raises as `load_certificate`.
    """
    content = read_file(path)
    try:
        if b"-----BEGIN" in content:
            return x509.load_pem_x509_certificates(content)
        return [x509.load_der_x509_certificate(content)]
    except (ValueError, x509.InvalidVersion) as error:
        raise FtcError(
            Reason.CERTIFICATE_UNPARSEABLE, f"{path} holds no certificate in PEM or DER"
        ) from error
