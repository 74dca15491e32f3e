"""What only the LMDB engine has: its file, its format, its limits."""

from __future__ import annotations

import errno
import multiprocessing
import os
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import lmdb
import msgspec
import pytest

from ftc_core.errors import FtcError, Reason
from ftc_core.limits import REQUEST_ID_SWEEP, REQUEST_ID_TTL_S, STORE_MAX_READERS
from ftc_core.storage.commands import CreateAccount, CreateEnrollments, IdempotencyKey, Submission
from ftc_core.storage.engines import open_store
from ftc_core.storage.lmdb import LmdbStore, open_lmdb
from ftc_core.storage.lmdb.faults import translate
from tests.conformance.scene import NOW, Scene, fingerprint
from tests.faults import data_file_writes_to


def refusal_of(call: Callable[[], object]) -> FtcError:
    with pytest.raises(FtcError) as refusal:
        call()
    return refusal.value


def raw(path: Path, table: bytes, **options: object) -> tuple[lmdb.Environment, object]:
    environment = lmdb.open(str(path), lib_version=0, max_dbs=32, map_size=1 << 30, **options)  # type: ignore[arg-type]
    return environment, environment.open_db(table)


def overwrite(path: Path, table: bytes, key: bytes, value: bytes) -> None:
    """Change one value behind the engine's back."""
    environment, handle = raw(path, table)
    with environment.begin(write=True) as txn:
        txn.put(key, value, db=handle)  # type: ignore[arg-type]
    environment.close()


# --- opening ---------------------------------------------------------------------------------------


def test_creating_again_opens_what_is_there(tmp_path: Path) -> None:
    store = open_lmdb(tmp_path / "a" / "b", create=True)
    account = Scene(store).account()
    store.close()
    store = open_lmdb(tmp_path / "a" / "b", create=True)
    with store.view() as view:
        assert view.get_account(account.id) == account
    store.close()


def test_nobody_else_may_read_the_file(tmp_path: Path) -> None:
    open_lmdb(tmp_path / "store", create=True).close()
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "store").iterdir()}
    assert modes == {"data.mdb": 0o600, "lock.mdb": 0o600}
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700


def test_one_process_opens_a_store_once(tmp_path: Path) -> None:
    store = open_lmdb(tmp_path, create=True)
    assert refusal_of(lambda: open_lmdb(tmp_path)).reason is Reason.DATA_DIRECTORY_IN_USE
    store.close()


@pytest.mark.parametrize(("key", "value"), [(b"format", b"0"), (b"engine", b"1.0")])
def test_another_format_is_refused(tmp_path: Path, key: bytes, value: bytes) -> None:
    open_lmdb(tmp_path, create=True).close()
    overwrite(tmp_path, b"meta", key, value)
    for opening in (lambda: open_lmdb(tmp_path), lambda: open_lmdb(tmp_path, create=True)):
        refusal = refusal_of(opening)
        assert refusal.reason is Reason.DATA_DIRECTORY_INCOMPATIBLE
        assert repr(value.decode()) in refusal.message


def test_a_file_of_the_other_lmdb_is_refused(tmp_path: Path) -> None:
    lmdb.open(str(tmp_path), lib_version=1).close()
    assert refusal_of(lambda: open_lmdb(tmp_path)).reason is Reason.DATA_DIRECTORY_INCOMPATIBLE


def test_a_file_that_is_not_lmdbs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"not a store" * 1_000)
    assert refusal_of(lambda: open_lmdb(tmp_path)).reason is Reason.DATA_DIRECTORY_INCOMPATIBLE


def test_an_lmdb_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    raw(tmp_path, b"theirs")[0].close()
    assert refusal_of(lambda: open_lmdb(tmp_path)).reason is Reason.DATA_DIRECTORY_INCOMPATIBLE


def test_a_store_opened_for_reading_reads_and_does_not_write(tmp_path: Path) -> None:
    store = open_lmdb(tmp_path, create=True)
    account = Scene(store).account()
    store.close()
    store = open_lmdb(tmp_path, read_only=True)
    command = Scene(store, first_id=50).create_enrollment(account, 1)
    with store.view() as view:
        assert view.get_account(account.id) == account
    assert refusal_of(lambda: store.write([Submission(command)])).reason is Reason.INTERNAL_1
    store.close()


@pytest.mark.parametrize(
    "url", ["postgresql://user:secret@host/db", "lmdb://relative/path", "/a/path", "", "lmdb:/x"]
)
def test_a_url_without_an_engine_is_a_wrong_setting(url: str) -> None:
    refusal = refusal_of(lambda: open_store(url))
    assert (refusal.reason, refusal.field) == (Reason.SETTING_INVALID, "storage_url")
    assert "secret" not in refusal.message


def test_the_path_of_a_url_is_taken_literally(tmp_path: Path) -> None:
    open_store(f"lmdb://{tmp_path}/100% #1?", create=True).close()
    assert (tmp_path / "100% #1?" / "data.mdb").is_file()


# --- damage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damaged",
    [b"", b"\x02" + bytes(40), b"\x01", b"\x01\xc1", b"\x01\x80", b"\x01\x81\xa2id\xa1\xb0"],
    ids=["empty", "other version", "no map", "not MessagePack", "fields missing", "not UTF-8"],
)
def test_a_record_that_makes_no_sense_is_a_corrupt_index(tmp_path: Path, damaged: bytes) -> None:
    store = open_lmdb(tmp_path, create=True)
    scene = Scene(store)
    account = scene.account()
    scene.enrollment(account, 1)
    store.close()
    overwrite(tmp_path, b"enrollments", fingerprint(1), damaged)
    store = open_lmdb(tmp_path)
    scene = Scene(store, first_id=50)
    assert refusal_of(lambda: scene.find_enrollment(1)).reason is Reason.INTERNAL_5
    [answer, fine] = scene.try_all(scene.claim_command(1), scene.create_enrollment(account, 2))
    assert isinstance(answer, FtcError)
    assert answer.reason is Reason.INTERNAL_5
    assert not isinstance(fine, FtcError)
    store.close()


# --- request IDs -----------------------------------------------------------------------------------


def test_outdated_request_ids_leave_the_file(tmp_path: Path) -> None:
    store = open_lmdb(tmp_path, create=True)
    scene = Scene(store)
    account = scene.account()
    outdated = 2 * REQUEST_ID_SWEEP
    for number in range(outdated + 2):
        late = timedelta(seconds=0 if number < outdated else REQUEST_ID_TTL_S)
        key = IdempotencyKey("scope", str(number), bytes(32), NOW + late)
        scene.run(scene.create_enrollment(account, number), idempotency=key)
    store.close()
    for table in (b"requests", b"request_expiry"):
        environment, handle = raw(tmp_path, table)
        with environment.begin() as txn:
            assert txn.stat(handle)["entries"] == 2  # type: ignore[arg-type]
        environment.close()


# --- full ------------------------------------------------------------------------------------------


def test_a_full_store_refuses_the_whole_batch_and_stays_readable(tmp_path: Path) -> None:
    store = open_lmdb(tmp_path, create=True, map_bytes=1 << 20)
    scene = Scene(store)
    account = scene.account()
    scene.enrollment(account, 10**6)
    before = scene.snapshot()
    many = CreateEnrollments(tuple(scene.new_enrollment(account.id, n) for n in range(5_000)), NOW)
    small = scene.create_enrollment(account, 10**7)
    refusal = refusal_of(lambda: scene.try_all(small, many, small))
    assert refusal.reason is Reason.INTERNAL_2
    assert scene.snapshot() == before
    assert scene.run(small), "what fits is still taken"
    store.close()


def _grow(path: Path) -> None:
    store = open_lmdb(path, map_bytes=64 << 20)
    scene = Scene(store, first_id=10**6)
    with store.view() as view:
        [account] = view.list_accounts(after=None, limit=1)
    scene.run(CreateEnrollments(tuple(scene.new_enrollment(account.id, n) for n in range(5_000)), NOW))
    store.close()


@pytest.mark.parametrize("first", ["read", "write"])
def test_a_map_that_another_process_has_grown_is_adopted(tmp_path: Path, first: str) -> None:
    store = open_lmdb(tmp_path, create=True, map_bytes=1 << 20)
    scene = Scene(store)
    account = scene.account()
    grower = multiprocessing.get_context("spawn").Process(target=_grow, args=(tmp_path,))
    grower.start()
    grower.join()
    assert grower.exitcode == 0
    if first == "write":
        scene.run(scene.create_enrollment(account, 10**6))
    assert scene.find_enrollment(4_999) is not None
    scene.run(scene.create_enrollment(account, 10**7))
    store.close()


def system_error(code: int) -> lmdb.Error:
    """As the extension raises it."""
    error = lmdb.Error("mdb_txn_commit")
    error.code = code  # type: ignore[misc]
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (lmdb.MapFullError("put"), Reason.INTERNAL_2),
        (lmdb.TxnFullError("put"), Reason.INTERNAL_2),
        (system_error(errno.ENOSPC), Reason.INTERNAL_2),
        (lmdb.CorruptedError("get"), Reason.INTERNAL_5),
        (lmdb.PanicError("begin"), Reason.INTERNAL_3),
        (lmdb.ReadersFullError("begin"), Reason.INTERNAL_3),
        (system_error(errno.EIO), Reason.INTERNAL_3),
    ],
)
def test_each_error_of_lmdb_has_its_number(error: lmdb.Error, reason: Reason) -> None:
    assert translate(error, otherwise=Reason.INTERNAL_3).reason is reason


def test_a_store_whose_meta_page_could_not_be_written_is_unavailable_until_it_is_opened_anew(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store"
    told: list[FtcError] = []
    store = open_lmdb(path, create=True, on_lost=told.append)
    scene = Scene(store)
    account = scene.account()
    command = CreateAccount(msgspec.structs.replace(account, id=scene.new_id()))

    with data_file_writes_to(path, path / "data.mdb", os.O_RDONLY, meta=True):
        lost = refusal_of(lambda: scene.run(command))
    after = [refusal_of(lambda: scene.run(command)), refusal_of(store.view)]
    store.close()

    assert lost.reason is Reason.INTERNAL_3
    assert [refusal.reason for refusal in after] == [Reason.INTERNAL_1] * 2
    assert told == after, "whoever opened it is told at each attempt, and not of the commit that was lost"
    store = open_lmdb(path)
    Scene(store).run(command)
    with store.view() as view:
        assert view.count_accounts() == 2
    store.close()


def test_an_error_of_lmdb_inside_a_view_leaves_it_as_ours(tmp_path: Path) -> None:
    store: LmdbStore = open_lmdb(tmp_path, create=True)

    def read_after_close() -> None:
        with store.view() as view:
            store.close()
            view.count_accounts()

    assert refusal_of(read_after_close).reason is Reason.INTERNAL_1


def test_a_view_that_has_ended_holds_no_reader_however_long_it_is_referred_to(tmp_path: Path) -> None:
    store = open_lmdb(tmp_path / "store", create=True)
    ended = []
    for _ in range(STORE_MAX_READERS + 1):
        with store.view() as view:
            ended.append(view)
    with store.view() as view:
        assert view.revision() == 0
    store.close()
