"""The server as such: error details on the wire, health, reflection, limits, start and stop."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

from ftc_core.application.context import ApplicationContext, utc_now
from ftc_core.credentials.pki import create_authority
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import RPC_MESSAGE_MAX_BYTES
from ftc_core.storage.commands import Outcome, Submission
from ftc_grpc._gen.ftc.v1.account_pb2 import Account
from ftc_grpc._gen.ftc.v1.account_service_pb2 import CreateAccountRequest, GetAccountRequest
from ftc_grpc._gen.ftc.v1.account_service_pb2_grpc import AccountServiceStub
from ftc_grpc.client import ApiClient, error_of
from ftc_grpc.server import SERVICES, ApiServer
from tests.api import TestApi, running_api


@pytest.fixture
def own_api(tmp_path: Path) -> Iterator[TestApi]:
    """An API that the test may stop or break."""
    with running_api(tmp_path) as running:
        yield running


@pytest.fixture
def channel(api: TestApi) -> Iterator[grpc.Channel]:
    """A channel without a key."""
    with grpc.secure_channel(api.endpoint, grpc.ssl_channel_credentials(api.ca_pem)) as raw:
        yield raw


def call(channel: grpc.Channel, request: CreateAccountRequest, key: str) -> grpc.Call:
    """The failed call."""
    with pytest.raises(grpc.RpcError) as caught:
        AccountServiceStub(channel).CreateAccount(
            request, metadata=(("authorization", f"Bearer {key}"),), timeout=10
        )
    assert isinstance(caught.value, grpc.Call)
    return caught.value


def test_error_carries_its_reason_and_the_field(api: TestApi, channel: grpc.Channel) -> None:
    failed = call(channel, CreateAccountRequest(account=Account()), api.operator.secret)

    status = rpc_status.from_call(failed)
    assert status is not None
    assert failed.code() is grpc.StatusCode.INVALID_ARGUMENT
    info, bad_request = ErrorInfo(), BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(bad_request)
    assert (info.reason, info.domain) == ("FIELD_REQUIRED", "ftc")
    assert info.metadata["action"] == "Set the field."
    assert [violation.field for violation in bad_request.field_violations] == ["account.display_name"]


class BrokenCommit:
    """A commit that fails as it is told to."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def execute(self, submission: Submission) -> Outcome:
        raise self._error


def test_unforeseen_exception_is_internal_error_10_and_tells_nothing(
    own_api: TestApi, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    object.__setattr__(own_api.context, "commit", BrokenCommit(ZeroDivisionError("secret detail")))
    operator = own_api.client()

    request = CreateAccountRequest(account=Account(display_name="x"))
    with caplog.at_level(logging.ERROR):
        error = own_api.refused(operator, operator.accounts.CreateAccount, request)

    assert (error.reason, error.message) == (Reason.INTERNAL_10, "Internal error #10")
    assert isinstance(error.__cause__, grpc.RpcError)
    assert "secret detail" not in str(error.__cause__)
    assert "secret detail" in capsys.readouterr().out + caplog.text
    assert own_api.records[-1].outcome == "INTERNAL_10"


def test_cause_of_an_internal_error_is_for_the_log_alone(
    own_api: TestApi, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    failure = FtcError(Reason.INTERNAL_1, metadata={"cause": "/secret/path: no such file", "hint": "x"})
    object.__setattr__(own_api.context, "commit", BrokenCommit(failure))
    operator = own_api.client()

    request = CreateAccountRequest(account=Account(display_name="x"))
    with caplog.at_level(logging.ERROR):
        error = own_api.refused(operator, operator.accounts.CreateAccount, request)

    assert error.reason is Reason.INTERNAL_1
    assert set(error.metadata) == {"action", "hint"}
    assert "/secret/path" in capsys.readouterr().out + caplog.text


def test_every_service_is_healthy_while_serving(channel: grpc.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    serving = health_pb2.HealthCheckResponse.SERVING

    for service in ("", *SERVICES):
        assert health.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status == serving
    listed = health.List(health_pb2.HealthListRequest(), timeout=10)
    assert set(listed.statuses) == {"", *SERVICES}
    with pytest.raises(grpc.RpcError) as caught:
        health.Check(health_pb2.HealthCheckRequest(service="ftc.v1.Nothing"), timeout=10)
    assert error_of(caught.value, "").reason is Reason.RESOURCE_NOT_FOUND


@pytest.mark.parametrize("shape", ["unary_unary", "unary_stream", "stream_unary", "stream_stream"])
@pytest.mark.parametrize(
    "method",
    ["/ftc.v1.AccountService/GetEverything", "/ftc.v2.AccountService/GetAccount", "/nonsense", "/a/b/c"],
)
def test_unknown_method_is_unimplemented_with_its_reason(
    api: TestApi, channel: grpc.Channel, shape: str, method: str
) -> None:
    request = [b"\xff"] if shape.startswith("stream") else b"\xff"
    told = len(api.records)
    with pytest.raises(grpc.RpcError) as caught:
        answer = getattr(channel, shape)(method)(
            request if shape.startswith("unary") else iter(request), timeout=10
        )
        list(answer)

    error = error_of(caught.value, "")
    assert (error.reason, error.spec.grpc) == (Reason.METHOD_UNKNOWN, "UNIMPLEMENTED")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert method in error.message
    assert "reflection" in error.metadata["action"]
    assert len(api.records) == told, "of methods that there are not, metrics would have no end"


def test_stop_says_not_serving_first_and_lets_running_calls_end(own_api: TestApi) -> None:
    with grpc.secure_channel(own_api.endpoint, grpc.ssl_channel_credentials(own_api.ca_pem)) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=10)
        status = health_pb2.HealthCheckResponse
        assert next(watch).status == status.SERVING

        own_api.run(own_api.server.stop(0.2))

        assert next(watch).status == status.NOT_SERVING


def test_reflection_describes_every_service_without_a_key(channel: grpc.Channel) -> None:
    reflection = ProtoReflectionDescriptorDatabase(channel)

    listed = reflection.get_services()
    assert set(listed) == set(SERVICES)
    health = health_pb2_grpc.HealthStub(channel)
    for service in listed:
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    for symbol in ("ftc.v1.AccountService", "ftc.v1.AccountService.GetAccount", "ftc.v1.GetAccountRequest"):
        assert reflection.FindFileContainingSymbol(symbol).name == "ftc/v1/account_service.proto"


@pytest.mark.parametrize("symbol", ["ftc.v1.AccountService.Get", "ftc.v1.Nothing.Get", "Get", "."])
def test_reflection_of_what_there_is_not_is_not_found(channel: grpc.Channel, symbol: str) -> None:
    with pytest.raises(KeyError):
        ProtoReflectionDescriptorDatabase(channel).FindFileContainingSymbol(symbol)


def test_message_above_the_limit_is_refused(api: TestApi, channel: grpc.Channel) -> None:
    request = CreateAccountRequest(account=Account(display_name="x" * RPC_MESSAGE_MAX_BYTES))

    assert call(channel, request, api.operator.secret).code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_metadata_above_the_limit_is_refused_and_the_next_call_is_served(
    api: TestApi, channel: grpc.Channel
) -> None:
    stub = AccountServiceStub(channel)
    key = ("authorization", f"Bearer {api.operator.secret}")

    with pytest.raises(grpc.RpcError, match="RESOURCE_EXHAUSTED"):
        stub.GetAccount(
            GetAccountRequest(),
            metadata=(
                key,
                ("x", "y" * 20_000),
            ),
            timeout=10,
        )

    assert stub.GetAccount(GetAccountRequest(), metadata=(key,), timeout=10).id


@pytest.mark.parametrize(
    "garbage", [b"\xff\xff\xff", b"\x0a\x04\xff\xfe\xfd\xfc"], ids=["wire format", "UTF-8"]
)
@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("AccountService/CreateAccount", "unary_unary"),
        ("DeviceEnrollmentService/WatchDeviceEnrollments", "unary_stream"),
        ("DeviceEnrollmentService/BulkCreateDeviceEnrollments", "stream_unary"),
    ],
)
def test_garbage_instead_of_a_message_is_the_caller_s_error_alone(
    api: TestApi,
    channel: grpc.Channel,
    method: str,
    kind: str,
    garbage: bytes,
    capsys: pytest.CaptureFixture[str],
) -> None:
    call = getattr(channel, kind)(f"/ftc.v1.{method}", None, None)
    request = iter([garbage]) if kind == "stream_unary" else garbage

    with pytest.raises(grpc.RpcError) as caught:
        answer = call(request, metadata=(("authorization", f"Bearer {api.operator.secret}"),), timeout=10)
        if kind == "unary_stream":
            next(answer)

    refusal = error_of(caught.value, api.endpoint)
    assert (refusal.reason, refusal.message) == (
        Reason.REQUEST_MALFORMED,
        "request is not a message of the method's type",
    )
    assert "Traceback" not in "".join(capsys.readouterr())
    operator = api.client()
    assert operator.call(operator.accounts.GetAccount, GetAccountRequest()).id


def test_client_without_tls_or_with_another_ca_gets_nothing(api: TestApi, own_api: TestApi) -> None:
    with grpc.insecure_channel(api.endpoint) as plain, pytest.raises(grpc.RpcError, match="UNAVAILABLE"):
        AccountServiceStub(plain).GetAccount(GetAccountRequest(), timeout=10)
    with (
        ApiClient(api.endpoint, api_key=api.operator.secret, ca_pem=own_api.ca_pem) as stranger,
        pytest.raises(FtcError) as caught,
    ):
        stranger.call(stranger.accounts.GetAccount, GetAccountRequest())
    assert caught.value.reason is Reason.API_UNREACHABLE


def test_port_in_use_is_one_clear_error(api: TestApi) -> None:
    async def start_another(context: ApplicationContext) -> None:
        identity = create_authority("Another", now=utc_now())
        server = ApiServer(
            context,
            certificate_pem=identity.certificate_pem,
            private_key_pem=identity.private_key_pem,
            bulk_directory=api.bulk_directory,
            ledger_keys=api.ledger_keys,
        )
        try:
            await server.start(api.endpoint)
        finally:
            await server.stop(0)

    with pytest.raises(FtcError, match=r"TCP port \d+ on .* is in use") as caught:
        api.run(start_another(api.context))

    assert caught.value.reason is Reason.PORT_IN_USE


def test_many_calls_at_once_are_all_answered(api: TestApi) -> None:
    operator = api.client()
    # The connection must stand: a client that has not read the server's SETTINGS yet does not know how many
    # streams it may open, and has those beyond refused (RFC 9113 §5.1.2).
    operator.call(operator.accounts.GetAccount, GetAccountRequest())
    futures = [
        operator.accounts.CreateAccount.future(
            CreateAccountRequest(account=Account(display_name=f"Crowd {index}")), timeout=20
        )
        for index in range(500)
    ]

    assert len({future.result().id for future in futures}) == 500
