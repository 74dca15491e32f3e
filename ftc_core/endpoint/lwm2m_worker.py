"""The LwM2M registration endpoint: one process that trusts our own issuing CA and nobody else."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import closing
from time import monotonic

from ftc_core.application.context import utc_now
from ftc_core.application.registration import RegistrationService
from ftc_core.coap.blockwise import BlockwiseLayer
from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.dtls.trust import VerifiedPath, fixed_anchors
from ftc_core.endpoint.child import ChildSpec, Ready, Stop, end_without_store, run_child
from ftc_core.endpoint.registration_driver import RegistrationDriver
from ftc_core.endpoint.server import new_generations, open_endpoint
from ftc_core.endpoint.telemetry import registration_telemetry
from ftc_core.endpoint.udp import Origin
from ftc_core.observability.counts import RegistrationCounts
from ftc_core.observability.metrics import observe_commit
from ftc_core.storage.async_commit import AsyncCommit
from ftc_core.storage.engines import open_store
from ftc_core.storage.group_commit import GroupCommit

__all__ = ["serve"]

EXPIRY_INTERVAL_S = 1.0
"""Seconds between two looks for registrations whose lifetime has ended."""


async def serve(spec: ChildSpec, say: Callable[[Ready], None], stop: Stop) -> None:
    """Register devices until `stop`. Raises FtcError if the data directory or the store cannot be used."""
    settings = spec.settings
    directory = DataDirectory.open(settings.data_dir)
    loop = asyncio.get_running_loop()
    with (
        closing(open_store(settings.store_url, on_lost=end_without_store)) as store,
        closing(GroupCommit(store, max_batch=settings.commit_batch, observer=observe_commit)) as group,
    ):
        commit = AsyncCommit(group, loop).submit
        counts = RegistrationCounts()
        telemetry = registration_telemetry(counts)
        service = RegistrationService(commit, utc_now, counts)

        def new_session(
            path: VerifiedPath, origin: Origin, coap: BlockwiseLayer, wake: Callable[[], None], now: float
        ) -> RegistrationDriver:
            return RegistrationDriver(service, path, origin, coap, wake, monotonic, now, counts)

        generations = new_generations(directory, "lwm2m", settings)
        anchors = fixed_anchors([directory.issuing_ca.certificate_der])
        endpoint = open_endpoint(spec, directory, generations, anchors, new_session, telemetry)
        endpoint.start()
        telemetry.start()
        expiry = asyncio.create_task(_expire(service))
        say(Ready())
        await stop.wait()
        expiry.cancel()
        # Registered devices stay connected for hours; there is nothing to wait for but answers under way.
        await endpoint.drain(0.0)
        telemetry.stop()


async def _expire(service: RegistrationService) -> None:
    while True:
        service.expire()
        await asyncio.sleep(EXPIRY_INTERVAL_S)


if __name__ == "__main__":
    sys.exit(run_child(serve))
