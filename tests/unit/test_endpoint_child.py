"""How the supervisor and its processes talk: the spec's round trip, answers, and the ways to stop."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ftc_core.client_identity import ClientIdentity
from ftc_core.endpoint.child import ChildSpec, Failed, Ready, calm_collector, encode_line, failure
from ftc_core.errors import Reason
from ftc_core.listen import ListenAddress
from ftc_core.settings import Settings, setting_names

SETTINGS = Settings(
    data_dir=Path("/var/lib/ftc data/\N{SNOWMAN}"),
    storage_url="lmdb:///somewhere/else",
    bootstrap_listen=(ListenAddress("*", 5784), ListenAddress("::1", 1)),
    lwm2m_listen=(ListenAddress("127.0.0.1", 0),),
    grpc_listen=ListenAddress("127.0.0.1", 6),
    mtls_listen=ListenAddress("127.0.0.1", 7),
    mtls_client_ca=Path("/somewhere/ca.pem"),
    mtls_identities=(ClientIdentity(uri="spiffe://example/ci", role="ADMIN", account="a" * 32),),
    metrics_listen=ListenAddress("127.0.0.1", 1),
    public_host="onboarding.example",
    bootstrap_uri="coaps://onboarding.example:5784",
    lwm2m_uri="coaps://onboarding.example:5684",
    workers=255,
    log_format="json",
    log_level="debug",
    credential_validity_days=30,
    lwm2m_credentials="est",
    lwm2m_lifetime_s=300,
    lwm2m_binding="UQ",
    short_server_id=99,
    dtls_mtu=548,
    resumption_lifetime_s=3_600,
    enrollment_ttl_s=60,
    enrollment_expiry_notice_s=30,
    operations_max=5,
    operation_retention_days=1,
    denial_retention_days=2,
    ledger_checkpoint_interval_s=7,
    overload_answer="5.03",
    shutdown_grace_s=0.5,
    commit_batch=10,
)

# What follows `run_child` here is all that these children do; the rest is the code under test.
CHILD = """
import sys
from ftc_core.client_identity import ClientIdentity
from ftc_core.endpoint.child import Ready, run_child
from ftc_core.errors import FtcError, Reason

async def serve(spec, say, stop):
    print("a library prints this")
    {body}

sys.exit(run_child(serve))
"""
SERVES = "say(Ready((spec.name, *map(str, spec.sockets)))); await stop.wait()"


def spawn(body: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD.format(body=body)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def give(process: subprocess.Popen[bytes], line: bytes) -> bytes:
    """The child's first line of output after it was given `line`."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line)
    process.stdin.flush()
    return process.stdout.readline()


def test_spec_arrives_as_it_was_sent_with_every_setting() -> None:
    spec = ChildSpec(name="bootstrap-3", settings=SETTINGS, sockets=(5, 17))

    line = encode_line(spec)

    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    back = msgspec.json.decode(line, type=ChildSpec, dec_hook=lambda kind, text: kind(text))
    assert back == spec
    # A lost setting would be noticed: each differs from its default.
    assert not [name for name in setting_names() if getattr(SETTINGS, name) == getattr(Settings(), name)]


def test_refusal_of_a_child_is_raised_as_its_own() -> None:
    error = failure(Failed("PORT_IN_USE", "cannot listen there"))

    assert error.reason is Reason.PORT_IN_USE
    assert error.message == "cannot listen there"


@pytest.mark.parametrize("end", ["SIGTERM", "SIGINT", "end of input"])
def test_child_answers_with_one_line_and_serves_until_it_is_told_to_stop(end: str) -> None:
    with spawn(SERVES) as process:
        line = give(process, encode_line(ChildSpec(name="x", settings=Settings(), sockets=(4,))))
        assert msgspec.json.decode(line, type=Ready | Failed) == Ready(("x", "4"))

        if end == "end of input":
            assert process.stdin is not None
            process.stdin.close()
        else:
            process.send_signal(signal.Signals[end])

        assert process.wait(10) == 0
        assert process.stdout is not None
        assert process.stdout.read() == b"", "what a library prints is no answer"


def test_child_that_cannot_serve_says_why_and_ends_with_1() -> None:
    with spawn('raise FtcError(Reason.INTERNAL_2, "the store is full")') as process:
        line = give(process, encode_line(ChildSpec(name="x", settings=Settings())))

        assert msgspec.json.decode(line, type=Ready | Failed) == Failed("INTERNAL_2", "the store is full")
        assert process.wait(10) == 1


def test_child_that_is_started_by_hand_says_so_and_ends_with_2() -> None:
    with spawn(SERVES) as process:
        assert give(process, b"hello\n") == b""

        assert process.wait(10) == 2
        assert process.stderr is not None
        assert process.stderr.read().decode().startswith("error: this process is started by `ftc serve`")


@pytest.fixture
def looks() -> Iterator[list[int]]:
    """The generation of each look that the garbage collector takes, set as in a worker."""
    seen: list[int] = []

    def note(phase: str, about: dict[str, int]) -> None:
        if phase == "start":
            seen.append(about["generation"])

    thresholds = gc.get_threshold()
    gc.collect()
    calm_collector()
    gc.callbacks.append(note)
    yield seen
    gc.callbacks.remove(note)
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def test_collector_of_a_worker_looks_at_no_session_twice_while_a_storm_begins(looks: list[int]) -> None:
    """A session is some 75 container objects: this is the growth to 10,000 of them."""
    sessions = [[[] for _ in range(75)] for _ in range(10_000)]

    assert len(sessions) == 10_000
    assert len(looks) >= 100, "each is short"
    assert set(looks) == {0}
