"""LedgerService."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager

import structlog

from ftc_core.application import ledger_reads
from ftc_core.application.context import ApplicationContext
from ftc_core.application.ledger_export import export_ledger
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import LEDGER_EXPORT_RETRY_S
from ftc_grpc._gen.ftc.v1 import ledger_pb2, ledger_service_pb2, ledger_service_pb2_grpc
from ftc_grpc.caller import viewing_account
from ftc_grpc.convert import revision_of_etag
from ftc_grpc.ledger import PlainQuery, checkpoint_number, checkpoint_to_proto, key_to_proto
from ftc_grpc.ledger_signing import LedgerSigning
from ftc_grpc.pagination import Paginator
from ftc_grpc.services.context import RpcContext

__all__ = ["LedgerService"]

_log = structlog.get_logger(__name__)

_OF_THE_MACHINE = frozenset({Reason.DATA_DIRECTORY_INCOMPATIBLE, Reason.FILE_UNREADABLE})


class LedgerService(ledger_service_pb2_grpc.LedgerServiceServicer):
    """The ownership ledger as a whole."""

    def __init__(self, context: ApplicationContext, signing: LedgerSigning, paginator: Paginator) -> None:
        self._context = context
        self._signing = signing
        self._paginator = paginator
        self._exporting: set[str | None] = set()

    async def CreateLedgerCheckpoint(
        self, request: ledger_service_pb2.CreateLedgerCheckpointRequest, context: RpcContext
    ) -> ledger_pb2.LedgerCheckpoint:
        """Make a checkpoint."""
        with _own_files():
            return checkpoint_to_proto(await self._signing.checkpoint())

    async def GetLedgerCheckpoint(
        self, request: ledger_service_pb2.GetLedgerCheckpointRequest, context: RpcContext
    ) -> ledger_pb2.LedgerCheckpoint:
        """Get a checkpoint."""
        number = checkpoint_number(request.name)
        return checkpoint_to_proto(await ledger_reads.get_checkpoint(self._context, number))

    async def ListLedgerCheckpoints(
        self, request: ledger_service_pb2.ListLedgerCheckpointsRequest, context: RpcContext
    ) -> ledger_service_pb2.ListLedgerCheckpointsResponse:
        """List checkpoints."""
        query, scope = _query(request), "ledgerCheckpoints"
        page = await ledger_reads.list_checkpoints(
            self._context,
            self._paginator.read(query, scope=scope, orders=ledger_reads.ORDERS, descending=True),
        )
        return ledger_service_pb2.ListLedgerCheckpointsResponse(
            ledger_checkpoints=map(checkpoint_to_proto, page.records),
            next_page_token=self._paginator.token(page.next_after, query, scope=scope),
            total_size=page.total,
        )

    async def ListLedgerKeys(
        self, request: ledger_service_pb2.ListLedgerKeysRequest, context: RpcContext
    ) -> ledger_service_pb2.ListLedgerKeysResponse:
        """List the keys."""
        query, scope = _query(request), "ledgerKeys"
        page = await ledger_reads.list_keys(
            self._context, self._paginator.read(query, scope=scope, orders=ledger_reads.ORDERS)
        )
        return ledger_service_pb2.ListLedgerKeysResponse(
            ledger_keys=map(key_to_proto, page.records),
            next_page_token=self._paginator.token(page.next_after, query, scope=scope),
            total_size=page.total,
        )

    async def RotateLedgerKey(
        self, request: ledger_service_pb2.RotateLedgerKeyRequest, context: RpcContext
    ) -> ledger_pb2.LedgerKey:
        """Let a new key sign."""
        with _own_files():
            return key_to_proto(await self._signing.rotate(revision_of_etag(request.etag)))

    async def ExportLedger(
        self, request: ledger_service_pb2.ExportLedgerRequest, context: RpcContext
    ) -> AsyncGenerator[ledger_service_pb2.ExportLedgerResponse, None]:
        """Read the ledger as a document."""
        viewer = viewing_account(request.parent)
        if viewer in self._exporting:
            raise FtcError(Reason.LEDGER_EXPORT_RUNNING, retry_after_s=LEDGER_EXPORT_RETRY_S)
        if viewer is not None:
            self._exporting.add(viewer)
        try:
            with _own_files():
                await self._signing.before_export(now=viewer is None)
                async with aclosing(export_ledger(self._context, self._signing.keys, viewer)) as pieces:
                    async for piece in pieces:
                        yield ledger_service_pb2.ExportLedgerResponse(data=piece)
        finally:
            self._exporting.discard(viewer)
        _log.info("ledger exported", account_id=viewer)


@contextmanager
def _own_files() -> Iterator[None]:
    """Around work with the data directory: what is wrong with that is INTERNAL_6, its paths for the log."""
    try:
        yield
    except FtcError as error:
        if error.reason not in _OF_THE_MACHINE:
            raise
        _log.error("the ledger's keys cannot be used", reason=error.reason, message=error.message)
        raise FtcError(Reason.INTERNAL_6) from error


def _query(
    request: ledger_service_pb2.ListLedgerCheckpointsRequest | ledger_service_pb2.ListLedgerKeysRequest,
) -> PlainQuery:
    return PlainQuery(request.page_size, request.page_token, request.order_by, request.include_total_size)
