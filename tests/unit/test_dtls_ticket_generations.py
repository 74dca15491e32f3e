"""Ticket keys come and go by the clock: which seal, which open, and what becomes of a device's ticket."""

from __future__ import annotations

import pytest
from OpenSSL import SSL

from ftc_core.dtls.alert import Alert
from ftc_core.dtls.context import client_context, server_context
from ftc_core.dtls.ticket_generations import NamedContext, TicketGenerations
from ftc_core.dtls.ticket_key_name import KEY_NAME_BYTES, learn_key_name
from ftc_core.errors import FtcError
from ftc_core.limits import RESUMPTION_LIFETIME_MAX_S, TICKET_KEY_LIFETIME_S
from tests.certificates import Manufacturer
from tests.dtls_pair import Pair, device_verifier, server_credential

LIFE_S = 100.0
SPAN_S = LIFE_S / 2
NOW = 10 * SPAN_S + 1


def make() -> NamedContext:
    credential = server_credential()
    chain = [credential.certificate]
    context = server_context(chain, credential.private_key, resumption_s=3_600)
    return NamedContext(context, learn_key_name(context, chain, credential.private_key))


def generations(*, ahead: int = 0) -> TicketGenerations:
    return TicketGenerations(make, NOW, ahead=ahead, key_lifetime_s=LIFE_S)


class Visitor:
    """A device that keeps its session, and whether the server resumed it."""

    def __init__(self, manufacturer: Manufacturer) -> None:
        device = manufacturer.device("dev-1")
        self._context = client_context([device.certificate], device.private_key, tickets=True)
        self.verify = device_verifier(manufacturer)
        self._session: SSL.Session | None = None
        self._kept: list[Pair] = []

    def knock(self, server: TicketGenerations, now: float) -> Pair:
        pair = Pair(self._context, self.verify, session=self._session)
        pair.gate.renew(server.sealing(now), server.opening())
        return pair.run()

    def resumes(self, server: TicketGenerations, now: float) -> bool:
        pair = self.knock(server, now)
        assert pair.completed
        self._kept.append(pair)
        self._session = pair.client.session
        assert pair.client.resumed == pair.accepted.resumed
        return pair.accepted.resumed


def test_the_name_of_ticket_keys_is_the_contexts_own() -> None:
    credential = server_credential()
    one, other = make(), make()
    assert len(one.key_name) == KEY_NAME_BYTES
    assert one.key_name == learn_key_name(one.context, [credential.certificate], credential.private_key)
    assert one.key_name != other.key_name


def test_a_context_that_gives_no_tickets_has_no_name_to_learn() -> None:
    credential = server_credential()
    context = server_context([credential.certificate], credential.private_key)
    with pytest.raises(FtcError, match="no handshake"):
        learn_key_name(context, [credential.certificate], credential.private_key)


def test_each_generation_seals_for_half_of_its_keys_life_and_opens_for_all_of_it() -> None:
    server = generations()
    first = server.sealing(NOW)
    assert list(server.opening().values()) == [first]

    assert server.next_change(NOW) == 11 * SPAN_S
    server.advance(11 * SPAN_S)
    second = server.sealing(11 * SPAN_S)
    assert second is not first
    assert list(server.opening().values()) == [first, second]

    server.advance(12 * SPAN_S)
    assert first not in server.opening().values()
    assert second in server.opening().values()


def test_no_keys_live_longer_than_a_week_and_no_ticket_longer_than_half_of_that() -> None:
    assert TICKET_KEY_LIFETIME_S == 7 * 86_400
    assert RESUMPTION_LIFETIME_MAX_S <= TICKET_KEY_LIFETIME_S / 2


def test_those_to_come_are_there_before_their_time_and_seal_in_it() -> None:
    server = generations(ahead=2)
    made = list(server.opening().values())
    assert len(made) == 3
    assert [server.sealing(NOW + number * SPAN_S) for number in range(3)] == made
    assert server.last_span() == (12 * SPAN_S, 13 * SPAN_S)


def test_whoever_makes_no_more_goes_on_with_what_there_is() -> None:
    server = generations(ahead=1)
    _, last = server.opening().values()
    server.close()
    for number in (1, 2):
        server.advance(NOW + number * SPAN_S)
        assert list(server.opening().values())[-1] is last
    assert server.sealing(NOW + 2 * SPAN_S) is last


def test_a_context_without_tickets_opens_none() -> None:
    server = TicketGenerations(lambda: NamedContext(make().context, b""), NOW)
    assert server.opening() == {}


def test_a_ticket_outlives_one_change_of_keys_and_not_two(manufacturer: Manufacturer) -> None:
    server, visitor = generations(), Visitor(manufacturer)
    assert not visitor.resumes(server, NOW)
    server.advance(NOW + SPAN_S)
    assert visitor.resumes(server, NOW + SPAN_S)
    server.advance(NOW + 2 * SPAN_S)
    assert not visitor.resumes(server, NOW + 2 * SPAN_S)
    assert visitor.resumes(server, NOW + 2 * SPAN_S), "with the ticket that it was given instead"


def test_who_has_not_yet_changed_opens_what_one_who_has_did_seal(manufacturer: Manufacturer) -> None:
    server, visitor = generations(ahead=1), Visitor(manufacturer)
    assert not visitor.resumes(server, NOW + SPAN_S)
    assert visitor.resumes(server, NOW)


def test_a_former_generation_judges_as_the_present_one_does(manufacturer: Manufacturer) -> None:
    server, visitor = generations(), Visitor(manufacturer)
    assert not visitor.resumes(server, NOW)
    server.advance(NOW + SPAN_S)
    visitor.verify = device_verifier()
    assert visitor.knock(server, NOW + SPAN_S).server_closed().alert == Alert.UNKNOWN_CA
