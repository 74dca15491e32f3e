"""TrustedCertificateService."""

from __future__ import annotations

from google.protobuf import empty_pb2
from msgspec import UNSET

from ftc_core.application import blocks, certificates
from ftc_core.application.context import ApplicationContext
from ftc_core.domain.certificate import CertificateService, CertificateStatus, TrustedCertificateChanges
from ftc_grpc._gen.ftc.v1 import (
    block_pb2,
    trusted_certificate_pb2,
    trusted_certificate_service_pb2,
    trusted_certificate_service_pb2_grpc,
)
from ftc_grpc.blocks import block_to_proto, named_certificate
from ftc_grpc.caller import current_caller, named_resource, parent_account
from ftc_grpc.convert import (
    certificate_to_proto,
    enum_field,
    required_message,
    revision_of_etag,
    revision_of_update,
    write_options,
)
from ftc_grpc.field_mask import masked_fields
from ftc_grpc.pagination import Paginator
from ftc_grpc.resource_names import TRUSTED_CERTIFICATE
from ftc_grpc.services.context import RpcContext

__all__ = ["TrustedCertificateService"]

_CHANGEABLE = ("display_name", "description", "status", "enrollment_mode")


class TrustedCertificateService(trusted_certificate_service_pb2_grpc.TrustedCertificateServiceServicer):
    """The CAs that an account trusts."""

    def __init__(self, context: ApplicationContext, paginator: Paginator) -> None:
        self._context = context
        self._paginator = paginator

    async def CreateTrustedCertificate(
        self, request: trusted_certificate_service_pb2.CreateTrustedCertificateRequest, context: RpcContext
    ) -> trusted_certificate_pb2.TrustedCertificate:
        """Upload a CA."""
        account_id = parent_account(request.parent)
        required_message(request, "trusted_certificate")
        wanted = request.trusted_certificate
        new = certificates.NewTrustedCertificate(
            account_id=account_id,
            display_name=wanted.display_name,
            certificate=wanted.certificate,
            service=enum_field(wanted, "service", CertificateService, field="trusted_certificate.service"),
            description=wanted.description,
            status=enum_field(
                wanted,
                "status",
                CertificateStatus,
                field="trusted_certificate.status",
                default=CertificateStatus.ACTIVE,
            ),
            enrollment_mode=wanted.enrollment_mode,
        )
        certificate = await certificates.create_trusted_certificate(
            self._context, current_caller(), new, write_options(request)
        )
        return certificate_to_proto(certificate, self._context.now())

    async def GetTrustedCertificate(
        self, request: trusted_certificate_service_pb2.GetTrustedCertificateRequest, context: RpcContext
    ) -> trusted_certificate_pb2.TrustedCertificate:
        """Get a trusted certificate."""
        account_id, certificate_id = named_resource(request.name, TRUSTED_CERTIFICATE)
        certificate, standing = await certificates.get_trusted_certificate(
            self._context, account_id, certificate_id
        )
        page = certificate_to_proto(certificate, self._context.now())
        page.blocks.extend(map(block_to_proto, standing))
        return page

    async def ListTrustedCertificates(
        self, request: trusted_certificate_service_pb2.ListTrustedCertificatesRequest, context: RpcContext
    ) -> trusted_certificate_service_pb2.ListTrustedCertificatesResponse:
        """List an account's trusted certificates."""
        account_id = parent_account(request.parent)
        scope = f"{account_id}/trustedCertificates"
        page = await certificates.list_trusted_certificates(
            self._context, account_id, self._paginator.read(request, scope=scope)
        )
        now = self._context.now()
        return trusted_certificate_service_pb2.ListTrustedCertificatesResponse(
            trusted_certificates=[certificate_to_proto(certificate, now) for certificate in page.records],
            next_page_token=self._paginator.token(page.next_after, request, scope=scope),
            total_size=page.total,
        )

    async def UpdateTrustedCertificate(
        self, request: trusted_certificate_service_pb2.UpdateTrustedCertificateRequest, context: RpcContext
    ) -> trusted_certificate_pb2.TrustedCertificate:
        """Change a CA's record."""
        required_message(request, "trusted_certificate")
        wanted = request.trusted_certificate
        account_id, certificate_id = named_resource(
            wanted.name, TRUSTED_CERTIFICATE, field="trusted_certificate.name"
        )
        fields = masked_fields(wanted, request.update_mask, _CHANGEABLE)
        update = certificates.TrustedCertificateUpdate(
            account_id=account_id,
            certificate_id=certificate_id,
            changes=TrustedCertificateChanges(
                display_name=wanted.display_name if "display_name" in fields else UNSET,
                description=wanted.description if "description" in fields else UNSET,
                status=enum_field(wanted, "status", CertificateStatus, field="trusted_certificate.status")
                if "status" in fields
                else UNSET,
                enrollment_mode=wanted.enrollment_mode if "enrollment_mode" in fields else UNSET,
            ),
            revision=revision_of_update(request.etag, wanted.etag, field="trusted_certificate.etag"),
        )
        certificate = await certificates.update_trusted_certificate(
            self._context, current_caller(), update, write_options(request)
        )
        return certificate_to_proto(certificate, self._context.now())

    async def DeleteTrustedCertificate(
        self, request: trusted_certificate_service_pb2.DeleteTrustedCertificateRequest, context: RpcContext
    ) -> empty_pb2.Empty:
        """Remove a CA."""
        account_id, certificate_id = named_resource(request.name, TRUSTED_CERTIFICATE)
        deletion = certificates.TrustedCertificateDeletion(
            account_id=account_id,
            certificate_id=certificate_id,
            revision=revision_of_etag(request.etag),
        )
        await certificates.delete_trusted_certificate(
            self._context, current_caller(), deletion, write_options(request)
        )
        return empty_pb2.Empty()

    async def BlockTrustedCertificate(
        self, request: block_pb2.BlockTrustedCertificateRequest, context: RpcContext
    ) -> block_pb2.Block:
        """Block a CA."""
        blocking = blocks.Blocking(named_certificate(request), request.note)
        block = await blocks.place_block(self._context, current_caller(), blocking, write_options(request))
        return block_to_proto(block)

    async def UnblockTrustedCertificate(
        self, request: block_pb2.UnblockTrustedCertificateRequest, context: RpcContext
    ) -> empty_pb2.Empty:
        """Lift the caller's block of a CA."""
        await blocks.unblock(
            self._context, current_caller(), named_certificate(request), write_options(request)
        )
        return empty_pb2.Empty()
