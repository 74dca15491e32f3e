"""Events as messages."""

from __future__ import annotations

import pytest

from ftc_core.application.changes import Change, Topic
from ftc_core.domain.event import Event, EventKind
from ftc_grpc.services.watch import device_event, enrollment_event
from tests.conformance.scene import NOW


@pytest.mark.parametrize("kind", EventKind)
def test_every_kind_of_event_has_its_word_in_the_messages(kind: EventKind) -> None:
    account, resource = "a" * 32, "b" * 32
    change = Change(
        Event(revision=7, at=NOW, kind=kind, account_id=account, enrollment_id=resource, device_id=resource)
    )

    message = enrollment_event(change) if change.feed.topic is Topic.ENROLLMENTS else device_event(change)

    assert kind.value == f"{change.feed.topic.value}_{message.Kind.Name(message.kind)}"
    assert message.revision == 7
    assert message.occurred_at.ToNanoseconds() == round(NOW.timestamp() * 1e6) * 1_000
