"""The bulk methods of DeviceEnrollmentService, and bulk jobs as `google.longrunning.Operation`s."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, TypeAlias

from google.longrunning import operations_pb2

from ftc_core.application.bulk import BulkJobs, NewBulkJob
from ftc_core.domain.account import Role
from ftc_core.domain.bulk import BulkJob, BulkKind
from ftc_core.domain.bulk_report import ReportKind
from ftc_core.errors import FtcError, Reason
from ftc_grpc._gen.ftc.v1 import bulk_pb2
from ftc_grpc.caller import current_caller, parent_account
from ftc_grpc.convert import optional_time, write_options
from ftc_grpc.resource_names import ACCOUNT, OPERATION
from ftc_grpc.services.context import RpcContext
from ftc_grpc.status import to_status

__all__ = ["BulkMethods", "named_job", "operation_to_proto"]

_Piece: TypeAlias = (
    "bulk_pb2.BulkCreateDeviceEnrollmentsRequest | bulk_pb2.BulkDeleteDeviceEnrollmentsRequest"
)
_OF_FIRST_PIECE = frozenset({"parent", "request_id", "validate_only", "expires_at"})
"""Fields that only the first message of a stream may set."""


class BulkMethods:
    """Files streamed in, reports streamed out."""

    def __init__(self, bulk: BulkJobs) -> None:
        self._bulk = bulk

    async def BulkCreateDeviceEnrollments(
        self,
        request_iterator: AsyncIterator[bulk_pb2.BulkCreateDeviceEnrollmentsRequest],
        context: RpcContext,
    ) -> operations_pb2.Operation:
        """Put the rows of a file on the list."""
        return await self._upload(BulkKind.CREATE, request_iterator)

    async def BulkDeleteDeviceEnrollments(
        self,
        request_iterator: AsyncIterator[bulk_pb2.BulkDeleteDeviceEnrollmentsRequest],
        context: RpcContext,
    ) -> operations_pb2.Operation:
        """Take the rows of a file off the list."""
        return await self._upload(BulkKind.DELETE, request_iterator)

    async def ReadBulkReport(
        self, request: bulk_pb2.ReadBulkReportRequest, context: RpcContext
    ) -> AsyncIterator[bulk_pb2.ReadBulkReportResponse]:
        """What became of each row."""
        kinds = bulk_pb2.ReadBulkReportRequest
        if request.report not in (kinds.REPORT_UNSPECIFIED, kinds.FULL, kinds.ERRORS):
            raise FtcError(
                Reason.FIELD_INVALID, f"report has the unknown value {request.report}", field="report"
            )
        report = ReportKind.ERRORS if request.report == kinds.ERRORS else ReportKind.FULL
        job = await named_job(self._bulk, request.name)
        async with aclosing(self._bulk.read_report(job, report)) as pieces:
            async for piece in pieces:
                yield bulk_pb2.ReadBulkReportResponse(data=piece)

    async def _upload(self, kind: BulkKind, pieces: AsyncIterator[Any]) -> operations_pb2.Operation:
        first: _Piece | None = await anext(pieces, None)
        if first is None:
            raise FtcError(Reason.FIELD_REQUIRED, "the stream has no message", field="parent")
        account_id = parent_account(first.parent)
        options = write_options(first)
        expires_at = (
            optional_time(first, "expires_at", field="expires_at") if kind is BulkKind.CREATE else None
        )
        new = NewBulkJob(account_id, kind, expires_at)
        async with self._bulk.upload(account_id, may_repeat=bool(options.request_id)) as upload:
            await upload.write(first.data)
            async for piece in pieces:
                _check_later(piece)
                await upload.write(piece.data)
            job = await self._bulk.start(current_caller(), new, upload, options)
        return operation_to_proto(job)


async def named_job(bulk: BulkJobs, name: str) -> BulkJob:
    """The job that an operation's name means.

    Raises FtcError FIELD_REQUIRED, RESOURCE_NAME_INVALID; RESOURCE_NOT_FOUND also if it is another account's.
    """
    (job_id,) = OPERATION.parse(name, field="name")
    job = await bulk.get(job_id)
    caller = current_caller()
    if caller.role is not Role.OPERATOR and job.account_id != caller.account_id:
        raise FtcError(Reason.RESOURCE_NOT_FOUND, "operation not found")
    return job


def operation_to_proto(job: BulkJob) -> operations_pb2.Operation:
    """The operation of a bulk job."""
    operation = operations_pb2.Operation(name=OPERATION.format(job.id), done=job.done)
    metadata = bulk_pb2.BulkOperationMetadata(
        parent=ACCOUNT.format(job.account_id),
        kind=bulk_pb2.BulkOperationMetadata.Kind.Value(job.kind.value),
        status=bulk_pb2.BulkOperationMetadata.Status.Value(job.status.value),
        total_count=job.total_count,
        processed_count=job.processed_count,
        errors_count=job.errors_count,
        validate_only=job.validate_only,
    )
    metadata.created_at.FromDatetime(job.created_at)
    if job.expires_at is not None:
        metadata.expires_at.FromDatetime(job.expires_at)
    if job.completed_at is not None:
        metadata.completed_at.FromDatetime(job.completed_at)
    operation.metadata.Pack(metadata)
    if job.ended_by is not None:
        operation.error.CopyFrom(to_status(FtcError(job.ended_by)))
    elif job.done:
        operation.response.Pack(
            bulk_pb2.BulkOperationResult(processed_count=job.processed_count, errors_count=job.errors_count)
        )
    return operation


def _check_later(piece: _Piece) -> None:
    for descriptor, _ in piece.ListFields():
        field = descriptor.name
        if field in _OF_FIRST_PIECE:
            raise FtcError(
                Reason.FIELD_INVALID, f"{field} is for the first message of the stream", field=field
            )
