"""Who calls: the bearer of an API key, or of a client certificate.

An API key is `ftc_<key id>_<secret>`: the ID finds the record, the secret (256 random bits in hex) proves the
bearer. What is stored is HMAC-SHA-256 of the secret under a pepper that lies outside the store, so a stolen
store or backup gives no key. A fast hash is right here: there is nothing to guess in 256 random bits.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from ftc_core.application.context import ApplicationContext
from ftc_core.client_identity import ClientIdentity
from ftc_core.domain.account import Account, ApiKey, Role
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.commands import CreateAccount, CreateApiKey, Submission
from ftc_core.storage.port import View

__all__ = [
    "BootstrappedOperator",
    "Principal",
    "authenticate",
    "bootstrap_operator",
    "check_standing",
    "format_api_key",
    "hash_secret",
    "identify",
    "is_api_key",
    "new_secret",
]

SECRET_BYTES = 32
OPERATOR_ACCOUNT_NAME = "Operators"

_KEY = re.compile(r"ftc_([0-9a-f]{32})_([0-9a-f]{64})")
_UNKNOWN_KEY_HASH = bytes(32)
"""Compared with where there is no such key, so that an unknown ID takes as long as a wrong secret."""


class Principal(msgspec.Struct, frozen=True):
    """Who calls, for which account, in which role: by an API key, or by a certificate with `uri`.

    `key_id` is "" for a certificate, and `uri` for a key. Only an operator with a certificate may have no
    account of his own; `account_id` is "" then.
    """

    account_id: str
    role: Role
    key_id: str = ""
    uri: str = ""

    @property
    def id(self) -> str:
        """The key's ID or the certificate's URI, for records of who did something."""
        return self.key_id or self.uri


class BootstrappedOperator(msgspec.Struct, frozen=True):
    """The first account, its key record, and the whole key, which is told this once."""

    account: Account
    key: ApiKey
    secret: str


def new_secret() -> str:
    """256 random bits in hex: no underscore, so the parts of a key are found without guessing."""
    return secrets.token_hex(SECRET_BYTES)


def hash_secret(secret: str, pepper: bytes) -> bytes:
    """What is stored of a secret: HMAC-SHA-256 under the pepper, 32 bytes."""
    return hmac.digest(pepper, secret.encode(), hashlib.sha256)


def is_api_key(text: str) -> bool:
    """Whether it has the form of a whole key; what it is worth, `authenticate` says."""
    return _KEY.fullmatch(text) is not None


def format_api_key(key_id: str, secret: str) -> str:
    """The whole key, as a caller sends it."""
    return f"ftc_{key_id}_{secret}"


def authenticate(context: ApplicationContext, presented: str) -> Principal:
    """The bearer of `presented`.

    Raises FtcError CREDENTIALS_INVALID for a key that is malformed, unknown, wrong or expired, with one text
    for all: which of these it was is the attacker's question.
    """
    shape = _KEY.fullmatch(presented)
    if shape is None:
        raise FtcError(Reason.CREDENTIALS_INVALID)
    key_id, secret = shape.groups()
    with context.store.view() as view:
        key = view.get_api_key(key_id)
    expected = key.secret_hash if key is not None else _UNKNOWN_KEY_HASH
    matches = hmac.compare_digest(hash_secret(secret, context.pepper), expected)
    if key is None or not matches or _has_expired(key, context.now()):
        raise FtcError(Reason.CREDENTIALS_INVALID)
    return Principal(key.account_id, key.role, key.id)


def identify(
    context: ApplicationContext, identities: Mapping[str, ClientIdentity], uris: Iterable[str]
) -> Principal:
    """The bearer of a verified client certificate with `uris`; `identities` is the table, by URI.

    Raises FtcError CERTIFICATE_NOT_MAPPED if no URI is in the table or its account does not exist;
    CERTIFICATE_AMBIGUOUS if several are: the order in a certificate must not decide who calls.
    """
    mapped = sorted(identities.keys() & set(uris))
    if not mapped:
        raise FtcError(Reason.CERTIFICATE_NOT_MAPPED)
    if len(mapped) > 1:
        raise FtcError(
            Reason.CERTIFICATE_AMBIGUOUS,
            f"client certificate stands for several identities: {', '.join(mapped)}",
        )
    identity = identities[mapped[0]]
    caller = Principal(identity.account, Role(identity.role), uri=identity.uri)
    with context.store.view() as view:
        check_standing(view, caller, context.now())
    return caller


def check_standing(view: View, caller: Principal, now: datetime) -> None:
    """That what `caller` was recognised by still holds.

    Raises FtcError CREDENTIALS_INVALID once his key is revoked or has expired, CERTIFICATE_NOT_MAPPED once
    the account of his certificate is gone. A suspended account keeps its callers: only claims are refused.
    """
    if caller.key_id:
        key = view.get_api_key(caller.key_id)
        if key is None or _has_expired(key, now):
            raise FtcError(Reason.CREDENTIALS_INVALID, "API key is revoked or has expired")
    elif caller.account_id and view.get_account(caller.account_id) is None:
        raise FtcError(
            Reason.CERTIFICATE_NOT_MAPPED, f"client certificate stands for nobody: no account of {caller.uri}"
        )


def _has_expired(key: ApiKey, now: datetime) -> bool:
    return key.expires_at is not None and key.expires_at <= now


async def bootstrap_operator(context: ApplicationContext) -> BootstrappedOperator:
    """Create the operators' account and its first key, for `ftc init`."""
    now = context.now()
    account = Account(id=context.new_id(), display_name=OPERATOR_ACCOUNT_NAME, created_at=now, updated_at=now)
    secret = new_secret()
    key = ApiKey(
        id=context.new_id(),
        account_id=account.id,
        role=Role.OPERATOR,
        display_name="Made by ftc init",
        secret_hash=hash_secret(secret, context.pepper),
        created_at=now,
    )
    await context.commit.execute(Submission(CreateAccount(account)))
    await context.commit.execute(Submission(CreateApiKey(key)))
    return BootstrappedOperator(account, key, format_api_key(key.id, secret))
