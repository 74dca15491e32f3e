"""The CoAP layer of a new association, on either side: chance comes in here."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable

from ftc_core.coap.blockwise import BlockwiseLayer
from ftc_core.coap.exchange import ExchangeLayer
from ftc_core.limits import COAP_BLOCK_SIZE, COAP_OVERHEAD_BYTES

__all__ = ["fitting_block_size", "new_coap_layer"]

_BLOCK_MIN_BYTES = 16
"""RFC 7959 §2.2."""


def new_coap_layer(
    max_message_bytes: int,
    *,
    block_size: int = COAP_BLOCK_SIZE,
    token_prefix_bytes: int = 4,
    new_layer: Callable[..., BlockwiseLayer] = BlockwiseLayer,
) -> BlockwiseLayer:
    """Random message IDs and tokens (RFC 7252 §4.4, §5.3.1).

    Blocks are of `block_size` bytes, or of less if the association carries only `max_message_bytes`. A token
    is `token_prefix_bytes` (0 to 4) of chance and a 32-bit counter. `new_layer` is called like
    `BlockwiseLayer`.
    """
    exchanges = ExchangeLayer(
        first_message_id=random.getrandbits(16),
        token_prefix=secrets.token_bytes(token_prefix_bytes),
        random=random.random,
    )
    return new_layer(exchanges, block_size=fitting_block_size(max_message_bytes, block_size))


def fitting_block_size(max_message_bytes: int, block_size: int = COAP_BLOCK_SIZE) -> int:
    """The largest block, of at most `block_size` bytes, that a message of `max_message_bytes` can carry."""
    while block_size > _BLOCK_MIN_BYTES and block_size + COAP_OVERHEAD_BYTES > max_message_bytes:
        block_size //= 2
    return block_size
