"""What a device asks for: Bootstrap-Request, -Pack-Request, Register, Update, De-register, parsed and judged.

Sources: LwM2M 1.0.2 TS §8.2.2 (bootstrap) and §8.2.3 (registration), 1.2 TS core §6.1.7.1 (`pct`) and
§6.1.7.7 (`/bspack`), PRODUCT contract §2. A parameter is a Uri-Query option `name=value`, split at its
first `=`; options carry text as it is, so nothing is percent-decoded (RFC 7252 §6.4). They come in any
order. Unknown ones are ignored, and so is a repetition of the same value; a known one that is given twice
with different values contradicts itself and is refused. An empty value means that the parameter is absent.

That text is UTF-8 has been seen to before: of a request with an option that is not, the CoAP codec makes no
message, and answers 4.00.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from aiocoap.numbers.codes import Code

from ftc_core.domain.identity import is_resource_id
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import ENDPOINT_NAME_MAX_BYTES
from ftc_core.lwm2m import content, tlv

if TYPE_CHECKING:
    from aiocoap.message import Message

__all__ = [
    "CLAIM_PROOF_PARAMETER",
    "LIFETIME_DEFAULT_S",
    "LIFETIME_MAX_S",
    "BootstrapRequest",
    "Deregister",
    "Dialect",
    "Register",
    "RegistrationRequest",
    "Update",
    "parse_bootstrap_request",
    "parse_registration_request",
]

LIFETIME_DEFAULT_S = 86_400
"""Seconds, if a Register says none (LwM2M 1.0.2 TS §5.3.1)."""
LIFETIME_MAX_S = 4_294_967_295
"""Seconds, the largest `lt` that we take: 32 bits, about 136 years."""

CLAIM_PROOF_PARAMETER = "ftcp"
"""Ours (docs/decisions/0008-claim-secret.md)."""

_IZUMA_TOKEN_BYTES = 4
"""A widely used client numbers its requests by a 32-bit counter, and sends that as the token [I]."""

_BOOTSTRAP_PARAMETERS = frozenset({"ep", "aid", "iep", "mccv", "pct", CLAIM_PROOF_PARAMETER})
_SECURITY_INSTANCE = re.compile(r"<?/?0/([0-9]{1,5})>?")
_DECIMAL = re.compile(r"[0-9]{1,10}")
_VERSION = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}")
_BINDING = re.compile(r"[UMHTSNQ]{1,7}")
_INFORMATION_MAX_CHARS = 64


class Dialect(Enum):
    """What a Bootstrap-Request tells of its sender (docs/decisions/0007-bootstrap-of-any-client.md)."""

    IZUMA = auto()
    """It could be one of Izuma's family, whose instance numbers are fixed, and which ignores Discover."""
    LWM2M_1_0 = auto()
    """Not of that family; nothing says that it is more than LwM2M 1.0, and it may ignore Discover, too."""
    LWM2M_1_1 = auto()
    """It said `pct`, which 1.0 does not have: 1.1 or later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapRequest:
    """`POST /bs?ep=…`, or with `pack` `GET /bspack?ep=…`.

    `account_id` is `aid` (None: not said), `internal_endpoint` is `iep` ("" : not said), `client_version` is
    `mccv`, `content_format` the one that our writes, or the pack, must have. `bootstrap_accounts` are the
    Security instances which a Bootstrap-Pack-Request says are the bootstrap server's. `claim_proof` is what
    it says to prove a claim secret ("": nothing), of whatever form: the claim decision judges it.
    """

    endpoint_name: str
    account_id: str | None = None
    internal_endpoint: str = ""
    client_version: str = ""
    content_format: int = tlv.CONTENT_FORMAT
    dialect: Dialect = Dialect.IZUMA
    pack: bool = False
    bootstrap_accounts: frozenset[int] = frozenset()
    claim_proof: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """`POST /rd?ep=…`; `lifetime` in seconds, `object_links` in the link format of RFC 6690."""

    endpoint_name: str
    lifetime: int = LIFETIME_DEFAULT_S
    lwm2m_version: str = "1.0"
    binding: str = "U"
    account_id: str | None = None
    internal_endpoint: str = ""
    client_version: str = ""
    object_links: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """`POST /rd/<account id>/<device id>`; what is None keeps its value."""

    account_id: str
    device_id: str
    lifetime: int | None = None
    binding: str | None = None
    object_links: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deregister:
    """`DELETE /rd/<account id>/<device id>`."""

    account_id: str
    device_id: str


RegistrationRequest = Register | Update | Deregister


def parse_bootstrap_request(message: Message) -> BootstrapRequest:
    """The Bootstrap-Request or Bootstrap-Pack-Request in `message`, a request of any kind.

    Raises FtcError: PATH_NOT_FOUND for any path but /bs and /bspack, METHOD_NOT_ALLOWED,
    ENDPOINT_NAME_MISSING, _TOO_LONG or _INVALID, ACCOUNT_ID_MALFORMED, CONTENT_FORMAT_UNSUPPORTED,
    ACCEPT_UNSUPPORTED, REQUEST_MALFORMED.
    """
    match message.opt.uri_path:
        case ("bs",):
            if message.code != Code.POST:
                raise FtcError(Reason.METHOD_NOT_ALLOWED)
            parameters = _parameters(message, _BOOTSTRAP_PARAMETERS)
            pack, content_format = False, _content_format(parameters)
        case ("bspack",):
            if message.code != Code.GET:
                raise FtcError(Reason.METHOD_NOT_ALLOWED, "Method not allowed: GET")
            parameters = _parameters(message, _BOOTSTRAP_PARAMETERS | {"acc"})
            pack, content_format = True, _accepted_format(message)
        case _:
            raise FtcError(Reason.PATH_NOT_FOUND)
    return BootstrapRequest(
        endpoint_name=_endpoint_name(parameters),
        account_id=_account_id(parameters),
        internal_endpoint=_information(parameters, "iep"),
        client_version=_information(parameters, "mccv"),
        content_format=content_format,
        dialect=_dialect(message, parameters, pack=pack),
        pack=pack,
        bootstrap_accounts=_bootstrap_accounts(parameters),
        claim_proof=parameters.get(CLAIM_PROOF_PARAMETER, ""),
    )


def parse_registration_request(message: Message) -> RegistrationRequest:
    """The request of the registration interface in `message`.

    Raises FtcError: PATH_NOT_FOUND outside /rd, REGISTRATION_NOT_FOUND for a path below it that we never
    give out, METHOD_NOT_ALLOWED, LIFETIME_INVALID, and for a Register the reasons of a Bootstrap-Request.
    """
    match message.opt.uri_path:
        case ("rd",):
            if message.code != Code.POST:
                raise FtcError(Reason.METHOD_NOT_ALLOWED)
            return _register(message)
        case ("rd", account_id, device_id):
            if message.code == Code.DELETE:
                return Deregister(account_id=account_id, device_id=device_id)
            if message.code != Code.POST:
                raise FtcError(Reason.METHOD_NOT_ALLOWED, "Method not allowed: POST or DELETE")
            return _update(message, account_id, device_id)
        case ("rd", *_):
            raise FtcError(Reason.REGISTRATION_NOT_FOUND)
        case _:
            raise FtcError(Reason.PATH_NOT_FOUND)


# --- the registration interface's requests -----------------------------------------------------------


def _register(message: Message) -> Register:
    parameters = _parameters(message, frozenset({"ep", "lt", "lwm2m", "b", "aid", "iep", "mccv"}))
    lifetime = _lifetime(parameters)
    return Register(
        endpoint_name=_endpoint_name(parameters),
        lifetime=LIFETIME_DEFAULT_S if lifetime is None else lifetime,
        lwm2m_version=_matching(parameters, "lwm2m", _VERSION) or "1.0",
        binding=_matching(parameters, "b", _BINDING) or "U",
        account_id=_account_id(parameters),
        internal_endpoint=_information(parameters, "iep"),
        client_version=_information(parameters, "mccv"),
        object_links=_object_links(message),
    )


def _update(message: Message, account_id: str, device_id: str) -> Update:
    parameters = _parameters(message, frozenset({"lt", "b"}))
    return Update(
        account_id=account_id,
        device_id=device_id,
        lifetime=_lifetime(parameters),
        binding=_matching(parameters, "b", _BINDING) or None,
        object_links=_object_links(message) if message.payload else None,
    )


def _object_links(message: Message) -> str:
    try:
        return str(message.payload, "utf-8")
    except UnicodeDecodeError:
        raise FtcError(Reason.REQUEST_MALFORMED, "Object links are not valid UTF-8") from None


# --- parameters --------------------------------------------------------------------------------------


def _parameters(message: Message, known: frozenset[str]) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for option in message.opt.uri_query:
        name, _, value = option.partition("=")
        if name not in known or not value:
            continue
        if parameters.setdefault(name, value) != value:
            raise FtcError(Reason.REQUEST_MALFORMED, f"{name} is given twice")
    return parameters


def _endpoint_name(parameters: dict[str, str]) -> str:
    name = parameters.get("ep", "")
    if not name:
        raise FtcError(Reason.ENDPOINT_NAME_MISSING)
    if not name.isprintable():  # it is going to stand in logs, on terminals and in a certificate's subject
        raise FtcError(Reason.ENDPOINT_NAME_INVALID, "ep has a character that is not printable")
    if len(name.encode()) > ENDPOINT_NAME_MAX_BYTES:
        raise FtcError(Reason.ENDPOINT_NAME_TOO_LONG)
    return name


def _account_id(parameters: dict[str, str]) -> str | None:
    account_id = parameters.get("aid")
    if account_id is not None and not is_resource_id(account_id):
        raise FtcError(Reason.ACCOUNT_ID_MALFORMED)
    return account_id


def _content_format(parameters: dict[str, str]) -> int:
    text = parameters.get("pct", str(tlv.CONTENT_FORMAT))
    if _DECIMAL.fullmatch(text) is None or int(text) not in content.SUPPORTED_FORMATS:
        raise FtcError(Reason.CONTENT_FORMAT_UNSUPPORTED)
    return int(text)


def _accepted_format(message: Message) -> int:
    """The pack's format: what Accept asks for, SenML CBOR if it is absent."""
    accept = message.opt.accept
    if accept is None:
        return content.SENML_CBOR
    if int(accept) not in content.PACK_FORMATS:
        raise FtcError(Reason.ACCEPT_UNSUPPORTED)
    return int(accept)


def _dialect(message: Message, parameters: dict[str, str], *, pack: bool) -> Dialect:
    if pack or "pct" in parameters:
        return Dialect.LWM2M_1_1
    if "mccv" in parameters or len(message.token) == _IZUMA_TOKEN_BYTES:
        return Dialect.IZUMA
    return Dialect.LWM2M_1_0


def _bootstrap_accounts(parameters: dict[str, str]) -> frozenset[int]:
    """The Security instances in `acc` ("/0/1", with other objects' instances after a comma)."""
    matches = map(_SECURITY_INSTANCE.fullmatch, parameters.get("acc", "").split(","))
    return frozenset(int(match[1]) for match in matches if match is not None)


def _lifetime(parameters: dict[str, str]) -> int | None:
    text = parameters.get("lt")
    if text is None:
        return None
    if _DECIMAL.fullmatch(text) is None or not 1 <= int(text) <= LIFETIME_MAX_S:
        raise FtcError(Reason.LIFETIME_INVALID)
    return int(text)


def _matching(parameters: dict[str, str], name: str, pattern: re.Pattern[str]) -> str:
    value = parameters.get(name, "")
    if value and pattern.fullmatch(value) is None:
        raise FtcError(Reason.REQUEST_MALFORMED, f"{name} is malformed")
    return value


def _information(parameters: dict[str, str], name: str) -> str:
    """A parameter that decides nothing: one that cannot be shown or is overlong is taken as not said."""
    value = parameters.get(name, "")
    return value if len(value) <= _INFORMATION_MAX_CHARS and value.isprintable() else ""
