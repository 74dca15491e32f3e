"""What the tests of running servers share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftc_core.credentials.data_directory import DataDirectory
from tests.api import Tenant as ApiTenant
from tests.api import TestApi, running_api
from tests.certificates import Manufacturer
from tests.instance import Instance, Tenant, make_data_directory, running_instance
from tests.worker import Workshop


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestApi]:
    """One API for a module's tests, each of which makes its own accounts."""
    with running_api(tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest.fixture
def tenant(api: TestApi) -> ApiTenant:
    """A fresh account."""
    return api.tenant()


@pytest.fixture
def other(api: TestApi) -> ApiTenant:
    """Another fresh account."""
    return api.tenant("Other")


@pytest.fixture(scope="session")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """One whole instance for all device-side tests of this test process, each with accounts of its own."""
    with running_instance(
        make_data_directory(tmp_path_factory.mktemp("instance") / "data"), "--shutdown-grace-s=1"
    ) as running:
        yield running


@pytest.fixture(scope="session")
def est_instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """Another one, whose devices make their own LwM2M keys."""
    with running_instance(
        make_data_directory(tmp_path_factory.mktemp("est-instance") / "data"),
        "--shutdown-grace-s=1",
        "--lwm2m-credentials=est",
    ) as running:
        yield running


@pytest.fixture
def owner(instance: Instance, manufacturer: Manufacturer) -> Tenant:
    """A fresh account of that instance, which trusts the manufacturer's CA."""
    tenant = instance.tenant()
    tenant.trust(manufacturer)
    return tenant


@pytest.fixture(scope="session")
def data_directory(tmp_path_factory: pytest.TempPathFactory) -> DataDirectory:
    """A data directory to copy: its keys take longer to make than all that a worker does."""
    return make_data_directory(tmp_path_factory.mktemp("template") / "data")


@pytest.fixture
def workshop(data_directory: DataDirectory, tmp_path: Path) -> Iterator[Workshop]:
    """A place where a test may run a worker of its own, and break it."""
    copied = shutil.copytree(data_directory.root, tmp_path / "data")
    made = Workshop(DataDirectory.open(copied))
    yield made
    made.close()
