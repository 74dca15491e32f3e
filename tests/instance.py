"""A whole instance as processes: `ftc serve` on free loopback ports, its store, and callers of its API."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from threading import Thread
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ftc_core.application.check import check_instance
from ftc_core.application.context import utc_now
from ftc_core.application.initialise import initialise
from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.domain.account import AccountStatus
from ftc_core.domain.device import Device, DeviceState
from ftc_core.domain.identity import fingerprint_of, format_enrollment_id
from ftc_core.endpoint.serve_process import ServeProcess
from ftc_core.settings import Settings
from ftc_core.storage.engines import open_store
from ftc_grpc._gen.ftc.v1.account_pb2 import Account
from ftc_grpc._gen.ftc.v1.account_service_pb2 import CreateAccountRequest, GetAccountRequest
from ftc_grpc._gen.ftc.v1.device_enrollment_pb2 import DeviceEnrollment
from ftc_grpc._gen.ftc.v1.device_enrollment_service_pb2 import (
    CreateDeviceEnrollmentRequest,
    DeleteDeviceEnrollmentRequest,
    ListDeviceEnrollmentsRequest,
)
from ftc_grpc._gen.ftc.v1.device_pb2 import Device as DeviceMessage
from ftc_grpc._gen.ftc.v1.device_service_pb2 import ListDevicesRequest
from ftc_grpc._gen.ftc.v1.device_transfer_pb2 import DeviceTransfer
from ftc_grpc._gen.ftc.v1.device_transfer_service_pb2 import (
    AcceptDeviceTransferRequest,
    CreateDeviceTransferRequest,
)
from ftc_grpc._gen.ftc.v1.trusted_certificate_pb2 import TrustedCertificate
from ftc_grpc._gen.ftc.v1.trusted_certificate_service_pb2 import CreateTrustedCertificateRequest
from ftc_grpc.client import ApiClient
from tests.certificates import Manufacturer

__all__ = [
    "FTC",
    "Instance",
    "Tenant",
    "alive",
    "eventually",
    "make_data_directory",
    "running_instance",
    "start_instance",
]

FTC = (sys.executable, "-m", "ftc_core")
PATIENCE_S = 20.0
Value = TypeVar("Value")


def eventually(look: Callable[[], Value | None], what: str, *, patience_s: float = PATIENCE_S) -> Value:
    """What `look` gives once that is true; fails, saying `what` was awaited, if it does not come to that."""
    deadline = time.monotonic() + patience_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {patience_s:.0f} s: {what}"
        time.sleep(0.01)
    return found


def alive(pid: int) -> bool:
    """Whether the process runs: a zombie that nobody has waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def make_data_directory(place: Path) -> DataDirectory:
    """What `ftc init` makes; in a thread of its own, so that tests with a running loop may call it."""
    made: list[DataDirectory] = []
    initialising = initialise(Settings(data_dir=place), host_name="localhost", now=utc_now())
    thread = Thread(target=lambda: made.append(asyncio.run(initialising)))
    thread.start()
    thread.join()
    return made[0]


class Instance:
    """A running `ftc serve`: its process, where it listens, and what its store holds."""

    def __init__(self, directory: DataDirectory, process: subprocess.Popen[bytes], log: Path) -> None:
        self.directory = directory
        self.process = process
        self.log = log

    @property
    def endpoints_file(self) -> Path:
        """Where it says where it listens."""
        return self.directory.root / "endpoints.json"

    def processes(self) -> dict[str, int]:
        """The process IDs of its children, by name, as published."""
        published: dict[str, int] = json.loads(self.endpoints_file.read_text())["processes"]
        return published

    def address(self, server: str) -> tuple[str, int]:
        """Host and port of "bootstrap", "lwm2m" or "grpc"."""
        host, _, port = json.loads(self.endpoints_file.read_text())[server][0].rpartition(":")
        return host, int(port)

    @property
    def bootstrap_uri(self) -> str:
        """As devices know it, without aid."""
        return "coaps://{}:{}".format(*self.address("bootstrap"))

    @cached_property
    def server_ca(self) -> bytes:
        """DER of what devices trust."""
        return self.directory.server_ca.public_bytes(Encoding.DER)

    @cached_property
    def api(self) -> ApiClient:
        """The API with the operator's key."""
        return ApiClient(
            "{}:{}".format(*self.address("grpc")),
            api_key=self.directory.operator_key.read_text().strip(),
            ca_pem=self.directory.server_ca_file.read_bytes(),
        )

    def reconnect(self) -> None:
        """Call the API over a new connection from now on: an old one waits before it tries again."""
        self.api.close()
        del self.api

    def stored_device(self, fingerprint: bytes) -> Device | None:
        """The device of a certificate as it is on disk, whoever owns it."""
        store = open_store(f"lmdb://{self.directory.store.absolute()}", read_only=True)
        try:
            with store.view() as view:
                return view.find_devices([fingerprint])[0]
        finally:
            store.close()

    def tenant(self, *, quota: int | None = None, status: AccountStatus = AccountStatus.ACTIVE) -> Tenant:
        """A new account."""
        wanted = Account(display_name="Tenant", device_quota=quota, status=Account.Status.Value(status.value))
        made = self.api.call(self.api.accounts.CreateAccount, CreateAccountRequest(account=wanted))
        return Tenant(self, made)

    def resident_bytes(self, process: str) -> int:
        """Memory of one of its processes."""
        status = Path(f"/proc/{self.processes()[process]}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """The exit status after a signal."""
        self.process.send_signal(how)
        return self.process.wait(PATIENCE_S)


class Tenant:
    """An account and what its administrator does, through the API."""

    def __init__(self, instance: Instance, account: Account) -> None:
        self.instance = instance
        self.id = account.id
        self.name = account.name

    def trust(self, manufacturer: Manufacturer, *, enrollment_mode: bool = True) -> None:
        """Upload a CA."""
        wanted = TrustedCertificate(
            display_name="CA",
            certificate=manufacturer.pem.decode(),
            service=TrustedCertificate.BOOTSTRAP,
            enrollment_mode=enrollment_mode,
        )
        api = self.instance.api
        request = CreateTrustedCertificateRequest(parent=self.name, trusted_certificate=wanted)
        api.call(api.trusted_certificates.CreateTrustedCertificate, request)

    def enroll(self, certificate: x509.Certificate, *, expires_at: datetime | None = None) -> str:
        """Put a device on the enrollment list; the enrollment's name."""
        identity = format_enrollment_id(fingerprint_of(certificate.public_bytes(Encoding.DER)))
        wanted = DeviceEnrollment(enrollment_identity=identity)
        if expires_at is not None:
            wanted.expires_at.FromDatetime(expires_at)
        api = self.instance.api
        request = CreateDeviceEnrollmentRequest(parent=self.name, device_enrollment=wanted)
        return api.call(api.device_enrollments.CreateDeviceEnrollment, request).name

    def release(self, enrollment: str) -> None:
        """Delete an enrollment."""
        api = self.instance.api
        request = DeleteDeviceEnrollmentRequest(name=enrollment)
        api.call(api.device_enrollments.DeleteDeviceEnrollment, request)

    def offer(self, endpoint_name: str, *, to: Tenant) -> str:
        """Offer the device of that name; the transfer's name as the receiver knows it."""
        shown = self.device(endpoint_name)
        assert shown is not None
        api = self.instance.api
        request = CreateDeviceTransferRequest(
            parent=self.name, device_transfer=DeviceTransfer(to_account_id=to.id), devices=[shown.name]
        )
        made = api.call(api.device_transfers.CreateDeviceTransfer, request).device_transfer
        return f"{to.name}/deviceTransfers/{made.id}"

    def accept(self, transfer: str) -> None:
        """Accept a transfer by its name."""
        api = self.instance.api
        request = AcceptDeviceTransferRequest(name=transfer)
        api.call(api.device_transfers.AcceptDeviceTransfer, request)

    def transfer(self, endpoint_name: str, *, to: Tenant) -> None:
        """Hand the device of that name over."""
        to.accept(self.offer(endpoint_name, to=to))

    def devices(self) -> list[DeviceMessage]:
        """Every device that the API shows."""
        api = self.instance.api
        pages = api.pages(api.devices.ListDevices, ListDevicesRequest(parent=self.name))
        return [device for page in pages for device in page.devices]

    def device(self, endpoint_name: str) -> DeviceMessage | None:
        """The device of that name as the API shows it."""
        return next((device for device in self.devices() if device.endpoint_name == endpoint_name), None)

    def state(self, endpoint_name: str) -> DeviceState | None:
        """The state of the device of that name as the API shows it."""
        device = self.device(endpoint_name)
        return None if device is None else DeviceState(DeviceMessage.State.Name(device.state))

    def device_count(self) -> int:
        """How many devices count against the quota."""
        return self._account().device_count

    def everything(self) -> list[object]:
        """All that the API shows of the account, for "nothing changed"."""
        api = self.instance.api
        listing = ListDeviceEnrollmentsRequest(parent=self.name)
        enrollments = api.call(api.device_enrollments.ListDeviceEnrollments, listing)
        return [self._account(), list(enrollments.device_enrollments), self.devices()]

    def _account(self) -> Account:
        api = self.instance.api
        return api.call(api.accounts.GetAccount, GetAccountRequest(name=self.name))


def start_instance(directory: DataDirectory, *flags: str) -> ServeProcess:
    """`ftc serve` with one bootstrap worker; its log goes to `serve.log` in the data directory."""
    return ServeProcess(directory.root, "--workers=1", *flags, log=directory.root / "serve.log")


@contextmanager
def running_instance(directory: DataDirectory, *flags: str, whole: bool = True) -> Iterator[Instance]:
    """Serve `directory` on free ports, with one bootstrap worker; SIGTERM at the end unless it has ended.

    What it leaves must be `whole`, as `ftc check` sees it, unless the test has seen to the contrary.
    """
    server = start_instance(directory, *flags)
    instance = Instance(directory, server.process, server.log)
    try:
        server.wait_until_serving()
        yield instance
        if server.process.poll() is None:
            server.drain()
        if whole:
            assert [finding.text for finding in check_instance(directory.root).findings] == []
    finally:
        if "api" in instance.__dict__:
            instance.api.close()
        server.stop(signal.SIGKILL)
