"""Resumed sessions (RFC 5077): abbreviated where the device would be let in anew, and nowhere else."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from OpenSSL import SSL

from ftc_core.dtls.alert import Alert
from ftc_core.dtls.association import CloseCause, HandshakeCompleted
from ftc_core.dtls.context import client_context, server_context
from ftc_core.dtls.record import split_records
from ftc_core.dtls.resumption import PresentedChains
from ftc_core.dtls.trust import PathRefused, TrustEvaluator, VerifiedPath, fixed_anchors
from ftc_core.errors import FtcError, Reason
from tests.certificates import Credential, Manufacturer
from tests.dtls_pair import Network, Pair, device_verifier, perfect, server_credential, wait_until_done

HOUR_S = 3_600
SERVER_HELLO, CERTIFICATE = 2, 11


def resuming_server(lifetime_s: int = HOUR_S) -> SSL.Context:
    credential = server_credential()
    return server_context([credential.certificate], credential.private_key, resumption_s=lifetime_s)


class Device:
    """A device that keeps its session, and the server that it comes back to."""

    def __init__(self, credential: Credential, *authorities: Manufacturer, lifetime_s: int = HOUR_S) -> None:
        chain = [credential.certificate, *credential.intermediates]
        self.context = client_context(chain, credential.private_key, tickets=True)
        self.server = resuming_server(lifetime_s)
        self.verify = device_verifier(*authorities)
        self.chains = PresentedChains()
        self.session: SSL.Session | None = None
        self._connected: list[Pair] = []  # OpenSSL forgets the session of a connection freed without an end

    def connect(self, network: Network = perfect, *, mtu: int = 1_200) -> Pair:
        """One connection with the session of the last one that was completed."""
        pair = Pair(
            self.context,
            self.verify,
            server=self.server,
            session=self.session,
            chains=self.chains,
            network=network,
            mtu=mtu,
        ).run()
        if pair.completed:
            self.session = pair.client.session
            self._connected.append(pair)
        return pair


def known(manufacturer: Manufacturer, *, lifetime_s: int = HOUR_S) -> Device:
    """A device that was here before."""
    device = Device(manufacturer.device("dev-1"), manufacturer, lifetime_s=lifetime_s)
    pair = device.connect()
    assert pair.completed
    assert not pair.accepted.resumed
    return device


def plaintext_messages(pair: Pair) -> list[int]:
    """The types of the handshake messages that the server sent in the clear."""
    records = [one for to, sent in pair.sent if to == "to client" for one in split_records(sent)]
    return [one[13] for one in records if one[0] == 22 and one[3:5] == b"\x00\x00"]


def same_certificate(one: VerifiedPath, other: VerifiedPath) -> bool:
    """Whether both are the same verified path, each over an association of its own."""
    assert one.channel_binding != other.channel_binding
    return msgspec.structs.replace(one, channel_binding=b"") == msgspec.structs.replace(
        other, channel_binding=b""
    )


def is_resumed(pair: Pair) -> bool:
    """Whether both ends say so, and the wire, too."""
    assert pair.completed
    assert pair.client.resumed == pair.accepted.resumed
    assert pair.accepted.resumed == (CERTIFICATE not in plaintext_messages(pair))
    pair.client.send(b"ping")
    assert pair.run().server_received() == [b"ping"]
    return pair.accepted.resumed


def refused_with(pair: Pair, alert: Alert) -> None:
    """The device was asked for its certificates, and then told what is wrong with them."""
    assert not any(isinstance(event, HandshakeCompleted) for event in pair.server_events)
    assert (pair.server_closed().cause, pair.server_closed().alert) == (CloseCause.ALERT_SENT, alert)
    assert (pair.client_closed().cause, pair.client_closed().alert) == (CloseCause.ALERT_RECEIVED, alert)
    assert CERTIFICATE in plaintext_messages(pair)


def test_a_device_that_comes_back_makes_an_abbreviated_handshake(manufacturer: Manufacturer) -> None:
    device = known(manufacturer)
    first = device.connect()
    assert is_resumed(first)
    # ClientHello, HelloVerifyRequest, ClientHello, server's flight, client's flight: no round trip more.
    assert [direction for direction, _ in first.sent[:5]] == [
        "to server",
        "to client",
        "to server",
        "to client",
        "to server",
    ]
    assert is_resumed(device.connect())


def test_a_resumed_session_has_the_verified_path_of_its_certificate(manufacturer: Manufacturer) -> None:
    device = Device(manufacturer.device("dev-1"), manufacturer)
    full, resumed = device.connect().server_handshake(), device.connect().server_handshake()
    assert same_certificate(full.path, resumed.path)
    assert full.path.issuing_cas
    assert full.cipher == resumed.cipher


def test_the_verifier_is_asked_at_each_resumption(manufacturer: Manufacturer) -> None:
    device = known(manufacturer)
    asked: list[int] = []
    judge = device.verify

    def verify(chain: Sequence[bytes]) -> VerifiedPath | PathRefused:
        asked.append(len(chain))
        return judge(chain)

    device.verify = verify
    assert is_resumed(device.connect())
    assert asked == [1]


def test_no_resumption_after_the_ca_was_removed(manufacturer: Manufacturer) -> None:
    """As Californium CVE-2022-2576: a ticket must not outlive the trust under which it was given."""
    device = known(manufacturer)
    device.verify = device_verifier()
    refused_with(device.connect(), Alert.UNKNOWN_CA)


def test_a_ca_that_is_trusted_again_makes_its_devices_resumable_again(manufacturer: Manufacturer) -> None:
    device = known(manufacturer)
    session, trusting = device.session, device.verify
    device.verify = device_verifier()
    assert not device.connect().completed
    device.session, device.verify = session, trusting
    assert device.connect().completed


def test_no_resumption_after_the_device_expired(manufacturer: Manufacturer) -> None:
    device = known(manufacturer)
    evaluator = TrustEvaluator(fixed_anchors([manufacturer.der]))
    device.verify = lambda chain: evaluator.evaluate(chain, datetime.now(UTC) + timedelta(days=31))
    refused_with(device.connect(), Alert.CERTIFICATE_EXPIRED)


def test_no_resumption_while_the_index_cannot_be_read(manufacturer: Manufacturer) -> None:
    device = known(manufacturer)

    def verify(chain: Sequence[bytes]) -> VerifiedPath | PathRefused:
        raise FtcError(Reason.INTERNAL_1)

    device.verify = verify
    refused_with(device.connect(), Alert.INTERNAL_ERROR)


def test_a_bug_in_the_verifier_ends_a_resumption_before_our_answer_leaves(manufacturer: Manufacturer) -> None:
    device = known(manufacturer)

    def verify(chain: Sequence[bytes]) -> VerifiedPath | PathRefused:
        raise ZeroDivisionError

    device.verify = verify
    with pytest.raises(ZeroDivisionError):
        device.connect()


def test_a_verdict_about_another_certificate_does_not_resume(manufacturer: Manufacturer) -> None:
    device = known(manufacturer)
    other = device_verifier(manufacturer)([manufacturer.device("somebody else").der])
    device.verify = lambda chain: other
    pair = device.connect()
    assert not pair.accepted.established
    assert pair.server_closed().cause is CloseCause.UNVERIFIED


@pytest.mark.parametrize("length", [2, 3])
def test_a_chain_is_judged_with_the_intermediates_that_it_was_presented_with(length: int) -> None:
    authorities = [Manufacturer("CA 0")]
    for number in range(1, length):
        authorities.append(Manufacturer(f"CA {number}", issuer=authorities[-1]))
    device = Device(authorities[-1].device("dev-1"), authorities[0])
    full, resumed = device.connect(), device.connect()
    assert is_resumed(resumed)
    assert same_certificate(full.server_handshake().path, resumed.server_handshake().path)
    assert resumed.server_handshake().path.chain_length == length


def test_forgotten_intermediates_cost_a_full_handshake_and_nothing_else() -> None:
    root = Manufacturer("Root")
    device = Device(Manufacturer("Lower", issuer=root).device("dev-1"), root)
    device.connect()
    device.chains = PresentedChains()
    assert not is_resumed(device.connect())


def test_the_chains_that_were_used_last_are_kept() -> None:
    chains = PresentedChains(limit=2)
    for name in (b"a", b"b"):
        chains.remember([name, b"intermediate"])
    assert chains.recall(b"a") == [b"a", b"intermediate"]
    chains.remember([b"c", b"intermediate"])
    assert chains.recall(b"b") == [b"b"]
    assert chains.recall(b"a") == [b"a", b"intermediate"]
    chains.remember([b"a"])
    assert chains.recall(b"a") == [b"a"]


def test_a_ticket_of_another_process_is_a_full_handshake(manufacturer: Manufacturer) -> None:
    device = known(manufacturer)
    device.server = resuming_server()
    assert not is_resumed(device.connect())
    assert is_resumed(device.connect()), "with the ticket that the other one gave"


def test_renewed_keys_end_the_tickets_and_not_the_associations(manufacturer: Manufacturer) -> None:
    device = Device(manufacturer.device("dev-1"), manufacturer)
    pair = device.connect()
    pair.gate.renew(resuming_server(), {})
    pair.client.send(b"still here")
    assert pair.run().server_received() == [b"still here"]

    again = Pair(device.context, device.verify, session=device.session)
    again.gate = pair.gate
    assert not is_resumed(again.run())


def test_a_ticket_ends_with_its_lifetime(manufacturer: Manufacturer) -> None:
    device = known(manufacturer, lifetime_s=1)
    assert is_resumed(device.connect())
    time.sleep(2.1)  # OpenSSL counts whole seconds of the real clock
    assert not is_resumed(device.connect())


def test_a_server_that_resumes_nothing_gives_no_ticket(manufacturer: Manufacturer) -> None:
    device = known(manufacturer, lifetime_s=0)
    assert not is_resumed(device.connect())


def test_a_ticket_with_any_bit_changed_is_a_full_handshake(manufacturer: Manufacturer) -> None:
    """The ClientHello differs at both ends then, so the handshake fails at Finished; nobody gets in."""
    device = known(manufacturer)

    def corrupt(direction: str, _number: int, datagram: bytes) -> Iterator[bytes]:
        at = datagram.find(b"\x00\x23", 60) if direction == "to server" and datagram[13] == 1 else -1
        yield (
            datagram
            if at < 0
            else datagram[: at + 40] + bytes((datagram[at + 40] ^ 1,)) + datagram[at + 41 :]
        )

    pair = device.connect(corrupt)
    assert CERTIFICATE in plaintext_messages(pair)
    assert not pair.accepted.established


def test_a_stolen_ticket_without_its_secret_is_worth_nothing(manufacturer: Manufacturer) -> None:
    """A replayed ClientHello is answered, from an address that proved itself; its Finished cannot be made."""
    device = known(manufacturer)
    victim = device.connect()
    hello = [sent for to, sent in victim.sent if to == "to server"][1]
    replay = Pair(device.context, device.verify, server=device.server, chains=device.chains)
    replay.client.datagrams_to_send()
    replay.to_server(hello)
    assert replay.accepted.resumed
    for to, sent in victim.sent[2:]:
        if to == "to server":
            replay.to_server(sent)
    assert not replay.accepted.established
    assert replay.server_received() == []


@pytest.mark.parametrize("mtu", [300, 548])
def test_a_client_hello_in_fragments_resumes(mtu: int, manufacturer: Manufacturer) -> None:
    device = known(manufacturer)
    pair = device.connect(mtu=mtu)
    assert max(len(sent) for _, sent in pair.sent) <= mtu
    assert is_resumed(pair)


@pytest.mark.parametrize("mtu", [300, 548])
def test_a_client_hello_in_fragments_whose_ticket_is_no_use_is_heard_again(
    mtu: int, manufacturer: Manufacturer
) -> None:
    device = known(manufacturer)
    device.verify = device_verifier()
    refused_with(device.connect(mtu=mtu), Alert.UNKNOWN_CA)


def lost_once(number: int, direction: str) -> Network:
    return lambda to, count, datagram: () if (to, count) == (direction, number) else (datagram,)


def test_the_loss_of_any_datagram_of_an_abbreviated_handshake_is_made_good(
    manufacturer: Manufacturer,
) -> None:
    device = known(manufacturer)
    session = device.session
    whole = device.connect()
    pairs = []
    for direction in ("to server", "to client"):
        for number in range(sum(1 for to, _ in whole.sent if to == direction)):
            device.session = session
            pairs.append(device.connect(lost_once(number, direction)))
    assert len(pairs) == 5  # three datagrams of the device, two of the server
    wait_until_done(pairs)
    assert all(is_resumed(pair) for pair in pairs)
