"""The certificate requests (EST) of one bootstrap session: which are judged, which wait, which are repeated.

Sans-IO like the session, which tells where it stands. What is in a request is judged elsewhere
(`credentials.signing_request`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ftc_core.errors import FtcError, Reason
from ftc_core.lwm2m.bootstrap_effects import Enroll
from ftc_core.lwm2m.effects import Cancel, Respond
from ftc_core.lwm2m.est import AuthorityRequest, EnrolmentRequest, certificate_answer, parse_est_request
from ftc_core.lwm2m.messages import refusal
from ftc_core.lwm2m.request import Dialect
from ftc_core.lwm2m.transitions import BootstrapState

if TYPE_CHECKING:
    from aiocoap.message import Message

    from ftc_core.lwm2m.sequence import BootstrapGrant

__all__ = ["Enrolment"]


class Enrolment:
    """At most one request waits, one is judged, and one has been granted. `do` takes the effects."""

    def __init__(self, do: Callable[[Respond | Cancel | Enroll], None]) -> None:
        self._do = do
        self._dialect = Dialect.IZUMA
        self._authority: bytes | None = None
        self._early: tuple[int, EnrolmentRequest] | None = None
        self._judged: tuple[int, EnrolmentRequest] | None = None
        self._granted: tuple[bytes, bytes] | None = None  # a request, and its certificate
        self.handed_out: int | None = None
        """The exchange that the certificate has answered, of the bootstrap that is under way."""
        self.misasked: FtcError | None = None
        """Why the last request was refused that came when one was due, and that was none of ours."""

    def received(self, exchange: int, message: Message, state: BootstrapState) -> None:
        """The device asks for something below /est, while its session is in `state`.

        Raises FtcError: BOOTSTRAP_REQUIRED if nothing entitles it to an answer, or what `parse_est_request`
        raises.
        """
        try:
            request = parse_est_request(message)
        except FtcError as error:
            if state is BootstrapState.ENROLLING:
                self.misasked = error
            raise
        if isinstance(request, AuthorityRequest):
            if self._authority is None:
                raise FtcError(Reason.BOOTSTRAP_REQUIRED)
            self._do(Respond(exchange, certificate_answer(request, self._authority, self._dialect)))
        elif state is BootstrapState.ENROLLING:
            self._judge(exchange, request)
        elif state is BootstrapState.FINISHING:  # it has overtaken the answer to Bootstrap-Finish
            if self._early is not None:
                self._do(Cancel(self._early[0]))
            self._early = exchange, request
        elif self._granted is not None and self._granted[0] == request.csr:
            self._hand_out(exchange, request, self._granted[1])
        else:
            raise FtcError(Reason.BOOTSTRAP_REQUIRED)

    def begin(self, dialect: Dialect) -> None:
        """A client of this `dialect` bootstraps: whatever was before is over."""
        if self._early is not None:
            self._do(Cancel(self._early[0]))
        self.forget()
        self._dialect = dialect

    def claim_granted(self, grant: BootstrapGrant) -> None:
        """The claim is durable: from now on the device may know who issues its certificate."""
        self._authority = grant.issuing_certificate

    def due(self) -> None:
        """The device has all but its certificate."""
        if self._early is not None:
            early, self._early = self._early, None
            self._judge(*early)

    def issued(self, certificate: bytes) -> bool:
        """Hand out the certificate (DER) for the request that is judged; whether there is one."""
        if self._judged is None:
            return False
        (exchange, request), self._judged = self._judged, None
        self._granted = request.csr, certificate
        self._hand_out(exchange, request, certificate)
        return True

    def refused(self) -> int | None:
        """The exchange of the request that is judged, now the caller's to answer, if there is one."""
        judged, self._judged = self._judged, None
        return None if judged is None else judged[0]

    def fail(self, error: FtcError) -> None:
        """The bootstrap has failed: tell a request that waits, and forget the others."""
        if self._early is not None:
            self._do(Respond(self._early[0], refusal(error)))
        self.forget()

    def forget(self) -> None:
        """Nobody is to be answered any more."""
        self._authority = self._early = self._judged = self._granted = None
        self.handed_out = self.misasked = None

    def _judge(self, exchange: int, request: EnrolmentRequest) -> None:
        self._judged = exchange, request
        self._do(Enroll(request.csr))

    def _hand_out(self, exchange: int, request: EnrolmentRequest, certificate: bytes) -> None:
        self.handed_out = exchange
        self._do(Respond(exchange, certificate_answer(request, certificate, self._dialect)))
