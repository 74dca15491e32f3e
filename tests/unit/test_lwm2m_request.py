"""Bootstrap-Request, Register, Update and De-register: what is understood, and what each mistake is told."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from aiocoap.message import Message
from aiocoap.numbers.codes import Code

from ftc_core.errors import FtcError, Reason
from ftc_core.lwm2m.messages import refusal, request
from ftc_core.lwm2m.request import (
    BootstrapRequest,
    Deregister,
    Dialect,
    Register,
    Update,
    parse_bootstrap_request,
    parse_registration_request,
)

ACCOUNT = "0192d3f4a5b6c7d8e9f00123456789ab"
DEVICE = "0192d3f4a5b6c7d8e9f0ba9876543210"


def bootstrap(
    *query: str, path: Sequence[str] = ("bs",), code: Code = Code.POST, token: bytes = b"four"
) -> Message:
    message = request(code, path, query=query)
    message.token = token
    return message


def pack(*query: str, accept: int | None = None) -> Message:
    return request(Code.GET, ("bspack",), query=query, accept=accept)


def register(*query: str, payload: bytes = b"") -> Message:
    return request(Code.POST, ("rd",), query=query, payload=payload)


def bootstrap_error(message: Message) -> FtcError:
    with pytest.raises(FtcError) as caught:
        parse_bootstrap_request(message)
    return caught.value


def registration_error(message: Message) -> FtcError:
    with pytest.raises(FtcError) as caught:
        parse_registration_request(message)
    return caught.value


# --- Bootstrap-Request -----------------------------------------------------------------------------


@pytest.mark.parametrize("proof", ["1.3pPtORls_gkGVcS7uCS7uQ", "2.of-a-later-version", "é=?"])
def test_a_proof_is_handed_on_as_it_is(proof: str) -> None:
    understood = BootstrapRequest(endpoint_name="dev-1", claim_proof=proof)
    assert parse_bootstrap_request(bootstrap("ep=dev-1", f"ftcp={proof}")) == understood
    assert (
        bootstrap_error(bootstrap("ep=dev-1", f"ftcp={proof}", "ftcp=1.x")).message == "ftcp is given twice"
    )


def test_a_virgin_device_sends_ep_alone() -> None:
    assert parse_bootstrap_request(bootstrap("ep=dev-1")) == BootstrapRequest(endpoint_name="dev-1")


def test_a_claimed_device_says_account_device_and_version() -> None:
    message = bootstrap("ep=dev-1", f"aid={ACCOUNT}", f"iep={DEVICE}", "mccv=4.13.2")
    assert parse_bootstrap_request(message) == BootstrapRequest(
        endpoint_name="dev-1", account_id=ACCOUNT, internal_endpoint=DEVICE, client_version="4.13.2"
    )


def test_parameters_come_in_any_order_and_unknown_ones_are_ignored() -> None:
    message = bootstrap("mccv=1", "x", "=", "EP=no", f"aid={ACCOUNT}", "ep=a=b", "x=y")
    assert parse_bootstrap_request(message) == BootstrapRequest(
        endpoint_name="a=b", account_id=ACCOUNT, client_version="1"
    )


def test_options_are_not_percent_decoded() -> None:
    assert parse_bootstrap_request(bootstrap("ep=a%20b%zz")).endpoint_name == "a%20b%zz"


@pytest.mark.parametrize("content_format", [99, 11542, 110, 112, 11544])
def test_a_content_format_may_be_preferred(content_format: int) -> None:
    message = bootstrap("ep=a", f"pct={content_format}")
    assert parse_bootstrap_request(message).content_format == content_format


@pytest.mark.parametrize("pct", ["60", "11543", "0", "tlv", "-99", "99999999999999999999", "٩٩"])
def test_another_content_format_is_4_15(pct: str) -> None:
    error = bootstrap_error(bootstrap("ep=a", f"pct={pct}"))
    assert error.reason is Reason.CONTENT_FORMAT_UNSUPPORTED
    assert refusal(error).code == Code.UNSUPPORTED_CONTENT_FORMAT


@pytest.mark.parametrize(
    ("query", "token", "dialect"),
    [
        (("ep=a",), b"four", Dialect.IZUMA),
        (("ep=a", f"aid={ACCOUNT}"), b"four", Dialect.IZUMA),
        (("ep=a", f"aid={ACCOUNT}", "mccv=4.13.2"), b"any", Dialect.IZUMA),
        (("ep=a",), b"", Dialect.LWM2M_1_0),
        (("ep=a",), b"8 bytes.", Dialect.LWM2M_1_0),
        (("ep=a", f"aid={ACCOUNT}"), b"8 bytes.", Dialect.LWM2M_1_0),
        (("ep=a", "pct=11542"), b"four", Dialect.LWM2M_1_1),
        (("ep=a", "pct=112"), b"8 bytes.", Dialect.LWM2M_1_1),
    ],
)
def test_what_a_request_tells_of_its_sender(query: tuple[str, ...], token: bytes, dialect: Dialect) -> None:
    assert parse_bootstrap_request(bootstrap(*query, token=token)).dialect is dialect


# --- Bootstrap-Pack-Request --------------------------------------------------------------------------


@pytest.mark.parametrize(("accept", "content_format"), [(None, 112), (112, 112), (110, 110), (11544, 11544)])
def test_a_pack_has_the_format_that_is_accepted(accept: int | None, content_format: int) -> None:
    assert parse_bootstrap_request(pack("ep=a", accept=accept)) == BootstrapRequest(
        endpoint_name="a", content_format=content_format, dialect=Dialect.LWM2M_1_1, pack=True
    )


@pytest.mark.parametrize("accept", [0, 40, 60, 99, 11542, 11543, 65_535])
def test_a_pack_in_another_format_is_4_06(accept: int) -> None:
    error = bootstrap_error(pack("ep=a", accept=accept))
    assert error.reason is Reason.ACCEPT_UNSUPPORTED
    assert refusal(error).code == Code.NOT_ACCEPTABLE


def test_a_malformed_pack_request_is_4_00() -> None:
    error = bootstrap_error(pack(f"aid={ACCOUNT}"))
    assert (refusal(error).code, refusal(error).payload) == (Code.BAD_REQUEST, b"ep is missing")


@pytest.mark.parametrize("code", [Code.POST, Code.PUT, Code.DELETE, Code.FETCH])
def test_a_pack_is_asked_for_by_get(code: Code) -> None:
    error = bootstrap_error(bootstrap("ep=a", path=("bspack",), code=code))
    assert (refusal(error).code, refusal(error).payload) == (
        Code.METHOD_NOT_ALLOWED,
        b"Method not allowed: GET",
    )


@pytest.mark.parametrize(
    ("acc", "accounts"),
    [("/0/1", {1}), ("0/2", {2}), ("</0/0>,</0/3>,</21/1>", {0, 3}), ("x", set()), ("/0/x,/1/0", set())],
)
def test_a_pack_request_may_say_where_the_bootstrap_account_is(acc: str, accounts: set[int]) -> None:
    assert parse_bootstrap_request(pack("ep=a", f"acc={acc}")).bootstrap_accounts == accounts


@pytest.mark.parametrize("query", [(), ("ep",), ("ep=",), ("name=a",)])
def test_without_an_endpoint_name_nothing_goes(query: tuple[str, ...]) -> None:
    error = bootstrap_error(bootstrap(*query))
    assert error.reason is Reason.ENDPOINT_NAME_MISSING
    assert (refusal(error).code, refusal(error).payload) == (Code.BAD_REQUEST, b"ep is missing")


def test_an_endpoint_name_has_at_most_256_bytes_of_utf_8() -> None:
    assert len(parse_bootstrap_request(bootstrap("ep=" + "é" * 128)).endpoint_name) == 128
    error = bootstrap_error(bootstrap("ep=" + "é" * 128 + "a"))
    assert error.reason is Reason.ENDPOINT_NAME_TOO_LONG
    assert refusal(error).payload == b"ep is longer than 256 bytes"


@pytest.mark.parametrize("name", ["a\x00b", "a\nb", "a\x1b[31m", "\udcff", "\u202e"])
def test_an_endpoint_name_that_cannot_be_shown_is_refused(name: str) -> None:
    error = bootstrap_error(bootstrap(f"ep={name}"))
    assert error.reason is Reason.ENDPOINT_NAME_INVALID
    assert refusal(error).code == Code.BAD_REQUEST


@pytest.mark.parametrize("aid", ["x", ACCOUNT.upper(), ACCOUNT[:-1], ACCOUNT + "0", f"{ACCOUNT} "])
def test_a_malformed_account_id_is_refused(aid: str) -> None:
    error = bootstrap_error(bootstrap("ep=a", f"aid={aid}"))
    assert error.reason is Reason.ACCOUNT_ID_MALFORMED
    assert refusal(error).payload == b"aid is not an account ID"


def test_the_same_value_twice_is_said_once() -> None:
    assert parse_bootstrap_request(bootstrap("ep=a", "ep=a")) == BootstrapRequest(endpoint_name="a")


def test_two_values_contradict_each_other() -> None:
    error = bootstrap_error(bootstrap("ep=a", "ep=b"))
    assert (error.reason, error.message) == (Reason.REQUEST_MALFORMED, "ep is given twice")


@pytest.mark.parametrize("value", ["x" * 65, "a\nb", "\udc00"])
def test_information_that_cannot_be_shown_counts_as_not_said(value: str) -> None:
    assert parse_bootstrap_request(bootstrap("ep=a", f"mccv={value}")) == BootstrapRequest(endpoint_name="a")


@pytest.mark.parametrize(
    "path", [(), ("",), ("bs", ""), ("BS",), ("bspack", ""), ("rd",), ("bs", "x"), (".well-known", "core")]
)
@pytest.mark.parametrize("code", [Code.GET, Code.POST])
def test_any_other_path_is_4_04(path: tuple[str, ...], code: Code) -> None:
    error = bootstrap_error(bootstrap("ep=a", path=path, code=code))
    assert error.reason is Reason.PATH_NOT_FOUND
    assert refusal(error).code == Code.NOT_FOUND


@pytest.mark.parametrize("code", [Code.GET, Code.PUT, Code.DELETE, Code.FETCH, Code(31)])
def test_any_other_method_is_4_05(code: Code) -> None:
    error = bootstrap_error(bootstrap("ep=a", code=code))
    assert error.reason is Reason.METHOD_NOT_ALLOWED
    assert refusal(error).code == Code.METHOD_NOT_ALLOWED


# --- Register ----------------------------------------------------------------------------------------


def test_a_register_has_defaults() -> None:
    assert parse_registration_request(register("ep=a")) == Register(
        endpoint_name="a", lifetime=86_400, lwm2m_version="1.0", binding="U"
    )


def test_a_register_says_all_that_a_client_knows() -> None:
    message = register(
        f"aid={ACCOUNT}",
        "b=UQ",
        f"d={ACCOUNT}",
        "ep=a",
        "et=x",
        f"iep={DEVICE}",
        "lt=60",
        "lwm2m=1.1",
        "mccv=4.13.2",
        payload=b"</1/0>,</3/0>",
    )
    assert parse_registration_request(message) == Register(
        endpoint_name="a",
        lifetime=60,
        lwm2m_version="1.1",
        binding="UQ",
        account_id=ACCOUNT,
        internal_endpoint=DEVICE,
        client_version="4.13.2",
        object_links="</1/0>,</3/0>",
    )


@pytest.mark.parametrize("lifetime", [1, 86_400, 4_294_967_295])
def test_a_lifetime_has_1_to_4294967295_seconds(lifetime: int) -> None:
    parsed = parse_registration_request(register("ep=a", f"lt={lifetime}"))
    assert isinstance(parsed, Register)
    assert parsed.lifetime == lifetime


@pytest.mark.parametrize("lifetime", ["0", "-1", "4294967296", "1.5", "1e3", " 1", "x", "9" * 5000])
def test_any_other_lifetime_is_refused(lifetime: str) -> None:
    for message in (
        register("ep=a", f"lt={lifetime}"),
        request(Code.POST, ("rd", ACCOUNT, DEVICE), query=(f"lt={lifetime}",)),
    ):
        error = registration_error(message)
        assert error.reason is Reason.LIFETIME_INVALID
        assert refusal(error).code == Code.BAD_REQUEST


@pytest.mark.parametrize("parameter", ["lwm2m=one", "lwm2m=1", "lwm2m=1.0.2", "b=X", "b=UUUUUUUU"])
def test_a_malformed_version_or_binding_is_refused(parameter: str) -> None:
    error = registration_error(register("ep=a", parameter))
    assert error.reason is Reason.REQUEST_MALFORMED
    assert error.message.startswith(parameter.split("=")[0])


def test_object_links_are_utf_8() -> None:
    error = registration_error(register("ep=a", payload=b"\xff"))
    assert error.reason is Reason.REQUEST_MALFORMED


def test_a_register_needs_an_endpoint_name() -> None:
    assert registration_error(register("lt=60")).reason is Reason.ENDPOINT_NAME_MISSING


# --- Update and De-register ----------------------------------------------------------------------------


def test_an_update_names_what_changes() -> None:
    path = ("rd", ACCOUNT, DEVICE)
    assert parse_registration_request(request(Code.POST, path)) == Update(
        account_id=ACCOUNT, device_id=DEVICE
    )
    message = request(Code.POST, path, query=("lt=5", "b=U"), payload=b"</3/0>")
    assert parse_registration_request(message) == Update(
        account_id=ACCOUNT, device_id=DEVICE, lifetime=5, binding="U", object_links="</3/0>"
    )


def test_a_deregister_is_a_delete_of_the_location() -> None:
    message = request(Code.DELETE, ("rd", ACCOUNT, DEVICE))
    assert parse_registration_request(message) == Deregister(account_id=ACCOUNT, device_id=DEVICE)


@pytest.mark.parametrize("path", [("rd", "x"), ("rd", "a", "b", "c")])
def test_a_location_that_we_never_give_is_4_04(path: tuple[str, ...]) -> None:
    assert registration_error(request(Code.POST, path)).reason is Reason.REGISTRATION_NOT_FOUND


@pytest.mark.parametrize("path", [(), ("bs",), ("dp",), ("RD",)])
def test_a_path_outside_the_interface_is_4_04(path: tuple[str, ...]) -> None:
    assert registration_error(request(Code.POST, path)).reason is Reason.PATH_NOT_FOUND


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (("rd",), Code.GET),
        (("rd",), Code.DELETE),
        (("rd", ACCOUNT, DEVICE), Code.PUT),
        (("rd", ACCOUNT, DEVICE), Code.GET),
    ],
)
def test_another_method_on_the_registration_interface_is_4_05(path: tuple[str, ...], code: Code) -> None:
    assert registration_error(request(code, path, query=("ep=a",))).reason is Reason.METHOD_NOT_ALLOWED
