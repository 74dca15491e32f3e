"""Every metric: its name, labels, unit and help stand here and nowhere else.

Names begin with `ftc_` and end in their unit; each label takes values of a bounded set, never a device, an
account or an address. The processes of an instance write theirs into memory-mapped files of one directory
(prometheus_client's multiprocess mode, which the supervisor switches on by MULTIPROCESS_VARIABLE before they
start) and the supervisor serves the sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from ftc_core.observability.process_name import count_under_name
from ftc_core.observability.tallies import TalliedHistogram

__all__ = [
    "ASSOCIATIONS",
    "BOOTSTRAPS",
    "BOOTSTRAP_SECONDS",
    "CLAIMS",
    "CLIENT_HELLOS",
    "CREDENTIALS",
    "DATAGRAMS",
    "DENIALS",
    "ENROLMENTS",
    "HANDSHAKES",
    "LAG_SECONDS",
    "LEDGER_CHECKPOINTS",
    "LEDGER_CHECKPOINT_ENTRIES",
    "LEDGER_CHECKPOINT_HISTORIES",
    "LEDGER_CHECKPOINT_SECONDS",
    "LEDGER_CHECKPOINT_TIME",
    "MULTIPROCESS_VARIABLE",
    "REGISTRATIONS",
    "RPCS",
    "RPC_SECONDS",
    "SHED",
    "UNTRUSTED_ISSUERS",
    "build_info",
    "certificate_expiries",
    "observe_commit",
    "process_restarts",
    "processes_ready",
    "store_entries",
    "store_map_bytes",
    "store_used_bytes",
]

MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable with the directory of the metric files; prometheus_client reads it when imported."""

count_under_name()

_LATENCIES_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
_COMMIT_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_CHECKPOINT_SECONDS = (0.01, 0.1, 1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0)
_COMMIT_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)

# --- DTLS servers: `server` is bootstrap or lwm2m ----------------------------------------------------
DATAGRAMS = Counter(
    "ftc_datagrams",
    "UDP datagrams: received, truncated (larger than our buffer), overflowed (dropped by the kernel, for "
    "nobody read them in time), sent, dropped (refused by the kernel).",
    ("server", "event"),
)
CLIENT_HELLOS = Counter(
    "ftc_client_hellos",
    "ClientHellos by the cookie gate's answer: challenged, proven, resumed (proven, by a session ticket), "
    "rejected, turned_away (proven, no room).",
    ("server", "answer"),
)
HANDSHAKES = Counter(
    "ftc_handshakes",
    "DTLS handshakes of proven addresses by outcome: completed, replaced (by a new ClientHello), alert_sent, "
    "alert_received, close_notify, closed_here, handshake_timeout, handshake_too_large, unverified, failed.",
    ("server", "outcome", "alert"),
)
SHED = Counter(
    "ftc_shed",
    "ClientHellos dropped in silence, because others are served first, by cause: busy (not asked for a proof "
    "of its address), share (its network or fleet has enough on their way), stale (waited too long), "
    "associations (no room for another), draining (the server is about to stop).",
    ("server", "cause"),
)
LAG_SECONDS = Gauge(
    "ftc_lag_seconds",
    "The longest time that a datagram had waited when it was read, in the last second.",
    ("server",),
    multiprocess_mode="livemax",
)
ASSOCIATIONS = Gauge(
    "ftc_associations",
    "DTLS associations held now, handshakes under way included.",
    ("server",),
    multiprocess_mode="livesum",
)

# --- bootstrap ---------------------------------------------------------------------------------------
CLAIMS = Counter(
    "ftc_claims", "Durable claims: first (ownership changed) or again (the same certificate).", ("kind",)
)
CREDENTIALS = Counter("ftc_credentials_issued", "LwM2M client certificates issued.")
UNTRUSTED_ISSUERS = Counter(
    "ftc_untrusted_issuers",
    "Device certificates whose issuer no account trusts: not_uploaded (nobody holds a CA of that name) or "
    "inactive (an account does, as INACTIVE).",
    ("cause",),
)
BOOTSTRAPS = Counter(
    "ftc_bootstraps",
    "Bootstrap conversations by outcome: completed, refused (nothing was written to the device), failed, "
    "superseded (by a new request of the device); with the reason of the catalogue of errors.",
    ("outcome", "reason"),
)
DENIALS = Counter(
    "ftc_denials",
    "Refusals of the bootstrap server by what became of their record: recorded (the first of their device "
    "and cause), coalesced (a number was added), dropped (there was no room, or the store failed).",
    ("result",),
)
ENROLMENTS = Counter(
    "ftc_est_enrolments",
    "Certificates by EST: issued, refused, missing (the device never asked, or not rightly); with the reason"
    " of the catalogue of errors.",
    ("outcome", "reason"),
)
BOOTSTRAP_SECONDS = Histogram(
    "ftc_bootstrap_duration_seconds",
    "Seconds from the Bootstrap-Request to the acknowledged Bootstrap-Finish, or (EST) to the certificate.",
    buckets=_LATENCIES_S,
)

# --- registration ------------------------------------------------------------------------------------
REGISTRATIONS = Counter(
    "ftc_registrations",
    "Operations at the LwM2M server: register, update, deregister, invalid (no readable operation), expire "
    "(lifetimes that ended); outcome is OK or the reason of the catalogue of errors.",
    ("operation", "outcome"),
)

# --- storage -----------------------------------------------------------------------------------------
_COMMIT_SUBMISSIONS = Histogram(
    "ftc_commit_submissions", "Submissions in one durable transaction.", buckets=_COMMIT_SIZES
)
_COMMIT_QUEUE_SECONDS = Histogram(
    "ftc_commit_queue_seconds",
    "Seconds that the oldest submission of a transaction waited for its turn.",
    buckets=_COMMIT_SECONDS,
)
_COMMIT_WRITE_SECONDS = Histogram(
    "ftc_commit_write_seconds",
    "Seconds of writing one transaction, until it was on disk.",
    buckets=_COMMIT_SECONDS,
)


def observe_commit(submissions: int, queued_s: float, write_s: float) -> None:
    """One commit of this process (`ftc_core.storage.group_commit.CommitObserver`)."""
    _COMMIT_SUBMISSIONS.observe(submissions)
    _COMMIT_QUEUE_SECONDS.observe(queued_s)
    _COMMIT_WRITE_SECONDS.observe(write_s)


# --- API ---------------------------------------------------------------------------------------------
RPCS = Counter("ftc_rpcs", "Finished RPCs by gRPC status code.", ("method", "code"))
RPC_SECONDS = TalliedHistogram(
    "ftc_rpc_duration_seconds",
    "Seconds from an RPC's arrival to its end; of a stream, its whole life.",
    ("method",),
    buckets=_LATENCIES_S,
)


# --- ownership ledger --------------------------------------------------------------------------------
LEDGER_CHECKPOINTS = Counter(
    "ftc_ledger_checkpoints",
    "Checkpoints of the ledger by result: made, unchanged (nothing was entered since the last), failed.",
    ("result",),
)
LEDGER_CHECKPOINT_SECONDS = Histogram(
    "ftc_ledger_checkpoint_duration_seconds",
    "Seconds of making one checkpoint.",
    buckets=_CHECKPOINT_SECONDS,
)
LEDGER_CHECKPOINT_TIME = Gauge(
    "ftc_ledger_checkpoint_timestamp_seconds",
    "When the last checkpoint was known to cover the whole ledger, in seconds since 1970.",
    multiprocess_mode="livemostrecent",
)
LEDGER_CHECKPOINT_HISTORIES = Gauge(
    "ftc_ledger_checkpoint_histories",
    "Devices whose history the last checkpoint covers.",
    multiprocess_mode="livemostrecent",
)
LEDGER_CHECKPOINT_ENTRIES = Gauge(
    "ftc_ledger_checkpoint_entries",
    "Changes of ownership that the last checkpoint covers.",
    multiprocess_mode="livemostrecent",
)


# --- what the supervisor knows, read at each scrape --------------------------------------------------
def process_restarts(restarts: Mapping[str, int]) -> CounterMetricFamily:
    """`restarts` of each process of the instance."""
    family = CounterMetricFamily(
        "ftc_process_restarts", "Times that a process died and was started again.", labels=("process",)
    )
    for process, count in restarts.items():
        family.add_metric((process,), count)
    return family


def processes_ready(ready: Mapping[str, bool]) -> GaugeMetricFamily:
    """Which processes serve."""
    family = GaugeMetricFamily("ftc_process_ready", "1 while a process serves, else 0.", labels=("process",))
    for process, serves in ready.items():
        family.add_metric((process,), float(serves))
    return family


def certificate_expiries(expiries: Mapping[str, datetime]) -> GaugeMetricFamily:
    """Until when each of the instance's own certificates is valid."""
    family = GaugeMetricFamily(
        "ftc_certificate_expiry_timestamp_seconds",
        "When a certificate of the instance itself expires, in seconds since 1970.",
        labels=("certificate",),
    )
    for certificate, expiry in expiries.items():
        family.add_metric((certificate,), expiry.timestamp())
    return family


def build_info(version: str, python: str) -> GaugeMetricFamily:
    """Which program this is."""
    family = GaugeMetricFamily("ftc_build_info", "Always 1.", labels=("version", "python"))
    family.add_metric((version, python), 1)
    return family


def store_used_bytes(used: int) -> GaugeMetricFamily:
    """Size of the index."""
    return GaugeMetricFamily(
        "ftc_store_used_bytes", "Bytes of the index in use, reusable pages included.", used
    )


def store_map_bytes(size: int) -> GaugeMetricFamily:
    """Bound of the index."""
    return GaugeMetricFamily("ftc_store_map_bytes", "Bytes to which the index can grow.", size)


def store_entries(entries: Mapping[str, int]) -> GaugeMetricFamily:
    """Rows of each table of the index."""
    family = GaugeMetricFamily("ftc_store_entries", "Rows of a table of the index.", labels=("table",))
    for table, count in entries.items():
        family.add_metric((table,), count)
    return family
