"""Bodies cut into blocks, and one block of a body as a message (RFC 7959 §2.2)."""

from __future__ import annotations

from aiocoap.message import Message
from aiocoap.numbers.optionnumbers import OptionNumber
from aiocoap.optiontypes import BlockOption

__all__ = [
    "RESERVED_EXPONENT",
    "Block",
    "ResourceKey",
    "block_size",
    "copy_without",
    "resource_key",
    "size_exponent",
]

Block = BlockOption.BlockwiseTuple
"""The value of a Block1 or Block2 option: block_number, more, size_exponent (the option's NUM, M, SZX)."""

RESERVED_EXPONENT = 7
"""The one SZX that stands for no block size over UDP (RFC 7959 §2.2)."""

ResourceKey = tuple[int, tuple[str, ...], tuple[str, ...], tuple[bytes, ...]]
"""What the blocks of one transfer share: method, Uri-Path, Uri-Query and Request-Tag (RFC 9175 §3.3)."""


def size_exponent(size: int) -> int:
    """The SZX of a block size: 0 for 16 bytes to 6 for 1,024. Raises ValueError for any other number."""
    exponent = size.bit_length() - 5
    if not 0 <= exponent < RESERVED_EXPONENT or size != block_size(exponent):
        raise ValueError(f"{size} is no block size: a power of two from 16 to 1024")
    return exponent


def block_size(exponent: int) -> int:
    """Bytes in a block of this SZX."""
    return 16 << exponent


def resource_key(request: Message) -> ResourceKey:
    """Names the transfer that a block of a request belongs to."""
    options = request.opt
    tags = tuple(tag.value for tag in options.get_option(OptionNumber.REQUEST_TAG) or ())
    return int(request.code or 0), options.uri_path, options.uri_query, tags


def copy_without(message: Message, *options: OptionNumber, payload: bytes) -> Message:
    """A message with the same code and options except those, and another payload.

    The option objects are shared, not copied: nothing changes an option in place. What belongs to one
    transmission (type, message ID, token) is not taken over.
    """
    copy = Message(code=message.code, payload=payload)
    copy.direction = message.direction
    for option in message.opt.option_list():
        if option.number not in options:
            copy.opt.add_option(option)
    return copy
