"""Every test here runs against every engine: add one to ENGINES, and the suite is its acceptance test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ftc_core.storage.engines import check_store, open_store
from ftc_core.storage.port import Store
from tests.conformance.scene import Scene

ENGINES: dict[str, Callable[[Path], str]] = {
    "lmdb": lambda directory: f"lmdb://{directory / 'store'}",
}
"""Name of an engine → the URL of a fresh store of that engine."""


@pytest.fixture(params=sorted(ENGINES))
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return ENGINES[request.param](tmp_path)


@pytest.fixture
def store(request: pytest.FixtureRequest, url: str) -> Iterator[Store]:
    """A fresh store, which must be whole when the test has done with it."""
    store = open_store(url, create=True)
    yield store
    store.close()
    if request.node.get_closest_marker("made_up") is None:
        assert [finding.text for finding in check_store(url).findings] == []


@pytest.fixture
def scene(store: Store) -> Scene:
    return Scene(store)
