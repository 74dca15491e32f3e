"""The proof, briefly: every kind of round once. `make proof` runs it for minutes, `make soak` for hours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.proof.__main__ import site
from tests.proof.round import Fault, Site, play


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("proof")) as made:
        yield made


@pytest.mark.parametrize("fault", list(Fault))
def test_what_concurrent_clients_see_could_have_happened_one_after_the_other(
    place: Site, fault: Fault
) -> None:
    tally = play(place, f"test/{fault}", fault)
    assert tally.changes > 0
    assert (tally.watches_broken > 0) is (fault is Fault.API_KILLED)
