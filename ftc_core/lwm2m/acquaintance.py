"""What a bootstrap session gets to know of its client, question by question.

Sans-IO like the session, which asks the questions: each `after_…` takes the answer, None for a Reset, and
says what moves the session on. The rules are in docs/decisions/0007-bootstrap-of-any-client.md.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from aiocoap.numbers.codes import Code

from ftc_core.limits import DISCOVER_PATIENCE_MAX_S, DISCOVER_PATIENCE_ROUND_TRIPS, DISCOVER_PATIENCE_S
from ftc_core.lwm2m import content
from ftc_core.lwm2m.accounts import AccountLayout, Survey, Trust
from ftc_core.lwm2m.discovery import VERSION_1_1, parse_discovered
from ftc_core.lwm2m.links import BadLinks
from ftc_core.lwm2m.request import Dialect
from ftc_core.lwm2m.transitions import BootstrapInput
from ftc_core.lwm2m.values import BadPayload, Path

if TYPE_CHECKING:
    from aiocoap.message import Message

__all__ = ["Acquaintance"]

_DISCOVERS_MAX = 2
_GONE = frozenset({Code.DELETED, Code.NOT_FOUND})
"""Answers to a Delete after which there is nothing any more."""


class Acquaintance:
    """One client: how it asked, and what it told since. `short_server_id` is the one that we like best."""

    def __init__(self, dialect: Dialect, short_server_id: int) -> None:
        self._dialect = dialect
        self._short_server_id = short_server_id
        self._survey: Survey | None = None
        self._discovers = 0
        self._patience_s = 0.0
        self._layout = AccountLayout(trust=Trust.CA_WITH_USAGE if dialect is Dialect.LWM2M_1_1 else Trust.CA)

    @property
    def layout(self) -> AccountLayout:
        """How it is written to, as far as is known."""
        return self._layout

    @property
    def to_delete(self) -> Path:
        """What an earlier owner left behind and is to be deleted next; the session is CLEARING."""
        path = None if self._survey is None else self._survey.to_delete
        assert path is not None  # noqa: S101 - REMAINS_FOUND said that there is one
        return path

    def after_delete(self, round_trip_s: float) -> BootstrapInput:
        """The client answered the Delete of /0 after `round_trip_s` seconds."""
        if self._dialect is Dialect.IZUMA:
            return BootstrapInput.ACCEPTED
        patience = max(DISCOVER_PATIENCE_S, DISCOVER_PATIENCE_ROUND_TRIPS * round_trip_s)
        self._patience_s = min(patience, DISCOVER_PATIENCE_MAX_S)
        return BootstrapInput.NUMBERS_WANTED

    def discovering(self) -> float | None:
        """It is asked by Bootstrap-Discover; seconds to wait for its answer, None if it surely gives one."""
        self._discovers += 1
        return self._discovers * self._patience_s if self._dialect is Dialect.LWM2M_1_0 else None

    def after_silence(self) -> BootstrapInput:
        """No answer came in that time. It is asked once more, since question or answer may have been lost."""
        return BootstrapInput.NUMBERS_WANTED if self._discovers < _DISCOVERS_MAX else BootstrapInput.ACCEPTED

    def after_discover(self, answer: Message | None) -> BootstrapInput:
        """Its accounts, or a refusal: then Izuma's numbers it is."""
        if answer is None or answer.code != Code.CONTENT:
            return BootstrapInput.ACCEPTED
        try:
            discovered = parse_discovered(answer.payload)
        except BadLinks:
            return BootstrapInput.ACCEPTED
        version = discovered.version
        if self._dialect is Dialect.LWM2M_1_1:  # some such clients say 1.0 here all the same
            version = max(version, VERSION_1_1)
        if discovered.bootstrap_account is None:
            return BootstrapInput.ACCEPTED
        self._survey = Survey(discovered, discovered.bootstrap_account, version)
        return self._go_on(self._survey)

    def after_clearing(self, answer: Message | None) -> BootstrapInput:
        """It deleted `to_delete`, or would not."""
        survey = self._survey
        assert survey is not None  # noqa: S101 - set on the way to CLEARING
        survey.deleted(answer is not None and answer.code in _GONE)
        return self._go_on(survey)

    def after_reading(self, answer: Message | None) -> BootstrapInput:
        """Its Server instances, or a refusal."""
        survey = self._survey
        assert survey is not None  # noqa: S101 - set on the way to READING
        if answer is not None and answer.code == Code.CONTENT:
            with contextlib.suppress(BadPayload):
                survey.has_read(content.decode(answer.opt.content_format, (1,), answer.payload))
        self._layout = survey.layout(self._short_server_id)
        return BootstrapInput.ACCEPTED

    def _go_on(self, survey: Survey) -> BootstrapInput:
        if survey.to_delete is not None:
            return BootstrapInput.REMAINS_FOUND
        if survey.read_wanted:
            return BootstrapInput.READ_WANTED
        self._layout = survey.layout(self._short_server_id)
        return BootstrapInput.ACCEPTED
