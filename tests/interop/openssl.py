"""Debian's `openssl` as a DTLS client and as a second opinion on fingerprints."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "BAD_CERTIFICATE",
    "CERTIFICATE_EXPIRED",
    "HANDSHAKE_FAILURE",
    "UNKNOWN_CA",
    "Handshake",
    "fingerprint",
    "handshake",
]

# Alert descriptions, RFC 5246 §7.2.
HANDSHAKE_FAILURE = 40
BAD_CERTIFICATE = 42
CERTIFICATE_EXPIRED = 45
UNKNOWN_CA = 48

_CIPHER = re.compile(r"^(New|Reused), TLSv1\.2, Cipher is (\S+)$", re.MULTILINE)
_ALERT = re.compile(r"SSL alert number (\d+)")
_SECONDS = 20


@dataclass(frozen=True)
class Handshake:
    """How a handshake ended: with a `cipher`, or with the `alert` that the server sent.

    `resumed`: it was an abbreviated one.
    """

    cipher: str | None
    alert: int | None
    server_verified: bool
    resumed: bool
    log: str


def handshake(
    port: int,
    *,
    ca: Path,
    cipher: str,
    credential: tuple[Path, Path] | None,
    options: Sequence[str] = (),
) -> Handshake:
    """One DTLS 1.2 handshake with 127.0.0.1:`port`, ended with close_notify where it completed.

    `credential` is certificate and key in PEM; `options` go to s_client as they are. The server must prove
    to be `localhost` under `ca`.
    """
    command = ["openssl", "s_client", "-dtls1_2", "-connect", f"127.0.0.1:{port}", "-cipher", cipher]
    command += ["-CAfile", str(ca), "-verify_return_error", "-verify_hostname", "localhost"]
    if credential is not None:
        certificate, key = map(str, credential)
        command += ["-cert", certificate, "-key", key]
    done = subprocess.run(
        [*command, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    alert, agreed = _ALERT.search(done.stdout), _CIPHER.search(done.stdout)
    # s_client names the suite of a handshake that failed later, too; only its exit code tells them apart.
    completed = done.returncode == 0 and agreed is not None
    return Handshake(
        cipher=agreed[2] if agreed and completed else None,
        alert=int(alert[1]) if alert else None,
        server_verified=completed and "Verify return code: 0 (ok)" in done.stdout,
        resumed=completed and agreed is not None and agreed[1] == "Reused",
        log=done.stdout,
    )


def fingerprint(certificate: Path) -> str:
    """The SHA-256 of a PEM certificate as OpenSSL prints it: `AD:1E:…`."""
    done = subprocess.run(
        ["openssl", "x509", "-in", str(certificate), "-noout", "-fingerprint", "-sha256"],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=True,
    )
    return done.stdout.strip().partition("=")[2]
