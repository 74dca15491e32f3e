"""From a refusal to its record: when it is written, in what portions, and what is read of the certificate."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from ftc_core.application import denial_recording
from ftc_core.application.commit import Answer
from ftc_core.application.denial_recording import DenialRecorder
from ftc_core.application.presented import find_issuers, read_presented, shown
from ftc_core.domain.certificate import CertificateStatus
from ftc_core.domain.denial import Denial, Refusal
from ftc_core.domain.denial_collector import DenialCollector
from ftc_core.domain.identity import fingerprint_of
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import DENIAL_BACKLOG_S, DENIAL_FLUSH_S, DENIALS_AT_ONCE
from ftc_core.storage.commands import CreateTrustedCertificate, Submission
from ftc_core.storage.denial_commands import RecordDenials
from ftc_core.storage.lmdb import LmdbStore, open_lmdb
from tests.certificates import Credential, Manufacturer
from tests.conformance.scene import Scene
from tests.odd_certificates import PRINTABLE, UTF8, name, odd_device

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Timer:
    """A call that the test makes, if it is not cancelled."""

    def __init__(self, delay_s: float, call: Callable[[], None]) -> None:
        self.delay_s = delay_s
        self._call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def fire(self) -> None:
        assert not self.cancelled
        self._call()


class Rig:
    """A recorder over a real store, with clock and commit in the test's hand."""

    def __init__(self, store: LmdbStore, room: int = 1_000) -> None:
        self.scene = Scene(store)
        self.store = store
        self.timers: list[Timer] = []
        self.commits: list[tuple[Submission, Answer]] = []
        self.counts: Counter[str] = Counter()
        self.refuse: FtcError | None = None
        self.recorder = DenialRecorder(
            store,
            self._commit,
            lambda: NOW,
            self.scene.new_id,
            self._call_later,
            self.counts,
            DenialCollector(room),
        )

    def _commit(self, submission: Submission, answer: Answer) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.commits.append((submission, answer))

    def _call_later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(delay_s, call))
        return self.timers[-1]

    def fire(self) -> float:
        """Let the one timer fire; after how many seconds that is."""
        [timer] = self.timers
        self.timers.clear()
        timer.fire()
        return timer.delay_s

    def write(self) -> int:
        """Make the one commit that waits; how many sightings it has."""
        [(submission, answer)] = self.commits
        self.commits.clear()
        [outcome] = self.store.write([submission])
        answer(outcome)
        assert isinstance(submission.command, RecordDenials)
        return len(submission.command.sightings)

    def kept(self) -> list[Denial]:
        with self.store.view() as view:
            return view.list_all_denials(after=None, limit=1_000)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    store = open_lmdb(tmp_path / "store", create=True)
    yield Rig(store)
    store.close()


def refusal(number: int = 1, **changes: Any) -> Refusal:
    fields: dict[str, Any] = {
        "reason": Reason.CA_NOT_UPLOADED,
        "alert": "unknown_ca",
        "address": "192.0.2.1:40000",
        "fingerprint": number.to_bytes(32, "big"),
    }
    return Refusal(**(fields | changes))


def upload(scene: Scene, ca: Manufacturer, status: CertificateStatus = CertificateStatus.ACTIVE) -> bytes:
    """Trust `ca` in a new account; its fingerprint."""
    fingerprint = fingerprint_of(ca.der)
    record = scene.new_certificate(
        scene.account().id, ca=fingerprint, subject=ca.certificate.subject.public_bytes(), status=status
    )
    record = msgspec.structs.replace(record, certificate_der=ca.der)
    scene.run(CreateTrustedCertificate(record))
    return fingerprint


# --- when --------------------------------------------------------------------------------------------


def test_nothing_is_due_before_something_is_refused(rig: Rig) -> None:
    assert rig.timers == []


def test_refusals_are_written_after_a_second_retries_as_one(rig: Rig) -> None:
    for _ in range(3):
        rig.recorder.note(refusal())
    rig.recorder.note(refusal(2))
    assert rig.commits == []

    assert rig.fire() == DENIAL_FLUSH_S
    assert rig.write() == 2

    assert rig.timers == []
    assert sorted(denial.count for denial in rig.kept()) == [1, 3]
    assert rig.counts == {"recorded": 2, "coalesced": 2}


def test_device_that_comes_again_is_coalesced_with_what_is_kept(rig: Rig) -> None:
    for _ in range(2):
        rig.recorder.note(refusal())
        rig.fire()
        rig.write()

    assert [denial.count for denial in rig.kept()] == [2]
    assert rig.counts == {"recorded": 1, "coalesced": 1}


def test_backlog_is_written_in_small_commands_one_at_a_time(rig: Rig) -> None:
    for number in range(2 * DENIALS_AT_ONCE + 1):
        rig.recorder.note(refusal(number))

    assert rig.fire() == DENIAL_FLUSH_S
    rig.recorder.note(refusal(10_000))
    assert rig.timers == []  # the first is not yet durable
    assert rig.write() == DENIALS_AT_ONCE
    assert rig.fire() == DENIAL_BACKLOG_S
    assert rig.write() == DENIALS_AT_ONCE
    rig.fire()
    assert rig.write() == 2
    assert rig.timers == []
    assert len(rig.kept()) == 2 * DENIALS_AT_ONCE + 2


def test_what_there_is_no_room_for_is_counted(tmp_path: Path) -> None:
    store = open_lmdb(tmp_path / "small", create=True)
    rig = Rig(store, room=2)
    for number in range(3):
        rig.recorder.note(refusal(number))
    assert rig.counts == {"dropped": 2}
    store.close()


def test_what_the_store_does_not_take_is_counted_and_the_next_is_tried(rig: Rig) -> None:
    rig.recorder.note(refusal())
    rig.recorder.note(refusal())
    rig.refuse = FtcError(Reason.OVERLOADED)
    rig.fire()
    assert rig.counts == {"dropped": 2}

    rig.refuse = None
    rig.recorder.note(refusal())
    rig.fire()
    rig.write()
    assert +rig.counts == {"dropped": 2, "recorded": 1}


@pytest.mark.parametrize("pending", [0, 1, DENIALS_AT_ONCE + 1])
def test_worker_that_stops_writes_all_at_once(rig: Rig, pending: int) -> None:
    finished: list[bool] = []
    for number in range(pending):
        rig.recorder.note(refusal(number))

    rig.recorder.finish(lambda: finished.append(True))

    while rig.commits:
        assert not finished
        rig.write()
    assert finished == [True]
    assert len(rig.kept()) == pending
    assert all(timer.cancelled for timer in rig.timers)


def test_worker_that_stops_waits_for_what_is_on_its_way(rig: Rig) -> None:
    finished: list[bool] = []
    rig.recorder.note(refusal())
    rig.fire()
    rig.recorder.finish(lambda: finished.append(True))
    assert not finished
    rig.write()
    assert finished == [True]


# --- what is known of the certificate ------------------------------------------------------------------


def test_names_and_issuer_of_the_certificate_are_recorded(rig: Rig, manufacturer: Manufacturer) -> None:
    key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(manufacturer.private_key.public_key())
    device = manufacturer.device("device-1", extensions=[key_id])

    rig.recorder.note(refusal(fingerprint=fingerprint_of(device.der), chain=(device.der,)))
    rig.fire()
    rig.write()

    [denial] = rig.kept()
    assert denial.common_name == "device-1"
    assert denial.issuer == manufacturer.certificate.subject.rfc4514_string()
    assert denial.issuer_key_id == key_id.key_identifier


@pytest.mark.filterwarnings("ignore:Attribute's length")  # by the maker of the test's certificate
def test_texts_of_a_stranger_are_cut_and_hold_nothing_that_a_terminal_obeys(
    manufacturer: Manufacturer,
) -> None:
    device = odd_device(manufacturer, name((b"\x03", UTF8, b"\x1b[2Jevil\r\n" + b"x" * 1_000)))
    presented = read_presented(device.der)
    assert presented.common_name.startswith("\ufffd[2Jevil\ufffd\ufffdxxx")
    assert len(presented.common_name) == 300
    assert shown("größe €") == "größe €"


@pytest.mark.parametrize("garbage", [b"", b"\x30\x03\x02\x01\x01", bytes(200)])
def test_what_is_no_certificate_tells_nothing(rig: Rig, garbage: bytes) -> None:
    rig.recorder.note(refusal(chain=(garbage,)))
    rig.fire()
    rig.write()
    [denial] = rig.kept()
    assert (denial.common_name, denial.issuer, denial.issuer_key_id) == ("", "", b"")


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # by the maker of the test's certificate
def test_certificates_of_old_devices_are_read_without_a_murmur(manufacturer: Manufacturer) -> None:
    device = odd_device(manufacturer, name((b"\x03", PRINTABLE, b"old")), serial=b"\x00")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_presented(device.der).common_name == "old"


# --- who knows its CA --------------------------------------------------------------------------------


def issuers(rig: Rig, device: Credential) -> tuple[bytes, ...]:
    chain = [device.der, *(each.public_bytes(Encoding.DER) for each in device.intermediates)]
    with rig.store.view() as view:
        return find_issuers(view, chain)


@pytest.mark.parametrize("status", CertificateStatus)
def test_ca_that_issued_the_certificate_is_found_whatever_its_status(
    rig: Rig, manufacturer: Manufacturer, status: CertificateStatus
) -> None:
    fingerprint = upload(rig.scene, manufacturer, status)
    assert issuers(rig, manufacturer.device("device-1")) == (fingerprint,)


def test_ca_whose_name_alone_is_borne_is_not_concerned(rig: Rig) -> None:
    upload(rig.scene, Manufacturer("Factory"))
    assert issuers(rig, Manufacturer("Factory").device("device-1")) == ()


def test_cas_of_a_presented_chain_are_found_the_nearest_first(rig: Rig) -> None:
    root = Manufacturer("Root")
    plant = Manufacturer("Plant", issuer=root)
    fingerprints = (upload(rig.scene, plant), upload(rig.scene, root))
    assert issuers(rig, plant.device("device-1")) == fingerprints


# --- certificates that somebody made up ----------------------------------------------------------------

SAN, AKI = x509.ObjectIdentifier("2.5.29.17"), x509.ObjectIdentifier("2.5.29.35")
ODD_EXTENSIONS = {
    "x400Address in SAN": (SAN, "3002a300"),
    "ediPartyName in SAN": (SAN, "3002a500"),
    "x400Address in AKI": (AKI, "3004a102a300"),
}


def made_up(*extensions: x509.ExtensionType) -> bytes:
    """A certificate that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "d")])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).serial_number(5)
    builder = builder.public_key(key.public_key()).not_valid_before(NOW).not_valid_after(NOW)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


ODD = {
    name: made_up(x509.UnrecognizedExtension(oid, bytes.fromhex(value)))
    for name, (oid, value) in ODD_EXTENSIONS.items()
} | {
    "version 7": made_up().replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020106"), 1),
    "a name of bits": made_up().replace(b"\x0c\x01d", b"\x03\x01\x00"),
}


@pytest.mark.parametrize("odd", ODD)
def test_no_certificate_ends_the_recording_of_others(rig: Rig, odd: str) -> None:
    rig.recorder.note(refusal(1, chain=(ODD[odd],)))
    rig.recorder.note(refusal(2))
    rig.fire()
    assert rig.write() == 2
    rig.recorder.note(refusal(3, chain=(made_up(),)))
    rig.fire()
    assert rig.write() == 1
    assert len(rig.kept()) == 3


def test_a_bug_in_reading_costs_what_was_gathered_and_no_more(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(denial_recording, "read_presented", lambda _: 1 // 0)
        rig.recorder.note(refusal(1, chain=(made_up(),)))
        rig.fire()
    assert rig.counts == {"dropped": 1}
    rig.recorder.note(refusal(2, chain=(made_up(),)))
    rig.fire()
    assert rig.write() == 1
