"""Puts a DTLS server together: inherited sockets, our identity, the gate, the path check, the sessions."""

from __future__ import annotations

import random
import secrets
import socket
from collections.abc import Sequence

from ftc_core.application.context import utc_now
from ftc_core.coap.blockwise import BlockwiseLayer
from ftc_core.coap.exchange import ExchangeLayer
from ftc_core.credentials.data_directory import DataDirectory, ServerName
from ftc_core.dtls.context import server_context
from ftc_core.dtls.cookie import CookieGate
from ftc_core.dtls.trust import AnchorFinder, TrustEvaluator
from ftc_core.endpoint.datagram import DatagramEndpoint
from ftc_core.endpoint.peer import SessionFactory
from ftc_core.endpoint.udp import UdpSocket

__all__ = ["new_coap_layer", "open_endpoint"]


def new_coap_layer() -> BlockwiseLayer:
    """The CoAP layer of a new association: random message IDs and tokens (RFC 7252 §4.4, §5.3.1)."""
    exchanges = ExchangeLayer(
        first_message_id=random.getrandbits(16),
        token_prefix=secrets.token_bytes(4),
        random=random.random,
    )
    return BlockwiseLayer(exchanges)


def open_endpoint(
    descriptors: Sequence[int],
    directory: DataDirectory,
    name: ServerName,
    find_anchors: AnchorFinder,
    new_session: SessionFactory,
) -> DatagramEndpoint:
    """The endpoint of server `name` on inherited UDP sockets, trusting whatever `find_anchors` finds.

    Raises FtcError FILE_UNREADABLE if the server's identity cannot be read.
    """
    identity = directory.server_identity(name)
    context = server_context([identity.certificate], identity.private_key)
    evaluator = TrustEvaluator(find_anchors)
    return DatagramEndpoint(
        [UdpSocket(socket.socket(fileno=descriptor)) for descriptor in descriptors],
        CookieGate(context, directory.cookie_secret),
        lambda chain: evaluator.evaluate(chain, utc_now()),
        new_coap_layer,
        new_session,
    )
