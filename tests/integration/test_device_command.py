"""`ftc device run` as a process of its own, against a running instance."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from ftc_core.application.context import new_id, utc_now
from ftc_core.credentials.pki import create_authority
from ftc_core.device.bundle import Bundle
from ftc_core.domain.device import DeviceState
from ftc_core.factory.provision import ProvisionPlan, provision
from tests.certificates import Manufacturer
from tests.instance import FTC, Instance, Tenant, eventually

STEPS = [
    "Bootstrap-Request 2.04",
    "Bootstrap-Delete /0 2.02",
    "Bootstrap-Write /0/0 2.04",
    "Bootstrap-Write /1/0 2.04",
    "Bootstrap-Write /0/1 2.04",
    "Bootstrap-Finish 2.04",
]


class Factory(Manufacturer):
    """The manufacturer of a provisioned bundle; tenants trust it like any other."""

    def __init__(self, directory: Path, instance: Instance) -> None:
        # A name of its own: of all CAs with one subject, only TRUST_CANDIDATES_MAX are tried.
        authority = create_authority(f"Bundle CA {new_id()}", now=utc_now())
        self.certificate, self.private_key = authority.certificate, authority.private_key
        plan = ProvisionPlan(
            count=1,
            out=directory,
            authority=authority,
            server_ca=instance.server_ca,
            bootstrap_uri=instance.bootstrap_uri,
            name_prefix="bundle-",
            validity=timedelta(days=1),
            now=utc_now(),
            labels=False,
        )
        (self.device_made,) = provision(plan)


@dataclass
class Bundled:
    """A provisioned device whose CA its owner-to-be trusts; nobody has enrolled it yet."""

    owner: Tenant
    factory: Factory

    @property
    def directory(self) -> Path:
        return self.factory.device_made.directory

    @property
    def bundle(self) -> Bundle:
        return Bundle.load(self.directory)

    @property
    def name(self) -> str:
        return self.factory.device_made.row.endpoint_name

    def enroll(self, tenant: Tenant | None = None) -> str:
        pem = (self.directory / "device.pem").read_bytes()
        return (tenant or self.owner).enroll(x509.load_pem_x509_certificate(pem))

    def run(self, *flags: str) -> list[str]:
        """The lines that a run prints which must succeed."""
        done = self.finished(*flags)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    def refused(self, *flags: str) -> str:
        """The line on standard error of a run that must be refused."""
        done = self.finished(*flags)
        assert done.returncode == 1, done.stdout
        (line,) = done.stderr.splitlines()
        return line

    def finished(self, *flags: str) -> subprocess.CompletedProcess[str]:
        command = [*FTC, "device", "run", "--bundle", str(self.directory), *flags]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    def started(self, *flags: str) -> subprocess.Popen[str]:
        command = [*FTC, "device", "run", "--bundle", str(self.directory), *flags]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.directory.iterdir() if path.is_file()}


@pytest.fixture
def device(instance: Instance, tmp_path: Path) -> Bundled:
    factory, owner = Factory(tmp_path / "factory", instance), instance.tenant()
    owner.trust(factory)
    return Bundled(owner, factory)


def steps(lines: list[str]) -> list[str]:
    """The steps of a bootstrap, whose lines begin with their duration."""
    return [match[1] for line in lines if (match := re.fullmatch(r" +[0-9.]+ ms  (.+)", line))]


def test_claim_bootstrap_and_registration_are_printed_and_kept(device: Bundled) -> None:
    device.enroll()

    lines = device.run()

    shown = device.owner.device(device.name)
    assert shown is not None
    assert lines[0] == f"device {device.name}, enrollment ID {device.factory.device_made.row.enrollment_id}"
    assert lines[1] == f"bootstrapping at {device.owner.instance.bootstrap_uri}"
    assert steps(lines) == STEPS
    assert lines[-2] == f"claimed by account {device.owner.id} as device {shown.id}"
    assert lines[-1] == f"registered at /rd/{device.owner.id}/{shown.id}, lifetime 86400 s"
    kept = device.bundle
    assert kept.lwm2m is not None
    assert (kept.lwm2m.account_id, kept.lwm2m.device_id) == (device.owner.id, shown.id)
    assert kept.bootstrap_server_uri.endswith(f"?aid={device.owner.id}")
    assert not kept.first_to_claim


def test_trace_shows_every_message_of_bootstrap_and_registration_and_no_secret(device: Bundled) -> None:
    device.enroll()

    lines = device.run("--trace")

    traced = [line for line in lines if re.match(r" +[0-9.]+ ms (->|<-) ", line)]
    told = [re.sub(r" +[0-9.]+ ms ", "", line) for line in traced]
    assert told[0].startswith(f"-> CON POST /bs?ep={device.name} mid=")
    assert any(re.fullmatch(r"<- CON DELETE /0 mid=\d+ token=\w+", line) for line in told)
    assert any(re.fullmatch(r"<- CON PUT /0/0 mid=\d+ token=\w+ .* \d{3,} bytes", line) for line in told)
    assert any(re.fullmatch(r"<- CON POST /bs\?iep=\w+ mid=\d+ token=\w+", line) for line in told)
    (register,) = [line for line in told if line.startswith("-> CON POST /rd?")]
    assert f"ep={device.name}" in register
    assert register.endswith('"')
    assert any("2.01 Location=/rd/" in line for line in told)
    # What is written holds private keys: only its length is shown.
    assert not any('"' in line for line in told if " PUT " in line)
    # Every confirmable message has its answer.
    confirmable = {
        line[:2] + m[1] for line in told if " CON " in line and (m := re.search(r"mid=(\d+)", line))
    }
    answered = {
        ("->" if line[:2] == "<-" else "<-") + m[1]
        for line in told
        if " ACK " in line and (m := re.search(r"mid=(\d+)", line))
    }
    assert confirmable == answered


def test_owner_is_shown_what_the_device_said_and_how_its_bootstrap_went(device: Bundled) -> None:
    device.enroll()
    device.run()
    owner = device.owner
    shown = owner.device(device.name)
    assert shown is not None
    instance = owner.instance
    options = ["--endpoint", "{}:{}".format(*instance.address("grpc")), "--account", owner.id]
    options += ["--ca", str(instance.directory.server_ca_file)]
    options += ["--api-key-file", str(instance.directory.operator_key)]

    def show(given: str) -> str:
        command = [*FTC, "device", "show", given, *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout

    page = show(shown.name)
    assert page == show(shown.id) == show(shown.endpoint_name) == show(shown.enrollment_identity)
    facts = dict(line.rstrip().split(maxsplit=1) for line in page.partition("\n\n")[0].splitlines())
    assert facts["state"] == "REGISTERED"
    assert (facts["lwm2m_version"], facts["binding"], facts["lifetime"]) == ("1.0", "U", "86400s")
    assert "\nobjects: 1/0, 3/0\n" in page
    assert "\nlast bootstrap completed at " in page
    step = re.compile(r" *\+[0-9.]+ ms +[0-9.]+ ms  ([245]\.[0-9]{2})  (.+?) *")
    told = [match for line in page.splitlines() if (match := step.fullmatch(line))]
    assert [f"{match[2]} {match[1]}" for match in told] == STEPS


def test_device_that_has_its_credentials_registers_without_another_bootstrap(device: Bundled) -> None:
    device.enroll()
    device.run()
    before = device.files()

    lines = device.run("--lifetime", "300")

    assert steps(lines) == []
    assert len(lines) == 2
    assert lines[-1].endswith("lifetime 300 s")
    assert device.files() == before


def test_refusal_is_the_server_s_own_text_and_exit_code_1(device: Bundled) -> None:
    before = device.files()

    line = device.refused()

    assert line.startswith("error: 4.03 Enrollment ID not registered / what to do: Add the device's")
    assert device.files() == before


def test_handshake_that_fails_is_told_in_the_words_of_the_table(instance: Instance, tmp_path: Path) -> None:
    untrusted = Bundled(instance.tenant(), Factory(tmp_path / "factory", instance))

    assert untrusted.refused().startswith("error: Secure Connection Failed: unknown_ca / what to do: ")


def test_smallest_blocks_carry_the_credentials_as_well(device: Bundled) -> None:
    device.enroll()

    assert steps(device.run("--block-size", "16")) == STEPS


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (
            ("--lwm2m", "1.0"),
            ["Request", "Delete /0", "Discover /", "Write /0/1", "Write /1/0", "Write /0/0/0", "Finish"],
        ),
        (
            ("--lwm2m", "1.1", "--content-format", "110", "--bootstrap-instance", "1"),
            ["Request", "Delete /0", "Discover /", "Write /0/0", "Write /1/0", "Write /0/1/0", "Finish"],
        ),
        (
            ("--lwm2m", "1.2", "--no-discover", "--bootstrap-instance", "1"),
            ["Request", "Delete /0", "Write /0/0", "Write /1/0", "Write /0/1", "Finish"],
        ),
        (("--lwm2m", "1.2", "--pack"), ["Pack-Request"]),
    ],
)
def test_device_may_be_a_client_by_the_book(
    device: Bundled, flags: tuple[str, ...], names: list[str]
) -> None:
    device.enroll()
    lines = device.run(*flags)
    taken = [step.removeprefix("Bootstrap-").rpartition(" ")[0] for step in steps(lines)]
    assert taken == names
    assert lines[-1].startswith(f"registered at /rd/{device.owner.id}/")
    shown = device.owner.device(device.name)
    assert shown is not None
    assert shown.lwm2m_version == flags[1]


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--pack",), "needs --lwm2m"),
        (("--lwm2m", "1.1", "--pack"), "a Bootstrap-Pack needs LwM2M 1.2"),
        (("--lwm2m", "1.0", "--content-format", "112"), "LwM2M 1.0 knows no preferred content format"),
        (("--lwm2m", "1.1", "--content-format", "11544"), "this client does not take content format 11544"),
        (("--lwm2m", "1.2", "--pack", "--content-format", "99"), "a Bootstrap-Pack cannot be TLV"),
    ],
)
def test_client_that_cannot_be_is_wrong_usage(device: Bundled, flags: tuple[str, ...], text: str) -> None:
    done = device.finished(*flags)
    assert done.returncode == 2
    assert text in done.stderr


def test_released_device_bootstraps_again_and_needs_a_factory_reset_for_its_next_owner(
    device: Bundled, instance: Instance
) -> None:
    enrollment = device.enroll()
    device.run()
    device.owner.release(enrollment)

    done = device.finished()

    assert done.returncode == 1
    assert "register refused: 4.03 Device released; bootstrapping again" in done.stdout
    assert done.stderr.startswith("error: 4.03 Enrollment ID not registered / what to do: ")
    assert device.bundle.lwm2m is None

    successor = instance.tenant()
    successor.trust(device.factory)
    device.enroll(successor)
    lines = device.run("--factory-reset")

    assert lines[0] == "factory reset: account and LwM2M credentials forgotten"
    assert lines[2] == f"bootstrapping at {instance.bootstrap_uri}"
    shown = successor.device(device.name)
    assert shown is not None
    assert lines[-2] == f"claimed by account {successor.id} as device {shown.id}"


def test_retry_waits_as_a_device_in_the_field_does_until_it_is_claimed(device: Bundled) -> None:
    with device.started("--retry") as process:
        assert process.stdout is not None
        waiting = next(line for line in process.stdout if line.startswith("refused: "))
        device.enroll()
        rest = process.stdout.read().splitlines()
        assert process.wait(5) == 0

    # 10 s, ±10 %.
    told = re.fullmatch(r"refused: 4\.03 Enrollment ID not registered; trying again in (\d+) s\n", waiting)
    assert told is not None
    assert 9 <= int(told[1]) <= 11
    assert steps(rest) == STEPS
    assert rest[-1].startswith("registered at /rd/")


@pytest.fixture
def staying(device: Bundled) -> Iterator[tuple[Bundled, subprocess.Popen[str]]]:
    """A device that has registered for two seconds and stays."""
    device.enroll()
    with device.started("--stay", "--lifetime", "2") as process:
        assert process.stdout is not None
        told: list[str] = []
        while not (told and told[-1].startswith("registered at ")):
            told.append(process.stdout.readline())
            assert told[-1], "".join(told)  # it ended
        yield device, process
        process.kill()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_staying_device_updates_its_registration_and_ends_it_when_it_goes(
    end: signal.Signals, staying: tuple[Bundled, subprocess.Popen[str]]
) -> None:
    device, process = staying
    assert process.stdout is not None
    assert process.stdout.readline() == "updated\n"
    assert device.owner.state(device.name) is DeviceState.REGISTERED

    process.send_signal(end)

    assert process.stdout.read() == "de-registered\n"
    assert process.wait(5) == 0
    assert device.owner.state(device.name) is DeviceState.DEREGISTERED


def test_staying_device_that_is_killed_expires(staying: tuple[Bundled, subprocess.Popen[str]]) -> None:
    device, process = staying

    process.kill()

    eventually(lambda: device.owner.state(device.name) is DeviceState.DEREGISTERED, "its lifetime ends")


def test_staying_device_follows_a_transfer_by_itself(
    staying: tuple[Bundled, subprocess.Popen[str]], instance: Instance
) -> None:
    device, process = staying
    successor = instance.tenant()
    successor.trust(device.factory)
    old = device.bundle.lwm2m
    assert old is not None
    device.owner.transfer(device.name, to=successor)

    eventually(lambda: successor.state(device.name) is DeviceState.REGISTERED, "it has followed")
    process.send_signal(signal.SIGTERM)

    assert process.stdout is not None
    told = process.stdout.read().splitlines()
    assert "update refused: 4.03 Device released; bootstrapping again" in told
    assert any(line.endswith(f"?aid={device.owner.id}") for line in told), "it says the old aid"
    assert told[-1] == "de-registered"
    new = device.bundle.lwm2m
    assert new is not None
    assert (new.device_id, new.account_id) == (old.device_id, successor.id)
    assert new.certificate != old.certificate
    assert device.bundle.bootstrap_server_uri.endswith(f"?aid={successor.id}")
