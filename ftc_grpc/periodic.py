"""Chores of the API's process: done again and again, whatever becomes of one turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

import structlog

__all__ = ["repeat_forever"]

_log = structlog.get_logger(__name__)


async def repeat_forever(chore: Callable[[], Awaitable[object]], *, name: str, interval_s: float) -> NoReturn:
    """Do `chore` now and every `interval_s` seconds, until cancelled; a turn that fails is logged."""
    while True:
        try:
            await chore()
        except Exception as error:
            _log.error(f"{name} failed", exc_info=error)
        await asyncio.sleep(interval_s)
