"""A disk that refuses a commit's last page: LMDB gives the store up, and the process is replaced.

The fault is real, and inside the product's own process: LMDB's descriptor for meta pages leads to where
nobody can write, from the moment at which the test asks for it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ftc_core.device.client import BootstrapFailed, Succeeded
from ftc_core.errors import FtcError, Reason
from tests.certificates import Manufacturer
from tests.instance import Instance, eventually, make_data_directory, running_instance
from tests.things import enrolled_thing

_SITECUSTOMIZE = """
import os, pathlib, sys, threading, time

place = pathlib.Path({place!r})

def break_it(request):
    while not request.exists():
        time.sleep(0.01)
    request.unlink()
    from tests.faults import data_file_writes_to
    store = pathlib.Path({store!r})
    broken = data_file_writes_to(store, store / "data.mdb", os.O_RDONLY, meta=True)
    broken.__enter__()
    (place / (request.name + ".done")).touch()
    threading.Event().wait()

def await_request(module):
    threading.Thread(target=break_it, args=(place / module,), daemon=True).start()

match sys.orig_argv[1:3]:
    case ["-m", "ftc_grpc"]:
        await_request("ftc_grpc")
    case ["-m", "ftc_core.endpoint.nursery_process"]:  # has no store: those that it forks do
        os.register_at_fork(after_in_child=lambda: await_request("ftc_core.endpoint.bootstrap_worker"))
"""


class Saboteur:
    """Every process of the instance asks in `place` whether it is to lose its store."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def strike(self, module: str) -> None:
        """Returns once the process that runs `module` cannot write meta pages any more."""
        (self._place / module).touch()
        done = self._place / f"{module}.done"
        eventually(done.exists, f"{module} is broken")


@pytest.fixture
def saboteur(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Saboteur:
    place = tmp_path / "sabotage"
    place.mkdir()
    code = _SITECUSTOMIZE.format(place=str(place), store=str(tmp_path / "data" / "store"))
    (place / "sitecustomize.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(place))
    return Saboteur(place)


def successor_of(instance: Instance, process: str, before: int) -> None:
    eventually(lambda: instance.processes()[process] != before, f"{process} has a successor")


def assert_that_the_log_tells(instance: Instance, process: str) -> None:
    log = instance.log.read_text()
    assert [line for line in log.splitlines() if "store lost" in line and process in line]
    assert [line for line in log.splitlines() if "process died, restarting" in line and "status=75" in line]


def test_the_api_that_lost_its_store_is_replaced_and_nothing_acknowledged_is_lost(
    tmp_path: Path, saboteur: Saboteur
) -> None:
    with running_instance(make_data_directory(tmp_path / "data")) as instance:
        kept, before = instance.tenant(), instance.processes()["api"]
        saboteur.strike("ftc_grpc")
        with pytest.raises(FtcError) as lost:
            instance.tenant()

        successor_of(instance, "api", before)
        instance.reconnect()

        assert lost.value.reason in (Reason.INTERNAL_3, Reason.API_UNREACHABLE)
        assert kept.device_count() == 0
        assert instance.tenant().devices() == []
        assert_that_the_log_tells(instance, "api")


async def test_the_worker_that_lost_its_store_is_replaced_and_the_device_s_next_attempt_succeeds(
    tmp_path: Path, saboteur: Saboteur
) -> None:
    manufacturer = Manufacturer()
    with running_instance(make_data_directory(tmp_path / "data")) as instance:
        owner, before = instance.tenant(), instance.processes()["bootstrap-0"]
        owner.trust(manufacturer)
        thing = enrolled_thing(owner, manufacturer)
        saboteur.strike("ftc_core.endpoint.bootstrap_worker")
        refused = await thing.bootstrap()
        assert isinstance(refused, BootstrapFailed)
        assert (refused.code, refused.text) == ("5.00", "Internal error #3")
        assert owner.devices() == []

        interrupted = asyncio.create_task(thing.bootstrap())  # the worker looks into its store, and is gone
        await asyncio.to_thread(successor_of, instance, "bootstrap-0", before)
        interrupted.cancel()

        assert isinstance(await thing.bootstrap(), Succeeded)
        assert [device.endpoint_name for device in owner.devices()] == [thing.endpoint_name]
        assert_that_the_log_tells(instance, "bootstrap-0")
