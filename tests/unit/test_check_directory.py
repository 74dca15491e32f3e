"""The check of a data directory: nothing in one that is as `ftc init` made it, and each fault of another."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ftc_core.application.check import check_instance
from ftc_core.application.check_directory import check_against_store, check_files, held_ledger_keys
from ftc_core.application.initialise import initialise
from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.credentials.ledger_keys import LedgerKeyFiles, public_key_pem, read_public_key
from ftc_core.credentials.pki import Identity, create_authority, create_server_identity
from ftc_core.domain.bulk import BulkJob, BulkKind
from ftc_core.domain.integrity import FindingKind as Kind
from ftc_core.domain.ledger_keys import public_bytes
from ftc_core.errors import FtcError, Reason
from ftc_core.settings import Settings
from ftc_core.storage.bulk_commands import CreateBulkJob
from ftc_core.storage.engines import open_store
from ftc_core.storage.ledger_commands import AddLedgerKey
from tests.conformance.scene import Scene
from tests.ledgers import keys

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made") / "data"
    asyncio.run(initialise(Settings(data_dir=root), host_name="build-7", now=NOW))
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "data")
    return tmp_path / "data"


def put(root: Path, name: str, identity: Identity) -> None:
    (root / "pki" / f"{name}.pem").write_bytes(identity.certificate_pem)
    (root / "pki" / f"{name}.key").write_bytes(identity.private_key_pem)


def tree(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """All of it but the table of LMDB's readers, which come and go."""
    return {
        str(path.relative_to(root)): (path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes())
        for path in root.rglob("*")
        if path.is_file() and path.name != "lock.mdb"
    }


def test_what_ftc_init_makes_is_whole_and_stays_as_it_is(root: Path) -> None:
    before = tree(root)
    report = check_instance(root)
    assert [finding.text for finding in (*report.findings, *report.notes)] == []
    assert report.passed
    assert report.pages_proven
    assert report.counts["api_keys"] == 1
    assert tree(root) == before


def test_a_store_without_the_file_of_its_readers_gets_none(root: Path) -> None:
    """It would be its maker's, and the server may be somebody else."""
    (root / "store" / "lock.mdb").unlink()
    assert check_instance(root).passed
    assert [path.name for path in (root / "store").iterdir()] == ["data.mdb"]


def test_progress_tells_pages_and_tables(root: Path) -> None:
    told: list[tuple[str, int, int]] = []
    check_instance(root, progress=lambda *what: told.append(what))
    assert told[0] == ("pages", 0, 1)
    assert ("accounts", 1, 1) in told
    assert all(done <= total for _, done, total in told)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("secrets/cookie-secret", b"short"),
        ("secrets/api-key-pepper", b""),
        ("operator.key", b"not a key\n"),
        ("ftc.toml", b"this is no TOML"),
        ("ftc.toml", b'unheard_of = "setting"'),
        ("pki/ledger.pub", b"-----BEGIN PUBLIC KEY-----\n"),
        ("pki/ledger.key", b""),
    ],
    ids=str,
)
def test_a_file_that_is_not_what_it_must_be_is_found(root: Path, file: str, content: bytes) -> None:
    path = root / file
    path.write_bytes(content)
    report = check_instance(root)
    assert [finding.kind for finding in report.findings] == [Kind.FILE_INVALID]
    assert report.findings_count == 1


@pytest.mark.parametrize(
    "file", ["pki/grpc.key", "pki/issuing-ca.pem", "secrets/cookie-secret", "pki/ledger.pub"]
)
def test_a_file_that_is_missing_is_found(root: Path, file: str) -> None:
    (root / file).unlink()
    [finding] = check_instance(root).findings
    assert finding.kind is Kind.FILE_INVALID
    assert Path(file).name in finding.found


def test_an_operator_key_that_was_taken_elsewhere_and_no_settings_are_no_fault(root: Path) -> None:
    for name in ("operator.key", "ftc.toml"):
        (root / name).unlink()
    assert check_instance(root).passed


@pytest.mark.parametrize(
    "file", ["pki/bootstrap.key", "pki/ledger.key", "secrets/api-key-pepper", "operator.key", "ftc.toml"]
)
@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_secret_that_others_may_read_is_found(root: Path, file: str, mode: int) -> None:
    (root / file).chmod(mode)
    [finding] = check_instance(root).findings
    assert (finding.kind, finding.where) == (Kind.FILE_EXPOSED, str(root / file))
    assert (finding.expected, finding.found) == ("mode 0600", f"mode {mode:04o}")


def test_a_key_that_does_not_belong_to_its_certificate_is_found(root: Path) -> None:
    shutil.copy(root / "pki" / "lwm2m.key", root / "pki" / "grpc.key")
    [finding] = check_instance(root).findings
    assert (finding.kind, finding.where) == (Kind.CERTIFICATE_INVALID, str(root / "pki" / "grpc.pem"))


def test_a_certificate_of_another_ca_is_found(root: Path) -> None:
    other = create_authority("Another", now=NOW)
    put(root, "lwm2m", create_server_identity(other, "LwM2M", hosts=["localhost"], now=NOW))
    [finding] = check_instance(root).findings
    assert (finding.kind, finding.where) == (Kind.CERTIFICATE_INVALID, str(root / "pki" / "lwm2m.pem"))
    assert finding.expected == "a certificate signed by server-ca"


def test_a_server_ca_under_which_no_server_is_is_found_for_each(root: Path) -> None:
    put(root, "server-ca", create_authority("Another", now=NOW))
    findings = check_instance(root).findings
    assert [finding.kind for finding in findings] == [Kind.CERTIFICATE_INVALID] * 3


def test_an_issuing_ca_that_is_none_is_found(root: Path) -> None:
    ca = DataDirectory(root)._identity("server-ca")
    put(root, "issuing-ca", create_server_identity(ca, "no CA", hosts=["localhost"], now=NOW))
    [finding] = check_instance(root).findings
    assert (finding.kind, finding.expected) == (Kind.CERTIFICATE_INVALID, "a CA that signs itself")


@pytest.mark.parametrize(
    ("days", "kind"),
    [(-2, Kind.CERTIFICATE_EXPIRED), (5 * 365 - 61, None), (5 * 365 - 59, Kind.CERTIFICATE_EXPIRES_SOON)],
)
def test_validity_is_told_60_days_ahead_and_is_a_fault_once_it_has_ended(
    root: Path, days: int, kind: Kind | None
) -> None:
    findings = list(check_files(DataDirectory(root), NOW + timedelta(days=days)))
    servers = [finding.kind for finding in findings if "-ca" not in finding.where]
    assert servers == ([kind] * 3 if kind else [])


def test_what_expires_soon_fails_no_check(root: Path) -> None:
    ca = DataDirectory(root)._identity("server-ca")
    put(
        root,
        "grpc",
        create_server_identity(ca, "gRPC", hosts=["localhost"], now=NOW, validity=timedelta(days=30)),
    )
    report = check_instance(root)
    assert report.passed
    assert [note.kind for note in report.notes] == [Kind.CERTIFICATE_EXPIRES_SOON]


def test_keys_of_another_ledger_are_found(root: Path) -> None:
    """The store's first and newest key is one that the directory has neither half of."""
    store = open_store(f"lmdb://{root / 'store'}")
    Scene(store).run(AddLedgerKey(keys(1)[0]))
    store.close()
    findings = check_instance(root).findings
    assert [(finding.kind, Path(finding.where).name) for finding in findings] == [
        (Kind.LEDGER_KEY_INVALID, "ledger.pub"),
        (Kind.LEDGER_KEY_INVALID, "ledger.key"),
    ]


def test_a_rotation_at_the_very_moment_is_no_fault(root: Path) -> None:
    """The store was read between the new key's entry and the removal of the old one, or right before both."""
    directory = DataDirectory(root)
    files, published = LedgerKeyFiles(directory), read_public_key(directory.ledger_public_key_file)
    held_before = held_ledger_keys(directory)
    new = files.prepare()
    with_both = held_ledger_keys(directory)
    files.load(public_bytes(new))
    assert with_both == [published, public_bytes(new)]
    store = open_store(f"lmdb://{root / 'store'}")
    with store.view() as view:
        assert list(check_against_store(directory, held_before, view)) == []
        assert len(list(check_against_store(directory, [], view))) == 1, "the old key is gone"
    store.close()


def test_a_published_key_that_is_not_the_private_one_s_is_found(root: Path) -> None:
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    (root / "pki" / "ledger.pub").write_bytes(public_key_pem(other))
    [finding] = check_instance(root).findings
    assert finding.kind is Kind.LEDGER_KEY_INVALID


def test_an_upload_that_is_missing_is_found_and_one_without_a_job_is_noted(root: Path) -> None:
    store = open_store(f"lmdb://{root / 'store'}")
    scene = Scene(store)
    account = scene.account()
    jobs = [
        BulkJob(id=scene.new_id(), account_id=account.id, kind=BulkKind.CREATE, created_at=NOW, total_count=1)
        for _ in range(2)
    ]
    for job in jobs:
        scene.run(CreateBulkJob(job, kept_max=9))
    store.close()
    for name in (jobs[0].id, "f" * 32):
        (root / "bulk" / name).mkdir(parents=True)
        (root / "bulk" / name / "input.csv").touch()
    report = check_instance(root)
    assert [(f.kind, f.record) for f in report.findings] == [(Kind.INPUT_MISSING, f"operations/{jobs[1].id}")]
    assert [(n.kind, Path(n.where).name) for n in report.notes] == [(Kind.INPUT_ORPHANED, "f" * 32)]


@pytest.mark.parametrize("break_it", [shutil.rmtree, os.unlink], ids=["directory", "file"])
def test_a_store_that_is_not_there_is_found(root: Path, break_it: Callable[[Path], None]) -> None:
    break_it(root / "store" if break_it is shutil.rmtree else root / "store" / "data.mdb")
    [finding] = check_instance(root).findings
    assert finding.kind is Kind.STORE_UNREADABLE


def test_the_store_is_looked_for_where_the_settings_say(root: Path) -> None:
    (root / "store").rename(root.parent / "elsewhere")
    (root / "ftc.toml").write_text(f'storage_url = "lmdb://{root.parent}/elsewhere"\n')
    assert check_instance(root).counts["api_keys"] == 1
    with_flag = check_instance(root, storage_url=f"lmdb://{root}/nowhere")
    assert [finding.kind for finding in with_flag.findings] == [Kind.STORE_UNREADABLE]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, Reason.DATA_DIRECTORY_MISSING), ("1\n", Reason.DATA_DIRECTORY_INCOMPATIBLE)],
)
def test_what_is_no_data_directory_of_this_version_is_refused(
    root: Path, content: str | None, reason: Reason
) -> None:
    if content is None:
        (root / "FORMAT").unlink()
    else:
        (root / "FORMAT").write_text(content)
    with pytest.raises(FtcError) as refusal:
        check_instance(root)
    assert refusal.value.reason is reason
