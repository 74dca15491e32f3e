"""The device's bootstrap client with an account in security mode EST, alone against scripted servers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from aiocoap.message import Message
from aiocoap.numbers.codes import Code
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key
from cryptography.x509.oid import NameOID

from ftc_core.coap.events import FailureCause
from ftc_core.credentials.issuer import CredentialIssuer
from ftc_core.credentials.pki import create_authority
from ftc_core.credentials.signing_request import judge_signing_request
from ftc_core.device.client import BootstrapClient, BootstrapClientEffect, BootstrapFailed, Succeeded
from ftc_core.device.effects import RespondSeparately
from ftc_core.device.model import IZUMA, VERSION_1_2, ClientModel
from ftc_core.limits import EST_ENROLMENT_TIMEOUT_S
from ftc_core.lwm2m import content
from ftc_core.lwm2m.discovery import VERSION_1_1
from ftc_core.lwm2m.effects import Respond, SendRequest
from ftc_core.lwm2m.est import EnrolmentRequest, certificate_answer
from ftc_core.lwm2m.messages import diagnostic_of, request, response
from ftc_core.lwm2m.objects import SecurityInstance, SecurityMode, ServerInstance
from ftc_core.lwm2m.request import Dialect

NOW = datetime(2026, 11, 29, tzinfo=UTC)
NAMES = {"endpoint_name": "dev-1", "device_id": "d" * 32, "account_id": "a" * 32}
ISSUER = CredentialIssuer(create_authority("Issuing CA", now=NOW), timedelta(days=1))
V1_1 = ClientModel(version=VERSION_1_1, bootstrap_instance=1)
ACCOUNT = SecurityInstance(
    server_uri=f"coaps://l:5684?aid={NAMES['account_id']}",
    bootstrap_server=False,
    mode=SecurityMode.EST,
    server_public_key=b"lwm2m ca",
    short_server_id=1,
)
IEP = f"iep={NAMES['device_id']}"


class Device:
    """A client that has been given the account; `effects` are those that were not yet looked at."""

    def __init__(self, model: ClientModel, account: SecurityInstance = ACCOUNT) -> None:
        own = SecurityInstance(
            server_uri="coaps://b:5784",
            bootstrap_server=True,
            mode=SecurityMode.CERTIFICATE,
            public_key=b"c",
            server_public_key=b"a",
            secret_key=b"k",
        )
        self.client = BootstrapClient("dev-1", own, model=model)
        self.client.start(0.0)
        self.sent()
        self.client.response_received(1, response(Code.CHANGED), 1.0)
        for path, instance in (((0, 0), account), ((1, 0), ServerInstance(short_server_id=1))):
            values = {(*path, number): value for number, value in instance.resources().items()}
            payload = content.encode(11542, path, values)
            message = request(Code.PUT, tuple(map(str, path)), content_format=11542, payload=payload)
            self.client.request_received(sum(path) + 10, message, 2.0)

    def effects(self) -> list[BootstrapClientEffect]:
        effects = []
        while (effect := self.client.next_effect()) is not None:
            effects.append(effect)
        return effects

    def sent(self) -> Message:
        """The request that the client sends, now exchange 1."""
        [send] = [effect for effect in self.effects() if isinstance(effect, SendRequest)]
        self.client.request_sent(send.label, 1)
        return send.message

    def finish(self, *query: str) -> list[BootstrapClientEffect]:
        self.effects()
        self.client.request_received(20, request(Code.POST, ("bs",), query=query), 3.0)
        return self.effects()

    def asked(self) -> Message:
        """Its certificate request, after a Finish as it should be."""
        for effect in self.finish(IEP):
            if isinstance(effect, RespondSeparately):
                self.client.response_acknowledged(20, 4.0)
            elif isinstance(effect, SendRequest):
                self.client.request_sent(effect.label, 1)
                return effect.message
        return self.sent()

    def answered(self, answer: Message) -> Succeeded | BootstrapFailed:
        self.client.response_received(1, answer, 5.0)
        return self.ended()

    def ended(self) -> Succeeded | BootstrapFailed:
        [end] = self.effects()
        assert isinstance(end, Succeeded | BootstrapFailed)
        return end


def issued(asked: Message, key: ec.EllipticCurvePublicKey | None = None) -> Message:
    """The server's answer, for the key of the request or for another."""
    key = key or judge_signing_request(asked.payload, **NAMES)
    certificate = ISSUER.certify(key, **NAMES, now=NOW)
    accept = asked.opt.accept
    request_ = EnrolmentRequest(asked.payload, None if accept is None else int(accept))
    return certificate_answer(request_, certificate, Dialect.IZUMA)


@pytest.mark.parametrize(
    ("model", "content_format", "accept"), [(IZUMA, None, None), (V1_1, 286, 281)], ids=["Izuma", "1.1"]
)
def test_it_asks_after_finish_and_has_certificate_and_key_of_its_own(
    model: ClientModel, content_format: int | None, accept: int | None
) -> None:
    device = Device(model)
    asked = device.asked()
    assert (asked.code, asked.opt.uri_path) == (Code.POST, ("est", "sen"))
    assert (asked.opt.content_format, asked.opt.accept) == (content_format, accept)

    done = device.answered(issued(asked))

    assert isinstance(done, Succeeded)
    account = done.outcome.lwm2m
    assert account.mode == SecurityMode.CERTIFICATE
    certificate = x509.load_der_x509_certificate(account.public_key or b"")
    assert load_der_private_key(account.secret_key or b"", None).public_key() == certificate.public_key()
    assert (done.steps[-1].name, done.steps[-1].code) == ("EST enrolment", "2.04")


def test_its_subject_is_what_it_was_told() -> None:
    csr = x509.load_der_x509_csr(Device(IZUMA).asked().payload)
    assert {attribute.oid: attribute.value for attribute in csr.subject} == {
        NameOID.COMMON_NAME: "dev-1",
        NameOID.LOCALITY_NAME: NAMES["device_id"],
        NameOID.ORGANIZATIONAL_UNIT_NAME: NAMES["account_id"],
    }


def test_each_bootstrap_has_another_key() -> None:
    first, second = (judge_signing_request(Device(IZUMA).asked().payload, **NAMES) for _ in range(2))
    assert first != second


def test_izumas_client_wants_to_be_told_its_id() -> None:
    answer, failed = Device(IZUMA).finish()
    assert isinstance(answer, Respond)
    assert answer.message.code == Code.BAD_REQUEST
    assert diagnostic_of(answer.message) == "BS FIN fails: missing EST iep param"
    assert isinstance(failed, BootstrapFailed)


def test_a_client_by_the_book_leaves_the_subject_empty_if_it_is_not() -> None:
    [asked] = [effect for effect in Device(V1_1).finish() if isinstance(effect, SendRequest)]
    assert not x509.load_der_x509_csr(asked.message.payload).subject


def test_lwm2m_1_0_does_not_know_the_mode() -> None:
    answer, failed = Device(ClientModel(bootstrap_instance=1)).finish(IEP)
    assert isinstance(answer, Respond)
    assert answer.message.code == Code.BAD_REQUEST
    assert isinstance(failed, BootstrapFailed)


def test_a_pack_with_such_an_account_is_followed_by_the_request() -> None:
    model = ClientModel(version=VERSION_1_2, packs=True)
    client = BootstrapClient(
        "dev-1", SecurityInstance(server_uri="coaps://b", bootstrap_server=True), model=model
    )
    client.start(0.0)
    client.request_sent(1, 1)
    assert client.next_effect() is not None
    values = {(0, 2, number): value for number, value in ACCOUNT.resources().items()}
    payload = content.encode(112, (), {**values, (1, 0, 0): 1})
    client.response_received(1, response(Code.CONTENT, content_format=112, payload=payload), 1.0)
    send = client.next_effect()
    assert isinstance(send, SendRequest)
    assert send.message.opt.uri_path == ("est", "sen")


def test_a_refusal_is_reported_with_its_code_and_text() -> None:
    device = Device(IZUMA)
    device.asked()
    failed = device.answered(response(Code.BAD_REQUEST, payload=b"CSR key is not P-256"))
    assert isinstance(failed, BootstrapFailed)
    assert (failed.code, failed.text) == ("4.00", "CSR key is not P-256")


def test_a_certificate_for_another_key_is_none() -> None:
    device = Device(IZUMA)
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    failed = device.answered(issued(device.asked(), other))
    assert isinstance(failed, BootstrapFailed)
    assert failed.text == "the certificate cannot be used: the private key does not belong to the certificate"


def test_what_is_no_certificate_is_none() -> None:
    device = Device(V1_1)
    device.asked()
    failed = device.answered(response(Code.CHANGED, content_format=287, payload=b"no certificate"))
    assert isinstance(failed, BootstrapFailed)
    assert failed.text.startswith("the certificate cannot be used: ")


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07"),
        (bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030108")),
        (bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06072a8648ce3d0209")),
    ],
    ids=["version 8", "another curve", "another kind of key"],
)
def test_one_that_the_library_does_not_know_is_none(good: bytes, bad: bytes) -> None:
    device = Device(V1_1)
    asked = device.asked()
    key = judge_signing_request(asked.payload, **NAMES)
    certificate = ISSUER.certify(key, **NAMES, now=NOW)
    assert good in certificate
    answer = response(Code.CHANGED, content_format=287, payload=certificate.replace(good, bad))
    failed = device.answered(answer)
    assert isinstance(failed, BootstrapFailed)
    assert failed.text.startswith("the certificate cannot be used: ")


@pytest.mark.parametrize("model", [IZUMA, V1_1], ids=["Izuma", "1.1"])
def test_a_server_uri_that_is_none_ends_it(model: ClientModel) -> None:
    device = Device(model, replace(ACCOUNT, server_uri="coaps://[l?aid=a"))
    ends = device.finish(IEP)
    device.client.response_acknowledged(20, 4.0)
    failed = [*ends, *device.effects()][-1]
    assert isinstance(failed, BootstrapFailed)
    assert failed.text == "no certificate can be asked for: Invalid IPv6 URL"
    assert failed.steps[-1].name == "EST enrolment"


def test_no_answer_ends_it() -> None:
    device = Device(IZUMA)
    device.asked()
    device.client.exchange_failed(1, FailureCause.TIMED_OUT, 60.0)
    failed = device.ended()
    assert isinstance(failed, BootstrapFailed)
    assert failed.text == "the server did not answer"


def test_a_close_instead_of_an_answer_ends_it() -> None:
    """Of the server: without EST a close after Finish is its last word, and a good one."""
    for acknowledged in (False, True):
        device = Device(IZUMA)
        if acknowledged:
            device.asked()
        else:
            device.finish(IEP)
        device.client.association_closed(5.0)
        failed = device.ended()
        assert isinstance(failed, BootstrapFailed)
        assert failed.text == "the association was closed"


def test_it_waits_no_longer_than_the_server_does() -> None:
    device = Device(IZUMA)
    device.asked()
    due = device.client.get_timer()
    assert due == 4.0 + EST_ENROLMENT_TIMEOUT_S
    device.client.handle_timer(due)
    assert isinstance(device.ended(), BootstrapFailed)
