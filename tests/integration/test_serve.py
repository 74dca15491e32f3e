"""`ftc serve` as processes: how it starts, refuses to start, restarts what dies, drains and stops."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from ftc_core.application.context import utc_now
from ftc_core.application.own_certificates import renew_server_certificates
from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.device.client import BootstrapFailed
from ftc_core.device.registration import Operation, OperationDone, OperationFailed
from ftc_core.device.retry import Reaction
from ftc_core.domain.device import DeviceState
from ftc_core.endpoint.supervisor import Endpoints, Supervisor
from ftc_core.listen import ListenAddress
from ftc_core.lwm2m.messages import dotted
from ftc_core.observability.instance_metrics import InstanceMetrics
from ftc_core.settings import Settings
from tests.certificates import Manufacturer
from tests.instance import (
    FTC,
    Instance,
    Tenant,
    alive,
    eventually,
    make_data_directory,
    running_instance,
    start_instance,
)
from tests.raw_peer import POST, RawPeer, uri
from tests.things import Thing, enrolled_thing


@pytest.fixture
def directory(tmp_path: Path) -> DataDirectory:
    return make_data_directory(tmp_path / "data")


@pytest.fixture
def own(directory: DataDirectory) -> Iterator[Instance]:
    """An instance that the test may break."""
    with running_instance(directory) as running:
        yield running


def trusting(instance: Instance, manufacturer: Manufacturer) -> Tenant:
    tenant = instance.tenant()
    tenant.trust(manufacturer)
    return tenant


# --- refusing to start -----------------------------------------------------------------------------------


def refusal(*arguments: str | Path) -> str:
    """The one line of an `ftc serve` that must not start."""
    done = subprocess.run(
        [*FTC, "serve", *map(str, arguments)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


def test_missing_data_directory_is_one_line(tmp_path: Path) -> None:
    line = refusal("--data-dir", tmp_path / "nowhere")

    assert line == (
        f"error: no data directory: {tmp_path}/nowhere does not exist / what to do: Run `ftc init` first."
    )


def test_data_directory_in_use_is_one_line_that_names_the_holder(instance: Instance) -> None:
    line = refusal("--data-dir", instance.directory.root)

    assert line.startswith(
        f"error: data directory {instance.directory.root} is in use by another instance "
        f"(process {instance.process.pid})"
    )
    assert instance.process.poll() is None


@pytest.mark.parametrize("server", ["bootstrap", "lwm2m"])
def test_udp_port_of_another_instance_is_one_line(
    server: str, instance: Instance, directory: DataDirectory
) -> None:
    port = instance.address(server)[1]

    line = refusal(
        *("--data-dir", directory.root),
        *(f"--{one}-listen=127.0.0.1:{port if one == server else 0}" for one in ("bootstrap", "lwm2m")),
        "--grpc-listen=127.0.0.1:0",
    )

    assert line.startswith(f"error: UDP port {port} on 127.0.0.1 is in use / what to do: ")


def test_udp_port_of_any_program_is_one_line_also_for_all_addresses(directory: DataDirectory) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]

        line = refusal(
            *("--data-dir", directory.root, f"--bootstrap-listen=*:{port}"),
            *("--lwm2m-listen=127.0.0.1:0", "--grpc-listen=127.0.0.1:0"),
        )

    assert line.startswith(f"error: UDP port {port} on 0.0.0.0 is in use / what to do: ")


def test_tcp_port_of_the_api_in_use_is_one_line_and_nothing_is_left_running(
    instance: Instance, directory: DataDirectory
) -> None:
    port = instance.address("grpc")[1]

    line = refusal(
        *("--data-dir", directory.root, f"--grpc-listen=127.0.0.1:{port}"),
        *("--bootstrap-listen=127.0.0.1:0", "--lwm2m-listen=127.0.0.1:0"),
    )

    assert line.startswith(f"error: TCP port {port} on 127.0.0.1 is in use / what to do: ")
    assert not (directory.root / "endpoints.json").exists()
    with directory.lock():
        pass  # whoever was started has ended


# --- stopping --------------------------------------------------------------------------------------------


def test_sigterm_lets_a_device_in_mid_bootstrap_finish_and_admits_no_other(
    own: Instance, manufacturer: Manufacturer
) -> None:
    tenant = trusting(own, manufacturer)
    under_way, too_late = enrolled_thing(tenant, manufacturer), enrolled_thing(tenant, manufacturer)
    processes = own.processes()

    async def drained() -> None:
        bootstrap = asyncio.create_task(under_way.claimed(answer_delay_s=0.3))
        await asyncio.to_thread(
            eventually,
            lambda: tenant.state(under_way.endpoint_name) is DeviceState.CLOUD_ENROLLING,
            "the device is claimed",
        )
        own.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.1)
        late = asyncio.create_task(too_late.bootstrap())
        assert (await bootstrap).device_id
        assert not late.done()
        late.cancel()

    asyncio.run(drained())

    assert own.process.wait(10) == 0
    assert not own.endpoints_file.exists()
    assert not any(alive(pid) for pid in processes.values())
    done = own.stored_device(under_way.fingerprint)
    assert done is not None
    assert done.state is DeviceState.BOOTSTRAPPED
    assert own.stored_device(too_late.fingerprint) is None


def test_sigint_stops_it_as_well_and_cuts_off_who_is_not_done_in_time(
    directory: DataDirectory, manufacturer: Manufacturer
) -> None:
    with running_instance(directory, "--shutdown-grace-s=0.2") as own:
        thing = enrolled_thing(trusting(own, manufacturer), manufacturer)
        with raw_peer(own, thing) as peer:
            peer.connect()
            assert peer.still_works()

            assert own.stop(signal.SIGINT) == 0

            assert peer.closed().cause == "CLOSE_NOTIFY"
        assert "Traceback" not in own.log.read_text()


def test_registered_device_notices_that_its_server_has_stopped(
    own: Instance, manufacturer: Manufacturer
) -> None:
    tenant = trusting(own, manufacturer)
    thing = enrolled_thing(tenant, manufacturer)

    async def left_alone() -> OperationDone | OperationFailed:
        device = await thing.registered(await thing.claimed(), tenant.id)
        assert await asyncio.to_thread(own.stop) == 0
        return await asyncio.wait_for(device.update(), 5)

    outcome = asyncio.run(left_alone())

    assert outcome == OperationFailed(Operation.UPDATE, "", "the association was closed", Reaction.RETRY)


def test_sigterm_during_the_start_leaves_nothing_behind(directory: DataDirectory) -> None:
    supervisor = start_instance(directory).process
    worker = eventually(lambda: bootstrap_worker(supervisor.pid, []), "a worker is started")

    supervisor.terminate()

    assert supervisor.wait(15) == 0
    assert not alive(worker)
    assert not (directory.root / "endpoints.json").exists()


def test_sigterm_during_a_restart_leaves_nothing_behind(own: Instance) -> None:
    first = own.processes()["bootstrap-0"]
    os.kill(first, signal.SIGKILL)
    second = eventually(lambda: bootstrap_worker(own.process.pid, [first]), "the worker is restarted")

    assert own.stop() == 0

    assert not alive(second)


async def test_instance_whose_supervision_fails_ends_with_all_its_processes(
    directory: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that we know of raises what nobody expects, so a line that does is put in."""

    def forget_process(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(InstanceMetrics, "forget_process", forget_process)
    anywhere = ListenAddress("127.0.0.1", 0)
    settings = Settings(
        data_dir=directory.root,
        bootstrap_listen=(anywhere,),
        lwm2m_listen=(anywhere,),
        grpc_listen=anywhere,
        metrics_listen=anywhere,
        workers=1,
    )
    running = asyncio.create_task(Supervisor(settings, directory).run())
    published = directory.root / "endpoints.json"
    async with asyncio.timeout(20):
        while not published.exists():  # noqa: ASYNC110 - it gives no sign
            await asyncio.sleep(0.02)
    processes = msgspec.json.decode(published.read_bytes(), type=Endpoints).processes

    os.kill(processes["lwm2m"], signal.SIGKILL)

    with pytest.raises(ZeroDivisionError):
        await running
    assert not any(map(alive, processes.values()))
    assert not published.exists()


def test_instance_serves_again_what_it_served_before(
    directory: DataDirectory, manufacturer: Manufacturer
) -> None:
    with running_instance(directory) as own:
        tenant = trusting(own, manufacturer)
        thing = enrolled_thing(tenant, manufacturer)
        first = asyncio.run(thing.claimed())
    with running_instance(directory) as own:
        again = Thing(own, thing.endpoint_name, thing.credential)

        assert asyncio.run(again.claimed()).device_id == first.device_id


async def onboarded(tenant: Tenant, manufacturer: Manufacturer) -> None:
    thing = enrolled_thing(tenant, manufacturer)
    registered = await thing.registered(await thing.claimed(), tenant.id)
    assert tenant.state(thing.endpoint_name) is DeviceState.REGISTERED
    registered.close()


def test_renewed_servers_serve_who_trusts_their_ca(
    directory: DataDirectory, manufacturer: Manufacturer
) -> None:
    renewed = renew_server_certificates(directory, hosts=("ftc.example",), now=utc_now())
    with running_instance(directory) as own:  # its API's client trusts the CA as well
        asyncio.run(onboarded(trusting(own, manufacturer), manufacturer))
        served = ssl.get_server_certificate(own.address("grpc"), ca_certs=str(directory.server_ca_file))

    [grpc] = [each for each in renewed if each.name == "grpc"]
    assert x509.load_pem_x509_certificate(served.encode()).not_valid_after_utc == grpc.not_after


# --- under a service manager -----------------------------------------------------------------------------


def test_service_manager_is_told_when_it_serves_and_when_it_stops(
    directory: DataDirectory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        server = start_instance(directory)
        try:
            ready = manager.recv(1_000).decode().splitlines()
            endpoints = server.endpoints()  # published, as soon as it says that it is ready
            assert server.stop() == 0
        finally:
            server.stop(signal.SIGKILL)
        stopping = manager.recv(1_000).decode().splitlines()
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):  # its children say nothing
            manager.recv(1_000)

    assert ready == ["READY=1", f"STATUS=serving bootstrap on {endpoints.bootstrap[0]}"]
    assert stopping == ["STOPPING=1", "STATUS=draining"]


# --- processes that die ----------------------------------------------------------------------------------


def kill(instance: Instance, name: str) -> None:
    """SIGKILL one of its processes, and wait until its successor is published."""
    before = instance.processes()
    os.kill(before[name], signal.SIGKILL)
    eventually(lambda: instance.processes()[name] != before[name], f"{name} is restarted")
    after = instance.processes()
    assert {other: pid for other, pid in after.items() if other != name} == {
        other: pid for other, pid in before.items() if other != name
    }


def test_every_process_that_is_killed_is_restarted_on_its_own_ports(
    own: Instance, manufacturer: Manufacturer
) -> None:
    tenant = trusting(own, manufacturer)
    addresses = [own.address(server) for server in ("bootstrap", "lwm2m", "grpc")]

    asyncio.run(onboarded(tenant, manufacturer))
    for name in ("bootstrap-0", "lwm2m", "api"):
        kill(own, name)
        own.reconnect()
        asyncio.run(onboarded(tenant, manufacturer))

    assert [own.address(server) for server in ("bootstrap", "lwm2m", "grpc")] == addresses


def test_device_that_knocks_while_its_worker_is_dead_is_served_by_the_successor(
    own: Instance, manufacturer: Manufacturer
) -> None:
    thing = enrolled_thing(trusting(own, manufacturer), manufacturer)
    os.kill(own.processes()["bootstrap-0"], signal.SIGKILL)

    outcome = asyncio.run(asyncio.wait_for(thing.claimed(), 15))

    assert outcome.device_id


def test_claim_that_the_device_was_told_of_survives_the_death_of_the_worker(
    own: Instance, manufacturer: Manufacturer
) -> None:
    tenant = trusting(own, manufacturer)
    things = [enrolled_thing(tenant, manufacturer) for _ in range(5)]
    for thing in things:
        worker = own.processes()["bootstrap-0"]
        with raw_peer(own, thing) as peer:
            peer.connect()
            answer = peer.ask(POST, uri("/bs", b"ep=" + thing.endpoint_name.encode()))
            os.kill(worker, signal.SIGKILL)
        assert dotted(answer) == "2.04"
        stored = own.stored_device(thing.fingerprint)
        assert stored is not None
        assert (stored.account_id, stored.state) == (tenant.id, DeviceState.CLOUD_ENROLLING)
        eventually(lambda: own.processes()["bootstrap-0"] != worker, "the worker is restarted")  # noqa: B023

    # Nobody was let down: each device's next attempt ends what the first began.
    for thing in things:
        assert asyncio.run(thing.claimed()).device_id
    assert tenant.device_count() == len(things)


def test_device_whose_worker_is_killed_is_refused_nothing_and_onboarded_on_its_next_attempt(
    own: Instance, manufacturer: Manufacturer
) -> None:
    tenant = trusting(own, manufacturer)
    thing = enrolled_thing(tenant, manufacturer)

    async def interrupted() -> None:
        attempt = asyncio.create_task(thing.bootstrap(answer_delay_s=0.5))
        await asyncio.to_thread(
            eventually,
            lambda: tenant.state(thing.endpoint_name) is DeviceState.CLOUD_ENROLLING,
            "the device is claimed",
        )
        await asyncio.to_thread(kill, own, "bootstrap-0")
        attempt.cancel()
        again = await thing.bootstrap()
        assert not isinstance(again, BootstrapFailed), again

    asyncio.run(interrupted())

    assert tenant.device_count() == 1


def test_worker_is_restarted_again_after_its_restart_could_not_be_published(
    own: Instance, manufacturer: Manufacturer
) -> None:
    thing = enrolled_thing(trusting(own, manufacturer), manufacturer)
    # The device knows where to go; it must not look that up in the file that is going to be missing.
    uri, pids = own.bootstrap_uri, [own.processes()["bootstrap-0"]]
    own.endpoints_file.unlink()
    own.endpoints_file.mkdir()  # it cannot be replaced now, as on a disk that is full

    for _ in range(2):
        os.kill(pids[-1], signal.SIGKILL)
        pids.append(eventually(lambda: bootstrap_worker(own.process.pid, pids), "the worker is restarted"))
        assert asyncio.run(thing.claimed(uri=uri)).device_id

    own.endpoints_file.rmdir()


def test_children_end_when_their_supervisor_is_killed(own: Instance) -> None:
    processes = own.processes()
    assert all(alive(pid) for pid in processes.values())

    own.process.kill()
    own.process.wait()

    eventually(lambda: not any(alive(pid) for pid in processes.values()), "the children end")
    with own.directory.lock():
        pass


def bootstrap_worker(supervisor: int, known: list[int]) -> int | None:
    """A bootstrap worker of that supervisor that is not among the `known`: a child of its nursery."""
    for nursery in children(supervisor):
        if b"nursery_process" in Path(f"/proc/{nursery}/cmdline").read_bytes():
            return next((pid for pid in children(nursery) if pid not in known), None)
    return None


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def raw_peer(instance: Instance, thing: Thing) -> RawPeer:
    credential = thing.credential
    address = instance.address("bootstrap")
    return RawPeer(address, credential.certificate, credential.private_key, instance.server_ca)
