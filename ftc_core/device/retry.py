"""What a device does after a failure, as pure functions: whether it tries again, what, and how long it waits.

The rules are those of a widely used client [I]: PRODUCT contract §2 (diagnostics) lists its reactions. A
code is dotted, as in "4.03"; "" stands for no answer at all (time-out, reset, failed handshake).
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "BACKOFF_FIRST_S",
    "BACKOFF_MAX_S",
    "Reaction",
    "after_bootstrap",
    "after_registration",
    "asked_wait_s",
    "backoff_s",
]

BACKOFF_FIRST_S = 10.0
"""Seconds to wait after the first failure."""
BACKOFF_MAX_S = 14_400.0
"""Seconds to wait at most, before jitter: four hours."""
_BACKOFF_JITTER = 0.1
_MAX_AGE_DEFAULT_S = 60
"""Seconds that an answer without Max-Age stands for (RFC 7252 §5.10.5)."""

_FINAL_CODES = frozenset({"4.02", "4.08", "4.12", "4.13", "4.15"})
"""Refusals of a Bootstrap-Request that the client takes for its own mistake."""
_CREDENTIALS_REFUSED_CODES = frozenset({"4.00", "4.03"})
"""Refusals of a registration that make the client drop its LwM2M credentials."""


class Reaction(StrEnum):
    """What comes next."""

    RETRY = "RETRY"
    """The same again, after the back-off."""
    STOP = "STOP"
    """Nothing, until the device is restarted."""
    BOOTSTRAP_AGAIN = "BOOTSTRAP_AGAIN"
    """Drop the LwM2M credentials and bootstrap, after the back-off."""


def after_bootstrap(code: str) -> Reaction:
    """The reaction to a Bootstrap-Request that was answered with `code`, or not at all."""
    return Reaction.STOP if code in _FINAL_CODES else Reaction.RETRY


def after_registration(code: str) -> Reaction:
    """The reaction to a Register or Update that was answered with `code`, or not at all."""
    return Reaction.BOOTSTRAP_AGAIN if code in _CREDENTIALS_REFUSED_CODES else Reaction.RETRY


def asked_wait_s(code: str, max_age: int | None) -> int:
    """Seconds that a server asks to wait at least: the Max-Age of a 5.03 (RFC 7252 §5.9.3.4), else 0.

    `max_age` is the option's value in seconds, None if the answer has none.
    """
    if code != "5.03":
        return 0
    return _MAX_AGE_DEFAULT_S if max_age is None else max_age


def backoff_s(failures: int, jitter: float) -> float:
    """Seconds to wait after `failures` (from 1) failures in a row.

    10 s, doubled for each further failure, at most four hours, then ±10 %: `jitter`, from -1 to 1, is a
    random number that says where in that range.
    """
    # The exponent is bounded, lest a device that failed for a year overflow a float.
    doublings = min(failures - 1, 32)
    return min(BACKOFF_FIRST_S * 2.0**doublings, BACKOFF_MAX_S) * (1.0 + _BACKOFF_JITTER * jitter)
