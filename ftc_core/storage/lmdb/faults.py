"""What LMDB's errors mean to us."""

from __future__ import annotations

import errno

import lmdb

from ftc_core.errors import FtcError, Reason

__all__ = ["corrupt", "translate"]

_FULL = (lmdb.MapFullError, lmdb.TxnFullError)
_CORRUPT = (
    lmdb.CorruptedError,
    lmdb.InvalidError,
    lmdb.PageNotFoundError,
    lmdb.VersionMismatchError,
)
_FULL_CODES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def translate(error: lmdb.Error, otherwise: Reason = Reason.INTERNAL_1) -> FtcError:
    """The FtcError for `error`: INTERNAL_2 (full), INTERNAL_5 (corrupt), else `otherwise`.

    A panic is not a corrupt file: after a meta page could not be written, LMDB refuses to begin anything in
    this environment, while the file is as the last commit left it. Opening it anew heals.
    """
    code = getattr(error, "code", 0)  # the extension does not set it on every error that it raises
    if isinstance(error, _FULL) or code in _FULL_CODES:
        reason = Reason.INTERNAL_2
    elif isinstance(error, _CORRUPT):
        reason = Reason.INTERNAL_5
    else:
        reason = otherwise
    return FtcError(reason, metadata={"cause": str(error)})


def corrupt(what: str) -> FtcError:
    """INTERNAL_5: the file is sound for LMDB, but what it holds makes no sense."""
    return FtcError(Reason.INTERNAL_5, metadata={"cause": what})
