"""A simulated device: how long it is patient, how near its end it is, and what is left of an attempt."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest

from ftc_core.application.context import utc_now
from ftc_core.domain.identity import fingerprint_of
from ftc_core.dtls.association import CloseCause
from ftc_core.dtls.cookie import CookieGate, Reply
from ftc_core.endpoint.udp import origin_at
from ftc_core.limits import HANDSHAKE_TIMEOUT_S
from ftc_storm.agenda import Rank
from ftc_storm.certificates import CertificateCache
from ftc_storm.device import Attempt, ClientStack, Stage, StormDevice
from ftc_storm.plan import DeviceKind, PlannedDevice
from ftc_storm.site import EnrolledIdentity
from tests.dtls_pair import SECRET, standard_server_context

NOW = 1_000.0
KEY = (0, origin_at(("127.0.0.1", 5784), "127.16.0.0"))


@pytest.fixture
def device(tmp_path: Path) -> StormDevice:
    batch = CertificateCache(tmp_path).batch("unit", 1, 1, now=utc_now(), processes=1)
    (certificate,) = batch.certificates
    identity = EnrolledIdentity(
        batch.endpoint_name(0),
        certificate,
        fingerprint_of(certificate),
        batch.keys[0],
        "coaps://127.0.0.1:5784",
    )
    stack = ClientStack(b"", batch.keys, certificate)
    return StormDevice(PlannedDevice(0, DeviceKind.NEW, 0.0), identity, stack)


def challenge(attempt: Attempt) -> bytes:
    """The HelloVerifyRequest to its ClientHello."""
    (hello,) = attempt.peer.take_datagrams()
    answer = CookieGate(standard_server_context(), SECRET).receive(hello, b"device", NOW)
    assert isinstance(answer, Reply)
    return answer.datagrams[0]


@pytest.mark.parametrize("patience_s", [HANDSHAKE_TIMEOUT_S / 4, HANDSHAKE_TIMEOUT_S * 4])
def test_handshake_lasts_as_long_as_the_patience_and_no_longer(
    device: StormDevice, patience_s: float
) -> None:
    attempt = device.begin(KEY, NOW, patience_s)
    attempt.peer.handle_timer(NOW + patience_s - 0.001)
    assert not attempt.over
    attempt.peer.handle_timer(NOW + patience_s)
    assert attempt.over
    assert attempt.deadline == NOW + patience_s
    assert attempt.peer.closed_cause is not None
    assert attempt.peer.closed_cause.cause is CloseCause.HANDSHAKE_TIMEOUT


def test_a_device_that_the_server_has_answered_is_nearer_its_end(device: StormDevice) -> None:
    assert device.next_rank is Rank.POWERING_ON
    attempt = device.begin(KEY, NOW, 120.0)
    assert attempt.rank is Rank.KNOCKING
    attempt.hear(challenge(attempt), NOW)
    assert attempt.rank is Rank.SHAKING_HANDS
    attempt.handshake_completed = True
    assert attempt.rank is Rank.BOOTSTRAPPING
    device.stage = Stage.REGISTERING
    assert attempt.rank is Rank.REGISTERING


def test_an_attempt_that_has_ended_leaves_nothing_to_the_garbage_collector(device: StormDevice) -> None:
    attempt = device.begin(KEY, NOW, 120.0)
    attempt.hear(challenge(attempt), NOW)
    peer, association = weakref.ref(attempt.peer), weakref.ref(attempt.peer.association)
    gc.collect()
    gc.disable()
    try:
        attempt.release()
        assert peer() is None
        assert association() is None
    finally:
        gc.enable()
