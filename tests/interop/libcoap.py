"""libcoap's `coap-client`, in the builds on OpenSSL and on GnuTLS.

It is a CoAP client, no LwM2M client: it shows how the server answers a request, and then leaves.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["LIBRARIES", "Answer", "Library", "NoAnswerError", "request"]

Library = Literal["openssl", "gnutls"]
LIBRARIES: tuple[Library, ...] = ("openssl", "gnutls")

_ANSWER = re.compile(r"^v:1 t:(?:ACK|CON|NON) c:([245]\.\d\d) .*?\[.*?\](?: :: '(.*)')?$", re.MULTILINE)
_DROPPED = re.compile(r"Packet (\d+) dropped$", re.MULTILINE)
_ALERT = re.compile(r"alert read:fatal:(?P<openssl>.+)$|Alert '(?P<gnutls>\d+)':", re.MULTILINE)
_ALERT_NUMBERS = {"handshake failure": 40, "bad certificate": 42, "certificate expired": 45, "unknown CA": 48}
_ANSWER_SECONDS = 15
_LOG_EVERYTHING = "7"


@dataclass(frozen=True)
class Answer:
    """The response to a request: code ("2.04") and payload as text."""

    code: str
    payload: str


class NoAnswerError(Exception):
    """The client ended without a response; `alert` is the fatal DTLS alert that it received, if it did."""

    def __init__(self, log: str) -> None:
        super().__init__(log)
        found = _ALERT.search(log)
        self.alert: int | None = None
        if found:
            self.alert = int(found["gnutls"]) if found["gnutls"] else _ALERT_NUMBERS[found["openssl"]]


def request(
    library: Library,
    method: str,
    port: int,
    path_and_query: str,
    *,
    ca: Path,
    credential: tuple[Path, Path],
    lose: Sequence[int] = (),
) -> Answer:
    """Send one confirmable request to 127.0.0.1:`port` over DTLS and give the response.

    `credential` is certificate and key in PEM. Datagrams whose number, from 1, stands in `lose` are not sent.
    Raises NoAnswerError.
    """
    certificate, key = map(str, credential)
    command = [f"coap-client-{library}", "-v", _LOG_EVERYTHING, "-B", str(_ANSWER_SECONDS), "-m", method]
    command += ["-c", certificate, "-j", key, "-C", str(ca)]
    if lose:
        command += ["-l", ",".join(map(str, lose))]
    done = subprocess.run(
        [*command, f"coaps://127.0.0.1:{port}/{path_and_query}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=2 * _ANSWER_SECONDS,
        check=False,
    )
    assert [int(number) for number in _DROPPED.findall(done.stdout)] == sorted(lose), done.stdout
    answer = _ANSWER.search(done.stdout)
    if answer is None:
        raise NoAnswerError(done.stdout)
    return Answer(answer[1], answer[2] or "")
