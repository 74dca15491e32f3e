"""Real faults beneath a running store, and others: damaged files, descriptors that fail, a lock that is held.

They concern the test's own process, and the store that it has open.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ftc_core.errors import FtcError
from ftc_core.storage.port import Store

__all__ = [
    "damaged_lock_file",
    "data_file_writes_to",
    "flipped_bytes",
    "no_file_longer_than",
    "readers_all_taken",
    "unreadable_from_now_on",
    "writer_that_sleeps",
]

_WRITE_MUTEX = slice(64, 128)
"""Where LMDB 0.9 keeps the mutex of its writers in lock.mdb: a cache line of its own."""

_SLEEPER = """
import sys, lmdb
with lmdb.open(sys.argv[1], max_dbs=64, lib_version=0).begin(write=True):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def damaged_lock_file(store: Path) -> Iterator[None]:
    """Somebody wrote over lock.mdb, as a restore over a running server does: nobody can write."""
    with (store / "lock.mdb").open("r+b", buffering=0) as lock:
        sound = os.pread(lock.fileno(), _WRITE_MUTEX.stop - _WRITE_MUTEX.start, _WRITE_MUTEX.start)
        os.pwrite(lock.fileno(), b"\xff" * len(sound), _WRITE_MUTEX.start)
        try:
            yield
        finally:
            os.pwrite(lock.fileno(), sound, _WRITE_MUTEX.start)


@contextmanager
def data_file_writes_to(store: Path, target: Path, flags: int, *, meta: bool = False) -> Iterator[None]:
    """LMDB's pages go to `target` instead: /dev/full is a full disk, a file open for reading a failed one.

    With `meta`, it is the meta pages, the last of a commit, that do.
    """
    descriptor = _descriptor(store / "data.mdb", meta=meta)
    sound, other = os.dup(descriptor), os.open(target, flags)
    os.dup2(other, descriptor)
    os.close(other)
    try:
        yield
    finally:
        os.dup2(sound, descriptor)
        os.close(sound)


def flipped_bytes(store: Path, key: bytes, *, behind: bytes, flipped: bytes) -> None:
    """Where `key` and `behind` stand side by side in the data file, `flipped` takes the place of `behind`."""
    path = store / "data.mdb"
    image = path.read_bytes()
    assert key + behind in image
    with path.open("r+b", buffering=0) as file:
        at = image.find(key + behind)
        while at >= 0:
            os.pwrite(file.fileno(), flipped, at + len(key))
            at = image.find(key + behind, at + 1)


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """A write beyond `size` bytes fails, in this process and its children, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (size, before[1])
    )  # Python ignores the signal that comes with it
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def readers_all_taken(store: Store) -> Iterator[None]:
    """Nobody can read: each slot for a reader is taken."""
    with ExitStack() as views:
        with suppress(FtcError):
            while True:
                views.enter_context(store.view())
        yield


def unreadable_from_now_on(path: Path) -> bool:
    """Whoever has `path` open gets an error for the next read, as of a failing disk; False if nobody has."""
    descriptors = [
        int(place.name)
        for place in Path("/proc/self/fd").iterdir()
        if os.path.lexists(place) and os.readlink(place) == str(path.resolve())  # noqa: PTH115 - may be gone
    ]
    directory = os.open(path.parent, os.O_RDONLY)
    for descriptor in descriptors:
        os.dup2(directory, descriptor)
    os.close(directory)
    return bool(descriptors)


@contextmanager
def writer_that_sleeps(store: Path) -> Iterator[None]:
    """Another process holds the store's write lock, and does nothing."""
    command = [sys.executable, "-c", _SLEEPER, str(store)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as sleeper:
        assert sleeper.stdout is not None
        assert sleeper.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            sleeper.kill()


def _descriptor(data_file: Path, *, meta: bool) -> int:
    """The one that LMDB writes pages to, or the other one, for the meta pages, which has O_DSYNC."""
    for place in Path("/proc/self/fd").iterdir():
        try:
            if place.readlink() != data_file.resolve():
                continue
            information = Path(f"/proc/self/fdinfo/{place.name}").read_text()
        except FileNotFoundError:
            continue  # the descriptor of this very listing
        flags = next(line for line in information.splitlines() if line.startswith("flags:"))
        if bool(int(flags.split()[1], 8) & os.O_DSYNC) is meta:
            return int(place.name)
    raise AssertionError(f"{data_file} is not open")
