"""One peer's authentication: between OpenSSL's walk over the presented chain and our verdict on it.

OpenSSL's own store is empty, so its walk complains at each chain, and it asks about each complaint. We answer
yes to all of them, which alone would accept a forged certificate, and only collect the certificates. The
last question is always about the leaf (depth 0, passed): then the chain is complete, the path verifier
judges it, and its verdict is the answer. So nobody gets past the Certificate message of the handshake, let
alone to application data, without a verdict; and `vouches_for` lets the association check once more, at the
end of the handshake, that there is one and that it is about the certificate that OpenSSL reports.

A resumed session brings no walk: `admits_resumed` judges its certificate instead (see `resumption`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from OpenSSL import crypto

from ftc_core.dtls.alert import Alert
from ftc_core.dtls.resumption import PresentedChains
from ftc_core.dtls.trust import PathRefused, PathVerifier, ReadCertificate, VerifiedPath
from ftc_core.errors import FtcError

__all__ = ["PeerVerification"]


class PeerVerification:
    """The owner of an association's connection (`context.ConnectionOwner`)."""

    def __init__(self, verify_path: PathVerifier, chains: PresentedChains | None = None) -> None:
        self._verify_path = verify_path
        self._chains = chains if chains is not None else PresentedChains()
        self._chain: dict[int, crypto.X509] = {}
        self._verdict: VerifiedPath | PathRefused | None = None
        self.presented: tuple[bytes, ...] = ()
        """The chain in DER, leaf first, once it is complete and until the association has done with it."""
        self.fatal_alert_sent: int | None = None
        self.fatal_alert_received: int | None = None

    @property
    def refusal(self) -> PathRefused | None:
        """Why the peer's chain was refused, if it was."""
        return self._verdict if isinstance(self._verdict, PathRefused) else None

    def vouches_for(self, leaf: crypto.X509) -> VerifiedPath | None:
        """The verified path, if there is one and it is about this very certificate."""
        if not isinstance(self._verdict, VerifiedPath):
            return None
        return self._verdict if _fingerprint(leaf) == self._verdict.leaf_fingerprint else None

    def make_cookie(self) -> bytes:
        """Never asked: the cookie exchange is over when an association begins."""
        return b""

    def check_cookie(self, cookie: bytes) -> bool:
        """Yes: OpenSSL asks again about the ClientHello that the gate has just let through."""
        return True

    def walk_certificate(self, certificate: crypto.X509, depth: int, *, passed: bool) -> bool:
        """Collect; at the last step, judge. A second walk gets no second verdict."""
        if self._verdict is not None:
            return False
        self._chain[depth] = certificate
        if depth > 0 or not passed:
            return True
        chain = [ReadCertificate.of(self._chain[position]) for position in sorted(self._chain)]
        self._chain.clear()
        self.presented = tuple(map(bytes, chain))  # without OpenSSL's handles, which hold far more memory
        self._verdict = self._judge(chain)
        if not isinstance(self._verdict, VerifiedPath):
            return False
        self._chains.remember(self.presented)
        return True

    @property
    def pending(self) -> bool:
        """Whether there is no verdict yet."""
        return self._verdict is None

    def admits_resumed(self, leaf: crypto.X509) -> bool:
        """Judge the certificate of a resumed session, with the chain that came with it at first.

        Only a yes becomes the verdict: after a no, a full handshake shows what the peer has to present now.
        """
        verdict = self._judge(self._chains.recall(_der(leaf)))
        if not isinstance(verdict, VerifiedPath):
            return False
        self._verdict = verdict
        return True

    def note_alert(self, description: int, *, sent: bool, fatal: bool) -> None:
        """Remember a fatal alert: it says how the association ended."""
        if not fatal:
            return
        if sent:
            self.fatal_alert_sent = description
        else:
            self.fatal_alert_received = description

    def _judge(self, chain: Sequence[bytes]) -> VerifiedPath | PathRefused:
        try:
            return self._verify_path(chain)
        except FtcError as error:
            # The store of trusted CAs failed; the peer is not to blame, and will try again.
            return PathRefused(Alert.INTERNAL_ERROR, error.message, error.reason)


def _der(certificate: crypto.X509) -> bytes:
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


def _fingerprint(certificate: crypto.X509) -> bytes:
    return hashlib.sha256(_der(certificate)).digest()
