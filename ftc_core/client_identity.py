"""Client identities: which account and role the URI in a TLS client certificate stands for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import msgspec

__all__ = ["ClientIdentity", "check_identities"]

_URI_MAX_CHARS = 2_048  # SPIFFE-ID §2.3 allows as many bytes
_ABSOLUTE_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")
_ACCOUNT_ID = re.compile(r"[0-9a-f]{32}")


class ClientIdentity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row of the table: the bearer of a certificate with `uri` calls as `role` of `account` (its ID).

    `uri` is a subjectAltName of type uniformResourceIdentifier, compared character by character: an absolute
    URI in ASCII (RFC 5280 §4.2.1.6). An OPERATOR may have no account of its own. ValueError says what is
    wrong with a row.
    """

    uri: str
    role: Literal["OPERATOR", "ADMIN", "READER"]
    account: str = ""

    def __post_init__(self) -> None:
        if len(self.uri) > _URI_MAX_CHARS or not _ABSOLUTE_URI.fullmatch(self.uri):
            raise ValueError(f"{self.uri[:100]!r} is no absolute URI of at most {_URI_MAX_CHARS} characters")
        if not self.account:
            if self.role != "OPERATOR":
                raise ValueError(f"{self.uri}: role {self.role} needs an account")
        elif not _ACCOUNT_ID.fullmatch(self.account):
            raise ValueError(f"{self.uri}: account {self.account[:100]!r} is not 32 lower-case hex digits")


def check_identities(identities: Sequence[ClientIdentity]) -> None:
    """Raises ValueError if two rows are for one URI: neither order nor role may decide between them."""
    for uri, count in Counter(identity.uri for identity in identities).items():
        if count > 1:
            raise ValueError(f"{uri} has {count} rows")
