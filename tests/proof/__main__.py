"""Runs the proof for some time: `python -m tests.proof --seconds 120 --seed 7`."""

from __future__ import annotations

import argparse
import faulthandler
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random

from ftc_core.storage.engines import open_store
from tests.certificates import Manufacturer
from tests.instance import make_data_directory, running_instance
from tests.proof.devices import Devices
from tests.proof.round import Fault, Site, Tally, play

__all__ = ["faults", "main", "site"]

ROUND_MAX_S = 600.0
"""A round lasts seconds. One that hangs, deadlines notwithstanding, ends the proof, all stacks told."""


@contextmanager
def site(directory: Path) -> Iterator[Site]:
    """A running instance, its devices' servers, and its store for reading."""
    data = make_data_directory(directory / "data")
    with (
        running_instance(data, "--log-level=warning") as instance,
        closing(Devices(data.root)) as devices,
        closing(open_store(f"lmdb://{data.store.absolute()}", read_only=True)) as store,
    ):
        yield Site(instance, devices, Manufacturer(), store)


def faults(seed: int) -> Iterator[Fault]:
    """What goes wrong in each round: each of it once, then as chance has it."""
    yield from Fault
    random = Random(seed)
    while True:
        yield random.choice(list(Fault))


def main(arguments: list[str] | None = None) -> int:
    """0 if all that was looked at is as it should be, 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="how long new rounds begin")
    parser.add_argument("--seed", type=int, default=None, help="of all choices (default: the time)")
    asked = parser.parse_args(arguments)
    seed = time.time_ns() % 1_000_000_000 if asked.seed is None else asked.seed
    _say(f"proof of ownership: seed {seed}, {asked.seconds:g} s")
    tallies: list[Tally] = []
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ftc-proof-") as directory, site(Path(directory)) as place:
        for number, fault in zip(itertools.count(), faults(seed), strict=False):
            label = f"{seed}/{number}"
            faulthandler.dump_traceback_later(ROUND_MAX_S, exit=True)
            try:
                tallies.append(play(place, label, fault))
            except AssertionError as error:
                logs = place.instance.log.read_text() + place.devices.log()
                _say(f"round {label} ({fault}): {error}\n{logs}\nagain with: make soak SEED={seed}")
                return 1
            seconds = time.monotonic() - begun
            _say(f"{seconds:6.1f} s  round {number} ({fault}): {_told([tallies[-1]])}")
            if seconds >= asked.seconds:
                break
        faulthandler.dump_traceback_later(ROUND_MAX_S, exit=True)  # for what ends the instance, too
    faulthandler.cancel_dump_traceback_later()
    _say(f"all as it should be, in {len(tallies)} rounds: {_told(tallies)}")
    return 0


def _say(what: str) -> None:
    sys.stdout.write(what + "\n")
    sys.stdout.flush()


def _told(tallies: list[Tally]) -> str:
    total = Tally(*map(sum, zip(*tallies, strict=True)))
    return (
        f"{total.calls:,} calls ({total.unknown:,} of unknown outcome), {total.histories:,} histories,"
        f" {total.revisions:,} revisions, {total.changes:,} changes of ownership,"
        f" {total.watches_broken:,} watches taken up again"
    )


if __name__ == "__main__":
    sys.exit(main())
