"""The CoAP layer of a new association, on either side: chance comes in here."""

from __future__ import annotations

import random
import secrets

from ftc_core.coap.blockwise import BlockwiseLayer
from ftc_core.coap.exchange import ExchangeLayer
from ftc_core.limits import COAP_BLOCK_SIZE

__all__ = ["new_coap_layer"]


def new_coap_layer(block_size: int = COAP_BLOCK_SIZE) -> BlockwiseLayer:
    """Random message IDs and tokens (RFC 7252 §4.4, §5.3.1), blocks of at most `block_size` bytes."""
    exchanges = ExchangeLayer(
        first_message_id=random.getrandbits(16),
        token_prefix=secrets.token_bytes(4),
        random=random.random,
    )
    return BlockwiseLayer(exchanges, block_size=block_size)
