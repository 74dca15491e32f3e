"""OpenSSL contexts: which DTLS we speak, as server and as client.

DTLS 1.2 only, mutual X.509, no renegotiation. Sessions are resumed by ticket (RFC 5077) where the context is
made so; `resumption` says how a resumed peer is judged.

`TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8`, mandatory for LwM2M (OMA-TS-LightweightM2M-V1_0 §7.1, RFC 7925 §4.4),
only handshakes at OpenSSL's security level 0. What that level would have allowed besides is kept out by the
exact suite list (forward secrecy and client authentication in each; no anonymous, null or RSA key exchange),
by the fixed version and by `profile`. What we cannot keep out, for pyOpenSSL has no setting for signature
schemes, is a SHA-1 signature inside the handshake itself (ServerKeyExchange, CertificateVerify) if the peer
offers nothing better; to abuse one, a collision would have to be found while the handshake waits.

A Context is shared by all connections and fixed once the first exists, so its callbacks hand every question
to the connection's owner, which is the connection's app data (`ConnectionOwner`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL, crypto

from ftc_core.dtls.profile import key_objection
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import PRESENTED_CHAIN_MAX

__all__ = ["SUITES", "ConnectionOwner", "PrivateKey", "client_context", "new_connection", "server_context"]

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_DTLS_1_2 = 0xFEFD
_SESSION_CONTEXT = b"first-to-claim"
_OP_NO_ENCRYPT_THEN_MAC = 1 << 19
"""SSL_OP_NO_ENCRYPT_THEN_MAC of openssl/ssl.h, which pyOpenSSL does not name. Under encrypt-then-MAC (RFC
7366, CBC suites only) OpenSSL answers one forged record with a fatal alert (openssl/openssl#24972, open), so
that anybody who can forge a source address could end a session. RFC 6347 §4.1.2.7 wants such records dropped,
and without encrypt-then-MAC they are."""

SUITES = (
    # Ours are in the order in which we would choose; the server follows the client's order, which on a small
    # device is also that of its hardware.
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-CCM",
    "ECDHE-ECDSA-AES128-CCM8",
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-CHACHA20-POLY1305",
)
_OPTIONS = (
    SSL.OP_NO_RENEGOTIATION
    # Otherwise OpenSSL asks the memory BIO for the path MTU and falls to 256-byte fragments.
    | SSL.OP_NO_QUERY_MTU
    | _OP_NO_ENCRYPT_THEN_MAC
)


class ConnectionOwner(Protocol):
    """What OpenSSL asks and tells about one connection. None of these may raise."""

    def make_cookie(self) -> bytes:
        """The cookie for the peer whose ClientHello is being read (RFC 6347 §4.2.1)."""
        ...

    def check_cookie(self, cookie: bytes) -> bool:
        """Whether the peer whose ClientHello is being read was given this cookie."""
        ...

    def walk_certificate(self, certificate: crypto.X509, depth: int, *, passed: bool) -> bool:
        """One step of OpenSSL's walk over the peer's chain (0 = leaf); False fails the handshake."""
        ...

    def note_alert(self, description: int, *, sent: bool, fatal: bool) -> None:
        """An alert was sent or received."""
        ...


def server_context(
    certificate_chain: Sequence[x509.Certificate], private_key: PrivateKey, *, resumption_s: int = 0
) -> SSL.Context:
    """A context for accepting peers, with our own `certificate_chain` (leaf first) and its key.

    Its sessions can be resumed for `resumption_s` seconds, 0 for not at all, under ticket keys that are its
    own and random.

    Raises FtcError CERTIFICATE_KEY_UNSUPPORTED if our own key is too weak, INTERNAL_6 if it does not belong
    to the certificate.
    """
    context = _context(SSL.DTLS_SERVER_METHOD, certificate_chain, private_key)
    if resumption_s:
        context.set_timeout(resumption_s)
        # Without a name for what a session is good for, OpenSSL resumes none of an authenticated client.
        context.set_session_id(_SESSION_CONTEXT)
    else:
        context.set_options(SSL.OP_NO_TICKET)
    context.set_options(cast(int, SSL.OP_COOKIE_EXCHANGE))
    context.set_cookie_generate_callback(lambda connection: _owner(connection).make_cookie())
    context.set_cookie_verify_callback(lambda connection, cookie: _owner(connection).check_cookie(cookie))
    return context


def client_context(
    certificate_chain: Sequence[x509.Certificate],
    private_key: PrivateKey,
    *,
    suites: Sequence[str] = SUITES,
    tickets: bool = False,
) -> SSL.Context:
    """A context for connecting as a device.

    `suites` narrows what it offers; with `tickets` it asks for one, so that its sessions can be resumed.
    Raises the same.
    """
    context = _context(SSL.DTLS_CLIENT_METHOD, certificate_chain, private_key, suites)
    if not tickets:
        context.set_options(SSL.OP_NO_TICKET)
    return context


def new_connection(context: SSL.Context, owner: ConnectionOwner, mtu: int) -> SSL.Connection:
    """A connection over memory BIOs whose records fit datagrams of `mtu` bytes."""
    connection = SSL.Connection(context, None)
    connection.set_ciphertext_mtu(mtu)
    connection.set_app_data(owner)
    return connection


def _context(
    method: int,
    certificate_chain: Sequence[x509.Certificate],
    private_key: PrivateKey,
    suites: Sequence[str] = SUITES,
) -> SSL.Context:
    if objection := key_objection(private_key.public_key()):
        raise FtcError(Reason.CERTIFICATE_KEY_UNSUPPORTED, objection)
    leaf, *intermediates = certificate_chain
    if leaf.public_key() != private_key.public_key():
        raise FtcError(Reason.INTERNAL_6, "private key does not belong to the certificate")
    context = SSL.Context(method)
    context.set_min_proto_version(_DTLS_1_2)
    context.set_max_proto_version(_DTLS_1_2)
    context.set_cipher_list(":".join((*suites, "@SECLEVEL=0")).encode())
    context.set_options(_OPTIONS)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # 15 KiB less per idle association
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.use_certificate(leaf)
    for certificate in intermediates:
        context.add_extra_chain_cert(certificate)
    context.use_privatekey(private_key)
    # No CA goes into the client CA list: the list is sent to each peer, and the union of all accounts' CAs is
    # neither small nor public.
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _walk_certificate)
    context.set_verify_depth(PRESENTED_CHAIN_MAX)
    context.set_info_callback(_note_alert)
    return context


def _owner(connection: SSL.Connection) -> ConnectionOwner:
    return cast(ConnectionOwner, connection.get_app_data())


def _walk_certificate(
    connection: SSL.Connection, certificate: crypto.X509, _error: int, depth: int, passed: int
) -> bool:
    return _owner(connection).walk_certificate(certificate, depth, passed=bool(passed))


def _note_alert(connection: SSL.Connection, where: int, value: int) -> None:
    # SSL_CTX_set_info_callback(3): the alert's level is the high byte of the value, its description the low.
    if where & SSL.SSL_CB_ALERT:
        level, description = divmod(value, 256)
        _owner(connection).note_alert(description, sent=where & SSL.SSL_CB_WRITE != 0, fatal=level == 2)
