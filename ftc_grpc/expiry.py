"""The sweep that ends what has had its time (enrollments, transfers, denials) and announces what soon will.

It runs in the API's process: there is one of it per instance, while bootstrap workers are many. A device is
refused by the claim decision from the very moment of expiry; the sweep only tidies up and tells watchers.
What was announced is in the store, so that a restart neither forgets an enrollment nor tells of it twice.
"""

from __future__ import annotations

from typing import NoReturn

import structlog

from ftc_core.application.context import ApplicationContext
from ftc_core.application.denials import forget_denials
from ftc_core.application.enrollments import announce_expiries, expire_enrollments
from ftc_core.application.transfers import expire_transfers, forget_transfers
from ftc_grpc.periodic import repeat_forever

__all__ = ["SWEEP_INTERVAL_S", "sweep_forever"]

_log = structlog.get_logger(__name__)

SWEEP_INTERVAL_S = 5.0
"""Seconds between sweeps: the most that an event of expiry is late."""


async def sweep_forever(context: ApplicationContext, interval_s: float = SWEEP_INTERVAL_S) -> NoReturn:
    """Sweep now and every `interval_s` seconds, until cancelled; a sweep that fails is logged."""

    async def sweep() -> None:
        if told := await announce_expiries(context):
            _log.info("enrollments expire soon", count=told)
        if removed := await expire_enrollments(context):
            _log.info("enrollments expired", count=removed)
        if ended := await expire_transfers(context):
            _log.info("transfers expired", count=ended)
        if forgotten := await forget_transfers(context):
            _log.info("decided transfers forgotten", count=forgotten)
        if outdated := await forget_denials(context):
            _log.info("denials forgotten", count=outdated)

    await repeat_forever(sweep, name="expiry sweep", interval_s=interval_s)
