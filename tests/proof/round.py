"""One round: concurrent clients, watches and faults on a new scenario; then the judgment on what came, and a
check of the instance's data as a whole.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from random import Random
from typing import NamedTuple

from ftc_core.domain.transfer import TransferState
from ftc_core.storage.port import Store
from tests.certificates import Manufacturer
from tests.instance import Instance, eventually
from tests.proof import transfer
from tests.proof.audit import audit_calls, audit_data, audit_store, audit_watch
from tests.proof.calls import Calls
from tests.proof.client import Client
from tests.proof.devices import Devices
from tests.proof.history import Entry, History, LookUp, ReadDevice, ReadTransfer, Register
from tests.proof.linearizability import shortest_impossible
from tests.proof.ownership import UNOWNED, Rules
from tests.proof.records import Records
from tests.proof.scenario import DEVICES, Noticeboard, Scenario
from tests.proof.watching import Watcher

__all__ = ["Fault", "ImpossibleError", "Site", "Tally", "play"]

CLIENTS = 8
CALLS_EACH = 50
HASTY = 0.15


class Fault(StrEnum):
    """What goes wrong in a round."""

    NONE = "none"
    HASTE = "calls given up"
    DEVICES_KILLED = "devices' server killed"
    API_KILLED = "API killed"


class Site(NamedTuple):
    """Where rounds are played. `store` is the instance's, opened for reading."""

    instance: Instance
    devices: Devices
    manufacturer: Manufacturer
    store: Store


class Tally(NamedTuple):
    """What was judged."""

    calls: int
    unknown: int
    histories: int
    revisions: int
    changes: int
    watches_broken: int


class ImpossibleError(AssertionError):
    """A history that cannot have happened one call after the other."""

    def __init__(self, about: str, calls: Sequence[Entry]) -> None:
        self.calls = calls
        told = "\n".join(f"  {call}" for call in calls)
        super().__init__(f"{about}: not linearizable; the last answer to come cannot be\n{told}")


def play(site: Site, label: str, fault: Fault) -> Tally:
    """Raises AssertionError if anything is not as it should be; ImpossibleError if it is a history."""
    scenario = Scenario.found(site.instance, site.manufacturer, label)
    start = _revision(site.store)
    history, board = History(lambda: _revision(site.store)), Noticeboard()
    with contextlib.ExitStack() as stack:
        watchers = []
        for party in scenario.parties:
            watchers.append(Watcher(site.instance, party, start + 1))
            stack.callback(watchers[-1].close)
        _run_clients(site, scenario, board, history, fault)
        with site.store.view() as view:  # the sweep goes on: all is judged as of this revision
            records = Records(view, scenario, start)
            audit_store(view, scenario, records)
        for party, watcher in zip(scenario.parties, watchers, strict=True):
            watcher.wait(records.revision)
            audit_watch(party, watcher.devices, watcher.enrollments, records)
    audit_data(site.instance.directory.root)
    entries = history.entries
    audit_calls(entries, scenario, records)
    histories = _judge(history, scenario)
    return Tally(
        calls=len(entries),
        unknown=sum(entry.answer is None for entry in entries),
        histories=histories,
        revisions=records.revision - start,
        changes=len(records.changes),
        watches_broken=sum(watcher.broken for watcher in watchers),
    )


def _run_clients(site: Site, scenario: Scenario, board: Noticeboard, history: History, fault: Fault) -> None:
    """The concurrent part; then, when all is quiet, a look at everything: it is part of the history."""

    def client(name: str, *, hasty: float = 0.0) -> Client:
        random = Random(f"{scenario.label}/{name}")
        calls = Calls(site.instance, site.devices, site.manufacturer, scenario, random, hasty=hasty)
        stack.callback(calls.close)
        return Client(name, scenario, board, history, calls, random)

    with contextlib.ExitStack() as stack:
        hasty = HASTY if fault is Fault.HASTE else 0.0
        clients = [client(f"client-{number}", hasty=hasty) for number in range(CLIENTS)]
        with ThreadPoolExecutor(CLIENTS + 1) as pool:
            running = [pool.submit(each.run, CALLS_EACH) for each in clients]
            breaking = pool.submit(_break, site, fault, Random(f"{scenario.label}/fault"))
            for each in (*running, breaking):
                each.result()
        _look_at_everything(client("observer"), scenario, board)


def _break(site: Site, fault: Fault, random: Random) -> None:
    time.sleep(random.uniform(0.05, 0.5))
    if fault is Fault.DEVICES_KILLED:
        site.devices.kill_one(random.randrange(2))
    elif fault is Fault.API_KILLED:
        before = site.instance.processes()["api"]
        os.kill(before, signal.SIGKILL)
        eventually(lambda: site.instance.processes()["api"] != before, "the API is restarted")
        site.instance.reconnect()


def _look_at_everything(observer: Client, scenario: Scenario, board: Noticeboard) -> None:
    for party in scenario.parties:
        for device in range(DEVICES):
            observer.perform(LookUp(device, party.id))
        for device, device_id in board.devices_of(party.id).items():
            observer.perform(ReadDevice(device, party.id, device_id))
            observer.perform(Register(device, party.id, device_id))
    for offered in board.transfers:
        observer.perform(ReadTransfer(offered.devices, offered.account_id, offered.id, offered.expires_at))


def _judge(history: History, scenario: Scenario) -> int:
    """How many histories there were. Raises ImpossibleError."""
    for device in range(DEVICES):
        rules = Rules(device, scenario.trusting)
        impossible = shortest_impossible(UNOWNED, history.of_device(device), rules.follow)
        if impossible is not None:
            raise ImpossibleError(f"device {device}", impossible)
    transfers = history.of_transfers()
    for transfer_id, entries in transfers.items():
        impossible = shortest_impossible(TransferState.OFFERED, entries, transfer.follow)
        if impossible is not None:
            raise ImpossibleError(f"transfer {transfer_id}", impossible)
    return DEVICES + len(transfers)


def _revision(store: Store) -> int:
    with store.view() as view:
        return view.revision()
