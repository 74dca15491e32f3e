"""Accounts and API keys."""

from __future__ import annotations

import msgspec
import pytest

from ftc_core.errors import FtcError, Reason
from ftc_core.storage.port import CreateAccount, CreateApiKey, Created
from tests.conformance.scene import Scene


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
