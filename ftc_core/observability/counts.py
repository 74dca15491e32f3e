"""What a worker counts while it works: plain numbers, owned by the thread of its event loop.

To add to one costs tens of nanoseconds, and to bring a sum to Prometheus some microseconds, so the sums alone
are brought there, at intervals (`publishing`). Numbers only grow.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

__all__ = ["BootstrapCounts", "EndpointCounts", "RegistrationCounts"]


@dataclass(slots=True)
class EndpointCounts:
    """Of one DTLS server: ClientHellos by the gate's answer, and handshakes by how they ended."""

    hellos: Counter[str] = field(default_factory=Counter)
    """`challenged`, `proven`, `resumed`, `rejected` or `turned_away`: see `ftc_client_hellos_total`."""
    handshakes: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """(outcome, alert's name or ""): see `ftc_handshakes_total`."""
    shed: Counter[str] = field(default_factory=Counter)
    """ClientHellos that were dropped in silence, by cause: see `ftc_shed_total`."""
    lag_s: float = 0.0
    """The longest time in seconds that a datagram had waited when it was read, since it was last taken."""

    def take_lag(self) -> float:
        """`lag_s`, which begins anew."""
        lag_s, self.lag_s = self.lag_s, 0.0
        return lag_s


@dataclass(slots=True)
class BootstrapCounts:
    """Of the bootstrap server: durable claims, credentials, and conversations by how they ended."""

    claims: Counter[str] = field(default_factory=Counter)
    """`first` (ownership changed) or `again` (the same certificate came back)."""
    credentials: int = 0
    untrusted: Counter[str] = field(default_factory=Counter)
    """`not_uploaded` or `inactive`: see `ftc_untrusted_issuers_total`."""
    ended: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """(outcome, reason or ""): see `ftc_bootstraps_total`."""
    denials: Counter[str] = field(default_factory=Counter)
    """Refusals: `recorded`, `coalesced` or `dropped`: see `ftc_denials_total`."""
    enrolments: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """(`issued`, `refused` or `missing`; reason or ""): see `ftc_est_enrolments_total`."""
    durations: list[float] = field(default_factory=list)
    """Seconds of each completed bootstrap since they were last taken."""

    def take_durations(self) -> list[float]:
        """Those that were not yet taken."""
        taken, self.durations = self.durations, []
        return taken


@dataclass(slots=True)
class RegistrationCounts:
    """Of the LwM2M server: operations by outcome."""

    operations: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """(`register`, `update`, `deregister`, `expire` or `invalid`; "OK" or the reason)."""
