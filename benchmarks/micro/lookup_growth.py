"""What a lookup costs in a large index, against a small one of the same run.

    python -m benchmarks.micro.lookup_growth [--small 1000000] [--large 20000000]

Both stores are built through the engine's own tables, in a temporary directory (TMPDIR decides on which disk;
some 400 bytes a row), then asked in turns, each time for enrollments that were not asked for before, at
random. The files are in the kernel's page cache, for they were just written. A process that asks for the
first time has the page mapped for it, too, which is told apart: the turns come after every page was asked
for once. What then grows is the depth of the trees and the misses of the processor's caches. 20 million
rows take some minutes and 4 GB of memory to prepare.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.micro.lmdb_lookup import build, find
from ftc_core.storage.lmdb import LmdbStore, open_lmdb

__all__ = ["Index", "run"]

_LOOKUPS = 50_000
"""In one turn."""
_STRIDE = 8
"""Fewer rows than a page holds: to ask for one in so many is to touch all pages."""


@dataclass(frozen=True)
class Index:
    """One store: rows, bytes of its file, seconds to build; microseconds per lookup, first and in turns."""

    rows: int
    file_bytes: int
    build_s: float
    first_us: float
    turns_us: list[float]

    @property
    def median_us(self) -> float:
        """Of all turns."""
        return statistics.median(self.turns_us)


def run(small: int, large: int, rounds: int = 9) -> tuple[Index, Index]:
    """Two stores of so many rows, asked in `rounds` turns each."""
    with tempfile.TemporaryDirectory(prefix="ftc-bench-") as directory, ExitStack() as stores:
        built = []
        for rows in (small, large):
            path = Path(directory) / str(rows)
            started = time.perf_counter()
            fingerprints = build(path, rows)
            build_s = time.perf_counter() - started
            count = min(_LOOKUPS, rows // (rounds + 1))
            asked = random.Random(rows).sample(fingerprints, count * (rounds + 1))
            parts = [asked[turn * count : (turn + 1) * count] for turn in range(rounds + 1)]
            store = stores.enter_context(closing(open_lmdb(path)))
            first_us = _per_lookup_us(store, parts.pop())
            find(store, fingerprints[::_STRIDE])
            size = (path / "data.mdb").stat().st_size
            built.append((store, parts, Index(rows, size, build_s, first_us, [])))
        for turn in range(rounds):
            for store, parts, index in built:
                index.turns_us.append(_per_lookup_us(store, parts[turn]))
        return built[0][2], built[1][2]


def _per_lookup_us(store: LmdbStore, asked: list[bytes]) -> float:
    started = time.perf_counter()
    find(store, asked)
    return (time.perf_counter() - started) / len(asked) * 1e6


def main() -> None:
    """Print both and their ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", type=int, default=1_000_000)
    parser.add_argument("--large", type=int, default=20_000_000)
    arguments = parser.parse_args()
    small, large = run(arguments.small, arguments.large)
    for index in (small, large):
        print(
            f"{index.rows:>11,} rows, {index.file_bytes / 2**30:.2f} GiB, built in {index.build_s:.0f} s:"
            f" {index.median_us:.2f} µs per lookup"
            f" ({min(index.turns_us):.2f} to {max(index.turns_us):.2f}), at first {index.first_us:.2f}"
        )
    ratios = sorted(b / a for a, b in zip(small.turns_us, large.turns_us, strict=True))
    print(
        f"ratio {statistics.median(ratios):.2f} (median of {len(ratios)} turns,"
        f" {ratios[0]:.2f} to {ratios[-1]:.2f})"
    )


if __name__ == "__main__":
    main()
