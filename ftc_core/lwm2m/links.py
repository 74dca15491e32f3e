"""The link format (RFC 6690), in which clients list their objects; parsed by aiocoap."""

from __future__ import annotations

import re
from collections.abc import Mapping

from aiocoap.util import linkformat
from aiocoap.util.vendored.link_header import ParseException

__all__ = ["BadLinks", "parse_links"]

_SPACES = re.compile(" +")


class BadLinks(Exception):  # noqa: N818 - the name says what the payload is, as in `except BadLinks`
    """A payload is not in the link format."""


def parse_links(text: str) -> list[tuple[str, Mapping[str, str | None]]]:
    """The target and the attributes of each link, in order; None is an attribute without a value.

    Of an attribute that is given twice, the first counts (§2). Raises BadLinks, and nothing else.
    """
    try:
        links = linkformat.parse(_SPACES.sub(" ", text)).links  # of many in a row the parser makes heavy work
    except ParseException:
        raise BadLinks("not in the link format") from None
    return [(link.href, dict(reversed(link.attr_pairs))) for link in links]
