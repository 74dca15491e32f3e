"""Watches of one account, as a client keeps them: whenever they break, taken up again where they were."""

from __future__ import annotations

import threading
import time
from typing import Any, NamedTuple

import grpc
from google.protobuf.duration_pb2 import Duration

from ftc_core.domain.identity import parse_enrollment_id
from ftc_grpc._gen.ftc.v1.watch_pb2 import (
    DeviceEnrollmentEvent,
    DeviceEvent,
    WatchDeviceEnrollmentsRequest,
    WatchDevicesRequest,
)
from ftc_grpc.bearer import bearer_metadata
from ftc_grpc.client import ApiClient
from tests.instance import Instance
from tests.proof.scenario import Party

__all__ = ["Told", "Watcher"]

PATIENCE_S = 30.0
_PROGRESS_S = 1
_AGAIN_S = 0.05


class Told(NamedTuple):
    """One event: its revision, its kind, the resource's ID and the certificate."""

    revision: int
    kind: str
    id: str
    fingerprint: bytes


class Watcher:
    """Follows an account's devices and its enrollments from the revision `start` on."""

    def __init__(self, instance: Instance, party: Party, start: int) -> None:
        host, port = instance.address("grpc")
        ca_pem = instance.directory.server_ca_file.read_bytes()
        self._client = ApiClient(f"{host}:{port}", ca_pem=ca_pem)
        self._key = bearer_metadata(party.api_key)
        self._parent = party.name
        self._ending = threading.Event()
        self.devices: list[Told] = []
        self.enrollments: list[Told] = []
        self.broken = 0
        self._through = {"devices": start - 1, "enrollments": start - 1}
        self._threads = [threading.Thread(target=self._follow, args=(what,)) for what in self._through]
        for thread in self._threads:
            thread.start()

    def wait(self, through: int) -> None:
        """Return once all has come that was to be told up to the revision `through`."""
        deadline = time.monotonic() + PATIENCE_S
        while min(self._through.values()) < through:
            assert time.monotonic() < deadline, f"watches are at {self._through}, the store at {through}"
            time.sleep(0.02)

    def close(self) -> None:
        """Stop."""
        self._ending.set()
        self._client.close()  # ends the streams
        for thread in self._threads:
            thread.join()

    def _follow(self, what: str) -> None:
        while not self._ending.is_set():
            try:
                for response in self._stream(what):
                    self._take(what, response)
            except (grpc.RpcError, ValueError):  # the latter: the channel was closed just before
                self.broken += not self._ending.is_set()
                self._ending.wait(_AGAIN_S)

    def _stream(self, what: str) -> Any:
        silence, start = Duration(seconds=_PROGRESS_S), self._through[what] + 1
        method: Any
        request: type[WatchDevicesRequest | WatchDeviceEnrollmentsRequest]
        if what == "devices":
            method, request = self._client.devices.WatchDevices, WatchDevicesRequest
        else:
            method = self._client.device_enrollments.WatchDeviceEnrollments
            request = WatchDeviceEnrollmentsRequest
        return method(
            request(parent=self._parent, start_revision=start, progress_interval=silence),
            wait_for_ready=True,
            metadata=self._key,
        )

    def _take(self, what: str, response: Any) -> None:
        for event in response.events:
            if what == "devices":
                kind, name = DeviceEvent.Kind.Name(event.kind), event.device_name
                told = self.devices
            else:
                kind, name = DeviceEnrollmentEvent.Kind.Name(event.kind), event.device_enrollment_name
                told = self.enrollments
                if event.kind == DeviceEnrollmentEvent.DENIED:
                    continue  # changes nothing
            fingerprint = parse_enrollment_id(event.enrollment_identity)
            told.append(Told(event.revision, kind, name.rpartition("/")[2], fingerprint))
        self._through[what] = response.revision
