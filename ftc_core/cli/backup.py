"""`ftc backup` and `ftc restore`: an instance in one file, and the instance in that file."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

import click

from ftc_core.application.backup import back_up, left_out
from ftc_core.application.restore import foreign_store, restore, verify
from ftc_core.cli.progress import stage_bar
from ftc_core.cli.settings_options import settings_options
from ftc_core.cli.terminal import say
from ftc_core.domain.backup_manifest import BackupManifest
from ftc_core.domain.integrity import Finding
from ftc_core.errors import FtcError, Reason
from ftc_core.settings import Settings
from ftc_core.staging import remove_leftovers, scratch_directory, staged_file

__all__ = ["register"]

_STANDARD = Path("-")
_DIFFERS = (
    "devices claimed since come back by themselves if they were enrolled before, else enroll them again",
    "blocks, suspensions, deleted keys and releases since are undone: repeat them before you serve devices",
    "watches begin anew: each is told so (OUT_OF_RANGE, REVISION_COMPACTED), whatever it has seen",
    "checkpoints of the ledger published since contradict those that follow: see docs/ledger.md",
)


def register(root: click.Group) -> None:
    """Add both commands."""
    root.add_command(backup_command)
    root.add_command(restore_command)


@click.command("backup")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option(
    "--force", is_flag=True, help="Overwrite FILE if there is one; it stays until the new one is whole."
)
@settings_options("data_dir")
def backup_command(settings: Settings, file: Path, *, force: bool) -> None:
    """Back up the instance in the data directory to FILE (- for standard output), while it runs or not.

    FILE holds everything: the store as of one moment, settings, keys and secrets. It is neither encrypted nor
    signed: keep it as you keep the data directory.

    \b
    Examples:
      ftc backup ftc-2030-01-31.backup
      ftc backup - | age --recipient age1… > ftc.backup.age
    """
    began = time.monotonic()
    with _target(file, replace=force) as (out, size), stage_bar() as progress:
        manifest = back_up(
            settings, out, now=datetime.now(UTC), version=version("first-to-claim"), progress=progress
        )
        out.flush()
        written = size()
    took = time.monotonic() - began
    packed = "" if written is None else f", {_size(written)} packed"
    _say(f"backup made: {'standard output' if file == _STANDARD else file}", file)
    _say(f"  {_contents(manifest)}", file)
    _say(f"  {_size(manifest.size)}{packed}, in {took:.1f} s", file)
    for path in left_out(settings):
        _warn(f"{path} lies outside the data directory and is not in the backup")


@click.command("restore")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option(
    "--data-dir",
    "data_dir",
    type=click.Path(path_type=Path),
    help="The directory to make: it must not exist, or be empty.",
)
@click.option(
    "--verify-only",
    is_flag=True,
    help="Prove that FILE can be restored, and leave nothing. Unpacks it in TMPDIR for that.",
)
def restore_command(file: Path, data_dir: Path | None, *, verify_only: bool) -> None:
    """Make a data directory of the backup FILE (- for standard input), whole and proven, or nothing.

    Whatever happened after the backup is not in it: see "After a restore" in the operator's guide.

    \b
    Examples:
      ftc restore ftc-2030-01-31.backup --data-dir /var/lib/ftc
      ftc restore ftc-2030-01-31.backup --verify-only
    """
    if verify_only == (data_dir is not None):
        raise click.UsageError("name the directory to make with --data-dir, or give --verify-only")
    if data_dir is None:
        scratch = Path(tempfile.gettempdir()) / "ftc-verify"
        _tell_leftovers(scratch)
        with _source(file) as source, stage_bar() as progress, scratch_directory(scratch) as place:
            manifest, to_mend = verify(source, place, progress=progress)
        say(f"whole: {_contents(manifest)}")
        _tell_to_mend(to_mend)
        return
    _tell_leftovers(data_dir.resolve())
    with _source(file) as source, stage_bar() as progress:
        manifest, to_mend = restore(source, data_dir, now=datetime.now(UTC), progress=progress)
    say(f"restored: {data_dir}")
    say(f"  {_contents(manifest)}")
    say(f"  as of {manifest.created_at:%Y-%m-%d %H:%M:%S} UTC; what came later is not in it:")
    for line in _DIFFERS:
        say(f"  - {line}")
    _tell_to_mend(to_mend)
    if url := foreign_store(data_dir):
        _warn(f"storage_url in {data_dir / 'ftc.toml'} is {url}: the restored store is {data_dir / 'store'}")
    say(f"next: ftc serve --data-dir {data_dir}")


@contextmanager
def _target(file: Path, *, replace: bool) -> Iterator[tuple[BinaryIO, Callable[[], int | None]]]:
    """Where the backup goes, and what tells how large it is so far."""
    if file == _STANDARD:
        if sys.stdout.isatty():
            raise click.UsageError("a backup does not go to a terminal: name a file, or pipe it on")
        yield sys.stdout.buffer, lambda: None
        return
    _tell_leftovers(file)
    try:
        with staged_file(file, replace=replace) as out:
            yield out, out.tell
    except FileExistsError as error:
        raise FtcError(Reason.BACKUP_EXISTS, f"{file} exists") from error


@contextmanager
def _source(file: Path) -> Iterator[BinaryIO]:
    if file == _STANDARD:
        yield sys.stdin.buffer
        return
    try:
        opened = file.open("rb")
    except OSError as error:
        raise FtcError(Reason.FILE_UNREADABLE, f"{file}: {error.strerror or error}") from error
    with opened:
        yield opened


def _tell_leftovers(target: Path) -> None:
    for path in remove_leftovers(target):
        _warn(f"removed {path}: left by a command that was killed")


def _tell_to_mend(findings: Sequence[Finding]) -> None:
    for finding in findings:
        _warn(f"as it was when it was backed up: {finding.text}")


def _say(text: str, file: Path) -> None:
    say(text, err=file == _STANDARD)


def _warn(text: str) -> None:
    say(f"warning: {text}", err=True)


def _contents(manifest: BackupManifest) -> str:
    return (
        f"revision {manifest.revision}: {manifest.accounts} accounts, {manifest.enrollments} enrollments, "
        f"{manifest.devices} devices"
    )


def _size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.1f} kB"
