"""How a device opens an association: where to, whom it trusts there, and which CoAP it speaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import urlsplit

from cryptography.x509.oid import ExtendedKeyUsageOID

from ftc_core.application.context import utc_now
from ftc_core.coap.blockwise import BlockwiseLayer
from ftc_core.device.model import ClientModel
from ftc_core.dtls.alert import Alert
from ftc_core.dtls.trust import PathRefused, PathVerifier, TrustEvaluator, VerifiedPath, fixed_anchors
from ftc_core.endpoint.coap_layer import new_coap_layer
from ftc_core.endpoint.peer import CoapFactory
from ftc_core.limits import COAP_BLOCK_SIZE

__all__ = ["coap_factory", "server_address", "server_verifier"]

COAPS_PORT = 5684
"""Where a coaps URI without a port leads (RFC 7252 §6.2)."""
_TOKEN_COUNTER_BYTES = 4
"""The part of a token that counts (`coap.exchange`)."""


def server_address(uri: str) -> tuple[str, int]:
    """Host and port of a server URI."""
    target = urlsplit(uri)
    return target.hostname or "", target.port or COAPS_PORT


def server_verifier(certificate: bytes, *, exact: bool = False) -> PathVerifier:
    """Trusts servers under `certificate` (DER, Security resource 4), or that are it.

    With `exact` it is the server's own certificate, and nothing else will do.
    """
    evaluator = TrustEvaluator(
        fixed_anchors([certificate]), purpose=ExtendedKeyUsageOID.SERVER_AUTH, pin_leaf=True
    )

    def judge(chain: Sequence[bytes]) -> VerifiedPath | PathRefused:
        if exact and chain[0] != certificate:
            return PathRefused(Alert.BAD_CERTIFICATE, "not the server's own certificate")
        return evaluator.evaluate(chain, utc_now())

    return judge


def coap_factory(
    model: ClientModel,
    *,
    block_size: int = COAP_BLOCK_SIZE,
    new_layer: Callable[..., BlockwiseLayer] = BlockwiseLayer,
) -> CoapFactory:
    """The CoAP layer of a client of this `model`, with blocks of at most `block_size` bytes (16 to 1,024)."""
    return partial(
        new_coap_layer,
        block_size=block_size,
        token_prefix_bytes=model.token_bytes - _TOKEN_COUNTER_BYTES,
        new_layer=new_layer,
    )
