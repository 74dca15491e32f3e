"""libcoap's clients, on OpenSSL and on GnuTLS, ask the bootstrap server and the LwM2M server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Manufacturer
from tests.interop.fleet import Device
from tests.interop.instance import Account, Instance
from tests.interop.libcoap import LIBRARIES, Answer, Library, NoAnswerError, request
from tests.interop.openssl import UNKNOWN_CA

GRANTED = Answer("2.04", "")
RELEASED = Answer("4.03", "Device released")
NOT_REGISTERED = Answer("4.03", "Enrollment ID not registered")

# The numbers of datagrams that a client sends when the first of these is lost; GnuTLS sends each message of a
# flight in a datagram of its own.
SECOND_CLIENT_HELLO = 2
REQUEST: dict[Library, int] = {"openssl": 5, "gnutls": 9}

pytestmark = pytest.mark.parametrize("library", LIBRARIES)


class Client:
    """One build of coap-client, with the credential of one device."""

    def __init__(self, library: Library, instance: Instance, device: Device) -> None:
        self.library, self.instance, self.device = library, instance, device

    def bootstrap(self, query: str | None = None, lose: tuple[int, ...] = ()) -> Answer:
        return self.ask("post", f"bs?{query or f'ep={self.device.endpoint_name}'}", lose)

    def claimed_by(self, account: Account) -> list[dict[str, Any]]:
        """The account's devices of this client's endpoint name."""
        return account.devices_named(self.device.endpoint_name)

    def ask(self, method: str, path: str, lose: tuple[int, ...] = ()) -> Answer:
        return self._ask("bootstrap", self.device, method, path, lose)

    def ask_lwm2m(self, device: Device, method: str, path: str) -> Answer:
        """Ask the LwM2M server, with the credential of `device`."""
        return self._ask("lwm2m", device, method, path, ())

    def _ask(self, endpoint: str, device: Device, method: str, path: str, lose: tuple[int, ...]) -> Answer:
        return request(
            self.library,
            method,
            self.instance.ports[endpoint],
            path,
            ca=self.instance.ca,
            credential=device.credential,
            lose=lose,
        )


@pytest.fixture
def client(library: Library, instance: Instance, device: Device) -> Client:
    return Client(library, instance, device)


def test_enrolled_device_is_granted_and_stands_in_the_account(client: Client, owner: Account) -> None:
    owner.enroll(client.device.certificate)

    assert client.bootstrap() == GRANTED

    # The client leaves before the sequence ends: the claim stays, the device is not yet BOOTSTRAPPED.
    assert [device["state"] for device in client.claimed_by(owner)] == ["CLOUD_ENROLLING"]


def test_second_bootstrap_gives_the_same_device(client: Client, owner: Account) -> None:
    owner.enroll(client.device.certificate)

    assert client.bootstrap() == GRANTED
    first = client.claimed_by(owner)
    assert client.bootstrap() == GRANTED

    assert [device["name"] for device in client.claimed_by(owner)] == [first[0]["name"]]


def test_device_that_nobody_enrolled_is_refused_until_it_is(client: Client, owner: Account) -> None:
    assert client.bootstrap() == NOT_REGISTERED

    owner.enroll(client.device.certificate)

    assert client.bootstrap() == GRANTED


def test_lost_datagrams_are_made_good(client: Client, owner: Account) -> None:
    owner.enroll(client.device.certificate)

    # DTLS and CoAP each send again.
    assert client.bootstrap(lose=(SECOND_CLIENT_HELLO, REQUEST[client.library])) == GRANTED

    assert len(client.claimed_by(owner)) == 1


def test_endpoint_name_of_another_device_is_refused(client: Client, owner: Account) -> None:
    owner.enroll(client.device.certificate)

    assert client.bootstrap("ep=somebody-else") == Answer("4.00", "ep does not match the certificate")
    assert client.claimed_by(owner) == []


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("pct=11542", "ep is missing"),
        ("ep=", "ep is missing"),
        ("ep=%ff%fe", "ep is not valid UTF-8"),
    ],
)
def test_malformed_endpoint_name_is_refused_with_what_is_wrong(
    client: Client, owner: Account, query: str, text: str
) -> None:
    assert client.bootstrap(query) == Answer("4.00", text)


def test_query_parameters_that_we_do_not_know_are_ignored(client: Client, owner: Account) -> None:
    owner.enroll(client.device.certificate)

    assert client.bootstrap(f"mccv=4.13.0&ep={client.device.endpoint_name}&colour=blue") == GRANTED


def test_payload_format_that_we_do_not_write_is_refused(client: Client, owner: Account) -> None:
    assert client.bootstrap(f"ep={client.device.endpoint_name}&pct=50") == Answer(
        "4.15", "pct is not supported"
    )


def test_unknown_path_and_method_are_refused(client: Client, owner: Account) -> None:
    assert client.ask("post", "nowhere") == Answer("4.04", "No such resource")
    assert client.ask("get", "bs") == Answer("4.05", "Method not allowed")


def test_device_registers_updates_and_deregisters(client: Client, owner: Account) -> None:
    owner.enroll(client.device.certificate)
    onboarded = client.device.onboarded()
    (record,) = client.claimed_by(owner)
    location = f"rd/{owner.id}/{record['name'].rpartition('/')[2]}"

    register = f"rd?lt=600&ep={client.device.endpoint_name}&lwm2m=1.1&b=U"
    assert client.ask_lwm2m(onboarded, "post", register) == Answer("2.01", "")
    assert client.ask_lwm2m(onboarded, "post", f"{location}?lt=900") == Answer("2.04", "")
    (updated,) = client.claimed_by(owner)
    assert client.ask_lwm2m(onboarded, "delete", location) == Answer("2.02", "")
    (deregistered,) = client.claimed_by(owner)

    assert (updated["state"], updated["lwm2m_version"], updated["lifetime"]) == ("REGISTERED", "1.1", "900s")
    assert deregistered["state"] == "DEREGISTERED"


def test_registration_under_the_name_of_another_device_is_sent_to_bootstrap(
    client: Client, owner: Account
) -> None:
    owner.enroll(client.device.certificate)
    onboarded = client.device.onboarded()

    refused = client.ask_lwm2m(onboarded, "post", "rd?ep=somebody-else&lt=600&lwm2m=1.1")

    assert refused == RELEASED


def test_released_device_is_forbidden_to_register(client: Client, owner: Account) -> None:
    enrollment = owner.enroll(client.device.certificate)
    onboarded = client.device.onboarded()
    owner.release(enrollment)

    refused = client.ask_lwm2m(onboarded, "post", f"rd?ep={client.device.endpoint_name}&lt=600&lwm2m=1.1")

    assert refused == RELEASED


def test_bootstrap_credential_does_not_open_the_lwm2m_server(client: Client, owner: Account) -> None:
    with pytest.raises(NoAnswerError) as failure:
        client.ask_lwm2m(client.device, "post", f"rd?ep={client.device.endpoint_name}&lt=600")

    assert failure.value.alert == UNKNOWN_CA


def test_ca_that_the_enrolling_account_lacks_is_named(
    client: Client, owner: Account, account: Account
) -> None:
    account.enroll(client.device.certificate)

    assert client.bootstrap() == Answer("4.00", "Corresponding trusted certificate not in account")
    assert client.claimed_by(account) == client.claimed_by(owner) == []


def test_ca_that_nobody_uploaded_fails_the_handshake(
    library: Library, instance: Instance, tmp_path: Path
) -> None:
    stranger = Device.of(Manufacturer("Nobody's CA").device("stranger"), "stranger", tmp_path)

    with pytest.raises(NoAnswerError) as failure:
        Client(library, instance, stranger).bootstrap()

    assert failure.value.alert == UNKNOWN_CA
