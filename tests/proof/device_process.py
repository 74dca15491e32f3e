"""A bootstrap worker without its sockets: claims and registers on the instance's store, as told by lines.

It runs the use cases that stand behind the DTLS servers, with their own store, group commit and issuer, and
can be killed at any moment. Started by `devices.Devices`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from time import monotonic

import msgspec

from ftc_core.application.bootstrap import BootstrapService, Conversation, ServerFacts
from ftc_core.application.context import new_id, utc_now
from ftc_core.application.registration import RegistrationService
from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.credentials.issuer import CredentialIssuer
from ftc_core.domain.claim import ClaimRequest
from ftc_core.errors import FtcError, Reason
from ftc_core.lwm2m.registration import DeviceIdentity
from ftc_core.lwm2m.request import Register
from ftc_core.lwm2m.sequence import BootstrapGrant
from ftc_core.observability.logging import configure_logging
from ftc_core.storage.async_commit import AsyncCommit
from ftc_core.storage.commands import Outcome
from ftc_core.storage.engines import open_store
from ftc_core.storage.group_commit import GroupCommit

__all__ = ["Order", "Report"]

_LIFETIME_S = 600


class Order(msgspec.Struct, frozen=True):
    """What a device does; exactly one of the two is set."""

    number: int
    claim: ClaimRequest | None = None
    register: DeviceIdentity | None = None


class Report(msgspec.Struct, frozen=True):
    """What the device is told: a grant, or a refusal's reason; neither for a registration that stands."""

    number: int
    reason: Reason | None = None
    account_id: str = ""
    device_id: str = ""


class _Worker:
    def __init__(
        self, bootstrap: BootstrapService, registration: RegistrationService, say: Callable[[Report], None]
    ) -> None:
        self._bootstrap = bootstrap
        self._registration = registration
        self._say = say

    def obey(self, order: Order) -> None:
        if order.claim is not None:
            self._bootstrap.claim(order.claim, None, partial(self._claimed, order.number))
        elif order.register is not None:
            request = Register(endpoint_name=order.register.endpoint_name, lifetime=_LIFETIME_S)
            self._registration.register(
                order.register, request, "192.0.2.1:40000", partial(self._registered, order.number)
            )

    def _claimed(self, number: int, answer: BootstrapGrant | FtcError) -> None:
        if isinstance(answer, FtcError):
            self._say(Report(number, answer.reason))
            return
        self._say(Report(number, None, answer.account_id, answer.device_id))
        conversation = Conversation((), monotonic(), "192.0.2.1:40000")
        self._bootstrap.bootstrapped(answer.account_id, answer.device_id, conversation)

    def _registered(self, number: int, answer: Outcome | FtcError) -> None:
        self._say(Report(number, answer.reason if isinstance(answer, FtcError) else None))


async def serve(root: Path) -> None:
    """Obey the orders on standard input until that ends."""
    output = sys.stdout.buffer

    def say(report: Report) -> None:
        output.write(msgspec.json.encode(report) + b"\n")
        output.flush()

    configure_logging(log_format="console", level="error", process="devices")
    directory = DataDirectory.open(root)
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    with (
        closing(open_store(f"lmdb://{directory.store.absolute()}")) as store,
        closing(GroupCommit(store)) as group,
    ):
        commit = AsyncCommit(group, loop).submit
        issuer = CredentialIssuer(directory.issuing_ca, timedelta(days=1))
        worker = _Worker(
            BootstrapService(store, commit, issuer, _server_facts(directory), utc_now, new_id),
            RegistrationService(commit, utc_now),
            say,
        )
        say(Report(0))
        while line := await lines.readline():
            worker.obey(msgspec.json.decode(line, type=Order))


def _server_facts(directory: DataDirectory) -> ServerFacts:
    lwm2m = directory.server_identity("lwm2m")
    return ServerFacts(
        lwm2m_uri="coaps://localhost:5684",
        bootstrap_uri="coaps://localhost:5784",
        server_ca=lwm2m.certificate_der,
        lwm2m_certificate=lwm2m.certificate_der,
        valid_until=lwm2m.certificate.not_valid_after_utc,
        short_server_id=1,
        lifetime=_LIFETIME_S,
        binding="U",
    )


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
