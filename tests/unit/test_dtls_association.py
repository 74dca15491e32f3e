"""One peer from ClientHello to close_notify: what is accepted, what is refused, and how each end is told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import crypto

from ftc_core.dtls.alert import Alert
from ftc_core.dtls.association import ApplicationData, Association, CloseCause, Closed, HandshakeCompleted
from ftc_core.dtls.context import client_context
from ftc_core.dtls.cookie import Proven, Reply
from ftc_core.dtls.record import is_client_hello
from ftc_core.dtls.trust import PathRefused, VerifiedPath
from ftc_core.dtls.verification import PeerVerification
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import HANDSHAKE_MAX_BYTES, HANDSHAKE_MAX_DATAGRAMS, HANDSHAKE_TIMEOUT_S
from tests.certificates import Credential, Manufacturer, now
from tests.dtls_pair import Pair, client_for, device_verifier, server_verifier


def established(manufacturer: Manufacturer, suite: str = "ECDHE-ECDSA-AES128-CCM8") -> Pair:
    pair = Pair(client_for(manufacturer.device("dev-1"), [suite]), device_verifier(manufacturer)).run()
    assert pair.completed
    return pair


def flip_signature(device: Credential) -> Credential:
    """One bit of the certificate's signature changed; the key still belongs to it."""
    forged = device.der[:-1] + bytes((device.der[-1] ^ 1,))
    return Credential(x509.load_der_x509_certificate(forged), device.private_key, device.intermediates)


# --- the handshake ---------------------------------------------------------------------------------------


def test_both_ends_report_the_verified_peer_and_the_suite(manufacturer: Manufacturer) -> None:
    device = manufacturer.device("dev-1")
    pair = Pair(client_for(device), device_verifier(manufacturer)).run()
    (at_server,), (at_client,) = pair.server_events, pair.client_events
    assert isinstance(at_server, HandshakeCompleted)
    assert isinstance(at_client, HandshakeCompleted)
    assert at_server.path.leaf_der == device.der
    assert at_server.path.common_name == "dev-1"
    assert at_client.path.common_name == "server"
    assert at_server.cipher == at_client.cipher == "ECDHE-ECDSA-AES128-GCM-SHA256"


def test_devices_that_share_a_context_each_present_their_own_certificate(manufacturer: Manufacturer) -> None:
    first, second = manufacturer.device("dev-1"), manufacturer.device("dev-2")
    shared = client_for(first)
    pairs = [
        Pair(shared, device_verifier(manufacturer), identity=(each.certificate, each.private_key)).run()
        for each in (first, second)
    ]
    completed = [pair.server_events[0] for pair in pairs]
    assert all(isinstance(event, HandshakeCompleted) for event in completed)
    assert [event.path.leaf_der for event in completed] == [first.der, second.der]


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("with_root", [False, True])
def test_the_verifier_sees_the_whole_chain_once_leaf_first(length: int, with_root: bool) -> None:
    authorities = [Manufacturer("CA 0")]
    for number in range(1, length):
        authorities.append(Manufacturer(f"CA {number}", issuer=authorities[-1]))
    device = authorities[-1].device("dev-1")
    presented = [device.certificate, *device.intermediates]
    if with_root:
        presented.append(authorities[0].certificate)
    seen: list[list[bytes]] = []
    judge = device_verifier(authorities[0])

    def verify(chain: Sequence[bytes]) -> VerifiedPath | PathRefused:
        seen.append(list(chain))
        return judge(chain)

    pair = Pair(client_context(presented, device.private_key), verify).run()
    assert pair.completed
    assert seen == [[one.public_bytes(Encoding.DER) for one in presented]]


def test_certificates_that_lead_nowhere_are_not_shown_to_the_verifier(manufacturer: Manufacturer) -> None:
    device = manufacturer.device("dev-1")
    stranger = Manufacturer("Stranger")
    context = client_context([device.certificate, stranger.certificate], device.private_key)
    pair = Pair(context, device_verifier(manufacturer, stranger)).run()
    assert pair.server_handshake().path.chain_length == 1


# --- refusals: PRODUCT §1 row 1 --------------------------------------------------------------------------


def refused_with(pair: Pair, alert: Alert) -> None:
    """Both ends know it, the device from a plaintext fatal alert, and nobody saw a completed handshake."""
    assert pair.server_events == [pair.server_closed()]
    assert pair.client_events == [pair.client_closed()]
    assert (pair.server_closed().cause, pair.server_closed().alert) == (CloseCause.ALERT_SENT, alert)
    assert (pair.client_closed().cause, pair.client_closed().alert) == (CloseCause.ALERT_RECEIVED, alert)
    direction, last = pair.sent[-1]
    assert direction == "to client"
    assert (last[0], last[-2:]) == (21, bytes((2, alert)))


def test_no_known_ca_is_unknown_ca(manufacturer: Manufacturer) -> None:
    refused_with(Pair(client_for(manufacturer.device("dev-1")), device_verifier()).run(), Alert.UNKNOWN_CA)


def test_an_expired_device_is_certificate_expired(manufacturer: Manufacturer) -> None:
    yesterday = now() - timedelta(days=1)
    device = manufacturer.device("dev-1", not_before=yesterday - timedelta(days=1), not_after=yesterday)
    refused_with(Pair(client_for(device), device_verifier(manufacturer)).run(), Alert.CERTIFICATE_EXPIRED)


def test_a_device_that_is_not_yet_valid_is_certificate_expired(manufacturer: Manufacturer) -> None:
    device = manufacturer.device("dev-1", not_before=now() + timedelta(days=1))
    refused_with(Pair(client_for(device), device_verifier(manufacturer)).run(), Alert.CERTIFICATE_EXPIRED)


def test_a_forged_leaf_signature_is_bad_certificate(manufacturer: Manufacturer) -> None:
    """The device holds its key and proves it, so only the path check stands in its way."""
    device = flip_signature(manufacturer.device("dev-1"))
    refused_with(Pair(client_for(device), device_verifier(manufacturer)).run(), Alert.BAD_CERTIFICATE)


def test_a_forged_leaf_under_an_intermediate_is_bad_certificate() -> None:
    """OpenSSL's walk sees this one fail (error 7) and is overruled, as ever; our own check must hold."""
    root = Manufacturer("Root")
    device = flip_signature(Manufacturer("Lower", issuer=root).device("dev-1"))
    refused_with(Pair(client_for(device), device_verifier(root)).run(), Alert.BAD_CERTIFICATE)


def test_a_forged_intermediate_is_bad_certificate() -> None:
    root = Manufacturer("Root")
    device = Manufacturer("Lower", issuer=root).device("dev-1")
    (intermediate,) = device.intermediates
    der = intermediate.public_bytes(Encoding.DER)
    forged = x509.load_der_x509_certificate(der[:-1] + bytes((der[-1] ^ 1,)))
    context = client_context([device.certificate, forged], device.private_key)
    refused_with(Pair(context, device_verifier(root)).run(), Alert.BAD_CERTIFICATE)


def test_an_omitted_intermediate_is_unknown_ca() -> None:
    root = Manufacturer("Root")
    device = Manufacturer("Lower", issuer=root).device("dev-1")
    context = client_context([device.certificate], device.private_key)
    refused_with(Pair(context, device_verifier(root)).run(), Alert.UNKNOWN_CA)


def test_a_ca_that_is_none_is_bad_certificate() -> None:
    root = Manufacturer("Root")
    device = Manufacturer("Fake", issuer=root, is_authority=False).device("dev-1")
    refused_with(Pair(client_for(device), device_verifier(root)).run(), Alert.BAD_CERTIFICATE)


def test_an_exceeded_path_length_is_bad_certificate() -> None:
    root = Manufacturer("Root", path_length=0)
    device = Manufacturer("Lower", issuer=root).device("dev-1")
    refused_with(Pair(client_for(device), device_verifier(root)).run(), Alert.BAD_CERTIFICATE)


def test_a_lookalike_of_a_trusted_ca_is_bad_certificate(manufacturer: Manufacturer) -> None:
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(manufacturer.private_key.public_key())
    for extensions in ([], [identifier]):
        device = Manufacturer("Test Devices CA").device("dev-1", extensions=extensions)
        refused_with(Pair(client_for(device), device_verifier(manufacturer)).run(), Alert.BAD_CERTIFICATE)


def test_a_certificate_for_servers_is_bad_certificate(manufacturer: Manufacturer) -> None:
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    device = manufacturer.device("dev-1", extensions=[usage])
    refused_with(Pair(client_for(device), device_verifier(manufacturer)).run(), Alert.BAD_CERTIFICATE)


def test_a_weak_key_is_bad_certificate(manufacturer: Manufacturer) -> None:
    """OpenSSL's own security level would refuse it, but CCM-8 forces that to 0."""
    root = Manufacturer("Root")
    weak = Manufacturer("Weak", issuer=root, key=ec.generate_private_key(ec.SECP224R1()))
    refused_with(Pair(client_for(weak.device("dev-1")), device_verifier(root)).run(), Alert.BAD_CERTIFICATE)


def test_a_failing_store_is_internal_error_and_not_a_verdict(manufacturer: Manufacturer) -> None:
    def verify(chain: Sequence[bytes]) -> VerifiedPath | PathRefused:
        raise FtcError(Reason.INTERNAL_1)

    refused_with(Pair(client_for(manufacturer.device("dev-1")), verify).run(), Alert.INTERNAL_ERROR)


def test_a_bug_in_the_verifier_surfaces_and_ends_the_association(manufacturer: Manufacturer) -> None:
    def verify(chain: Sequence[bytes]) -> VerifiedPath | PathRefused:
        raise ZeroDivisionError

    pair = Pair(client_for(manufacturer.device("dev-1")), verify)
    with pytest.raises(ZeroDivisionError):
        pair.run()
    assert pair.accepted.next_event() == Closed(CloseCause.FAILED, detail="internal error")
    assert not pair.accepted.established
    pair.accepted.receive_datagram(pair.sent[-1][1], pair.now)
    assert pair.accepted.next_event() is None


def test_a_verdict_about_another_certificate_does_not_count(manufacturer: Manufacturer) -> None:
    """Defence in depth: a verifier that mixes up its answers must not let anyone in."""
    other = device_verifier(manufacturer)([manufacturer.device("somebody else").der])
    pair = Pair(client_for(manufacturer.device("dev-1")), lambda chain: other).run()
    assert pair.server_events == [Closed(CloseCause.UNVERIFIED)]
    assert not pair.client.established  # our Finished was not sent


def test_a_second_walk_over_a_chain_gets_no_second_verdict(manufacturer: Manufacturer) -> None:
    verification = PeerVerification(device_verifier(manufacturer))
    leaf = crypto.X509.from_cryptography(manufacturer.device("dev-1").certificate)
    assert verification.walk_certificate(leaf, 0, passed=False)
    assert verification.walk_certificate(leaf, 0, passed=True)
    assert not verification.walk_certificate(leaf, 0, passed=True)


def test_a_client_refuses_a_server_of_another_ca(manufacturer: Manufacturer) -> None:
    pair = Pair(
        client_for(manufacturer.device("dev-1")),
        device_verifier(manufacturer),
        verify_server=device_verifier(Manufacturer("Elsewhere")),
    ).run()
    assert (pair.client_closed().cause, pair.client_closed().alert) == (
        CloseCause.ALERT_SENT,
        Alert.UNKNOWN_CA,
    )
    assert (pair.server_closed().cause, pair.server_closed().alert) == (
        CloseCause.ALERT_RECEIVED,
        Alert.UNKNOWN_CA,
    )


# --- data and the end ------------------------------------------------------------------------------------


def test_messages_keep_their_boundaries(manufacturer: Manufacturer) -> None:
    pair = established(manufacturer)
    messages = [b"a", b"bb" * 500, b"c"]
    for message in messages:
        pair.client.send(message)
    before = len(pair.sent)
    assert pair.run().server_received() == messages
    assert len(pair.sent) - before == len(messages)


def test_data_in_the_datagram_of_the_last_flight_is_delivered_after_the_handshake(
    manufacturer: Manufacturer,
) -> None:
    """Several records in one datagram: the server's Finished and its first message."""
    held: list[bytes] = []

    def hold_the_end(direction: str, number: int, datagram: bytes) -> Sequence[bytes]:
        if direction == "to client" and number == 2:
            held.append(datagram)
            return ()
        return (datagram,)

    pair = Pair(
        client_for(manufacturer.device("dev-1")), device_verifier(manufacturer), network=hold_the_end
    ).run()
    pair.accepted.send(b"first")
    (data,) = pair.accepted.datagrams_to_send()
    pair.client.receive_datagram(held[0] + data, pair.now)
    assert isinstance(pair.client.next_event(), HandshakeCompleted)
    assert pair.client.next_event() == ApplicationData(b"first")


def test_close_notify_ends_both_sides(manufacturer: Manufacturer) -> None:
    pair = established(manufacturer)
    pair.accepted.close()
    pair.accepted.close()
    pair.run()
    assert pair.server_events[1:] == [Closed(CloseCause.CLOSED_HERE)]
    assert pair.client_events[1:] == [Closed(CloseCause.CLOSE_NOTIFY)]


def test_nothing_is_delivered_after_close(manufacturer: Manufacturer) -> None:
    pair = established(manufacturer)
    pair.client.send(b"one")
    (datagram,) = pair.client.datagrams_to_send()
    pair.accepted.receive_datagram(datagram, pair.now)
    pair.accepted.close()
    assert pair.accepted.next_event() == Closed(CloseCause.CLOSED_HERE)
    assert pair.accepted.next_event() is None


def test_nothing_can_be_sent_before_the_handshake_or_after_the_end(manufacturer: Manufacturer) -> None:
    pair = Pair(client_for(manufacturer.device("dev-1")), device_verifier(manufacturer))
    with pytest.raises(FtcError) as early:
        pair.client.send(b"x")
    pair.run()
    pair.client.close()
    with pytest.raises(FtcError) as late:
        pair.client.send(b"x")
    assert early.value.reason is late.value.reason is Reason.INTERNAL_7


def test_a_message_that_does_not_fit_the_mtu_is_refused(manufacturer: Manufacturer) -> None:
    pair = established(manufacturer)
    for message in (b"", bytes(pair.client.max_plaintext_bytes + 1)):
        with pytest.raises(ValueError, match="do not fit"):
            pair.client.send(message)


def test_close_during_the_handshake_is_silent(manufacturer: Manufacturer) -> None:
    pair = Pair(client_for(manufacturer.device("dev-1")), device_verifier(manufacturer))
    pair.client.datagrams_to_send()
    pair.client.close()
    assert pair.client.datagrams_to_send() == []
    assert pair.client.next_event() == Closed(CloseCause.CLOSED_HERE)
    assert pair.client.get_timer(pair.now) is None


# --- bounds of a peer that is not authenticated ------------------------------------------------------------


def half_open(manufacturer: Manufacturer) -> Pair:
    """The server has answered a proven ClientHello; the client's certificate has not arrived."""
    pair = Pair(
        client_for(manufacturer.device("dev-1")),
        device_verifier(manufacturer),
        network=lambda direction, number, datagram: (
            () if (direction, number) == ("to client", 1) else (datagram,)
        ),
        now=1_000.0,
    ).run()
    assert pair.server is not None
    return pair


def test_too_many_datagrams_end_a_handshake(manufacturer: Manufacturer) -> None:
    server = half_open(manufacturer).accepted
    for _ in range(HANDSHAKE_MAX_DATAGRAMS - 1):
        server.receive_datagram(b"\x17garbage", 1_000.0)
        assert server.next_event() is None
    server.receive_datagram(b"\x17garbage", 1_000.0)
    assert server.next_event() == Closed(CloseCause.HANDSHAKE_TOO_LARGE)


def test_too_many_bytes_end_a_handshake(manufacturer: Manufacturer) -> None:
    server = half_open(manufacturer).accepted
    for _ in range(HANDSHAKE_MAX_BYTES // 1_200 + 1):
        server.receive_datagram(b"\x17" * 1_200, 1_000.0)
    assert server.next_event() == Closed(CloseCause.HANDSHAKE_TOO_LARGE)


def test_a_certificate_bomb_is_stopped_before_it_is_complete(manufacturer: Manufacturer) -> None:
    device = manufacturer.device("dev-1")
    extra = [Manufacturer(f"CA {number}").certificate for number in range(60)]
    pair = Pair(
        client_context([device.certificate, *extra], device.private_key), device_verifier(manufacturer)
    ).run()
    assert pair.server_events == [Closed(CloseCause.HANDSHAKE_TOO_LARGE)]


def test_a_chain_longer_than_the_limit_is_bad_certificate() -> None:
    authorities = [Manufacturer("CA 0")]
    for number in range(1, 8):
        authorities.append(Manufacturer(f"CA {number}", issuer=authorities[-1]))
    device = authorities[-1].device("dev-1")
    refused_with(Pair(client_for(device), device_verifier(authorities[0])).run(), Alert.BAD_CERTIFICATE)


def test_a_handshake_that_takes_too_long_ends(manufacturer: Manufacturer) -> None:
    server = half_open(manufacturer).accepted
    deadline = 1_000.0 + HANDSHAKE_TIMEOUT_S
    server.handle_timer(deadline - 0.001)
    assert server.next_event() is None
    assert server.get_timer(deadline - 0.001) == deadline
    server.handle_timer(deadline)
    assert server.next_event() == Closed(CloseCause.HANDSHAKE_TIMEOUT)
    assert server.get_timer(deadline) is None


def test_a_device_may_take_45_seconds_for_its_part_of_the_handshake(manufacturer: Manufacturer) -> None:
    """A small one that makes its signature in software, on a radio that carries a few bytes a second."""

    def path(direction: str, number: int, datagram: bytes) -> tuple[bytes, ...]:
        if (direction, number) == ("to server", 2):  # certificate, key exchange, signature, Finished
            pair.now += 45.0
        return (datagram,)

    pair = Pair(
        client_for(manufacturer.device("dev-1")), device_verifier(manufacturer), network=path, now=1_000.0
    )
    pair.run()
    assert pair.completed
    assert pair.now == 1_045.0


@pytest.mark.parametrize("timeout_s", [5.0, 120.0])
def test_a_client_goes_on_for_as_long_as_it_is_told(manufacturer: Manufacturer, timeout_s: float) -> None:
    client = Association.connect(
        client_for(manufacturer.device("dev-1")), server_verifier(), 1_000.0, handshake_timeout_s=timeout_s
    )
    client.handle_timer(1_000.0 + timeout_s - 0.001)
    assert client.next_event() is None
    client.handle_timer(1_000.0 + timeout_s)
    assert client.next_event() == Closed(CloseCause.HANDSHAKE_TIMEOUT)


def test_a_late_datagram_ends_a_handshake_even_if_no_timer_fired(manufacturer: Manufacturer) -> None:
    server = half_open(manufacturer).accepted
    server.receive_datagram(b"\x16", 1_000.0 + HANDSHAKE_TIMEOUT_S)
    assert server.next_event() == Closed(CloseCause.HANDSHAKE_TIMEOUT)


def test_the_retransmission_timer_is_given_on_the_callers_clock(manufacturer: Manufacturer) -> None:
    """RFC 6347 §4.2.4.1: one second at first. OpenSSL counts in real time from when it sent the flight."""
    server = half_open(manufacturer).accepted
    timer = server.get_timer(1_000.0)
    assert timer is not None
    assert 1_000.0 < timer <= 1_001.0
    server.handle_timer(1_002.0)  # the caller's clock runs ahead: nothing is due yet in real time
    assert [len(datagram) for datagram in server.datagrams_to_send()] == []


def test_an_established_association_has_no_timer(manufacturer: Manufacturer) -> None:
    pair = established(manufacturer)
    assert pair.client.get_timer(pair.now) is None
    assert pair.accepted.get_timer(pair.now) is None


# --- a second ClientHello from a live address (RFC 6347 §4.2.8) --------------------------------------------


def client_hellos(pair: Pair) -> list[bytes]:
    return [datagram for _, datagram in pair.sent if is_client_hello(datagram)]


def test_the_proven_client_hello_sent_again_belongs_to_its_association(manufacturer: Manufacturer) -> None:
    pair = established(manufacturer)
    first, proven = client_hellos(pair)
    again = proven[:5] + (9).to_bytes(6, "big") + proven[11:]  # under another record number
    assert pair.accepted.owns_client_hello(proven)
    assert pair.accepted.owns_client_hello(again)
    assert not pair.accepted.owns_client_hello(first)
    server = pair.accepted
    assert pair.to_server(again) is None
    assert pair.accepted is server
    pair.client.send(b"still here")
    assert pair.run().server_received() == [b"still here"]


def test_a_spoofed_client_hello_does_not_disturb_a_live_association(manufacturer: Manufacturer) -> None:
    pair = established(manufacturer)
    server = pair.accepted
    spoofed = Pair(
        client_for(manufacturer.device("x")), device_verifier(manufacturer)
    ).client.datagrams_to_send()
    assert isinstance(pair.to_server(spoofed[0]), Reply)
    assert pair.accepted is server
    pair.client.send(b"still here")
    assert pair.run().server_received() == [b"still here"]


def test_a_device_that_restarts_on_its_old_port_gets_through(manufacturer: Manufacturer) -> None:
    """No close_notify, a new handshake from the same address: it replaces the old one once proven."""
    pair = established(manufacturer)
    old = pair.accepted
    restarted = Pair(client_for(manufacturer.device("dev-1")), device_verifier(manufacturer))
    pair.client = restarted.client
    pair.run()
    assert pair.accepted is not old
    assert pair.completed


def test_a_client_hello_that_is_no_client_hello_is_nobodys(manufacturer: Manufacturer) -> None:
    assert not established(manufacturer).accepted.owns_client_hello(b"\x16\xfe\xfd")


def test_a_client_association_owns_no_client_hello(manufacturer: Manufacturer) -> None:
    pair = established(manufacturer)
    assert not any(pair.client.owns_client_hello(hello) for hello in client_hellos(pair))


def test_two_client_hellos_back_to_back_make_two_independent_connections(manufacturer: Manufacturer) -> None:
    pair = established(manufacturer)
    _, proven = client_hellos(pair)
    first, second = (pair.gate.receive(proven, b"192.0.2.1|40000", pair.now) for _ in range(2))
    assert isinstance(first, Proven)
    assert isinstance(second, Proven)


def test_the_server_verifier_of_these_tests_refuses_devices(manufacturer: Manufacturer) -> None:
    """So that a mixed-up pair could not pass unnoticed."""
    assert isinstance(server_verifier()([manufacturer.device("dev-1").der]), PathRefused)
