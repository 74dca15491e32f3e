"""UDP sockets of the endpoints: groups on one port, replies from the right address, truncation."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from time import monotonic, sleep

import pytest

from ftc_core.endpoint.udp import Datagram, Origin, UdpSocket, bind_group
from ftc_core.errors import FtcError, Reason
from tests.instance import eventually

ANY_IPV4 = "0.0.0.0"  # noqa: S104 - the replies' source address is what is tested


@contextlib.contextmanager
def group(host: str, port: int, members: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(sock) for sock in bind_group(host, port, members)]


@contextlib.contextmanager
def client(to: tuple[str, int], family: socket.AddressFamily = socket.AF_INET) -> Iterator[socket.socket]:
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect(to)
        yield sock


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


def read_one(server: UdpSocket) -> Datagram:
    return eventually(lambda: next(server.receive(1), None), "a datagram arrives", patience_s=5)


# --- groups ----------------------------------------------------------------------------------------------


def test_port_0_is_one_free_port_for_the_whole_group() -> None:
    with group("127.0.0.1", 0, 3) as sockets:
        ports = {port_of(sock) for sock in sockets}

        assert len(sockets) == 3
        assert len(ports) == 1
        assert ports != {0}


def test_kernel_spreads_peers_over_the_group_and_keeps_each_with_its_member() -> None:
    with group("127.0.0.1", 0, 2) as sockets, contextlib.ExitStack() as stack:
        servers = [UdpSocket(sock) for sock in sockets]
        peers = [stack.enter_context(client(("127.0.0.1", port_of(sockets[0])))) for _ in range(40)]

        def received() -> list[set[int]]:
            for peer in peers:
                peer.send(b"x")
            return [{one.origin.port for one in server.receive(100)} for server in servers]

        first, second = received(), received()

        assert first == second
        assert all(first), "each member got some"
        assert first[0].isdisjoint(first[1])


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_port_of_another_group_is_in_use(host: str) -> None:
    with group(host, 0, 2) as sockets:
        port = port_of(sockets[0])

        with pytest.raises(FtcError) as caught:
            bind_group(host, port, 1)

        assert caught.value.reason is Reason.PORT_IN_USE
        assert caught.value.message == f"UDP port {port} on {host} is in use"


def test_port_of_a_plain_socket_is_in_use_also_by_the_wildcard() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))

        with pytest.raises(FtcError) as caught:
            bind_group(ANY_IPV4, port_of(taken), 1)

        assert caught.value.reason is Reason.PORT_IN_USE


def test_port_is_free_again_once_the_group_is_closed() -> None:
    with group("127.0.0.1", 0, 2) as sockets:
        port = port_of(sockets[0])
    with group("127.0.0.1", port, 2) as again:
        assert port_of(again[1]) == port


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_address_that_is_not_ours_is_a_wrong_setting(host: str) -> None:
    with pytest.raises(FtcError) as caught:
        bind_group(host, 0, 1)

    assert caught.value.reason is Reason.SETTING_INVALID
    assert caught.value.message.startswith(f"cannot listen on {host}:0: ")


def test_ipv6_wildcard_leaves_ipv4_to_its_own_socket() -> None:
    def bound_in_both() -> bool:
        with group("::", 0, 1) as (six,):
            try:
                with group(ANY_IPV4, port_of(six), 1) as (four,):
                    return port_of(four) == port_of(six)
            except FtcError:  # now and then it is somebody else's in IPv4
                return False

    assert eventually(bound_in_both, "a port that is free in both families")


# --- datagrams -------------------------------------------------------------------------------------------


@pytest.fixture
def any_address() -> Iterator[tuple[UdpSocket, int]]:
    """A server on all IPv4 addresses, and its port."""
    with group(ANY_IPV4, 0, 1) as (sock,):
        yield UdpSocket(sock), port_of(sock)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "127.1.2.3"])
def test_reply_comes_from_the_address_that_was_spoken_to(
    address: str, any_address: tuple[UdpSocket, int]
) -> None:
    server, port = any_address
    # A connected client takes datagrams from that address alone.
    with client((address, port)) as peer:
        peer.send(b"to " + address.encode())
        received = read_one(server)
        server.send(b"reply", received.origin)

        assert received.payload == b"to " + address.encode()
        assert peer.recv(100) == b"reply"


def test_ipv6_reply_comes_from_the_address_that_was_spoken_to() -> None:
    with group("::", 0, 1) as (sock,):
        server = UdpSocket(sock)
        with client(("::1", port_of(sock)), socket.AF_INET6) as peer:
            peer.send(b"question")
            received = read_one(server)
            server.send(b"reply", received.origin)

            assert peer.recv(100) == b"reply"
            assert str(received.origin) == f"[::1]:{port_of(peer)}"


def test_origin_is_the_same_for_every_datagram_of_a_peer_and_tells_our_addresses_apart(
    any_address: tuple[UdpSocket, int],
) -> None:
    server, port = any_address
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        origins = []
        for address in ("127.0.0.1", "127.0.0.1", "127.0.0.2"):
            peer.sendto(b"x", (address, port))
            origins.append(read_one(server).origin)

    assert origins[0] == origins[1]
    assert origins[2] != origins[0]
    assert origins[2].remote == origins[0].remote
    assert str(origins[0]) == f"127.0.0.1:{origins[0].port}"


def test_mapped_ipv4_address_is_shown_in_its_ipv4_form() -> None:
    origin = Origin(("::ffff:192.0.2.7", 40_000, 0, 0), ())

    assert (origin.host, origin.port, str(origin)) == ("192.0.2.7", 40_000, "192.0.2.7:40000")


def test_receive_stops_at_its_limit_and_at_silence(any_address: tuple[UdpSocket, int]) -> None:
    server, port = any_address
    assert list(server.receive(10)) == []
    with client(("127.0.0.1", port)) as peer:
        for number in range(5):
            peer.send(bytes((number,)))
        first = [one.payload for one in server.receive(3)]
        rest = [one.payload for one in server.receive(10)]

    assert first == [b"\x00", b"\x01", b"\x02"]
    assert rest == [b"\x03", b"\x04"]


def test_empty_and_largest_datagrams_arrive_whole(any_address: tuple[UdpSocket, int]) -> None:
    server, port = any_address
    with client(("127.0.0.1", port)) as peer:
        for size in (0, 1, 65_507):
            peer.send(bytes(size))
            assert read_one(server).payload == bytes(size)


def test_truncated_datagram_is_counted_and_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    # No datagram is longer than what we read; so read less.
    monkeypatch.setattr("ftc_core.endpoint.udp.DATAGRAM_MAX_BYTES", 100)
    with group("127.0.0.1", 0, 1) as (sock,):
        server = UdpSocket(sock)
        with client(("127.0.0.1", port_of(sock))) as peer:
            for size in (101, 100, 5_000, 7):
                peer.send(bytes(size))
            sizes = [len(one.payload) for one in server.receive(10)]

    assert sizes == [100, 7]
    assert server.truncated == 2


def test_reply_that_nobody_takes_harms_neither_sender_nor_reader(
    any_address: tuple[UdpSocket, int],
) -> None:
    server, port = any_address
    with client(("127.0.0.1", port)) as gone:
        gone.send(b"and away")
        origin = read_one(server).origin
    server.send(b"nobody there", origin)  # an ICMP error comes back for this socket
    server.send(b"nobody there", origin)
    with client(("127.0.0.1", port)) as peer:
        peer.send(b"still here?")

        assert read_one(server).payload == b"still here?"


def test_reply_that_cannot_be_sent_is_counted_as_lost(any_address: tuple[UdpSocket, int]) -> None:
    server, _ = any_address

    server.send(bytes(70_000), Origin(("127.0.0.1", 9), ()))

    assert server.dropped_sends == 1


@pytest.mark.parametrize(
    ("host", "level", "option"),
    [("127.0.0.1", socket.IPPROTO_IP, 10), ("::1", socket.IPPROTO_IPV6, 23)],  # ip(7), ipv6(7)
)
def test_routers_may_cut_what_we_send(host: str, level: int, option: int) -> None:
    """Linux forbids it on UDP by default, and learns of narrow paths by messages that firewalls drop."""
    (sock,) = bind_group(host, 0, 1)
    with sock:
        UdpSocket(sock)
        assert sock.getsockopt(level, option) == 0


def test_kernel_says_when_a_datagram_came_however_late_it_is_read() -> None:
    with group("127.0.0.1", 0, 1) as (sock,), client(("127.0.0.1", port_of(sock))) as peer:
        server = UdpSocket(sock)
        before = monotonic()
        peer.send(b"early")
        after = monotonic()
        sleep(0.1)

        received = read_one(server)

    assert before - 0.01 <= received.received_at <= after + 0.01


def test_datagrams_that_nobody_read_in_time_are_counted_also_after_the_end() -> None:
    with group("127.0.0.1", 0, 1) as (sock,), client(("127.0.0.1", port_of(sock))) as peer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        server = UdpSocket(sock)
        for _ in range(100):
            peer.send(bytes(1_000))
        overflowed = server.overflowed

        assert overflowed + len(list(server.receive(100))) == 100
        assert overflowed > 0
        server.close()
        assert server.overflowed == overflowed
