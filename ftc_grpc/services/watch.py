"""The watch streams: WatchDeviceEnrollments and WatchDevices, which share everything but their messages."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TypeAlias

from ftc_core.application.changes import Change, Changes, Feed, Topic
from ftc_core.application.context import ApplicationContext
from ftc_core.application.event_tail import EventTail
from ftc_core.application.watch import WatchOptions, current_revision, watch
from ftc_core.domain.event import Event
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.limits import WATCH_PROGRESS_DEFAULT_S
from ftc_grpc import resource_names as names
from ftc_grpc._gen.ftc.v1 import watch_pb2
from ftc_grpc.caller import parent_accounts
from ftc_grpc.convert import device_to_proto, enrollment_to_proto, optional_duration, timestamp
from ftc_grpc.denials import denial_to_proto

__all__ = ["Watcher", "device_event", "enrollment_event"]


WatchRequest: TypeAlias = "watch_pb2.WatchDevicesRequest | watch_pb2.WatchDeviceEnrollmentsRequest"


class Watcher:
    """Opens the streams of one process over its one tail."""

    def __init__(self, context: ApplicationContext, tail: EventTail) -> None:
        self._context = context
        self._tail = tail

    def revision(self) -> int:
        """What a list that is read after this call may give as its revision."""
        return current_revision(self._context)

    def watch(self, request: WatchRequest, topic: Topic) -> AsyncGenerator[Changes, None]:
        """The changes that `request` asks for; close the generator in the end.

        Raises FtcError FIELD_INVALID, RESOURCE_NAME_INVALID, RESOURCE_NOT_FOUND; and, while it runs, as
        `application.watch.watch`.
        """
        silence_s = optional_duration(request, "progress_interval", field="progress_interval")
        options = WatchOptions(
            request.start_revision, WATCH_PROGRESS_DEFAULT_S if silence_s is None else silence_s
        )
        account_id = parent_accounts(request.parent)
        interest = topic if account_id is None else Feed(account_id, topic)
        return watch(self._context, self._tail, interest, options)


def enrollment_event(change: Change) -> watch_pb2.DeviceEnrollmentEvent:
    """The message of a change of an enrollment."""
    event, account = change.event, change.feed.account_id
    return watch_pb2.DeviceEnrollmentEvent(
        revision=event.revision,
        occurred_at=timestamp(event.at),
        kind=watch_pb2.DeviceEnrollmentEvent.Kind.Value(_kind(change)),
        device_enrollment_name=""
        if event.enrollment_id is None
        else names.DEVICE_ENROLLMENT.format(account, event.enrollment_id),
        enrollment_identity=_identity(event),
        device_enrollment=None if change.enrollment is None else enrollment_to_proto(change.enrollment),
        device_enrollment_denial_name=""
        if event.denial_id is None
        else names.DEVICE_ENROLLMENT_DENIAL.format(account, event.denial_id),
        device_enrollment_denial=None if change.denial is None else denial_to_proto(change.denial),
    )


def device_event(change: Change) -> watch_pb2.DeviceEvent:
    """The message of a change of a device."""
    event, account = change.event, change.feed.account_id
    return watch_pb2.DeviceEvent(
        revision=event.revision,
        occurred_at=timestamp(event.at),
        kind=watch_pb2.DeviceEvent.Kind.Value(_kind(change)),
        device_name=names.DEVICE.format(account, event.device_id or ""),
        enrollment_identity=_identity(event),
        device=None if change.device is None else device_to_proto(change.device),
    )


def _kind(change: Change) -> str:
    """The word of the messages: of a transfer, each side is told its own."""
    word = change.event.kind.removeprefix(f"{change.feed.topic}_")
    if change.event.from_account_id is None:
        return word
    return f"{word}_OUT" if change.given_away else f"{word}_IN"


def _identity(event: Event) -> str:
    return "" if event.fingerprint is None else format_enrollment_id(event.fingerprint)
