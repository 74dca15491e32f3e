"""The keys that sign the ledger's checkpoints, one after the other (Ed25519, RFC 8032).

Each new key stands in a statement that the key before has signed, and names the first checkpoint that is its
to sign: from there on, the key before counts no more, also in the hands of a thief. A key also signs its own
statement, which has the hash of the one before: so whoever trusts any key of the list can verify all of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ftc_core.domain.checkpoint import Signature, key_id
from ftc_core.domain.ledger import GENESIS_HASH
from ftc_core.domain.ledger_disclosure import Digest, Number

__all__ = ["KeyStatement", "make_statement", "public_bytes", "signer_of", "what_is_wrong"]

_CONTEXT = b"ftc-ledger-key-v1\x00"


class KeyStatement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Key `number` (from 1) of the ledger, which signs checkpoints from `first_checkpoint` on.

    `public_key` is raw (32 bytes). `signature` is by the key before, of the first one by itself;
    `own_signature` is by the key itself. `previous_hash` is the hash of the statement before.
    """

    number: Number
    public_key: Digest
    made_at: datetime
    first_checkpoint: Number
    previous_hash: Digest
    signature: Signature = bytes(64)
    own_signature: Signature = bytes(64)

    @property
    def key_id(self) -> bytes:
        """What the key is called."""
        return key_id(self.public_key)


def make_statement(
    previous: KeyStatement | None,
    new: Ed25519PrivateKey,
    signer: Ed25519PrivateKey,
    *,
    made_at: datetime,
    first_checkpoint: int,
) -> KeyStatement:
    """That `new` follows the key of `previous`, which is `signer`; the first key is its own signer."""
    statement = KeyStatement(
        number=1 if previous is None else previous.number + 1,
        public_key=public_bytes(new),
        made_at=made_at,
        first_checkpoint=first_checkpoint,
        previous_hash=GENESIS_HASH if previous is None else hashlib.sha256(_signed(previous)).digest(),
    )
    signed = _signed(statement)
    return msgspec.structs.replace(statement, signature=signer.sign(signed), own_signature=new.sign(signed))


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """The raw public key, 32 bytes."""
    return key.public_key().public_bytes_raw()


def what_is_wrong(previous: KeyStatement | None, statement: KeyStatement) -> str | None:
    """Why `statement` does not follow from `previous` (None: it should be the first), None if it does."""
    if statement.number != (1 if previous is None else previous.number + 1):
        return "its number does not follow"
    if statement.previous_hash != (
        GENESIS_HASH if previous is None else hashlib.sha256(_signed(previous)).digest()
    ):
        return "it does not follow from the statement before"
    if statement.first_checkpoint < (1 if previous is None else previous.first_checkpoint):
        return "it begins before the key before"
    if not _has_signed(statement.public_key, statement.own_signature, statement):
        return "it has not signed itself"
    signer = statement if previous is None else previous
    if not _has_signed(signer.public_key, statement.signature, statement):
        return "the key before has not signed it"
    return None


def signer_of(statements: Sequence[KeyStatement], checkpoint_number: int) -> KeyStatement | None:
    """Whose the checkpoint is to sign: the last key that begins there or before."""
    for statement in reversed(statements):
        if statement.first_checkpoint <= checkpoint_number:
            return statement
    return None


def _has_signed(public_key: bytes, signature: bytes, statement: KeyStatement) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, _signed(statement))
    except (InvalidSignature, ValueError, OverflowError):
        return False
    return True


def _signed(statement: KeyStatement) -> bytes:
    return _CONTEXT + msgspec.msgpack.encode(
        (
            statement.number,
            statement.public_key,
            statement.made_at,
            statement.first_checkpoint,
            statement.previous_hash,
        )
    )
