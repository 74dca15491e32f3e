"""One instance, one fleet and their owner for the whole run; a device of its own for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.interop.fleet import Device, Fleet, provision
from tests.interop.instance import Account, Instance, running_instance

_FIGURES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FIGURES] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was measured, at the end of the run."""
    figures = terminalreporter.config.stash[_FIGURES]
    if figures:
        terminalreporter.section("figures")
        for figure in figures:
            terminalreporter.line(figure)


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Print a figure at the end of the run."""
    return request.config.stash[_FIGURES].append


@pytest.fixture(scope="session")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with running_instance(tmp_path_factory.mktemp("instance") / "data") as running:
        yield running


@pytest.fixture(scope="session")
def fleet(instance: Instance, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return provision(instance, tmp_path_factory.mktemp("factory"))


@pytest.fixture(scope="session")
def owner(instance: Instance, fleet: Fleet) -> Account:
    """The account that trusts the fleet's CA."""
    account = instance.create_account("Fleet owner")
    account.upload_ca(fleet.ca)
    return account


@pytest.fixture
def device(fleet: Fleet) -> Device:
    """A device that no other test has used."""
    return next(fleet.devices)


@pytest.fixture
def account(instance: Instance, request: pytest.FixtureRequest) -> Account:
    """A new account, for tests that bring a CA of their own."""
    return instance.create_account(request.node.name[:100])
