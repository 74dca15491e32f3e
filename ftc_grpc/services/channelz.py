"""grpc.channelz.v1.Channelz: what gRPC knows of its own servers, connections and sockets, for operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from grpc_channelz.v1 import channelz_pb2_grpc
from grpc_channelz.v1.channelz import aio as channelz_aio  # type: ignore[attr-defined] # not in its stubs

from ftc_core.errors import FtcError, Reason
from ftc_grpc.services.context import RpcContext

__all__ = ["ChannelzService"]


def _refusing(answer: Callable[[Any, RpcContext], Any]) -> Callable[[Any, Any, RpcContext], Any]:
    """A method that answers as the library does, and fails as our other methods do.

    Where it has no answer, the library sets a status and gives None.
    """

    async def method(_self: object, request: Any, context: RpcContext) -> Any:
        response = await answer(request, context)
        if response is None:
            known = context.code() is grpc.StatusCode.NOT_FOUND
            raise FtcError(Reason.RESOURCE_NOT_FOUND if known else Reason.INTERNAL_10, context.details())
        return response

    return method


class ChannelzService(channelz_pb2_grpc.ChannelzServicer):  # type: ignore[misc] # no stubs
    """See gRFC A14. It shows this process as a whole: both ports, and channels if there were any."""

    GetTopChannels = _refusing(channelz_aio.ChannelzServicer.GetTopChannels)
    GetServers = _refusing(channelz_aio.ChannelzServicer.GetServers)
    GetServer = _refusing(channelz_aio.ChannelzServicer.GetServer)
    GetServerSockets = _refusing(channelz_aio.ChannelzServicer.GetServerSockets)
    GetChannel = _refusing(channelz_aio.ChannelzServicer.GetChannel)
    GetSubchannel = _refusing(channelz_aio.ChannelzServicer.GetSubchannel)
    GetSocket = _refusing(channelz_aio.ChannelzServicer.GetSocket)
