"""The sweep that removes enrollments whose time has passed.

It runs in the API's process: there is one of it per instance, while bootstrap workers are many. A device is
refused by the claim decision from the very moment of expiry; the sweep only tidies up and tells watchers.
"""

from __future__ import annotations

import asyncio
from typing import NoReturn

import structlog

from ftc_core.application.context import ApplicationContext
from ftc_core.application.enrollments import expire_enrollments

__all__ = ["SWEEP_INTERVAL_S", "sweep_forever"]

_log = structlog.get_logger(__name__)

SWEEP_INTERVAL_S = 5.0
"""Seconds between sweeps: the most that a removed enrollment's event is late."""


async def sweep_forever(context: ApplicationContext, interval_s: float = SWEEP_INTERVAL_S) -> NoReturn:
    """Sweep now and every `interval_s` seconds, until cancelled; a sweep that fails is logged."""
    while True:
        try:
            if removed := await expire_enrollments(context):
                _log.info("enrollments expired", count=removed)
        except Exception as error:
            _log.error("expiry sweep failed", exc_info=error)
        await asyncio.sleep(interval_s)
