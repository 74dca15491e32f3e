"""Checking an instance: its store, and the data directory around it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from ftc_core.application.check_directory import check_against_store, check_files, held_ledger_keys
from ftc_core.application.context import utc_now
from ftc_core.config import load_settings
from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.domain.integrity import CheckReport, Finding, FindingKind, Findings
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.engines import check_store

__all__ = ["check_instance"]


def check_instance(
    root: Path,
    *,
    storage_url: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> CheckReport:
    """Judge all of the data directory `root`, whether or not an instance runs in it. Blocks; writes nothing.

    The store is at `storage_url`, else where the settings in the directory say. `progress` is told what is
    looked at, how much of it is done, and how much there is. Raises FtcError only if there is nothing that
    this version could check: DATA_DIRECTORY_MISSING, DATA_DIRECTORY_INCOMPATIBLE; or if this very process has
    the store open: DATA_DIRECTORY_IN_USE.
    """
    directory = DataDirectory.open(root)
    findings = Findings()
    configured = _configured_url(directory, findings)
    url = storage_url or configured
    findings.add(check_files(directory, utc_now()))
    in_use, held = directory.is_in_use(), held_ledger_keys(directory)
    if in_use:
        findings.add([_not_still(directory)])
    try:
        store = check_store(
            url,
            still=not in_use,
            also=lambda view: check_against_store(directory, held, view),
            progress=progress,
        )
    except FtcError as error:
        if error.reason is Reason.DATA_DIRECTORY_IN_USE:
            raise
        # Where it is stands in the message, without the password that a URL may hold.
        what = Finding(kind=FindingKind.STORE_UNREADABLE, where="store", expected="one", found=error.message)
        findings.add([what])
        return findings.report()
    findings.add((*store.notes, *store.findings))
    return msgspec.structs.replace(
        findings.report(counts=store.counts, revision=store.revision, pages_proven=store.pages_proven),
        findings_count=findings.count + store.findings_count - len(store.findings),
    )


def _configured_url(directory: DataDirectory, findings: Findings) -> str:
    """As the directory's own settings have it, which must be such if there are any."""
    file, default = directory.config_file, f"lmdb://{directory.store.absolute()}"
    if not file.exists():
        return default
    try:
        settings = load_settings(flags={"data_dir": str(directory.root)}, environ={}, config_file=file)
    except FtcError as error:
        what = Finding(
            kind=FindingKind.FILE_INVALID, where=str(file), expected="settings", found=error.message
        )
        findings.add([what])
        return default
    return settings.store_url


def _not_still(directory: DataDirectory) -> Finding:
    return Finding(
        kind=FindingKind.PAGES_NOT_PROVEN,
        where=str(directory.store),
        expected="a file that nobody writes, to prove it page by page",
        found="an instance that runs",
    )
