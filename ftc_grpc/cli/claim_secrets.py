"""Claim secrets from a file: never from a flag, which other users can see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from ftc_core.domain.claim_secret import read_claim_secret
from ftc_core.domain.identity import parse_enrollment_id
from ftc_core.errors import FtcError, Reason
from ftc_core.factory.claim_secrets import read_claim_secrets
from ftc_core.files import read_file

__all__ = ["claim_secrets"]


def claim_secrets(file: Path | None, enrollment_identities: Sequence[str]) -> Mapping[str, str]:
    """The secret of each identity in `file`: the factory's list, or one secret for one identity.

    Raises FtcError FILE_UNREADABLE, also if a secret is missing; ENROLLMENT_ID_… for a bad identity.
    """
    if file is None:
        return {}
    content = read_file(file)
    if b"," in content:
        known = read_claim_secrets(file)
        found = {text: known.get(parse_enrollment_id(text)) for text in enrollment_identities}
        return {text: secret or _missing(file, text) for text, secret in found.items()}
    if len(enrollment_identities) != 1:
        raise click.UsageError("one claim secret is for one device; give the factory's list for several")
    secret = read_claim_secret(content.decode(errors="replace"), field=str(file))
    return {enrollment_identities[0]: secret}


def _missing(file: Path, enrollment_identity: str) -> str:
    raise FtcError(Reason.FILE_UNREADABLE, f"{file} has no claim secret of {enrollment_identity}")
