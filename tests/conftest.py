"""What every test may use. Temporary files belong in `tmp_path`, which no two tests or processes share."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from tests.certificates import Manufacturer

# No deadline: one example may wait for a shared core. On the build machine examples are the same each time.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("thorough", deadline=None, max_examples=10_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default"))


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the caller's FTC_… variables away, so that a test sees only the settings that it makes."""
    for name in [name for name in os.environ if name.startswith("FTC_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def manufacturer() -> Manufacturer:
    """A device CA, the same for the whole run; make another one where a test needs two."""
    return Manufacturer()
