"""Proving the file page by page, without LMDB: a damaged page can end a process that has it mapped.

The proof is py-lmdb's offline verifier, which reads the file and nothing else. It holds for a file that
nobody writes meanwhile; one that was written is not judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import lmdb.verify

from ftc_core.domain.integrity import Finding, FindingKind

__all__ = ["prove_pages"]

_META_BYTES = 2 * 64 * 1024
"""Of the file's beginning, in which both meta pages are, whatever the size of a page."""


def prove_pages(file: Path) -> Iterator[Finding]:
    """What is wrong with the data file, or that it was written meanwhile: PAGES_NOT_PROVEN, and no fault."""
    try:
        before = _stamp(file)
        problems = lmdb.verify.verify(str(file))  # type: ignore[no-untyped-call]
    except lmdb.verify.VerifyError as error:
        problems = [str(error)]
    except OSError as error:  # a block that the disk cannot read
        yield _damaged(file, f"{error.strerror or error}")
        return
    if _stamp(file) != before:
        yield Finding(
            kind=FindingKind.PAGES_NOT_PROVEN,
            where=str(file),
            expected="a file that nobody writes, to prove it page by page",
            found="that it was written meanwhile",
        )
        return
    for problem in problems:
        yield _damaged(file, problem)


def _damaged(file: Path, problem: str) -> Finding:
    return Finding(
        kind=FindingKind.PAGE_DAMAGED, where=str(file), expected="pages as LMDB writes them", found=problem
    )


def _stamp(file: Path) -> tuple[int, int, bytes]:
    """What cannot all be the same once the file was written: a commit ends with a meta page."""
    status = file.stat()
    with file.open("rb") as opened:
        return status.st_size, status.st_mtime_ns, opened.read(_META_BYTES)
