"""The ledger's keys on disk: the first one, a rotation that is cut short, and material that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.credentials.ledger_keys import LedgerKeyFiles, public_key_pem, read_public_key
from ftc_core.domain.ledger_keys import public_bytes
from ftc_core.errors import FtcError, Reason
from tests.ledgers import signing_key


@pytest.fixture
def directory(tmp_path: Path) -> DataDirectory:
    directory = DataDirectory(tmp_path)
    directory.pki.mkdir()
    LedgerKeyFiles(directory).create()
    return directory


def names(directory: DataDirectory) -> list[str]:
    return sorted(path.name for path in directory.pki.iterdir())


def test_the_first_key_is_private_and_its_public_half_is_there_to_keep(directory: DataDirectory) -> None:
    private, public = directory.key_file("ledger"), directory.ledger_public_key_file
    assert (private.stat().st_mode & 0o777, public.stat().st_mode & 0o777) == (0o600, 0o644)
    key = load_pem_private_key(private.read_bytes(), password=None)
    assert load_pem_public_key(public.read_bytes()) == key.public_key()
    files = LedgerKeyFiles(directory)
    assert public_bytes(files.load(files.first_public_key())) == read_public_key(public)


def test_no_key_is_overwritten(directory: DataDirectory) -> None:
    with pytest.raises(FtcError) as caught:
        LedgerKeyFiles(directory).create()
    assert caught.value.reason is Reason.FILE_EXISTS


def test_a_rotation_takes_effect_once_the_store_has_the_new_key(directory: DataDirectory) -> None:
    files = LedgerKeyFiles(directory)
    first = files.first_public_key()
    following = public_bytes(files.prepare())
    assert directory.key_file("ledger.next").stat().st_mode & 0o777 == 0o600
    assert public_bytes(files.load(first)) == first, "cut short before the store had it"
    assert public_bytes(LedgerKeyFiles(directory).load(following)) == following, "and after"
    assert names(directory) == ["ledger.key", "ledger.pub"]
    assert directory.key_file("ledger").stat().st_mode & 0o777 == 0o600
    assert files.first_public_key() == first
    with pytest.raises(FtcError) as caught:
        files.load(first)
    assert caught.value.reason is Reason.DATA_DIRECTORY_INCOMPATIBLE


def test_a_rotation_may_begin_anew(directory: DataDirectory) -> None:
    files = LedgerKeyFiles(directory)
    files.prepare()
    second = public_bytes(files.prepare())
    assert public_bytes(files.load(second)) == second


@pytest.mark.parametrize(
    "content", [b"", b"x", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_damaged_keys_are_refused_naming_the_file(directory: DataDirectory, content: bytes) -> None:
    files = LedgerKeyFiles(directory)
    first = files.first_public_key()
    directory.key_file("ledger").write_bytes(content)
    directory.ledger_public_key_file.write_bytes(content)
    for read, name in ((lambda: files.load(first), "ledger.key"), (files.first_public_key, "ledger.pub")):
        with pytest.raises(FtcError, match=name) as caught:
            read()
        assert caught.value.reason is Reason.FILE_UNREADABLE


def test_a_key_of_another_kind_is_refused(directory: DataDirectory) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    pem, pkcs8 = Encoding.PEM, PrivateFormat.PKCS8
    files = LedgerKeyFiles(directory)
    first = files.first_public_key()
    directory.key_file("ledger").write_bytes(other.private_bytes(pem, pkcs8, NoEncryption()))
    directory.ledger_public_key_file.write_bytes(
        other.public_key().public_bytes(pem, PublicFormat.SubjectPublicKeyInfo)
    )
    for read in (lambda: files.load(first), files.first_public_key):
        with pytest.raises(FtcError, match="has no Ed25519") as caught:
            read()
        assert caught.value.reason is Reason.FILE_UNREADABLE


def test_a_public_key_survives_its_pem(tmp_path: Path) -> None:
    raw = public_bytes(signing_key(0))
    path = tmp_path / "key.pub"
    path.write_bytes(public_key_pem(raw))
    assert read_public_key(path) == raw
