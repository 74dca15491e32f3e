"""Moments on the command line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click
from google.protobuf.timestamp_pb2 import Timestamp

__all__ = ["MOMENT"]


class Moment(click.ParamType[Timestamp]):
    """An ISO 8601 date or time; UTC unless it says otherwise."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Timestamp:
        """The moment as protobuf has it."""
        if isinstance(value, Timestamp):
            return value
        stamp = Timestamp()
        try:
            moment = datetime.fromisoformat(value)
            stamp.FromDatetime(moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC))
        except OverflowError:
            self.fail(f"{value!r} is not within the years 1 to 9999 in UTC", param, ctx)
        except (TypeError, ValueError):
            self.fail(f"{value!r} is not an ISO 8601 time, such as 2030-12-31T23:59:59Z", param, ctx)
        return stamp


MOMENT = Moment()
