"""The servers, each a process on loopback: ours, libcoap's example server on two TLS libraries, Leshan, and
our stack without us.

All trust the same manufacturer and have a certificate of a CA of the run. libcoap's tells a client nothing
but a page of text, Leshan's gives everybody the same credentials and keeps no record: ours makes a key and a
certificate for each device, and answers after its claim is on disk.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from benchmarks.peers.devices import Manufacturer
from benchmarks.peers.governor import process_cpu_seconds
from ftc_core.application.context import utc_now
from ftc_core.credentials.pki import Identity, create_authority, create_server_identity, private_key_der
from ftc_storm.instance import Instance, own_bytes

__all__ = [
    "Library",
    "Server",
    "leshan_built",
    "running_bare",
    "running_leshan",
    "running_libcoap",
    "worker_of",
]

_LESHAN = Path(__file__).parent / "leshan" / "target"
_START_TIMEOUT_S = 20.0
_POLL_S = 0.02

Library = Literal["gnutls", "openssl"]


@dataclass(frozen=True)
class Server:
    """A running server: who it is, where, and which CA (DER) its devices trust.

    `used_bytes` is the memory that a process has allocated.
    """

    name: str
    pid: int
    address: tuple[str, int]
    ca_der: bytes
    used_bytes: Callable[[int], int] = own_bytes

    def cpu_seconds(self) -> float:
        """CPU time that it has used, all threads, user and kernel."""
        return process_cpu_seconds(self.pid)

    def memory_bytes(self) -> int:
        """Memory that it has allocated now."""
        return self.used_bytes(self.pid)


def worker_of(instance: Instance) -> Server:
    """The one bootstrap worker of an instance of ours."""
    host, _, port = instance.bootstrap_uri.removeprefix("coaps://").rpartition(":")
    ca = x509.load_pem_x509_certificate(instance.server_ca_pem).public_bytes(Encoding.DER)
    return Server("First-to-Claim", instance.processes["bootstrap-0"], (host, int(port)), ca)


@contextmanager
def running_libcoap(library: Library, manufacturer: Manufacturer) -> Iterator[Server]:
    """`coap-server`, which answers `GET /` with a page of text."""
    authority, identity = _server_identity()
    with tempfile.TemporaryDirectory(prefix="ftc-peers-") as temporary:
        directory = Path(temporary)
        (directory / "server.pem").write_bytes(identity.certificate_pem)
        (directory / "key.pem").write_bytes(identity.private_key_pem)
        (directory / "devices.pem").write_bytes(manufacturer.authority.certificate_pem)
        plain = _free_pair_of_ports()
        command = [f"coap-server-{library}", "-A", "127.0.0.1", "-p", str(plain), "-v", "0"]
        command += ["-c", str(directory / "server.pem"), "-j", str(directory / "key.pem")]
        command += ["-C", str(directory / "devices.pem")]
        with (directory / "log").open("wb") as log, _process(command, log) as process:
            _wait_until_bound(plain + 1, process)
            yield Server(f"libcoap, {_LIBRARIES[library]}", process.pid, ("127.0.0.1", plain + 1), authority)


@contextmanager
def running_bare(manufacturer: Manufacturer) -> Iterator[Server]:
    """The stack that ours stands on, alone (`bare.py`)."""
    authority, identity = _server_identity()
    with tempfile.TemporaryDirectory(prefix="ftc-peers-") as temporary:
        directory = Path(temporary)
        (directory / "server.pem").write_bytes(identity.certificate_pem)
        (directory / "key.pem").write_bytes(identity.private_key_pem)
        (directory / "devices.pem").write_bytes(manufacturer.authority.certificate_pem)
        files = [str(directory / name) for name in ("server.pem", "key.pem", "devices.pem")]
        command = [sys.executable, "-m", "benchmarks.peers.bare", *files]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            try:
                address = "127.0.0.1", int(process.stdout.readline())
                yield Server("uvloop + pyOpenSSL, bare", process.pid, address, authority)
            finally:
                process.terminate()


def leshan_built() -> bool:
    """Whether `make peers` found what it takes to build Leshan's."""
    return (_LESHAN / "classpath").exists() and shutil.which("java") is not None


@contextmanager
def running_leshan(manufacturer: Manufacturer) -> Iterator[Server]:
    """A bootstrap server on Leshan (`leshan/`), which has a configuration for every device."""
    authority, identity = _server_identity()
    given = manufacturer.make(1)[0].identity
    with tempfile.TemporaryDirectory(prefix="ftc-peers-") as temporary:
        directory = Path(temporary)
        contents = {
            "server.der": identity.certificate_der,
            "key.der": private_key_der(identity.private_key),
            "devices.der": manufacturer.authority.certificate_der,
            "client.der": given.certificate_der,
            "client-key.der": private_key_der(given.private_key),
            "server-ca.der": authority,
        }
        for name, content in contents.items():
            (directory / name).write_bytes(content)
        port = _free_pair_of_ports()
        class_path = f"{_LESHAN / 'classes'}:{(_LESHAN / 'classpath').read_text()}"
        command = ["java", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", class_path]
        command += ["server.BootstrapServer", str(port), *(str(directory / name) for name in contents)]
        with (directory / "log").open("wb") as log, _process(command, log) as process:
            _wait_until_bound(port, process)
            yield Server("Leshan", process.pid, ("127.0.0.1", port), authority, _live_heap_bytes)


def _live_heap_bytes(pid: int) -> int:
    """Of a Java process, after a collection: what its memory is to the system says little."""
    command = ["jcmd", str(pid), "GC.class_histogram"]
    histogram = subprocess.run(command, check=True, capture_output=True, text=True)
    *_, total = (line for line in histogram.stdout.splitlines() if line.startswith("Total"))
    return int(total.split()[-1])


_LIBRARIES: dict[Library, str] = {"gnutls": "GnuTLS", "openssl": "OpenSSL"}


def _server_identity() -> tuple[bytes, Identity]:
    """The CA's certificate (DER), and a server's under it."""
    now = utc_now()
    authority = create_authority("Peers server CA", now=now)
    identity = create_server_identity(authority, "localhost", hosts=["localhost", "127.0.0.1"], now=now)
    return authority.certificate_der, identity


@contextmanager
def _process(command: list[str], log: BinaryIO) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _free_pair_of_ports() -> int:
    """A port such that it and the next one are free: libcoap's takes both."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            if port < 65_535 and _is_free(port + 1):
                return port


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _wait_until_bound(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while _is_free(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} did not start")
        time.sleep(_POLL_S)
