"""Checkpoints of the ledger as the API's process makes them: one at a time, measured and logged."""

from __future__ import annotations

import asyncio
import time

import structlog

from ftc_core.application.context import ApplicationContext
from ftc_core.application.ledger_checkpoints import make_checkpoint, rotate_key
from ftc_core.credentials.ledger_keys import LedgerKeyFiles
from ftc_core.domain.checkpoint import SignedCheckpoint
from ftc_core.domain.ledger_keys import KeyStatement
from ftc_core.errors import FtcError, Reason
from ftc_core.observability import metrics

__all__ = ["LedgerSigning"]

_log = structlog.get_logger(__name__)


class LedgerSigning:
    """Signs the ledger of `context` with `keys`. For one event loop."""

    def __init__(self, context: ApplicationContext, keys: LedgerKeyFiles) -> None:
        self.keys = keys
        self._context = context
        self._checkpointing = asyncio.Lock()
        self._rotating = asyncio.Lock()
        self._rotations: set[asyncio.Task[KeyStatement]] = set()

    async def checkpoint(self) -> SignedCheckpoint:
        """A checkpoint of the ledger as it is now; the last one if nothing was entered since.

        Whoever asks while one is being made waits for it, and for his own. Raises FtcError as
        `make_checkpoint`.
        """
        async with self._checkpointing:
            with self._context.store.view() as view:
                before = view.last_checkpoint()
            began = time.monotonic()
            try:
                signed = await make_checkpoint(self._context, self.keys)
            except Exception:
                metrics.LEDGER_CHECKPOINTS.labels("failed").inc()
                raise
            self._tell(signed, new=signed != before, took_s=time.monotonic() - began)
            return signed

    async def before_export(self, *, now: bool) -> None:
        """See to a checkpoint to export: of the ledger as it is `now`, or else any, however old.

        One that is found to be tampered with gets none, and is exported as of the last: that shows where.
        Raises FtcError as `make_checkpoint`.
        """
        with self._context.store.view() as view:
            last = view.last_checkpoint()
        if last is not None and not now:
            return
        try:
            await self.checkpoint()
        except FtcError as error:
            if last is None or error.reason is not Reason.INTERNAL_5:
                raise
            _log.error("exporting a ledger that is not what was signed", cause=error.message)

    async def rotate(self, number: int | None = None) -> KeyStatement:
        """Let a new key sign from the next checkpoint on.

        `number`: that of the newest key as the caller knows it. Raises FtcError ETAG_MISMATCH if there is a
        newer one, else as `rotate_key`. Once begun it comes to its end, and no other begins before, also if
        its caller goes away: what is on its way into the store cannot be taken back, and whoever made another
        key meanwhile would put it in the place of the one that the store is about to have.
        """
        rotation = asyncio.create_task(self._rotate(number))
        self._rotations.add(rotation)
        rotation.add_done_callback(self._rotations.discard)
        try:
            return await asyncio.shield(rotation)
        except asyncio.CancelledError:
            rotation.add_done_callback(_tell_of_failure)  # nobody else will
            raise

    async def _rotate(self, number: int | None) -> KeyStatement:
        async with self._rotating:
            if number is not None:
                with self._context.store.view() as view:
                    if len(view.list_ledger_keys()) != number:
                        raise FtcError(Reason.ETAG_MISMATCH)
            statement = await rotate_key(self._context, self.keys)
            _log.info("ledger key rotated", number=statement.number, key_id=statement.key_id.hex())
            return statement

    def _tell(self, signed: SignedCheckpoint, *, new: bool, took_s: float) -> None:
        checkpoint = signed.checkpoint
        metrics.LEDGER_CHECKPOINT_TIME.set(self._context.now().timestamp())
        metrics.LEDGER_CHECKPOINT_HISTORIES.set(checkpoint.head_count)
        metrics.LEDGER_CHECKPOINT_ENTRIES.set(checkpoint.entry_count)
        metrics.LEDGER_CHECKPOINTS.labels("made" if new else "unchanged").inc()
        if new:
            metrics.LEDGER_CHECKPOINT_SECONDS.observe(took_s)
            _log.info(
                "ledger checkpoint made",
                number=checkpoint.number,
                revision=checkpoint.revision,
                histories=checkpoint.head_count,
                entries=checkpoint.entry_count,
                took_s=round(took_s, 3),
            )


def _tell_of_failure(rotation: asyncio.Task[KeyStatement]) -> None:
    if not rotation.cancelled() and (error := rotation.exception()) is not None:
        _log.warning("ledger key not rotated", cause=str(error))
