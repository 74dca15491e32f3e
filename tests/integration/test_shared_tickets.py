"""A device that comes back resumes its session at any worker, whoever lives or has died of them meanwhile.

Which worker serves is forced: the other one is stopped (SIGSTOP), and the device knocks from new ports until
one is answered.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

import pytest

from ftc_core.domain.identity import format_enrollment_id
from ftc_core.dtls.alert import Alert
from ftc_core.dtls.association import Closed
from ftc_core.dtls.context import server_context
from ftc_core.dtls.ticket_generations import NamedContext, TicketGenerations
from ftc_core.endpoint import bootstrap_worker
from ftc_core.endpoint.child import ChildSpec, Ready, Stop
from ftc_core.endpoint.udp import bind_group
from ftc_core.lwm2m.messages import dotted
from ftc_core.settings import Settings
from ftc_grpc._gen.ftc.v1.block_pb2 import BlockDeviceRequest
from tests.certificates import Manufacturer
from tests.dtls_pair import server_credential
from tests.instance import Instance, Tenant, alive, eventually, make_data_directory, running_instance
from tests.raw_peer import POST, RawPeer, uri
from tests.things import Thing

WORKERS = ("bootstrap-0", "bootstrap-1")
PORTS_TRIED = 30
"""Each is of the one worker or the other by the kernel's hash: all of one with a probability of 2^-30."""


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    directory = make_data_directory(tmp_path_factory.mktemp("pair") / "data")
    with running_instance(directory, "--workers=2", "--shutdown-grace-s=0.2") as instance:
        yield instance


@pytest.fixture
def tenant(own: Instance, manufacturer: Manufacturer) -> Tenant:
    tenant = own.tenant()
    tenant.trust(manufacturer)
    return tenant


@pytest.fixture
def thing(own: Instance, manufacturer: Manufacturer) -> Thing:
    return Thing.of(own, manufacturer)


@pytest.fixture
def visitor(thing: Thing) -> Iterator[Visitor]:
    visitor = Visitor(thing)
    yield visitor
    visitor.peer.sock.close()


@contextmanager
def only(worker: str, instance: Instance) -> Iterator[None]:
    """Of the two workers only this one runs."""
    [other] = (pid for name, pid in instance.processes().items() if name in WORKERS and name != worker)
    os.kill(other, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(other, signal.SIGCONT)


def replaced(instance: Instance, *names: str) -> None:
    """SIGKILL these processes, and wait until their successors serve, and those of a nursery's workers."""
    before = instance.processes()
    for name in names:
        os.kill(before[name], signal.SIGKILL)
    gone = [name for name in before if name in WORKERS] if "nursery" in names else names

    def succeeded() -> bool:
        now = instance.processes()
        return all(now.get(name) not in (None, before[name]) for name in (*gone, *names))

    eventually(succeeded, f"successors of {names}")


class Visitor:
    """A device that comes from a new port each time, with the last ticket that it was given."""

    def __init__(self, thing: Thing) -> None:
        self._name = thing.endpoint_name.encode()
        self._address = thing.instance.address("bootstrap")
        credential = thing.credential
        self.peer = RawPeer(
            self._address,
            credential.certificate,
            credential.private_key,
            thing.instance.server_ca,
            tickets=True,
        )

    def bootstrap(self) -> tuple[str, bool]:
        """The code that its request gets, and whether that was on its resumed session."""
        self._knock(lambda: self.peer.association.established)
        answer = self.peer.ask(POST, uri("/bs", b"ep=" + self._name))
        return dotted(answer), self.peer.association.resumed

    def alert(self) -> int | None:
        """What its handshake ends with, which it must."""
        self._knock(lambda: any(isinstance(event, Closed) for event in self.peer.events))
        return self.peer.closed().alert

    def _knock(self, done: Callable[[], bool]) -> None:
        session = self.peer.association.session
        if session is not None:
            self.peer.resume()
        for _ in range(PORTS_TRIED):
            self.peer.sock.close()
            self.peer.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.peer.sock.connect(self._address)
            self.peer.association = self.peer.new_association(session)
            if self.peer.pump(done, patience_s=0.8):
                return
        raise AssertionError("no worker answers")


def test_a_device_resumes_at_the_worker_that_did_not_give_its_ticket(
    own: Instance, tenant: Tenant, thing: Thing, visitor: Visitor
) -> None:
    tenant.enroll(thing.credential.certificate)
    with only("bootstrap-0", own):
        assert visitor.bootstrap() == ("2.04", False)
    for worker in reversed(WORKERS):
        with only(worker, own):
            assert visitor.bootstrap() == ("2.04", True)
    assert tenant.device_count() == 1


def test_a_ticket_outlives_the_worker_that_gave_it(
    own: Instance, tenant: Tenant, thing: Thing, visitor: Visitor
) -> None:
    tenant.enroll(thing.credential.certificate)
    with only("bootstrap-0", own):
        assert visitor.bootstrap() == ("2.04", False)
    replaced(own, "bootstrap-0")
    with only("bootstrap-0", own):
        assert visitor.bootstrap() == ("2.04", True)


def test_a_device_that_was_blocked_meanwhile_is_not_resumed_elsewhere(
    own: Instance, tenant: Tenant, thing: Thing, visitor: Visitor
) -> None:
    tenant.enroll(thing.credential.certificate)
    with only("bootstrap-0", own):
        assert visitor.bootstrap() == ("2.04", False)
    identity = format_enrollment_id(thing.fingerprint)
    own.api.call(own.api.devices.BlockDevice, BlockDeviceRequest(enrollment_identity=identity))
    with only("bootstrap-1", own):
        assert visitor.alert() == Alert.CERTIFICATE_REVOKED


def test_a_device_that_was_released_meanwhile_is_refused_on_its_resumed_session_elsewhere(
    own: Instance, tenant: Tenant, thing: Thing, visitor: Visitor
) -> None:
    enrollment = tenant.enroll(thing.credential.certificate)
    with only("bootstrap-0", own):
        assert visitor.bootstrap() == ("2.04", False)
    tenant.release(enrollment)
    with only("bootstrap-1", own):
        assert visitor.bootstrap() == ("4.03", True)


def test_a_device_that_was_transferred_meanwhile_gets_to_its_new_owner_on_its_resumed_session_elsewhere(
    own: Instance, tenant: Tenant, manufacturer: Manufacturer, thing: Thing, visitor: Visitor
) -> None:
    tenant.enroll(thing.credential.certificate)
    receiver = own.tenant()
    receiver.trust(manufacturer)
    with only("bootstrap-0", own):
        assert visitor.bootstrap() == ("2.04", False)
    tenant.transfer(thing.endpoint_name, to=receiver)
    with only("bootstrap-1", own):
        assert visitor.bootstrap() == ("2.04", True)
    assert (tenant.device_count(), receiver.device_count()) == (0, 1)


def test_workers_of_one_nursery_draw_different_random_numbers(
    own: Instance, tenant: Tenant, thing: Thing, visitor: Visitor
) -> None:
    """Each begins with the state of the same generator; so do the successors of one."""
    tenant.enroll(thing.credential.certificate)
    drawn = []
    for worker in WORKERS * 2:
        with only(worker, own):
            visitor.bootstrap()
        drawn.append(visitor.peer.association._connection.server_random())
        replaced(own, worker)
    assert len(set(drawn)) == 4


def test_a_worker_ends_in_order_before_its_ticket_keys_run_out(
    own: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker of the test's own, with keys for a fraction of a second."""
    credential = server_credential()
    generations = TicketGenerations(
        lambda: NamedContext(server_context([credential.certificate], credential.private_key), b""),
        monotonic(),
        key_lifetime_s=0.4,
    )
    [sock] = bind_group("127.0.0.1", 0, 1)
    settings = Settings(data_dir=own.directory.root, shutdown_grace_s=0.0)
    spec = ChildSpec(name="bootstrap-9", settings=settings, sockets=(sock.detach(),))
    said: list[Ready] = []

    async def serve() -> None:
        generations.close()
        stop = Stop(asyncio.get_running_loop())
        await asyncio.wait_for(bootstrap_worker.serve(generations, spec, said.append, stop), 5)

    lifeline, end = os.pipe()
    with os.fdopen(lifeline) as stdin, os.fdopen(end):
        monkeypatch.setattr("sys.stdin", stdin)
        asyncio.run(serve())
    assert said == [Ready()]


def test_a_nursery_that_is_killed_is_replaced_with_all_of_its_workers(
    own: Instance, tenant: Tenant, thing: Thing, visitor: Visitor
) -> None:
    """Its keys are lost with it, so the device makes a full handshake; the next ticket is good again."""
    tenant.enroll(thing.credential.certificate)
    assert visitor.bootstrap() == ("2.04", False)
    before = own.processes()
    replaced(own, "nursery")
    assert not any(alive(before[name]) for name in ("nursery", *WORKERS))
    assert visitor.bootstrap() == ("2.04", False)
    assert visitor.bootstrap() == ("2.04", True)


def test_no_worker_outlives_its_nursery_for_longer_than_the_grace(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    directory = make_data_directory(tmp_path_factory.mktemp("stuck") / "data")
    with running_instance(directory, "--shutdown-grace-s=0.2") as instance:
        before = instance.processes()
        os.kill(before["bootstrap-0"], signal.SIGSTOP)  # so that it cannot end in order
        replaced(instance, "nursery")
        assert not alive(before["bootstrap-0"])
