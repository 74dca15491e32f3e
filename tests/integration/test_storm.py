"""A small storm against a real instance: every kind of device, bad weather, deaths; and the judge of it."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from ftc_core.application.context import new_id, utc_now
from ftc_core.cli.main import cli
from ftc_core.domain.claim import ClaimRequest
from ftc_core.domain.enrollment import Enrollment
from ftc_core.domain.identity import fingerprint_of
from ftc_core.errors import FtcError
from ftc_core.storage.commands import ClaimDevice, Command, CreateEnrollments, DeleteEnrollment, Submission
from ftc_core.storage.engines import open_store
from ftc_storm.arrivals import Curve
from ftc_storm.audit import audit
from ftc_storm.certificates import CertificateCache
from ftc_storm.device import ClientStack, Stage, StormDevice
from ftc_storm.instance import Instance, running_instance
from ftc_storm.network import LoopbackNetwork
from ftc_storm.plan import DeviceKind, PlannedDevice, StormPlan
from ftc_storm.report import Report
from ftc_storm.run import Surroundings, run_storm
from ftc_storm.site import EnrolledIdentity, open_site, store_url
from ftc_storm.weather import Weather
from tests.whole_store import StoreHands


def storm(tmp_path: Path, plan: StormPlan, **surroundings: float) -> Report:
    around = Surroundings(cache=tmp_path / "cache", **surroundings)
    return run_storm(plan, around, say=lambda _: None, look=lambda _: None)


def test_every_welcome_device_is_onboarded_once_and_every_other_one_refused(tmp_path: Path) -> None:
    plan = StormPlan(
        devices=60,
        mixture={
            DeviceKind.AGAIN: 0.2,
            DeviceKind.UNKNOWN: 0.1,
            DeviceKind.WRONG_CA: 0.1,
            DeviceKind.BLOCKED: 0.1,
        },
        weather=Weather(loss=0.005, duplication=0.1, reordering=0.1, delay_s=0.005, jitter_s=0.005),
        deaths=0.2,
        reboot_s=0.3,
        rebindings=0.2,
        patience_s=6.0,
        backoff_first_s=0.5,
        limit_s=90.0,
    )
    report = storm(tmp_path, plan)
    assert report.audit.passed, report.audit.faults
    assert report.audit.welcome == report.audit.counted == 42
    assert {kind: count.onboarded for kind, count in report.kinds.items()} == {
        "new": 30,
        "again": 12,
        "unknown": 0,
        "wrong-ca": 0,
        "blocked": 0,
    }
    assert all(report.kinds[kind].refused == 6 for kind in ("unknown", "wrong-ca", "blocked"))
    assert report.fleet["deaths"] > 0
    assert report.fleet["rebindings"] > 0
    assert report.fleet["datagrams_lost_by_weather"] > 0
    assert report.server.refusals.keys() >= {
        "ENROLLMENT_NOT_FOUND",
        "alert unknown_ca",
        "alert certificate_revoked",
    }
    assert report.server.counters["ftc_claims_total"]["first"] == 30
    assert sum(report.timeline.onboarded) == 42
    assert report.latency is not None
    assert 0 < report.latency.p50 <= report.latency.p99 <= report.latency.longest


def test_devices_beyond_the_bound_wait_for_their_turn_and_their_wait_counts(tmp_path: Path) -> None:
    report = storm(tmp_path, StormPlan(devices=30), active_max=3)
    assert report.audit.passed, report.audit.faults
    assert report.fleet["associations_most"] <= 3
    assert report.fleet["held_back"] >= 27
    assert report.latency is not None
    assert report.last_onboarded_s is not None
    assert report.latency.longest == pytest.approx(report.last_onboarded_s)


def test_a_killed_worker_costs_time_and_no_device(tmp_path: Path) -> None:
    plan = StormPlan(
        devices=80,
        curve=Curve.EVEN,
        rate_per_s=50.0,
        weather=Weather(delay_s=0.02),
        patience_s=5.0,
        backoff_first_s=0.5,
        limit_s=60.0,
    )
    report = storm(tmp_path, plan, kill_at=0.25)
    assert report.audit.passed, report.audit.faults
    assert report.server.restarts == 1
    assert report.failures_seen.get("out of patience", 0) > 0


def test_the_command_writes_the_report_and_says_what_it_saw(tmp_path: Path) -> None:
    arguments = ["storm", "--calm", "--devices", "5", "--out", str(tmp_path / "out")]
    collector = gc.get_threshold(), gc.get_freeze_count()
    result = CliRunner().invoke(cli, [*arguments, "--cache", str(tmp_path / "cache")])
    assert result.exit_code == 0, result.output
    assert (gc.get_threshold(), gc.get_freeze_count()) == collector
    assert "every one of 5 devices onboarded" in " ".join(result.output.split())
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["audit"]["onboarded"] == 5
    assert "every one of 5 devices onboarded" in (tmp_path / "out" / "report.html").read_text()


def test_a_mixture_that_cannot_be_is_wrong_usage(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["storm", "--again", "60", "--unknown", "60"])
    assert result.exit_code == 2
    assert "shares" in result.output


# --- addresses -----------------------------------------------------------------------------------


def test_every_device_has_an_address_of_its_own_and_a_rebound_one_another() -> None:
    planned = [PlannedDevice(index, DeviceKind.NEW, 0.0) for index in range(70_000)]
    homes = {LoopbackNetwork.home(device) for device in planned}
    moved = {LoopbackNetwork.rebound(device) for device in planned}
    assert len(homes) == len(moved) == 70_000
    assert not {address for _, address in homes} & {address for _, address in moved}


def test_kinds_live_in_prefixes_of_their_own() -> None:
    prefixes = [
        {LoopbackNetwork.home(PlannedDevice(index, kind, 0.0))[1].split(".")[1] for index in (0, 999_999)}
        for kind in DeviceKind
    ]
    assert len(set().union(*prefixes)) == 2 * len(DeviceKind)


# --- the judge -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    with running_instance() as running:
        yield running


async def judged_devices(instance: Instance, tmp_path: Path) -> tuple[str, list[StormDevice]]:
    """A new device and an unknown one, whose storm has not begun; the account, its CA uploaded."""
    batch = CertificateCache(tmp_path).batch(f"judged-{new_id()[-8:]}", 1, 2, now=utc_now(), processes=1)
    stack = ClientStack(b"", batch.keys, batch.certificates[0])
    devices = []
    async with open_site(instance.data_dir) as site:
        await site.trust(batch.authority.certificate_pem)
        await site.enroll([fingerprint_of(batch.certificates[0])])
    for index, kind in enumerate((DeviceKind.NEW, DeviceKind.UNKNOWN)):
        der = batch.certificates[index]
        name = batch.endpoint_name(index)
        identity = EnrolledIdentity(name, der, fingerprint_of(der), batch.keys[index], instance.bootstrap_uri)
        devices.append(StormDevice(PlannedDevice(index, kind, 0.0), identity, stack))
    return site.account_id, devices


def enroll(instance: Instance, account_id: str, device: StormDevice) -> None:
    now = utc_now()
    enrollment = Enrollment(
        id=new_id(), account_id=account_id, fingerprint=device.fingerprint, created_at=now
    )
    write(instance, CreateEnrollments((enrollment,), now))


def release(instance: Instance, account_id: str, device: StormDevice) -> None:
    with closing(open_store(store_url(instance.data_dir))) as store, store.view() as view:
        (enrollment,) = view.find_enrollments([device.fingerprint])
    assert enrollment is not None
    write(instance, DeleteEnrollment(account_id, enrollment.id, utc_now()))


def claim(instance: Instance, account_id: str, device: StormDevice) -> None:
    with closing(open_store(store_url(instance.data_dir))) as store, store.view() as view:
        (certificate,) = view.list_trusted_certificates(account_id, after=None, limit=1)
    name = f"judged-{device.plan.index}"
    request = ClaimRequest(
        fingerprint=device.fingerprint,
        common_name=name,
        endpoint_name=name,
        issuing_cas=(certificate.fingerprint,),
    )
    write(instance, ClaimDevice(request, new_id(), utc_now()))


def write(instance: Instance, command: Command) -> None:
    with closing(open_store(store_url(instance.data_dir))) as store:
        (outcome,) = store.write([Submission(command)])
    assert not isinstance(outcome, FtcError), outcome


async def test_the_judge_finds_a_device_that_was_never_claimed(instance: Instance, tmp_path: Path) -> None:
    account_id, devices = await judged_devices(instance, tmp_path)
    verdict = audit(instance.data_dir, account_id, devices)
    assert not verdict.passed
    assert (verdict.welcome, verdict.onboarded, verdict.lost, verdict.counted) == (1, 0, 1, 0)
    assert "never claimed" in verdict.faults[0]


async def test_the_judge_believes_no_device_that_only_holds_itself_for_registered(
    instance: Instance, tmp_path: Path
) -> None:
    account_id, devices = await judged_devices(instance, tmp_path)
    claim(instance, account_id, devices[0])
    devices[0].stage = Stage.ONBOARDED
    verdict = audit(instance.data_dir, account_id, devices)
    assert (verdict.lost, verdict.counted, verdict.twice) == (1, 1, 0)
    assert "holds itself for" in verdict.faults[0]


async def test_the_judge_finds_a_stranger_that_was_let_in(instance: Instance, tmp_path: Path) -> None:
    account_id, devices = await judged_devices(instance, tmp_path)
    enroll(instance, account_id, devices[1])
    claim(instance, account_id, devices[1])
    verdict = audit(instance.data_dir, account_id, devices)
    assert (verdict.let_in, verdict.counted) == (1, 1)
    assert "was to be refused" in verdict.faults[0]


async def test_the_judge_finds_a_store_that_is_not_whole(instance: Instance, tmp_path: Path) -> None:
    account_id, _ = await judged_devices(instance, tmp_path)
    before = audit(instance.data_dir, account_id, [])
    damage = StoreHands(instance.data_dir / "store")
    damage.delete("trust_anchors", damage.first("trust_anchors")[0])
    after = audit(instance.data_dir, account_id, [])
    assert (before.not_whole, before.passed, after.not_whole, after.passed) == (0, True, 1, False)
    assert "ENTRY_MISSING: trust_anchors" in after.faults[0]


async def test_the_judge_finds_a_device_that_was_claimed_twice(instance: Instance, tmp_path: Path) -> None:
    account_id, devices = await judged_devices(instance, tmp_path)
    claim(instance, account_id, devices[0])
    release(instance, account_id, devices[0])
    enroll(instance, account_id, devices[0])
    claim(instance, account_id, devices[0])
    verdict = audit(instance.data_dir, account_id, devices)
    assert verdict.twice == 1
    assert "['CLAIMED', 'RELEASED', 'CLAIMED']" in verdict.faults[0]
