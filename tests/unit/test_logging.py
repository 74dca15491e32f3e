"""Logging: one chain for structlog and the standard library, and no secrets on it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import structlog

from ftc_core.observability.logging import configure_logging


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


def configured(
    log_format: Literal["console", "json"] = "json", level: Literal["debug", "info"] = "info"
) -> io.StringIO:
    stream = io.StringIO()
    configure_logging(log_format=log_format, level=level, process="bootstrap-1", stream=stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_is_one_object_a_line_with_time_level_logger_and_process() -> None:
    stream = configured()
    structlog.get_logger("ftc.claim").info("claimed\nnow", device="d1")
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "claimed\nnow",
        "device": "d1",
        "level": "info",
        "logger": "ftc.claim",
        "process": "bootstrap-1",
    }


def test_standard_library_goes_the_same_way() -> None:
    stream = configured()
    logging.getLogger("asyncio").warning("slow: %s", "task", extra={"seconds": 2})
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["logger"]) == ("slow: task", "warning", "asyncio")
    assert (line["seconds"], line["process"]) == (2, "bootstrap-1")


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_secrets_and_bytes_are_never_written(log_format: Literal["console", "json"]) -> None:
    stream = configured(log_format)
    private_key = "s3cret-local"
    log = structlog.get_logger("ftc")
    log.info("x", private_key=private_key, payload=b"s3cret-bytes", authorization="Bearer s3cret")
    logging.getLogger("grpc").error("y", extra={"api_key": "s3cret-key"})
    try:
        raise ValueError("told")
    except ValueError:
        log.exception("z")
        logging.getLogger("grpc").exception("z")
    text = stream.getvalue()
    assert "s3cret" not in text
    assert "[redacted]" in text
    assert "[12 bytes]" in text
    assert text.count("told") >= 2, "the exceptions are there, without their local variables"


def test_level_filters_both() -> None:
    stream = configured()
    structlog.get_logger("a").debug("no")
    logging.getLogger("b").debug("no")
    assert stream.getvalue() == ""
    stream = configured(level="debug")
    structlog.get_logger("a").debug("yes")
    logging.getLogger("b").debug("yes")
    assert len(lines(stream)) == 2


def test_second_call_replaces_the_first_even_for_loggers_made_before() -> None:
    log = structlog.get_logger("early")
    first = configured()
    log.info("one")
    second = configured()
    log.info("two")
    assert [line["event"] for line in lines(first)] == ["one"]
    assert [line["event"] for line in lines(second)] == ["two"]


def test_console_text_has_no_colours_where_there_is_no_terminal() -> None:
    stream = configured("console")
    structlog.get_logger("ftc").info("started", port=5784)
    assert "\x1b" not in stream.getvalue()
    assert "port=5784" in stream.getvalue()
