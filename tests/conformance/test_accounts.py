"""Accounts and API keys."""

from __future__ import annotations

import msgspec
import pytest

from ftc_core.domain.account import AccountChanges, AccountStatus, ApiKey
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.commands import (
    CreateAccount,
    CreateApiKey,
    Created,
    DeleteAccount,
    DeleteApiKey,
    DeleteEnrollment,
    RecordApiKeyUses,
    UpdateAccount,
)
from tests.conformance.scene import HOUR, NOW, Scene, reasons


def test_an_account_reads_back_as_it_was_answered(scene: Scene) -> None:
    account = scene.account(quota=7)
    with scene.store.view() as view:
        assert view.get_account(account.id) == account
    assert account.revision == scene.revision() > 0


def test_the_store_counts_devices_whatever_the_caller_says(scene: Scene) -> None:
    given = msgspec.structs.replace(scene.account(), id=scene.new_id(), device_count=5, revision=77)
    outcome = scene.run(CreateAccount(given))
    assert isinstance(outcome, Created)
    assert outcome.account is not None
    assert outcome.account.device_count == 0
    assert outcome.account.revision == scene.revision()


def test_an_account_id_is_taken_once(scene: Scene) -> None:
    account = scene.account()
    renamed = msgspec.structs.replace(account, display_name="Usurper")
    assert scene.refused(CreateAccount(renamed)).reason is Reason.RESOURCE_ALREADY_EXISTS


def test_accounts_are_listed_in_pages_in_order_of_id(scene: Scene) -> None:
    ids = [scene.account().id for _ in range(5)]
    with scene.store.view() as view:
        assert [a.id for a in view.list_accounts(after=None, limit=2)] == ids[:2]
        assert [a.id for a in view.list_accounts(after=ids[1], limit=2)] == ids[2:4]
        assert [a.id for a in view.list_accounts(after=ids[4], limit=2)] == []
        assert view.list_accounts(after=None, limit=0) == []
        assert view.count_accounts() == 5


def test_a_page_may_begin_after_an_id_that_is_gone(scene: Scene) -> None:
    first, gone, second = scene.account().id, scene.new_id(), scene.account().id
    with scene.store.view() as view:
        assert [a.id for a in view.list_accounts(after=gone, limit=9)] == [second]
        assert first < gone < second


def test_a_page_after_something_that_is_no_id_is_refused(scene: Scene) -> None:
    with scene.store.view() as view, pytest.raises(FtcError) as refusal:
        view.list_accounts(after="nonsense", limit=1)
    assert refusal.value.reason is Reason.PAGE_TOKEN_INVALID


@pytest.mark.parametrize("account_id", ["", "nonsense", "A" * 32, "a" * 31, " " + "a" * 31, "a" * 32])
def test_what_is_not_the_id_of_an_account_names_none(scene: Scene, account_id: str) -> None:
    with scene.store.view() as view:
        assert view.get_account(account_id) is None
        assert view.list_enrollments(account_id, after=None, limit=1) == []
        assert view.count_enrollments(account_id) == 0


def test_an_id_in_capitals_is_another_name(scene: Scene) -> None:
    scene = Scene(scene.store, first_id=0xABC)
    account = scene.account()
    with scene.store.view() as view:
        assert view.get_account(account.id) == account
        assert view.get_account(account.id.upper()) is None


def test_an_api_key_reads_back_as_it_was_answered(scene: Scene) -> None:
    key = scene.new_key(scene.account().id)
    outcome = scene.run(CreateApiKey(key))
    assert isinstance(outcome, Created)
    assert outcome.key == msgspec.structs.replace(key, revision=scene.revision())
    with scene.store.view() as view:
        assert view.get_api_key(key.id) == outcome.key
        assert view.get_api_key(scene.new_id()) is None


@pytest.mark.parametrize("account_id", ["f" * 32, "nonsense"])
def test_an_api_key_needs_its_account(scene: Scene, account_id: str) -> None:
    assert scene.refused(CreateApiKey(scene.new_key(account_id))).reason is Reason.RESOURCE_NOT_FOUND


def test_an_api_key_id_is_taken_once(scene: Scene) -> None:
    key = scene.new_key(scene.account().id)
    scene.run(CreateApiKey(key))
    assert scene.refused(CreateApiKey(key)).reason is Reason.RESOURCE_ALREADY_EXISTS


def key(scene: Scene, account_id: str) -> ApiKey:
    outcome = scene.run(CreateApiKey(scene.new_key(account_id)))
    assert isinstance(outcome, Created)
    assert outcome.key is not None
    return outcome.key


@pytest.mark.parametrize(
    "changes",
    [
        AccountChanges(display_name="Renamed"),
        AccountChanges(device_quota=None),
        AccountChanges(device_quota=0, status=AccountStatus.SUSPENDED),
        AccountChanges(),
    ],
)
def test_an_update_changes_the_given_fields_and_no_others(scene: Scene, changes: AccountChanges) -> None:
    account = scene.trusting_account(quota=7)
    scene.enrollment(account, 1)
    scene.claim(1)

    outcome = scene.run(UpdateAccount(account.id, changes, NOW + HOUR))

    assert isinstance(outcome, Created)
    expected = msgspec.structs.replace(
        changes.applied_to(account), device_count=1, updated_at=NOW + HOUR, revision=scene.revision()
    )
    assert outcome.account == expected
    with scene.store.view() as view:
        assert view.get_account(account.id) == expected
        assert view.count_devices(account.id) == view.count_enrollments(account.id) == 1


def test_the_next_claim_in_the_same_batch_is_judged_by_the_update(scene: Scene) -> None:
    account = scene.trusting_account(quota=0)
    scene.enrollment(account, 1)
    scene.enrollment(account, 2)

    answers = scene.try_all(
        scene.claim_command(1),
        UpdateAccount(account.id, AccountChanges(device_quota=1), NOW),
        scene.claim_command(1),
        scene.claim_command(2),
        UpdateAccount(account.id, AccountChanges(device_quota=None, status=AccountStatus.SUSPENDED), NOW),
        scene.claim_command(2),
    )

    assert reasons(answers) == [
        Reason.QUOTA_REACHED,
        None,
        None,
        Reason.QUOTA_REACHED,
        None,
        Reason.ACCOUNT_SUSPENDED,
    ]


def test_an_update_of_what_is_gone_or_has_changed_is_refused(scene: Scene) -> None:
    account = scene.account()
    changes = AccountChanges(display_name="Renamed")
    scene.run(UpdateAccount(account.id, changes, NOW, account.revision))

    stale = scene.refused(UpdateAccount(account.id, changes, NOW, account.revision))
    absent = scene.refused(UpdateAccount("f" * 32, changes, NOW))

    assert (stale.reason, absent.reason) == (Reason.ETAG_MISMATCH, Reason.RESOURCE_NOT_FOUND)


def test_an_account_is_deleted_with_its_keys_and_only_with_them(scene: Scene) -> None:
    account, other = scene.account(), scene.account()
    gone = [key(scene, account.id) for _ in range(3)]
    kept = key(scene, other.id)

    stale = scene.refused(DeleteAccount(account.id, account.revision + 1))
    scene.run(DeleteAccount(account.id, account.revision))

    assert stale.reason is Reason.ETAG_MISMATCH
    with scene.store.view() as view:
        assert view.get_account(account.id) is None
        assert view.list_accounts(after=None, limit=9) == [other]
        assert [view.get_api_key(one.id) for one in gone] == [None] * 3
        assert view.list_api_keys(account.id, after=None, limit=9) == []
        assert view.list_api_keys(other.id, after=None, limit=9) == [kept]
    assert scene.refused(DeleteAccount(account.id)).reason is Reason.RESOURCE_NOT_FOUND


def test_an_account_that_holds_anything_is_not_deleted(scene: Scene) -> None:
    holder, waiting = scene.trusting_account(), scene.account()
    enrollment = scene.enrollment(waiting, 1)

    refusals = [scene.refused(DeleteAccount(account.id)) for account in (holder, waiting)]

    assert [refusal.reason for refusal in refusals] == [Reason.ACCOUNT_NOT_EMPTY] * 2
    assert "1 trusted certificate" in refusals[0].message
    assert "1 enrollment" in refusals[1].message
    scene.run(DeleteEnrollment(waiting.id, enrollment.id, NOW))
    scene.run(DeleteAccount(waiting.id))


def test_keys_are_listed_and_counted_per_account_in_pages(scene: Scene) -> None:
    account = scene.account()
    keys = [key(scene, account.id) for _ in range(3)]
    key(scene, scene.account().id)

    with scene.store.view() as view:
        assert view.list_api_keys(account.id, after=None, limit=2) == keys[:2]
        assert view.list_api_keys(account.id, after=keys[1].id, limit=2) == keys[2:]
        assert view.count_api_keys(account.id) == 3


def test_a_key_is_deleted_in_its_own_account_at_the_revision_that_was_read(scene: Scene) -> None:
    account, other = scene.account(), scene.account()
    one, two = key(scene, account.id), key(scene, account.id)

    elsewhere = scene.refused(DeleteApiKey(other.id, one.id))
    stale = scene.refused(DeleteApiKey(account.id, one.id, one.revision + 1))
    scene.run(DeleteApiKey(account.id, one.id, one.revision))

    assert (elsewhere.reason, stale.reason) == (Reason.RESOURCE_NOT_FOUND, Reason.ETAG_MISMATCH)
    assert scene.refused(DeleteApiKey(account.id, one.id)).reason is Reason.RESOURCE_NOT_FOUND
    with scene.store.view() as view:
        assert view.list_api_keys(account.id, after=None, limit=9) == [two]
        assert view.count_api_keys(account.id) == 1


def test_the_use_of_a_key_is_recorded_and_is_no_change(scene: Scene) -> None:
    one = key(scene, scene.account().id)
    before = scene.revision()

    scene.run(RecordApiKeyUses({one.id: NOW + HOUR, scene.new_id(): NOW}))
    scene.run(RecordApiKeyUses({one.id: NOW}))  # an older use, written late

    with scene.store.view() as view:
        assert view.get_api_key(one.id) == msgspec.structs.replace(one, last_used_at=NOW + HOUR)
    assert scene.revision() == before


def test_accounts_are_listed_downwards_as_well(scene: Scene) -> None:
    ids = [scene.account().id for _ in range(5)]
    down = ids[::-1]
    with scene.store.view() as view:
        assert [a.id for a in view.list_accounts(after=None, limit=2, descending=True)] == down[:2]
        assert [a.id for a in view.list_accounts(after=down[1], limit=9, descending=True)] == down[2:]
        assert view.list_accounts(after=ids[0], limit=9, descending=True) == []
        assert [a.id for a in view.list_accounts(after="f" * 32, limit=1, descending=True)] == down[:1]


def test_lists_downwards_keep_to_their_account(scene: Scene) -> None:
    before, account, after = scene.trusting_account(), scene.trusting_account(), scene.trusting_account()
    own = []
    for number, owner in enumerate([before, account, after, before, account, after]):
        issued, enrollment = key(scene, owner.id), scene.enrollment(owner, number)
        device = scene.claim(number).device
        if owner is account:
            own.append((issued.id, enrollment.id, device.id))
    newest, oldest = own[1], own[0]

    with scene.store.view() as view:
        keys = view.list_api_keys(account.id, after=None, limit=9, descending=True)
        enrollments = view.list_enrollments(account.id, after=None, limit=9, descending=True)
        devices = view.list_devices(account.id, after=None, limit=9, descending=True)
        rest = view.list_devices(account.id, after=newest[2], limit=9, descending=True)
        certificates = view.list_trusted_certificates(account.id, after=None, limit=9, descending=True)

    assert [one.id for one in keys] == [newest[0], oldest[0]]
    assert [one.id for one in enrollments] == [newest[1], oldest[1]]
    assert [one.id for one in devices] == [newest[2], oldest[2]]
    assert [one.id for one in rest] == [oldest[2]]
    assert [one.account_id for one in certificates] == [account.id]
