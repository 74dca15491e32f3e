"""Who calls, on the port that demands client certificates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
from cryptography import x509

from ftc_core.application.authentication import identify
from ftc_core.application.context import ApplicationContext
from ftc_core.client_identity import ClientIdentity
from ftc_grpc.authorization import REQUIRED_ROLE, authorize
from ftc_grpc.caller import caller_or_none, set_caller
from ftc_grpc.interceptors.authentication import AuthenticationInterceptor, has_authorization
from ftc_grpc.interceptors.wrapping import Behaviour, Context, Interceptor

__all__ = ["ClientCertificateInterceptor"]

_CERTIFICATE = "x509_pem_cert"
"""The property in which gRPC gives the client's certificate, PEM.

Others give the names in it, but cut off at a NUL: `urn:a` for what a CA has signed as `urn:a\\0b`.
"""


class ClientCertificateInterceptor(Interceptor):
    """Recognises the caller by his certificate, which TLS has verified; or by his API key, if he sends one.

    A key is said with each call and a certificate with the connection, so the key decides, also if it is not
    valid: a call never falls back from one to the other.
    """

    def __init__(
        self,
        context: ApplicationContext,
        identities: Mapping[str, ClientIdentity],
        by_key: AuthenticationInterceptor,
    ) -> None:
        self._context = context
        self._identities = identities
        self._by_key = by_key

    def admit(self, call: grpc.HandlerCallDetails) -> None:
        """See the class. Methods without a row in the table need neither."""
        if has_authorization(call):
            self._by_key.admit(call)

    def around(self, method: str, behaviour: Behaviour) -> Behaviour:
        """Refuse with CERTIFICATE_NOT_MAPPED, CERTIFICATE_AMBIGUOUS or PERMISSION_DENIED.

        That is after the request was parsed: gRPC shows the certificate to a method's behaviour, not before.
        """
        if method not in REQUIRED_ROLE:
            return behaviour

        async def identified(request: Any, context: Context) -> Any:
            if caller_or_none() is None:  # else he is known by his key
                caller = identify(
                    self._context, self._identities, _uris(*context.auth_context().get(_CERTIFICATE, ()))
                )
                set_caller(caller)
                authorize(caller, method)
            return await behaviour(request, context)

        return identified


def _uris(pem: bytes = b"") -> tuple[str, ...]:
    """The names of type uniformResourceIdentifier in a certificate; none if its extensions are malformed."""
    try:
        extensions = x509.load_pem_x509_certificate(pem).extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return ()
    return tuple(names.get_values_for_type(x509.UniformResourceIdentifier))
