"""Blocks as messages, and the CA that a request about them means."""

from __future__ import annotations

from typing import Protocol

from ftc_core.application.blocks import NamedCertificate
from ftc_core.domain.account import Role
from ftc_core.domain.block import Block, BlockedKind
from ftc_core.domain.identity import format_enrollment_id
from ftc_grpc._gen.ftc.v1 import block_pb2
from ftc_grpc.caller import current_caller, named_resource
from ftc_grpc.convert import timestamp
from ftc_grpc.named_device import check_alone
from ftc_grpc.resource_names import TRUSTED_CERTIFICATE

__all__ = ["block_to_proto", "named_certificate"]


class CertificateRequest(Protocol):
    """The fields of every request that blocks or unblocks a CA."""

    name: str
    certificate_fingerprint: str


def named_certificate(request: CertificateRequest) -> NamedCertificate:
    """The CA. Raises FtcError FIELD_INVALID if it is named twice; else as `named_resource`."""
    if request.certificate_fingerprint:
        check_alone(request.name, "certificate_fingerprint")
        return NamedCertificate(certificate_fingerprint=request.certificate_fingerprint)
    return NamedCertificate(*named_resource(request.name, TRUSTED_CERTIFICATE))


def block_to_proto(block: Block) -> block_pb2.Block:
    """A block as the present caller may see it."""
    told = block.account_id is not None or current_caller().role is Role.OPERATOR
    return block_pb2.Block(
        certificate_fingerprint=block.fingerprint.hex(),
        enrollment_identity=format_enrollment_id(block.fingerprint)
        if block.kind is BlockedKind.DEVICE
        else "",
        kind=block_pb2.Block.Kind.Value(block.kind.value),
        account_id=block.account_id or "",
        note=block.note if told else "",
        blocked_at=timestamp(block.blocked_at),
        blocked_by=block.blocked_by if told else "",
    )
