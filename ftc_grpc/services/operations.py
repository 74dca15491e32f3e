"""google.longrunning.Operations: bulk jobs, as AIP-151 clients know how to follow them."""

from __future__ import annotations

from dataclasses import dataclass

from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf import empty_pb2

from ftc_core.application.bulk import BulkJobs
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import OPERATION_WAIT_MAX_S
from ftc_grpc.caller import parent_account
from ftc_grpc.convert import optional_duration
from ftc_grpc.pagination import Paginator
from ftc_grpc.services.bulk import named_job, operation_to_proto
from ftc_grpc.services.context import RpcContext

__all__ = ["OperationsService"]

_COLLECTION = "operations"


@dataclass
class _Query:
    """A ListOperationsRequest as a list query like any other: it lacks the fields that are constant here."""

    page_size: int
    page_token: str
    filter: str
    order_by: str = ""
    include_total_size: bool = False


class OperationsService(operations_pb2_grpc.OperationsServicer):
    """The operations of an account; of any account for operators."""

    def __init__(self, bulk: BulkJobs, paginator: Paginator) -> None:
        self._bulk = bulk
        self._paginator = paginator

    async def ListOperations(
        self, request: operations_pb2.ListOperationsRequest, context: RpcContext
    ) -> operations_pb2.ListOperationsResponse:
        """List operations. `name` is "", "operations", or the account whose they are."""
        account_id = parent_account("" if request.name == _COLLECTION else request.name)
        query = _Query(request.page_size, request.page_token, request.filter)
        scope = f"{account_id}/{_COLLECTION}"
        page = await self._bulk.list_jobs(account_id, self._paginator.read(query, scope=scope))
        return operations_pb2.ListOperationsResponse(
            operations=[operation_to_proto(job) for job in page.records],
            next_page_token=self._paginator.token(page.next_after, query, scope=scope),
        )

    async def GetOperation(
        self, request: operations_pb2.GetOperationRequest, context: RpcContext
    ) -> operations_pb2.Operation:
        """An operation as it is."""
        return operation_to_proto(await named_job(self._bulk, request.name))

    async def WaitOperation(
        self, request: operations_pb2.WaitOperationRequest, context: RpcContext
    ) -> operations_pb2.Operation:
        """An operation once it is done, or as it is after `timeout` or OPERATION_WAIT_MAX_S."""
        job = await named_job(self._bulk, request.name)
        wanted = optional_duration(request, "timeout", field="timeout")
        if wanted is not None and wanted < 0:
            raise FtcError(Reason.FIELD_INVALID, "timeout is negative", field="timeout")
        timeout_s = OPERATION_WAIT_MAX_S if wanted is None else min(wanted, OPERATION_WAIT_MAX_S)
        return operation_to_proto(await self._bulk.wait(job.id, timeout_s))

    async def CancelOperation(
        self, request: operations_pb2.CancelOperationRequest, context: RpcContext
    ) -> empty_pb2.Empty:
        """Do no more of an operation; what is done stays."""
        await self._bulk.cancel((await named_job(self._bulk, request.name)).id)
        return empty_pb2.Empty()

    async def DeleteOperation(
        self, request: operations_pb2.DeleteOperationRequest, context: RpcContext
    ) -> empty_pb2.Empty:
        """Forget an operation that is done, with its input and its reports."""
        await self._bulk.delete((await named_job(self._bulk, request.name)).id)
        return empty_pb2.Empty()
