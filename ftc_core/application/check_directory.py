"""What a check finds in a data directory beside the store: keys, certificates, secrets, settings, uploads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, get_args

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from ftc_core.application.authentication import is_api_key
from ftc_core.application.bulk_input import BulkInputs
from ftc_core.credentials.data_directory import DataDirectory, ServerName
from ftc_core.credentials.ledger_keys import LedgerKeyFiles
from ftc_core.credentials.pki import Identity
from ftc_core.domain.integrity import Finding, FindingKind
from ftc_core.errors import FtcError
from ftc_core.files import PRIVATE, read_file
from ftc_core.limits import CHECK_EXPIRY_NOTICE_S
from ftc_core.storage.port import View

__all__ = ["check_against_store", "check_files", "held_ledger_keys"]

_AUTHORITIES: Final = ("server-ca", "issuing-ca")
_SERVERS: Final[tuple[str, ...]] = get_args(ServerName)


def check_files(directory: DataDirectory, now: datetime) -> Iterator[Finding]:
    """What the files say by themselves. `now` is aware, UTC."""
    identities: dict[str, Identity] = {}
    for name in (*_AUTHORITIES, *_SERVERS):
        certificate, key = directory.certificate_file(name), directory.key_file(name)
        try:
            identities[name] = Identity.from_pem(read_file(certificate), read_file(key))
        except FtcError as error:
            yield _invalid(certificate, "a certificate and its key", error)
        except (ValueError, TypeError) as error:  # TypeError: an encrypted key
            yield Finding(
                kind=FindingKind.CERTIFICATE_INVALID,
                where=str(certificate),
                expected=f"a certificate that {key.name} belongs to",
                found=str(error),
            )
    for name, identity in identities.items():
        issuer = name if name in _AUTHORITIES else "server-ca"
        if issuer in identities:
            yield from _issued(directory, name, identity.certificate, issuer, identities[issuer].certificate)
        yield from _valid(directory.certificate_file(name), identity.certificate, now)
    yield from _secrets(directory)
    yield from _exposed(directory)


def held_ledger_keys(directory: DataDirectory) -> list[bytes]:
    """Public halves of the ledger's private keys that there are now; none if they cannot be read."""
    try:
        return LedgerKeyFiles(directory).held()
    except FtcError:
        return []


def check_against_store(directory: DataDirectory, held_before: list[bytes], view: View) -> Iterator[Finding]:
    """Whether keys and uploads are those that the store knows.

    `held_before` are the ledger's keys as of before the `view`: one may be rotated at this very moment.
    """
    yield from _ledger_keys(directory, held_before, view)
    inputs = BulkInputs(directory.bulk)
    present = set(inputs.job_ids())
    for job in view.list_unfinished_bulk_jobs():
        try:
            inputs.open(job.id).close()
        except (FtcError, OSError) as error:
            yield Finding(
                kind=FindingKind.INPUT_MISSING,
                where=str(directory.bulk / job.id),
                expected="the upload of a job that is not completed",
                found=str(error),
                record=f"operations/{job.id}",
            )
    for job_id in sorted(present):
        if view.get_bulk_job(job_id) is None:
            yield Finding(
                kind=FindingKind.INPUT_ORPHANED,
                where=str(directory.bulk / job_id),
                expected="the upload of a job",
                found="no such job: the upload is under way, or was broken off",
            )


def _issued(
    directory: DataDirectory, name: str, certificate: x509.Certificate, by: str, issuer: x509.Certificate
) -> Iterator[Finding]:
    """That one is signed by the other, and may do what it is for."""
    wrong = None
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature) as error:
        wrong = str(error) or "a signature that is not that CA's"
    if wrong is None and name in _AUTHORITIES and not _is_authority(certificate):
        wrong = "no CA"
    if wrong is not None:
        yield Finding(
            kind=FindingKind.CERTIFICATE_INVALID,
            where=str(directory.certificate_file(name)),
            expected="a CA that signs itself" if name == by else f"a certificate signed by {by}",
            found=wrong,
        )


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _valid(path: Path, certificate: x509.Certificate, now: datetime) -> Iterator[Finding]:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    soon = timedelta(seconds=CHECK_EXPIRY_NOTICE_S)
    if begins <= now < ends - soon:
        return
    valid = begins <= now < ends
    yield Finding(
        kind=FindingKind.CERTIFICATE_EXPIRES_SOON if valid else FindingKind.CERTIFICATE_EXPIRED,
        where=str(path),
        expected=f"validity at {now:%Y-%m-%d} and for {soon.days} days more" if valid else "validity now",
        found=f"valid from {begins:%Y-%m-%d} to {ends:%Y-%m-%d}",
    )


def _secrets(directory: DataDirectory) -> Iterator[Finding]:
    """Secrets have their length; the operator's key is one, if it was not taken elsewhere."""
    readings: tuple[tuple[Path, Callable[[], object]], ...] = (
        (directory.api_key_pepper_file, lambda: directory.api_key_pepper),
        (directory.cookie_secret_file, lambda: directory.cookie_secret),
    )
    for path, read in readings:
        try:
            read()
        except FtcError as error:
            yield _invalid(path, "a secret", error)
    if directory.operator_key.exists():
        try:
            text = read_file(directory.operator_key).decode(errors="replace").strip()
        except FtcError as error:
            yield _invalid(directory.operator_key, "an API key", error)
            return
        if not is_api_key(text):
            yield Finding(
                kind=FindingKind.FILE_INVALID,
                where=str(directory.operator_key),
                expected="an API key, ftc_ID_SECRET",
                found=f"{len(text)} characters that are none",
            )


def _exposed(directory: DataDirectory) -> Iterator[Finding]:
    """Nobody but the owner reads a secret, or writes where it comes from."""
    files = [directory.operator_key, directory.config_file, *sorted(directory.pki.glob("*.key"))]
    for path in (*files, *sorted(directory.secrets.glob("*"))):
        mode = path.stat().st_mode & 0o777 if path.is_file() else PRIVATE
        if mode & 0o077:
            yield Finding(
                kind=FindingKind.FILE_EXPOSED,
                where=str(path),
                expected=f"mode {PRIVATE:04o}",
                found=f"mode {mode:04o}",
            )


def _ledger_keys(directory: DataDirectory, held_before: list[bytes], view: View) -> Iterator[Finding]:
    """The store's newest key is one that we hold, its first one the one that was published."""
    files, where = LedgerKeyFiles(directory), directory.ledger_public_key_file
    statements = view.list_ledger_keys()
    try:
        first, held = files.first_public_key(), files.held()
    except FtcError as error:
        yield _invalid(directory.key_file("ledger"), "the keys of the ledger", error)
        return
    if statements and statements[0].public_key != first:
        yield Finding(
            kind=FindingKind.LEDGER_KEY_INVALID,
            where=str(where),
            expected=f"the first key of the store's ledger, {statements[0].key_id.hex()}",
            found="another key",
        )
    if (statements[-1].public_key if statements else first) not in (*held_before, *held):
        newest = statements[-1].key_id.hex() if statements else "ledger.pub"
        yield Finding(
            kind=FindingKind.LEDGER_KEY_INVALID,
            where=str(directory.key_file("ledger")),
            expected=f"the private key of the newest key of the ledger, {newest}",
            found="another key",
        )


def _invalid(path: Path, expected: str, error: FtcError) -> Finding:
    return Finding(kind=FindingKind.FILE_INVALID, where=str(path), expected=expected, found=error.message)
