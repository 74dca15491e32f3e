"""A device in Java, on Eclipse Leshan or on java-coap: built by `install-peers` from `leshan/`."""

from __future__ import annotations

import queue
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.interop.fleet import Device
from tests.interop.instance import Instance

__all__ = ["JAVA_COAP", "LESHAN_1", "LESHAN_2", "LeshanDevice", "Release", "powered"]

_PROJECT = Path(__file__).parent / "leshan"
_EVENT_SECONDS = 20.0
_STOP_SECONDS = 20.0


@dataclass(frozen=True)
class Release:
    """A library, or a release of it, as a device is built on it.

    `pins_server` says that it knows a server by the server's own certificate, not by a CA.
    """

    module: str
    main_class: str
    pins_server: bool
    arguments: tuple[str, ...] = ()

    def asking_for(self, content_format: int) -> Release:
        """The same, with a content format of its own choice in the Bootstrap-Request (`pct`)."""
        return Release(self.module, self.main_class, self.pins_server, (str(content_format),))


LESHAN_1 = Release("lwm2m-1.0", "device.Lwm2m10Device", pins_server=True)
LESHAN_2 = Release("lwm2m-1.1", "device.Lwm2m11Device", pins_server=False)
JAVA_COAP = Release("java-coap", "device.JavaCoapDevice", pins_server=False)


@dataclass
class LeshanDevice:
    """A device that is switched on: its events as they come, and everything that it logged."""

    process: subprocess.Popen[str]
    log: Path
    _events: queue.Queue[str] = field(default_factory=queue.Queue)

    def __post_init__(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()

    def event(self) -> str:
        """The next event: a word and what the server said."""
        try:
            return self._events.get(timeout=_EVENT_SECONDS)
        except queue.Empty:
            raise AssertionError(f"no event from the device; it logged: {self.log.read_text()}") from None

    def update(self) -> None:
        """Make it update its registration now."""
        self._input.write("update\n")
        self._input.flush()

    def switch_off(self) -> None:
        """Make it de-register and end."""
        self._input.close()
        assert self.process.wait(_STOP_SECONDS) == 0, self.log.read_text()

    @property
    def _input(self) -> IO[str]:
        assert self.process.stdin is not None
        return self.process.stdin

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._events.put(line.rstrip("\n"))


@contextmanager
def powered(release: Release, device: Device, instance: Instance, directory: Path) -> Iterator[LeshanDevice]:
    """Switch a device on: it bootstraps with its factory credential, and registers."""
    module = _PROJECT / release.module / "target"
    assert (module / "classpath").exists(), f"{module} is not built: run tests/interop/install-peers"
    server = instance.data_directory / "pki" / "bootstrap.pem" if release.pins_server else instance.ca
    log = directory / "leshan.log"
    command = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    command += ["-Dorg.slf4j.simpleLogger.defaultLogLevel=info"]
    command += ["-cp", f"{module / 'classes'}:{(module / 'classpath').read_text()}", release.main_class]
    command += [device.endpoint_name, f"coaps://localhost:{instance.ports['bootstrap']}"]
    command += [str(path) for path in _der(device, server, directory)]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, *release.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        )
    try:
        yield LeshanDevice(process, log)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def _der(device: Device, server: Path, directory: Path) -> list[Path]:
    """Certificate, key and server certificate as the client takes them: DER, the key in PKCS #8."""
    key = serialization.load_pem_private_key(device.key.read_bytes(), None)
    contents = {
        "device.der": x509.load_pem_x509_certificate(device.certificate.read_bytes()).public_bytes(
            Encoding.DER
        ),
        "key.der": key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        "server.der": x509.load_pem_x509_certificate(server.read_bytes()).public_bytes(Encoding.DER),
    }
    for name, content in contents.items():
        (directory / name).write_bytes(content)
    return [directory / name for name in contents]
