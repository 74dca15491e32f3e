"""channelz over a real channel: what operators see, and how it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_status import rpc_status

from ftc_grpc.bearer import BearerKey
from tests.api import Tenant, TestApi

NOWHERE = 1 << 40
"""An ID that nothing has."""


def stub(api: TestApi, key: str) -> tuple[grpc.Channel, Any]:
    channel = grpc.secure_channel(api.endpoint, grpc.ssl_channel_credentials(api.ca_pem))
    return channel, channelz_pb2_grpc.ChannelzStub(grpc.intercept_channel(channel, BearerKey(key)))


@pytest.fixture
def operator(api: TestApi) -> Iterator[Any]:
    channel, channelz = stub(api, api.operator.secret)
    with channel:
        yield channelz


def test_operator_sees_both_ports_and_the_connection_that_asks(api: TestApi, operator: Any) -> None:
    servers = operator.GetServers(channelz_pb2.GetServersRequest(), timeout=10).server

    assert len(servers) >= 2, "the port for keys and the port for client certificates; others of this process"
    sockets = [
        operator.GetServerSockets(
            channelz_pb2.GetServerSocketsRequest(server_id=server.ref.server_id), timeout=10
        ).socket_ref
        for server in servers
    ]
    details = [
        operator.GetSocket(channelz_pb2.GetSocketRequest(socket_id=ref.socket_id), timeout=10).socket
        for refs in sockets
        for ref in refs
    ]
    assert any(socket.data.streams_started >= 4 for socket in details), "the calls of this test"


def test_administrator_is_told_which_role_it_takes(api: TestApi, tenant: Tenant) -> None:
    channel, admin = stub(api, tenant.api_key)
    with channel, pytest.raises(grpc.RpcError) as caught:
        admin.GetServers(channelz_pb2.GetServersRequest(), timeout=10)

    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert caught.value.details() == "role ADMIN does not allow this method; it needs OPERATOR"


@pytest.mark.parametrize(
    "ask",
    [
        lambda it: it.GetServer(channelz_pb2.GetServerRequest(server_id=NOWHERE), timeout=10),
        lambda it: it.GetServerSockets(channelz_pb2.GetServerSocketsRequest(server_id=NOWHERE), timeout=10),
        lambda it: it.GetChannel(channelz_pb2.GetChannelRequest(channel_id=NOWHERE), timeout=10),
        lambda it: it.GetSubchannel(channelz_pb2.GetSubchannelRequest(subchannel_id=NOWHERE), timeout=10),
        lambda it: it.GetSocket(channelz_pb2.GetSocketRequest(socket_id=NOWHERE), timeout=10),
    ],
)
def test_what_does_not_exist_is_not_found_with_its_reason(
    api: TestApi, operator: Any, ask: Callable[[Any], object]
) -> None:
    api.records.clear()

    with pytest.raises(grpc.RpcError) as caught:
        ask(operator)

    status, info = rpc_status.from_call(caught.value), ErrorInfo()
    assert status is not None
    assert status.details[0].Unpack(info)
    assert (caught.value.code(), info.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
    assert str(NOWHERE) in status.message
    assert [record.outcome for record in api.records] == ["RESOURCE_NOT_FOUND"]
