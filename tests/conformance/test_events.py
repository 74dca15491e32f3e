"""The log of events, and what is taken from its old end."""

from __future__ import annotations

from datetime import datetime, timedelta

from ftc_core.errors import Reason
from ftc_core.storage.commands import CompactEvents, Done, Swept
from ftc_core.storage.epoch_commands import BeginEpoch
from ftc_core.storage.port import Store
from tests.conformance.scene import HOUR, NOW, Scene

LONG_AGO = NOW - timedelta(days=365)


def compact(scene: Scene, *, before: datetime = LONG_AGO, keep: int = 10**6, limit: int = 1_000) -> Swept:
    outcome = scene.run(CompactEvents(before, keep, limit))
    assert isinstance(outcome, Swept)
    return outcome


def compacted_revision(store: Store) -> int:
    with store.view() as view:
        return view.compacted_revision()


def enroll_hourly(scene: Scene, count: int) -> list[int]:
    """One enrollment an hour from NOW on → revisions of their events."""
    account = scene.account()
    for number in range(count):
        scene.run(scene.create_enrollment(account, number, now=NOW + number * HOUR))
    return [event.revision for event in scene.events()]


def test_nothing_is_compacted_that_is_neither_old_nor_surplus(scene: Scene) -> None:
    enroll_hourly(scene, 3)

    assert compacted_revision(scene.store) == 0
    assert compact(scene) == Swept(0, more=False)
    assert compacted_revision(scene.store) == 0
    assert len(scene.events()) == 3


def test_the_newest_are_kept_by_number(scene: Scene) -> None:
    revisions = enroll_hourly(scene, 5)

    assert compact(scene, keep=2) == Swept(3, more=False)

    assert [event.revision for event in scene.events()] == revisions[3:]
    assert compacted_revision(scene.store) == revisions[2]


def test_those_before_a_moment_go_and_one_of_that_moment_stays(scene: Scene) -> None:
    revisions = enroll_hourly(scene, 5)

    assert compact(scene, before=NOW + 2 * HOUR) == Swept(2, more=False)

    assert [event.revision for event in scene.events()] == revisions[2:]
    assert compacted_revision(scene.store) == revisions[1]


def test_an_old_event_behind_a_young_one_stays_so_that_no_gap_is_left(scene: Scene) -> None:
    account = scene.account()
    for number, hour in enumerate([0, 5, 1]):  # clocks of several processes differ
        scene.run(scene.create_enrollment(account, number, now=NOW + hour * HOUR))

    assert compact(scene, before=NOW + 2 * HOUR) == Swept(1, more=False)
    assert len(scene.events()) == 2


def test_a_limit_bounds_one_transaction_and_says_that_there_is_more(scene: Scene) -> None:
    enroll_hourly(scene, 5)

    swept = [compact(scene, keep=0, limit=2) for _ in range(3)]

    assert swept == [Swept(2, more=True), Swept(2, more=True), Swept(1, more=False)]
    assert scene.events() == []


def test_compaction_raises_no_revision_and_the_log_goes_on_above_it(scene: Scene) -> None:
    revisions = enroll_hourly(scene, 3)
    before = scene.revision()

    compact(scene, keep=0)
    assert scene.revision() == before
    scene.enrollment(scene.account(), 100)

    [event] = scene.events()
    assert event.revision == scene.revision() > revisions[-1] == compacted_revision(scene.store)


def test_validation_compacts_nothing(scene: Scene) -> None:
    enroll_hourly(scene, 3)

    scene.run(CompactEvents(LONG_AGO, keep=0, limit=10), validate_only=True)

    assert len(scene.events()) == 3
    assert compacted_revision(scene.store) == 0


def test_an_epoch_forgets_the_events_and_numbers_what_comes_above_all_that_was(scene: Scene) -> None:
    enroll_hourly(scene, 3)
    beyond = scene.revision() + 10**12

    assert scene.run(BeginEpoch(beyond)) == Done(beyond)

    assert scene.events() == []
    assert scene.revision() == compacted_revision(scene.store) == beyond
    scene.run(scene.create_enrollment(scene.account(), 9))
    [event] = scene.events(beyond)
    assert event.revision == scene.revision() == beyond + 2, "an account, then an enrollment"


def test_an_epoch_never_begins_at_a_number_that_was_given_out(scene: Scene) -> None:
    revisions = enroll_hourly(scene, 3)

    for revision in (0, revisions[0], scene.revision()):
        assert scene.refused(BeginEpoch(revision)).reason is Reason.FIELD_INVALID

    assert [event.revision for event in scene.events()] == revisions
    assert compacted_revision(scene.store) == 0
