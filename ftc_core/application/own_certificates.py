"""The instance's own certificates: until when they are valid, and new ones for its servers.

A renewed certificate is for the same key and under the same CA, so what trusts that CA notices nothing; and
since only one file changes for each server, there is no moment at which key and certificate do not fit.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import get_args

import msgspec
from cryptography import x509

from ftc_core.credentials.data_directory import DataDirectory, ServerName
from ftc_core.credentials.pki import renew_server_identity
from ftc_core.errors import FtcError, Reason
from ftc_core.files import replace_file

__all__ = ["OwnCertificate", "own_certificates", "renew_server_certificates"]


class OwnCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """One of them. `name` is that of its file in `pki/`; `hosts` are empty for a CA; times are aware, UTC."""

    name: str
    subject: str
    hosts: tuple[str, ...]
    not_before: datetime
    not_after: datetime


def own_certificates(directory: DataDirectory) -> list[OwnCertificate]:
    """The two CAs, then the servers'. Raises FtcError FILE_UNREADABLE."""
    cas = {"server-ca": directory.server_ca, "issuing-ca": directory.issuing_ca.certificate}
    servers: dict[str, x509.Certificate] = {
        name: directory.server_identity(name).certificate for name in get_args(ServerName)
    }
    return [_described(name, certificate) for name, certificate in (cas | servers).items()]


def renew_server_certificates(
    directory: DataDirectory, *, hosts: Iterable[str], now: datetime
) -> list[OwnCertificate]:
    """New certificates for the servers, for the names that they have and `hosts`; what all are now.

    Processes that run keep those that they have read. Raises FtcError SERVER_CA_EXPIRED or FILE_UNREADABLE,
    and SETTING_INVALID for a host that is no name and no address; then nothing has changed.
    """
    authority = directory.server_ca_identity()
    if authority.certificate.not_valid_after_utc <= now:
        ended = authority.certificate.not_valid_after_utc
        raise FtcError(
            Reason.SERVER_CA_EXPIRED, f"the CA of our servers expired at {ended:%Y-%m-%d %H:%M} UTC"
        )
    wanted = tuple(hosts)
    servers: tuple[ServerName, ...] = get_args(ServerName)
    renewed = {
        name: renew_server_identity(authority, directory.server_identity(name), hosts=wanted, now=now)
        for name in servers
    }
    for name, identity in renewed.items():
        replace_file(directory.certificate_file(name), identity.certificate_pem)
    return own_certificates(directory)


def _described(name: str, certificate: x509.Certificate) -> OwnCertificate:
    return OwnCertificate(
        name=name,
        subject=certificate.subject.rfc4514_string(),
        hosts=tuple(_hosts(certificate)),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def _hosts(certificate: x509.Certificate) -> Iterable[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return (str(name.value) for name in names)
