"""Logging: structlog and the standard library through one chain, to standard error, as text or as JSON lines.

Our own lines are rendered and written by structlog alone, since a busy API writes one for each call; what
other libraries log comes through a handler of the standard library, with the same processors.

No secret is ever written: values under the names below are replaced, and so is every bytes value, since
keys, credentials and payloads are bytes here (an identifier is formatted before it is logged).
"""

from __future__ import annotations

import logging
import sys
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

__all__ = ["configure_logging"]

_SECRET_NAMES = frozenset(
    {
        "api_key",
        "authorization",
        "cookie",
        "cookie_secret",
        "password",
        "pepper",
        "private_key",
        "secret",
        "token",
    }
)
_REDACTED = "[redacted]"


def configure_logging(
    *,
    log_format: Literal["console", "json"],
    level: Literal["debug", "info", "warning", "error"],
    process: str,
    stream: TextIO | None = None,
) -> None:
    """Set up the logging of this process; a second call replaces the first.

    `process` ("supervisor", "bootstrap-1", …) stands on every line. `stream` is standard error unless given.
    """
    out = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        _process_name(process),
        _redact,
    ]
    renderer = _json() if log_format == "json" else _console(colors=out.isatty())
    structlog.configure(
        processors=[*shared, *renderer],
        logger_factory=lambda name="": _NamedLogger(out, name),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,  # a worker reconfigures after its module-level loggers were made
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared[:-2], structlog.stdlib.ExtraAdder(), *shared[-2:]],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    for old in tuple(root.handlers):
        if isinstance(old.formatter, structlog.stdlib.ProcessorFormatter):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(True)


class _NamedLogger(structlog.WriteLogger):
    """Writes lines to `out`; `name` is what `structlog.get_logger` was given."""

    def __init__(self, out: TextIO, name: str) -> None:
        super().__init__(out)
        self.name = name


# Tracebacks are rendered without local variables: those hold keys.
def _json() -> list[Processor]:
    transformer = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return [structlog.processors.ExceptionRenderer(transformer), structlog.processors.JSONRenderer()]


def _console(*, colors: bool) -> list[Processor]:
    return [
        structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback),
    ]


def _process_name(process: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    return add


def _redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for name, value in event.items():
        if name in _SECRET_NAMES:
            event[name] = _REDACTED
        elif isinstance(value, bytes | bytearray | memoryview):
            event[name] = f"[{len(value)} bytes]"
    return event
