"""The API's process, as the supervisor of `ftc serve` spawns it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable

from ftc_core.application.context import ApplicationContext
from ftc_core.application.policy import Policy
from ftc_core.application.watch import compact_events
from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.credentials.ledger_keys import LedgerKeyFiles
from ftc_core.endpoint.child import ChildSpec, Ready, Stop, end_without_store, run_child
from ftc_core.errors import FtcError
from ftc_core.limits import COMMIT_PACE_S, EVENTS_COMPACTION_INTERVAL_S, KEY_USE_INTERVAL_S
from ftc_core.listen import ANY_HOST, ListenAddress
from ftc_core.observability.metrics import observe_commit
from ftc_core.observability.publishing import PUBLISH_INTERVAL_S, repeat
from ftc_core.storage.async_commit import AsyncCommit
from ftc_core.storage.engines import open_store
from ftc_core.storage.group_commit import GroupCommit
from ftc_grpc.expiry import sweep_forever
from ftc_grpc.interceptors.call_log import CallLog
from ftc_grpc.interceptors.call_metrics import CallMetrics
from ftc_grpc.mutual_tls import MutualTls
from ftc_grpc.periodic import repeat_forever
from ftc_grpc.server import ApiServer

__all__ = ["serve"]


async def serve(spec: ChildSpec, ready: Callable[[Ready], None], stop: Stop) -> None:
    """Serve the API until `stop`, then drain for `shutdown_grace_s` seconds.

    Raises FtcError as the data directory, the store and the port do.
    """
    settings = spec.settings
    directory = DataDirectory.open(settings.data_dir)
    identity = directory.server_identity("grpc")
    store = open_store(settings.store_url, on_lost=end_without_store)
    commit = GroupCommit(
        store, max_batch=settings.commit_batch, pace_s=COMMIT_PACE_S, observer=observe_commit
    )
    try:
        context = ApplicationContext(
            store=store,
            commit=AsyncCommit(commit, asyncio.get_running_loop()),
            pepper=directory.api_key_pepper,
            policy=Policy.of(settings),
        )
        metrics = CallMetrics()
        server = ApiServer(
            context,
            certificate_pem=identity.certificate_pem,
            private_key_pem=identity.private_key_pem,
            observers=(CallLog(), metrics),
            bulk_directory=directory.bulk,
            ledger_keys=LedgerKeyFiles(directory),
            mutual_tls=MutualTls.from_settings(settings),
        )
        listen = [each for each in (settings.grpc_listen, settings.mtls_listen) if each is not None]
        ports = await server.start(*map(_address, listen))
        ready(
            Ready(
                addresses=tuple(
                    str(ListenAddress(each.host, port)) for each, port in zip(listen, ports, strict=True)
                )
            )
        )
        record_uses = functools.partial(server.key_uses.record, context)
        compact = functools.partial(compact_events, context)
        chores = [
            asyncio.create_task(sweep_forever(context)),
            asyncio.create_task(repeat(metrics.publish, PUBLISH_INTERVAL_S)),
            asyncio.create_task(
                repeat_forever(record_uses, name="record of API key uses", interval_s=KEY_USE_INTERVAL_S)
            ),
            asyncio.create_task(
                repeat_forever(compact, name="compaction of events", interval_s=EVENTS_COMPACTION_INTERVAL_S)
            ),
        ]
        if interval_s := settings.ledger_checkpoint_interval_s:
            sign = repeat_forever(server.signing.checkpoint, name="ledger checkpoint", interval_s=interval_s)
            chores.append(asyncio.create_task(sign))
        try:
            await stop.wait()
        finally:
            for chore in chores:
                chore.cancel()
            await asyncio.wait(chores)
            await server.stop(settings.shutdown_grace_s)
            metrics.publish()
            with contextlib.suppress(FtcError):  # coarse by nature: no reason to end badly
                await record_uses()
    finally:
        commit.close()
        store.close()


def _address(listen: ListenAddress) -> str:
    host = "::" if listen.host == ANY_HOST else listen.host  # gRPC's [::] takes IPv4, too
    return str(ListenAddress(host, listen.port))


if __name__ == "__main__":
    raise SystemExit(run_child(serve))
