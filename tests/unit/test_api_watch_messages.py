"""Events as messages."""

from __future__ import annotations

import pytest

from ftc_core.application.changes import Change, Feed, Topic
from ftc_core.domain.event import Event, EventKind
from ftc_grpc._gen.ftc.v1.watch_pb2 import DeviceEnrollmentEvent, DeviceEvent
from ftc_grpc.services.watch import device_event, enrollment_event
from tests.conformance.scene import NOW

ACCOUNT, OTHER, RESOURCE = "a" * 32, "c" * 32, "b" * 32
TRANSFERS = {EventKind.ENROLLMENT_TRANSFERRED, EventKind.DEVICE_TRANSFERRED}


def told(kind: EventKind, **fields: str) -> tuple[DeviceEnrollmentEvent | DeviceEvent, str, str]:
    """The message to ACCOUNT, the word of its kind, and the resource that it names."""
    event = Event(
        revision=7,
        at=NOW,
        kind=kind,
        enrollment_id=RESOURCE,
        device_id=RESOURCE,
        account_id=fields.pop("account_id", ACCOUNT),
        from_account_id=fields.pop("from_account_id", None),
    )
    if kind.value.startswith(Topic.ENROLLMENTS.value):
        enrolled = enrollment_event(Change(Feed(ACCOUNT, Topic.ENROLLMENTS), event))
        return enrolled, enrolled.Kind.Name(enrolled.kind), enrolled.device_enrollment_name
    device = device_event(Change(Feed(ACCOUNT, Topic.DEVICES), event))
    return device, device.Kind.Name(device.kind), device.device_name


@pytest.mark.parametrize("kind", sorted(TRANSFERS))
def test_each_side_of_a_transfer_is_told_its_own_and_not_of_the_other(kind: EventKind) -> None:
    gained, came, mine = told(kind, from_account_id=OTHER)
    lost, went, no_longer_mine = told(kind, account_id=OTHER, from_account_id=ACCOUNT)

    assert (came, went) == ("TRANSFERRED_IN", "TRANSFERRED_OUT")
    assert mine == no_longer_mine
    assert mine.startswith(f"accounts/{ACCOUNT}/")
    for message in (gained, lost):
        assert OTHER.encode() not in message.SerializeToString()


@pytest.mark.parametrize("kind", sorted(set(EventKind) - TRANSFERS))
def test_every_kind_of_event_has_its_word_in_the_messages(kind: EventKind) -> None:
    message, word, _ = told(kind)

    assert kind.value.partition("_")[2] == word
    assert message.revision == 7
    assert message.occurred_at.ToNanoseconds() == round(NOW.timestamp() * 1e6) * 1_000
