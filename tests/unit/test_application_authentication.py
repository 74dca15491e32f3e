"""API keys: what is made, what is stored, what is recognised."""

from __future__ import annotations

import re

from ftc_core.application.authentication import format_api_key, hash_secret, new_secret
from ftc_core.application.context import new_id
from ftc_core.domain.identity import is_resource_id

PEPPER = bytes(32)


def test_secret_has_256_bits_and_no_separator() -> None:
    secrets = {new_secret() for _ in range(100)}

    assert len(secrets) == 100
    assert all(re.fullmatch(r"[0-9a-f]{64}", secret) for secret in secrets)


def test_hash_is_hmac_sha_256_as_in_rfc_4231_test_case_2() -> None:
    assert hash_secret("what do ya want for nothing?", b"Jefe").hex() == (
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )


def test_hash_depends_on_secret_and_pepper() -> None:
    assert hash_secret("a", PEPPER) != hash_secret("b", PEPPER)
    assert hash_secret("a", PEPPER) != hash_secret("a", bytes([1]) * 32)


def test_key_has_its_id_and_secret_between_underscores() -> None:
    assert format_api_key("ab" * 16, "cd" * 32) == f"ftc_{'ab' * 16}_{'cd' * 32}"


def test_ids_are_resource_ids_that_sort_by_time() -> None:
    ids = [new_id() for _ in range(1_000)]

    assert all(is_resource_id(one) for one in ids)
    assert ids == sorted(set(ids))
    assert all(one[12] == "7" for one in ids)  # RFC 9562 §5.7: the version
