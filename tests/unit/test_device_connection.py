"""A device's socket, where there is no way to the server."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from ftc_core.device.connection import DeviceConnection


async def test_no_socket_stays_open_where_there_is_no_way() -> None:
    nothing: Any = None  # there is nothing to be said over a socket that does not connect
    with pytest.raises(OSError, match=r"ermission denied|nreachable"):
        await DeviceConnection.open("255.255.255.255", 5684, nothing, nothing, nothing)
    gc.collect()  # an open socket would warn, which is an error here
