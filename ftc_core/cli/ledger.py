"""`ftc ledger verify`: the ownership ledger judged by a file and a public key, without a server."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from ftc_core.cli.terminal import print_json, say
from ftc_core.credentials.ledger_keys import read_public_key
from ftc_core.domain.checkpoint import Checkpoint
from ftc_core.domain.export_verifier import ExportSummary, ExportVerifier
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.domain.ledger_verification import Finding
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import LEDGER_LINE_MAX_BYTES

__all__ = ["register"]

_LINES_AT_ONCE = 500
"""Lines between two looks at how far it has come."""


def register(group: click.Group) -> None:
    """Add the command to the group `ftc ledger`."""
    group.add_command(verify)


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option(
    "--public-key",
    "public_key_file",
    metavar="PEM",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The ledger's first public key, or any later one, from somewhere else than FILE.",
)
@click.option(
    "--since",
    "older",
    metavar="OLDER",
    type=click.File("rb"),
    help="An export that was verified before: FILE must go on from its checkpoint.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def verify(file: BinaryIO, public_key_file: Path | None, older: BinaryIO | None, as_json: bool) -> None:
    """Verify the export FILE (- for standard input): offline, with nothing but the ledger's public key.

    Each thing that is wrong is a line: the device by its enrollment ID, the number of the entry, what it is.
    The exit status is 1 if anything is. Without --public-key, FILE is judged by the key that it holds itself.

    \b
    Examples:
      ftc ledger verify ledger.jsonl --public-key ledger.pub
      ftc ledger verify today.jsonl --since yesterday.jsonl --public-key ledger.pub
    """
    pinned = None if public_key_file is None else read_public_key(public_key_file)
    verifier = ExportVerifier(pinned, None if older is None else _known(older, pinned))
    findings: list[dict[str, Any]] = []

    def tell(found: list[Finding]) -> None:
        for finding in found:
            if as_json:
                findings.append(_as_object(finding))
            else:
                say(finding.text)

    _read(file, verifier, tell)
    tell(verifier.finish())
    summary = verifier.summary
    if as_json:
        print_json(_summary_object(summary, findings))
    else:
        _print(summary)
        if pinned is None:
            say(
                "note: without --public-key the file vouches for itself; compare the key's ID above with "
                "what the operator has published",
                err=True,
            )
    if summary.findings:
        raise FtcError(
            Reason.LEDGER_NOT_VERIFIED, f"{_name(file)} is not verified: {_things(summary.findings)}"
        )


def _known(older: BinaryIO, pinned: bytes | None) -> Checkpoint | None:
    """The checkpoint of an export that is verified. Raises FtcError LEDGER_NOT_VERIFIED if it is not."""
    verifier = ExportVerifier(pinned)
    _read(older, verifier, lambda found: None)
    verifier.finish()
    if verifier.summary.findings:
        message = f"{_name(older)} is not verified itself: {_things(verifier.summary.findings)}"
        raise FtcError(Reason.LEDGER_NOT_VERIFIED, message)
    return verifier.summary.checkpoint


def _things(count: int) -> str:
    return "1 thing is wrong" if count == 1 else f"{count} things are wrong"


def _read(file: BinaryIO, verifier: ExportVerifier, tell: Callable[[list[Finding]], None]) -> None:
    """Line by line: a line that is too long is taken in pieces, none of which can be a record."""
    bar = Progress(
        TextColumn("verifying"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not Console(stderr=True).is_terminal,
    )
    with bar:
        task = bar.add_task("", total=_size(file))
        lines = read = 0
        while line := file.readline(LEDGER_LINE_MAX_BYTES):
            tell(verifier.feed(line))
            lines, read = lines + 1, read + len(line)
            if lines % _LINES_AT_ONCE == 0:
                bar.update(task, completed=read)


def _name(file: BinaryIO) -> str:
    return str(file.name) if isinstance(file.name, str) and file.name != "<stdin>" else "standard input"


def _size(file: BinaryIO) -> int | None:
    """In bytes; None of what is no file."""
    try:
        return os.fstat(file.fileno()).st_size or None
    except OSError:
        return None


def _print(summary: ExportSummary) -> None:
    whose = "the whole ledger" if summary.account_id is None else f"account {summary.account_id}"
    say(f"export of      {whose}")
    for number, key_id in enumerate(summary.key_ids, start=1):
        say(f"key {number:<10} {key_id.hex()}")
    checkpoint = summary.checkpoint
    if checkpoint is not None:
        say(
            f"checkpoint {checkpoint.number:<3} of {checkpoint.made_at.isoformat(timespec='seconds')}, "
            f"revision {checkpoint.revision}: {checkpoint.head_count} devices, "
            f"{checkpoint.entry_count} changes of ownership in all"
        )
    say(f"in this file   {summary.histories} devices, {summary.entries} changes of ownership")
    if not summary.findings:
        say("verified: every entry is the one that was signed")


def _as_object(finding: Finding) -> dict[str, Any]:
    return {
        "fault": finding.fault.value,
        "enrollment_identity": None
        if finding.fingerprint is None
        else format_enrollment_id(finding.fingerprint),
        "sequence": finding.sequence,
        "detail": finding.detail,
    }


def _summary_object(summary: ExportSummary, findings: list[dict[str, Any]]) -> dict[str, Any]:
    checkpoint = summary.checkpoint
    return {
        "verified": not summary.findings,
        "account_id": summary.account_id,
        "key_ids": [key_id.hex() for key_id in summary.key_ids],
        "pinned": summary.pinned,
        "checkpoint": None
        if checkpoint is None
        else {
            "number": checkpoint.number,
            "created_at": checkpoint.made_at.isoformat(),
            "revision": checkpoint.revision,
            "history_count": checkpoint.head_count,
            "entry_count": checkpoint.entry_count,
            "root_hash": checkpoint.root_hash.hex(),
        },
        "histories": summary.histories,
        "entries": summary.entries,
        "findings": findings,
    }
