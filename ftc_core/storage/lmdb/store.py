"""The engine: snapshots, and batches in durable transactions."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import assert_never, cast

import lmdb
import structlog

from ftc_core.errors import FtcError, Reason
from ftc_core.limits import STORE_MAP_BYTES, STORE_READER_CHECK_S
from ftc_core.storage.block_commands import LiftBlock, PlaceBlock
from ftc_core.storage.bulk_commands import (
    AdvanceBulkJob,
    CreateBulkJob,
    DeleteBulkJob,
    EndBulkJob,
    ExpireBulkJobs,
)
from ftc_core.storage.commands import (
    AnnounceExpiries,
    ClaimDevice,
    Command,
    CompactEvents,
    CreateAccount,
    CreateApiKey,
    Created,
    CreateEnrollments,
    CreateTrustedCertificate,
    DeleteAccount,
    DeleteApiKey,
    DeleteEnrollment,
    DeleteTrustedCertificate,
    DeregisterDevice,
    ExpireEnrollments,
    ExpireRegistrations,
    MarkBootstrapped,
    Outcome,
    RecordApiKeyUses,
    RecordBootstrap,
    RegisterDevice,
    Submission,
    UpdateAccount,
    UpdateRegistration,
    UpdateTrustedCertificate,
)
from ftc_core.storage.denial_commands import ForgetDenials, RecordDenials
from ftc_core.storage.epoch_commands import BeginEpoch
from ftc_core.storage.ledger_commands import AddCheckpoint, AddLedgerKey
from ftc_core.storage.lmdb import (
    accounts,
    api_keys,
    blocks,
    bulk,
    certificates,
    claims,
    denials,
    enrollments,
    events,
    idempotency,
    ledger,
    registrations,
    transfers,
)
from ftc_core.storage.lmdb.environment import begin, open_environment
from ftc_core.storage.lmdb.faults import translate
from ftc_core.storage.lmdb.tables import Tables
from ftc_core.storage.lmdb.view import LmdbView
from ftc_core.storage.lmdb.writer import Writer
from ftc_core.storage.transfer_commands import (
    AcceptTransfer,
    CancelTransfer,
    CreateTransfer,
    ExpireTransfers,
    ForgetTransfers,
    RejectTransfer,
)

__all__ = ["LmdbStore", "open_lmdb"]

_log = structlog.get_logger(__name__)


def open_lmdb(
    path: Path,
    *,
    create: bool = False,
    read_only: bool = False,
    map_bytes: int = STORE_MAP_BYTES,
    on_lost: Callable[[FtcError], None] | None = None,
) -> LmdbStore:
    """The store in the directory `path`; with `create`, it is made if it is not there.

    Several processes may have it open at once, each of them once; open it after a fork, never before.
    `map_bytes` is the address space reserved: the most that the file can grow to. `on_lost` is told, on
    whichever thread meets it, that LMDB has given the environment up: it can be neither read nor written any
    more, while a process that opens the file anew goes on after the last commit. Raises FtcError
    DATA_DIRECTORY_MISSING, _IN_USE (by this very process), _INCOMPATIBLE, or INTERNAL_1/2/5.
    """
    environment, tables = open_environment(path, create=create, read_only=read_only, map_bytes=map_bytes)
    return LmdbStore(environment, tables, on_lost)


class LmdbStore:
    """The port's `Store` over one LMDB environment."""

    def __init__(
        self,
        environment: lmdb.Environment,
        tables: Tables,
        on_lost: Callable[[FtcError], None] | None = None,
    ) -> None:
        self._environment = environment
        self._tables = tables
        self._on_lost = on_lost
        self._writing = threading.Lock()
        self._readers_checked = time.monotonic()

    def view(self) -> LmdbView:
        """A snapshot as of now; use it as a context manager, at once."""
        try:
            return LmdbView(self._environment.begin(), self._tables)
        except lmdb.MapResizedError:
            return self._view_of_grown_map()
        except lmdb.Error as error:
            raise self._refusal(error) from error

    def write(self, submissions: Sequence[Submission]) -> list[Outcome | FtcError]:
        """As the port says."""
        with self._writing:
            self._check_readers()
            try:
                txn = begin(self._environment, write=True)
            except lmdb.Error as error:
                raise self._refusal(error) from error
            try:
                writer = Writer(self._environment, txn, self._tables)
                answers = _attempt_all(writer, submissions)
                writer.store_revision()
            except lmdb.Error as error:
                txn.abort()
                raise translate(error) from error
            except BaseException:
                txn.abort()
                raise
            try:
                txn.commit()
            except lmdb.Error as error:
                raise translate(error, otherwise=Reason.INTERNAL_3) from error
            return answers

    def close(self) -> None:
        """Idempotent; views that are still open become unusable."""
        with self._writing:
            self._environment.close()

    def _refusal(self, error: lmdb.Error) -> FtcError:
        """Why nothing could be begun."""
        refusal = translate(error)
        if isinstance(error, lmdb.PanicError) and self._on_lost is not None:
            self._on_lost(refusal)
        return refusal

    def _view_of_grown_map(self) -> LmdbView:
        """Another process opened the file with a larger map and grew past ours: adopt its size."""
        with self._writing:  # the map cannot move under a write transaction
            try:
                return LmdbView(begin(self._environment), self._tables)
            except lmdb.Error as error:
                raise translate(error) from error

    def _check_readers(self) -> None:
        """Free, now and then, the slots of readers that died: their snapshots keep the file growing."""
        now = time.monotonic()
        if now - self._readers_checked >= STORE_READER_CHECK_S:
            self._readers_checked = now
            self._environment.reader_check()


def _attempt_all(writer: Writer, submissions: Sequence[Submission]) -> list[Outcome | FtcError]:
    """Each submission by itself; but creates of one account that came together share a savepoint."""
    answers: list[Outcome | FtcError] = []
    for account_id, run in itertools.groupby(submissions, _account_of_lone_create):
        alike = list(run)
        together = None
        if account_id is not None and len(alike) > 1:
            together = _create_together(writer, account_id, alike)
        answers += [_attempt(writer, each) for each in alike] if together is None else together
    return answers


def _account_of_lone_create(submission: Submission) -> str | None:
    """Of a create of one enrollment that is neither remembered nor tried out; None of anything else."""
    match submission:
        case Submission(
            command=CreateEnrollments(enrollments=(enrollment,)), idempotency=None, validate_only=False
        ):
            return enrollment.account_id
    return None


def _create_together(
    writer: Writer, account_id: str, submissions: Sequence[Submission]
) -> Sequence[Created | FtcError] | None:
    """The answers; None, and nothing is written, if one of them must not take the others with it."""
    commands = [cast(CreateEnrollments, submission.command) for submission in submissions]
    try:
        with writer.savepoint() as nested:
            return enrollments.create_each(nested, account_id, commands)
    except lmdb.BadValsizeError:
        return None
    except lmdb.Error:
        raise
    except Exception:  # it comes again, and gets its answer, when each is attempted by itself
        return None


def _attempt(writer: Writer, submission: Submission) -> Outcome | FtcError:
    """One submission, in a savepoint. An lmdb.Error passes: it concerns the transaction as a whole."""
    try:
        with writer.savepoint(keep=not submission.validate_only) as nested:
            key = submission.idempotency
            outcome = None if key is None else idempotency.recall(nested, key)
            if outcome is None:
                outcome = _execute(nested, submission.command)
                if key is not None:
                    idempotency.remember(nested, key, outcome)
            return outcome
    except FtcError as error:
        return error
    except lmdb.BadValsizeError as error:
        return _bug(submission.command, error)
    except lmdb.Error:
        raise
    except Exception as error:
        return _bug(submission.command, error)


def _bug(command: Command, error: Exception) -> FtcError:
    _log.error("command failed", command=type(command).__name__, exc_info=error)
    answer = FtcError(Reason.INTERNAL_10)
    answer.__cause__ = error
    return answer


def _execute(writer: Writer, command: Command) -> Outcome:
    match command:
        case ClaimDevice():
            return claims.claim_device(writer, command)
        case UpdateRegistration():
            return registrations.update_registration(writer, command)
        case MarkBootstrapped():
            return claims.mark_bootstrapped(writer, command)
        case RecordBootstrap():
            return claims.record_bootstrap(writer, command)
        case RegisterDevice():
            return registrations.register_device(writer, command)
        case DeregisterDevice():
            return registrations.deregister_device(writer, command)
        case CreateEnrollments():
            return enrollments.create_enrollments(writer, command)
        case DeleteEnrollment():
            return enrollments.delete_enrollment(writer, command)
        case AnnounceExpiries():
            return enrollments.announce_expiries(writer, command)
        case ExpireEnrollments():
            return enrollments.expire_enrollments(writer, command)
        case ExpireRegistrations():
            return registrations.expire_registrations(writer, command)
        case CompactEvents():
            return events.compact_events(writer, command)
        case CreateAccount():
            return accounts.create_account(writer, command)
        case UpdateAccount():
            return accounts.update_account(writer, command)
        case DeleteAccount():
            return accounts.delete_account(writer, command)
        case CreateApiKey():
            return api_keys.create_api_key(writer, command)
        case DeleteApiKey():
            return api_keys.delete_api_key(writer, command)
        case RecordApiKeyUses():
            return api_keys.record_api_key_uses(writer, command)
        case CreateTrustedCertificate():
            return certificates.create_trusted_certificate(writer, command)
        case UpdateTrustedCertificate():
            return certificates.update_trusted_certificate(writer, command)
        case DeleteTrustedCertificate():
            return certificates.delete_trusted_certificate(writer, command)
        case AdvanceBulkJob():
            return bulk.advance_bulk_job(writer, command)
        case CreateBulkJob():
            return bulk.create_bulk_job(writer, command)
        case EndBulkJob():
            return bulk.end_bulk_job(writer, command)
        case DeleteBulkJob():
            return bulk.delete_bulk_job(writer, command)
        case ExpireBulkJobs():
            return bulk.expire_bulk_jobs(writer, command)
        case CreateTransfer():
            return transfers.create_transfer(writer, command)
        case AcceptTransfer():
            return transfers.accept_transfer(writer, command)
        case RejectTransfer():
            return transfers.reject_transfer(writer, command)
        case CancelTransfer():
            return transfers.cancel_transfer(writer, command)
        case ExpireTransfers():
            return transfers.expire_transfers(writer, command)
        case ForgetTransfers():
            return transfers.forget_transfers(writer, command)
        case PlaceBlock():
            return blocks.place_block(writer, command)
        case LiftBlock():
            return blocks.lift_block(writer, command)
        case AddCheckpoint():
            return ledger.add_checkpoint(writer, command)
        case AddLedgerKey():
            return ledger.add_ledger_key(writer, command)
        case RecordDenials():
            return denials.record_denials(writer, command)
        case ForgetDenials():
            return denials.forget_denials(writer, command)
        case BeginEpoch():
            return events.begin_epoch(writer, command)
        case _:
            assert_never(command)
