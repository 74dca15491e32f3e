"""DeviceEnrollmentService."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import aclosing

from google.protobuf import empty_pb2

from ftc_core.application import denials, enrollment_lists, enrollments
from ftc_core.application.bulk import BulkJobs
from ftc_core.application.changes import Topic
from ftc_core.application.context import ApplicationContext
from ftc_core.application.explain import ClaimQuestion, explain_claim
from ftc_core.errors import FtcError, Reason
from ftc_grpc._gen.ftc.v1 import (
    denial_pb2,
    device_enrollment_pb2,
    device_enrollment_service_pb2,
    device_enrollment_service_pb2_grpc,
    explain_pb2,
    watch_pb2,
)
from ftc_grpc.caller import (
    ANY_ACCOUNT,
    current_caller,
    named_resource,
    parent_account,
    parent_accounts,
    viewing_account,
)
from ftc_grpc.convert import (
    enrollment_to_proto,
    optional_time,
    revision_of_etag,
    write_options,
)
from ftc_grpc.denials import denial_to_proto, named_denial
from ftc_grpc.explanation import explanation_to_proto
from ftc_grpc.pagination import Paginator
from ftc_grpc.resource_names import ACCOUNT, DEVICE_ENROLLMENT
from ftc_grpc.services.bulk import BulkMethods
from ftc_grpc.services.context import RpcContext
from ftc_grpc.services.watch import Watcher, enrollment_event

__all__ = ["DeviceEnrollmentService"]


class DeviceEnrollmentService(
    BulkMethods, device_enrollment_service_pb2_grpc.DeviceEnrollmentServiceServicer
):
    """The enrollment list of an account."""

    def __init__(
        self, context: ApplicationContext, paginator: Paginator, watcher: Watcher, bulk: BulkJobs
    ) -> None:
        super().__init__(bulk)
        self._context = context
        self._paginator = paginator
        self._watcher = watcher

    async def CreateDeviceEnrollment(
        self, request: device_enrollment_service_pb2.CreateDeviceEnrollmentRequest, context: RpcContext
    ) -> device_enrollment_pb2.DeviceEnrollment:
        """Put an identity on the list."""
        account_id = parent_account(request.parent)
        new = _new_enrollment(request, account_id, prefix="")
        enrollment = await enrollments.create_enrollment(
            self._context, current_caller(), new, write_options(request)
        )
        return enrollment_to_proto(enrollment)

    async def GetDeviceEnrollment(
        self, request: device_enrollment_service_pb2.GetDeviceEnrollmentRequest, context: RpcContext
    ) -> device_enrollment_pb2.DeviceEnrollment:
        """Get an enrollment."""
        account_id, enrollment_id = named_resource(request.name, DEVICE_ENROLLMENT)
        return enrollment_to_proto(await enrollments.get_enrollment(self._context, account_id, enrollment_id))

    async def LookupDeviceEnrollment(
        self, request: device_enrollment_service_pb2.LookupDeviceEnrollmentRequest, context: RpcContext
    ) -> device_enrollment_pb2.DeviceEnrollment:
        """Find an enrollment by identity."""
        account_id = parent_account(request.parent)
        return enrollment_to_proto(
            await enrollments.lookup_enrollment(self._context, account_id, request.enrollment_identity)
        )

    async def BatchCreateDeviceEnrollments(
        self, request: device_enrollment_service_pb2.BatchCreateDeviceEnrollmentsRequest, context: RpcContext
    ) -> device_enrollment_service_pb2.BatchCreateDeviceEnrollmentsResponse:
        """Put many identities on the list, or none."""
        account_id = parent_account(request.parent)
        parents = ("", request.parent, ACCOUNT.format(account_id))
        rows = []
        for index, row in enumerate(request.requests):
            prefix = f"requests[{index}]."
            with enrollments.batch_row(index):
                _check_row(row, parents, prefix)
                rows.append(_new_enrollment(row, account_id, prefix=prefix))
        created = await enrollments.create_enrollments(
            self._context, current_caller(), rows, write_options(request)
        )
        return device_enrollment_service_pb2.BatchCreateDeviceEnrollmentsResponse(
            device_enrollments=map(enrollment_to_proto, created)
        )

    async def ListDeviceEnrollments(
        self, request: device_enrollment_service_pb2.ListDeviceEnrollmentsRequest, context: RpcContext
    ) -> device_enrollment_service_pb2.ListDeviceEnrollmentsResponse:
        """List an account's enrollments, or those of all accounts."""
        account_id = parent_accounts(request.parent)
        scope = f"{account_id or ANY_ACCOUNT}/deviceEnrollments"
        orders = enrollment_lists.ORDERS_OF_ALL if account_id is None else enrollment_lists.ORDERS
        revision = self._watcher.revision()
        page = await enrollment_lists.list_enrollments(
            self._context, account_id, self._paginator.read(request, scope=scope, orders=orders)
        )
        return device_enrollment_service_pb2.ListDeviceEnrollmentsResponse(
            device_enrollments=[enrollment_to_proto(enrollment) for enrollment in page.records],
            next_page_token=self._paginator.token(page.next_after, request, scope=scope),
            total_size=page.total,
            revision=revision,
        )

    async def DeleteDeviceEnrollment(
        self, request: device_enrollment_service_pb2.DeleteDeviceEnrollmentRequest, context: RpcContext
    ) -> empty_pb2.Empty:
        """Remove an enrollment and release its device."""
        account_id, enrollment_id = named_resource(request.name, DEVICE_ENROLLMENT)
        deletion = enrollments.EnrollmentDeletion(
            account_id=account_id,
            enrollment_id=enrollment_id,
            revision=revision_of_etag(request.etag),
        )
        await enrollments.delete_enrollment(self._context, current_caller(), deletion, write_options(request))
        return empty_pb2.Empty()

    async def ListDeviceEnrollmentDenials(
        self, request: denial_pb2.ListDeviceEnrollmentDenialsRequest, context: RpcContext
    ) -> denial_pb2.ListDeviceEnrollmentDenialsResponse:
        """List the devices that were refused."""
        account_id = viewing_account(request.parent)
        scope = f"{account_id or ANY_ACCOUNT}/deviceEnrollmentDenials"
        page = await denials.list_denials(
            self._context,
            account_id,
            self._paginator.read(request, scope=scope, orders=denials.ORDERS, descending=True),
        )
        return denial_pb2.ListDeviceEnrollmentDenialsResponse(
            device_enrollment_denials=map(denial_to_proto, page.records),
            next_page_token=self._paginator.token(page.next_after, request, scope=scope),
            total_size=page.total,
        )

    async def GetDeviceEnrollmentDenial(
        self, request: denial_pb2.GetDeviceEnrollmentDenialRequest, context: RpcContext
    ) -> denial_pb2.DeviceEnrollmentDenial:
        """Get a denial."""
        return denial_to_proto(await denials.get_denial(self._context, *named_denial(request.name)))

    async def ExplainClaim(
        self, request: explain_pb2.ExplainClaimRequest, context: RpcContext
    ) -> explain_pb2.ExplainClaimResponse:
        """Tell what a device's next Bootstrap-Request would get."""
        question = ClaimQuestion(
            certificate=request.certificate,
            enrollment_identity=request.enrollment_identity,
            endpoint_name=request.endpoint_name,
            named_account_id=request.device_account_id or None,
            seen_by=viewing_account(request.parent),
        )
        return explanation_to_proto(await explain_claim(self._context, question))

    async def WatchDeviceEnrollments(
        self, request: watch_pb2.WatchDeviceEnrollmentsRequest, context: RpcContext
    ) -> AsyncIterator[watch_pb2.WatchDeviceEnrollmentsResponse]:
        """Follow the enrollments of an account, or of all."""
        async with aclosing(self._watcher.watch(request, Topic.ENROLLMENTS)) as batches:
            async for batch in batches:
                yield watch_pb2.WatchDeviceEnrollmentsResponse(
                    revision=batch.through, events=map(enrollment_event, batch.changes)
                )


def _new_enrollment(
    request: device_enrollment_service_pb2.CreateDeviceEnrollmentRequest, account_id: str, *, prefix: str
) -> enrollments.NewEnrollment:
    field = f"{prefix}device_enrollment"
    if not request.HasField("device_enrollment"):
        raise FtcError(Reason.FIELD_REQUIRED, f"{field} is required", field=field)
    wanted = request.device_enrollment
    return enrollments.NewEnrollment(
        account_id=account_id,
        enrollment_identity=wanted.enrollment_identity,
        expires_at=optional_time(wanted, "expires_at", field=f"{field}.expires_at"),
        claim_secret=wanted.claim_secret,
        claim_not_before=optional_time(wanted, "claim_not_before", field=f"{field}.claim_not_before"),
    )


def _check_row(
    row: device_enrollment_service_pb2.CreateDeviceEnrollmentRequest, parents: Collection[str], prefix: str
) -> None:
    """Raises FtcError FIELD_INVALID for what a row of a batch may not say for itself (AIP-233)."""
    if row.parent not in parents:
        field = f"{prefix}parent"
        raise FtcError(Reason.FIELD_INVALID, f"{field} is not the parent of the batch", field=field)
    for name in ("request_id", "validate_only"):
        if getattr(row, name):
            field = f"{prefix}{name}"
            raise FtcError(Reason.FIELD_INVALID, f"{field} belongs to the batch", field=field)
