"""What the tests of running servers share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api import Tenant, TestApi, running_api


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestApi]:
    """One API for a module's tests, each of which makes its own accounts."""
    with running_api(tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest.fixture
def tenant(api: TestApi) -> Tenant:
    """A fresh account."""
    return api.tenant()


@pytest.fixture
def other(api: TestApi) -> Tenant:
    """Another fresh account."""
    return api.tenant("Other")
