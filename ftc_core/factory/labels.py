"""Printable sheets of QR labels: self-contained HTML, the codes as inline SVG.

HTML lets the end tags of `body` and `html` be left out, so a sheet grows by appending and is valid at
every moment. After LABELS_PER_SHEET labels the next sheet begins: about 2.5 MB, what a browser prints with
ease.
"""

from __future__ import annotations

import html
import os
from pathlib import Path
from types import TracebackType
from typing import IO

import segno

from ftc_core.factory.enrollment_list import EnrollmentRow
from ftc_core.files import PRIVATE

__all__ = ["LABELS_PER_SHEET", "LabelWriter", "enrollment_qr"]

LABELS_PER_SHEET = 1_000

_HEAD = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>Device labels</title>
<style>
@page { margin: 10mm }
body { margin: 0; font-family: sans-serif }
body { display: grid; gap: 2mm; grid-template-columns: repeat(auto-fill, 58mm) }
figure { margin: 0; padding: 2mm; border: 0.2mm dashed #999; break-inside: avoid; text-align: center }
svg { width: 38mm; height: 38mm }
b { display: block; font-size: 9pt; overflow-wrap: anywhere }
code { display: block; font-size: 5.5pt; overflow-wrap: anywhere; text-align: left }
div { margin-top: 2mm; padding-top: 2mm; border-top: 0.2mm dashed #999; font-size: 7pt }
div svg { display: block; width: 24mm; height: 24mm; margin: auto }
</style>
<body>
"""


def enrollment_qr(enrollment_id: str) -> segno.QRCode:
    """The QR code of an enrollment ID: version 5-M, since `A-`, hex and colons fit the alphanumeric mode."""
    return segno.make_qr(enrollment_id, error="m")


def _secret_part(claim_secret: str) -> str:
    code = segno.make_qr(claim_secret, error="m").svg_inline(omitsize=True)
    groups = " ".join(claim_secret[at : at + 4] for at in range(0, len(claim_secret), 4))
    return f"<div>Claim secret{code}<code>{groups}</code></div>"


class LabelWriter:
    """Appends labels to `labels.html`, `labels-2.html`, … in `directory`, after `written` devices.

    Each label is handed to the system before `append` returns. With `private` only the owner may read them:
    claim secrets are on them.
    """

    def __init__(self, directory: Path, *, written: int, private: bool = False) -> None:
        self._private = private
        self._directory = directory
        self._written = written
        self._sheet: IO[str] | None = None

    def append(self, row: EnrollmentRow, claim_secret: str | None = None) -> None:
        """Add one label: code, endpoint name, and the ID in plain text for when the code is scratched.

        Below it, behind a line to cut along, a claim secret with a code of its own: who can read the one need
        not read the other.
        """
        if self._sheet is None or self._written % LABELS_PER_SHEET == 0:
            self._turn()
        assert self._sheet is not None  # noqa: S101 - _turn opened it
        code = enrollment_qr(row.enrollment_id).svg_inline(omitsize=True)
        name, text = html.escape(row.endpoint_name), html.escape(row.enrollment_id)
        secret = "" if claim_secret is None else _secret_part(claim_secret)
        self._sheet.write(f"<figure>{code}<b>{name}</b><code>{text}</code>{secret}</figure>\n")
        self._sheet.flush()
        self._written += 1

    def __enter__(self) -> LabelWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _turn(self) -> None:
        self._close()
        number = self._written // LABELS_PER_SHEET + 1
        name = "labels.html" if number == 1 else f"labels-{number}.html"
        self._sheet = (self._directory / name).open("a", encoding="utf-8")
        if self._private:
            os.fchmod(self._sheet.fileno(), PRIVATE)
        if self._sheet.tell() == 0:
            self._sheet.write(_HEAD)

    def _close(self) -> None:
        if self._sheet is not None:
            self._sheet.close()
            self._sheet = None
