"""What we offer and accept as DTLS peers: PRODUCT §2, RFC 7925 §4."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL

from ftc_core.dtls.association import CloseCause, HandshakeCompleted
from ftc_core.dtls.context import client_context, server_context
from ftc_core.dtls.record import split_records
from ftc_core.errors import FtcError, Reason
from tests.certificates import Manufacturer
from tests.dtls_pair import Pair, client_for, device_verifier, server_authority, server_credential

ECDSA_SUITES = [
    "ECDHE-ECDSA-AES128-CCM8",
    "ECDHE-ECDSA-AES128-CCM",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-SHA256",
]


@pytest.mark.parametrize("suite", ECDSA_SUITES)
def test_each_suite_carries_data_both_ways(suite: str, manufacturer: Manufacturer) -> None:
    pair = Pair(client_for(manufacturer.device("device"), [suite]), device_verifier(manufacturer)).run()
    assert pair.server_handshake().cipher == suite
    largest = bytes(pair.client.max_plaintext_bytes)
    pair.client.send(largest)
    pair.accepted.send(b"pong")
    pair.run()
    assert pair.server_received() == [largest]
    assert pair.client_received() == [b"pong"]
    assert max(len(datagram) for _, datagram in pair.sent) <= 1_200


@pytest.mark.parametrize(
    "suite",
    ["ECDHE-ECDSA-AES128-SHA", "AES128-CCM8", "ECDHE-ECDSA-NULL-SHA", "AECDH-AES128-SHA"],
)
def test_a_client_that_offers_only_other_suites_gets_handshake_failure(
    suite: str, manufacturer: Manufacturer
) -> None:
    pair = Pair(client_for(manufacturer.device("device"), [suite]), device_verifier(manufacturer)).run()
    assert (pair.client_closed().cause, pair.client_closed().alert) == (CloseCause.ALERT_RECEIVED, 40)
    assert (pair.server_closed().cause, pair.server_closed().alert) == (CloseCause.ALERT_SENT, 40)


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["P-256", "P-384", "RSA-2048"],
)
def test_device_keys_of_each_supported_kind_authenticate(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, manufacturer: Manufacturer
) -> None:
    device = manufacturer.device("device", key=key)
    pair = Pair(client_for(device, ["ECDHE-ECDSA-AES128-CCM8"]), device_verifier(manufacturer)).run()
    assert pair.completed
    assert pair.server_handshake().path.common_name == "device"


def test_our_own_weak_key_is_refused() -> None:
    weak = Manufacturer().device("server", key=ec.generate_private_key(ec.SECP224R1()))
    with pytest.raises(FtcError) as refusal:
        server_context([weak.certificate], weak.private_key)
    assert refusal.value.reason is Reason.CERTIFICATE_KEY_UNSUPPORTED


def test_a_key_that_does_not_belong_to_its_certificate_is_refused() -> None:
    authority = Manufacturer()
    with pytest.raises(FtcError) as refusal:
        client_context([authority.device("a").certificate], authority.device("b").private_key)
    assert refusal.value.reason is Reason.INTERNAL_6


def test_the_server_sends_its_intermediates(manufacturer: Manufacturer) -> None:
    server = Manufacturer("Server Sub CA", issuer=server_authority()).device("server")
    context = server_context([server.certificate, *server.intermediates], server.private_key)
    pair = Pair(
        client_for(manufacturer.device("device")), device_verifier(manufacturer), server=context
    ).run()
    completed = pair.client_events[0]
    assert isinstance(completed, HandshakeCompleted)
    assert completed.path.chain_length == 2


def test_a_client_without_a_certificate_gets_handshake_failure(manufacturer: Manufacturer) -> None:
    bare = _bare_client_context()
    pair = Pair(bare, device_verifier(manufacturer))
    pair.run()
    assert (pair.server_closed().cause, pair.server_closed().alert) == (CloseCause.ALERT_SENT, 40)


def test_a_dtls_1_0_client_gets_protocol_version(manufacturer: Manufacturer) -> None:
    pair = Pair(_bare_client_context(version=0xFEFF), device_verifier(manufacturer)).run()
    assert (pair.server_closed().cause, pair.server_closed().alert) == (CloseCause.ALERT_SENT, 70)


def test_the_server_gives_out_no_session_to_resume(manufacturer: Manufacturer) -> None:
    """Each peer is judged on the CAs as they are now, so no session ID and no ticket is given out."""
    context = client_for(manufacturer.device("device"))
    pair = Pair(context, device_verifier(manufacturer)).run()
    assert pair.completed
    server_hello = next(datagram for direction, datagram in pair.sent[3:] if direction == "to client")
    session_id_length = server_hello[13 + 12 + 2 + 32]
    assert session_id_length == 0


def test_a_client_that_asks_for_a_ticket_gets_none(manufacturer: Manufacturer) -> None:
    """RFC 5077 §3.3: a NewSessionTicket (handshake type 4) would come in the server's last flight."""
    device = manufacturer.device("device")
    context = _bare_client_context()
    context.use_certificate(device.certificate)
    context.use_privatekey(device.private_key)
    pair = Pair(context, device_verifier(manufacturer)).run()
    assert pair.accepted.established
    records = [one for to, datagram in pair.sent if to == "to client" for one in split_records(datagram)]
    plaintext_messages = [one[13] for one in records if one[0] == 22 and one[3:5] == b"\x00\x00"]
    assert plaintext_messages == [3, 2, 11, 12, 13, 14]


def test_the_server_names_no_ca_in_its_certificate_request(manufacturer: Manufacturer) -> None:
    pair = Pair(client_for(manufacturer.device("device")), device_verifier(manufacturer)).run()
    flight = b"".join(datagram for direction, datagram in pair.sent if direction == "to client")
    assert b"Test Devices CA" not in flight
    assert server_credential().der in flight


def _bare_client_context(version: int = 0xFEFD) -> SSL.Context:
    """A client that presents no certificate, or speaks another version: not what `client_context` makes."""
    context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")
    context.set_verify(SSL.VERIFY_NONE, lambda *_: True)
    return context
