"""Who calls, and whether he may: before a request is parsed."""

from __future__ import annotations

import grpc

from ftc_core.application.authentication import authenticate
from ftc_core.application.context import ApplicationContext
from ftc_core.application.key_use import KeyUses
from ftc_core.errors import FtcError, Reason
from ftc_grpc.authorization import REQUIRED_ROLE, authorize
from ftc_grpc.caller import set_caller
from ftc_grpc.interceptors.wrapping import Interceptor

__all__ = ["AuthenticationInterceptor", "has_authorization"]

_HEADER = "authorization"
_SCHEME = "bearer"


class AuthenticationInterceptor(Interceptor):
    """Demands `authorization: Bearer ftc_…` (RFC 6750 §2.1) and the role that the method needs.

    Methods without a row in the table are open ones, since the server starts with no others.
    """

    def __init__(self, context: ApplicationContext, key_uses: KeyUses) -> None:
        self._context = context
        self._key_uses = key_uses

    def admit(self, call: grpc.HandlerCallDetails) -> None:
        """See the class. Refuses with CREDENTIALS_MISSING, CREDENTIALS_INVALID or PERMISSION_DENIED."""
        method = call.method
        if method in REQUIRED_ROLE:
            caller = authenticate(self._context, _bearer_token(call))
            self._key_uses.note(caller.key_id, self._context.now())
            set_caller(caller)
            authorize(caller, method)


def has_authorization(call: grpc.HandlerCallDetails) -> bool:
    """Whether the caller sends an API key, or something else in its place."""
    return bool(_authorizations(call))


def _authorizations(call: grpc.HandlerCallDetails) -> list[str | bytes]:
    return [value for key, value in call.invocation_metadata or () if key == _HEADER]


def _bearer_token(call: grpc.HandlerCallDetails) -> str:
    values = _authorizations(call)
    if not values:
        raise FtcError(Reason.CREDENTIALS_MISSING)
    if len(values) > 1 or not isinstance(values[0], str):
        raise FtcError(Reason.CREDENTIALS_INVALID)
    scheme, _, token = values[0].partition(" ")
    if scheme.lower() != _SCHEME:
        raise FtcError(Reason.CREDENTIALS_INVALID)
    return token.strip()
