"""One instance and one fleet for the whole run; an account and a device for each test that asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.fleet import Device, Fleet, provision
from tests.interop.instance import Account, Instance, running_instance


@pytest.fixture(scope="session")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with running_instance(tmp_path_factory.mktemp("instance") / "data") as running:
        yield running


@pytest.fixture(scope="session")
def fleet(instance: Instance, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return provision(instance, tmp_path_factory.mktemp("factory"))


@pytest.fixture
def device(fleet: Fleet) -> Device:
    """A device that no other test has used."""
    return next(fleet.devices)


@pytest.fixture
def account(instance: Instance, request: pytest.FixtureRequest) -> Account:
    """A new account."""
    return instance.create_account(request.node.name[:100])


@pytest.fixture
def owner(account: Account, fleet: Fleet) -> Account:
    """A new account that trusts the fleet's CA."""
    account.upload_ca(fleet.ca)
    return account
