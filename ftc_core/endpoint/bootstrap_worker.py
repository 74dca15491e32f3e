"""A bootstrap worker: one process, one thread for all of its devices, one for its commits."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from time import monotonic

from cryptography.hazmat.primitives.serialization import Encoding

from ftc_core.application.bootstrap import BootstrapService, ServerFacts
from ftc_core.application.context import new_id, utc_now
from ftc_core.application.denial_recording import DenialRecorder
from ftc_core.coap.blockwise import BlockwiseLayer
from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.credentials.issuer import CredentialIssuer
from ftc_core.dtls.ticket_generations import TicketGenerations
from ftc_core.dtls.trust import VerifiedPath
from ftc_core.endpoint.bootstrap_driver import BootstrapDriver
from ftc_core.endpoint.child import ChildSpec, Ready, Stop, end_without_store
from ftc_core.endpoint.handshake_refusal import refusal_of
from ftc_core.endpoint.server import open_endpoint
from ftc_core.endpoint.telemetry import bootstrap_telemetry
from ftc_core.endpoint.udp import Origin
from ftc_core.limits import CLAIM_PACE_S, DENIAL_GRACE_S
from ftc_core.observability.counts import BootstrapCounts
from ftc_core.observability.metrics import observe_commit
from ftc_core.settings import Settings
from ftc_core.storage.async_commit import AsyncCommit
from ftc_core.storage.engines import open_store
from ftc_core.storage.group_commit import GroupCommit

__all__ = ["serve"]


async def serve(
    generations: TicketGenerations, spec: ChildSpec, say: Callable[[Ready], None], stop: Stop
) -> None:
    """Claim devices until `stop`, or until the ticket keys in `generations` are used up.

    Raises FtcError if the data directory or the store cannot be used.
    """
    settings = spec.settings
    directory = DataDirectory.open(settings.data_dir)
    loop = asyncio.get_running_loop()
    with (
        closing(open_store(settings.store_url, on_lost=end_without_store)) as store,
        closing(
            GroupCommit(
                store,
                max_batch=settings.commit_batch,
                pace_s=CLAIM_PACE_S,
                observer=observe_commit,
            )
        ) as group,
    ):
        commit = AsyncCommit(group, loop).submit
        counts = BootstrapCounts()
        telemetry = bootstrap_telemetry(counts)
        service = BootstrapService(
            store,
            commit,
            CredentialIssuer(directory.issuing_ca, timedelta(days=settings.credential_validity_days)),
            _server_facts(settings, directory),
            utc_now,
            new_id,
            counts,
            group.backlog_s if settings.overload_answer == "5.03" else None,
            enrolls=settings.lwm2m_credentials == "est",
        )

        denials = DenialRecorder(store, commit, utc_now, new_id, loop.call_later, counts.denials)

        def new_session(
            path: VerifiedPath, origin: Origin, coap: BlockwiseLayer, wake: Callable[[], None], now: float
        ) -> BootstrapDriver:
            return BootstrapDriver(
                service, path, origin, coap, wake, monotonic, now, counts, refused=denials.note
            )

        endpoint = open_endpoint(
            spec,
            directory,
            generations,
            service.find_anchors,
            new_session,
            telemetry,
            find_blocked=service.find_blocked,
            handshake_refused=lambda origin, closed: denials.note(refusal_of(origin, closed)),
        )
        endpoint.start()
        telemetry.start()
        if settings.resumption_lifetime_s:
            # Its successor has newer ones. Not all workers at one moment, for each has to drain.
            ends = random.uniform(*generations.last_span())  # noqa: S311 - no secret
            loop.call_later(ends - monotonic(), stop.set)
        say(Ready())
        await stop.wait()
        await endpoint.drain(settings.shutdown_grace_s)
        await _written(denials)
        telemetry.stop()


async def _written(denials: DenialRecorder) -> None:
    """Return once what was refused so far is on disk, or has taken too long to get there."""
    written = asyncio.Event()
    denials.finish(written.set)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DENIAL_GRACE_S):
            await written.wait()


def _server_facts(settings: Settings, directory: DataDirectory) -> ServerFacts:
    server_ca = directory.server_ca
    lwm2m = directory.server_identity("lwm2m")
    return ServerFacts(
        lwm2m_uri=settings.public_lwm2m_uri(),
        bootstrap_uri=settings.public_bootstrap_uri(),
        server_ca=server_ca.public_bytes(Encoding.DER),
        lwm2m_certificate=lwm2m.certificate_der,
        valid_until=min(server_ca.not_valid_after_utc, lwm2m.certificate.not_valid_after_utc),
        short_server_id=settings.short_server_id,
        lifetime=settings.lwm2m_lifetime_s,
        binding=settings.lwm2m_binding,
    )
