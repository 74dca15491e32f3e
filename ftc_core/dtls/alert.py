"""TLS alerts: their numbers, and the one that we correct on its way out (RFC 5246 §7.2)."""

from __future__ import annotations

from enum import IntEnum

from ftc_core.dtls import record

__all__ = ["Alert", "alert_name", "with_description"]

_PLAINTEXT_ALERT_BYTES = record.HEADER_BYTES + 2
_FATAL = 2


class Alert(IntEnum):
    """Alert descriptions (RFC 5246 §7.2)."""

    CLOSE_NOTIFY = 0
    UNEXPECTED_MESSAGE = 10
    BAD_RECORD_MAC = 20
    RECORD_OVERFLOW = 22
    DECOMPRESSION_FAILURE = 30
    HANDSHAKE_FAILURE = 40
    BAD_CERTIFICATE = 42
    UNSUPPORTED_CERTIFICATE = 43
    CERTIFICATE_REVOKED = 44
    CERTIFICATE_EXPIRED = 45
    CERTIFICATE_UNKNOWN = 46
    ILLEGAL_PARAMETER = 47
    UNKNOWN_CA = 48
    ACCESS_DENIED = 49
    DECODE_ERROR = 50
    DECRYPT_ERROR = 51
    PROTOCOL_VERSION = 70
    INSUFFICIENT_SECURITY = 71
    INTERNAL_ERROR = 80
    USER_CANCELED = 90
    NO_RENEGOTIATION = 100
    UNSUPPORTED_EXTENSION = 110


def alert_name(description: int) -> str:
    """The RFC's name in lower case ("unknown_ca"), or "alert 123" for a number that it does not define."""
    try:
        return Alert(description).name.lower()
    except ValueError:
        return f"alert {description}"


def with_description(sent: bytes, description: Alert) -> bytes:
    """The record with its description replaced if it is a plaintext fatal alert; any other record unchanged.

    When a verify callback refuses a chain, OpenSSL chooses the alert by the error of that one certificate
    and has no way to be told another. The alert of a handshake is not yet encrypted or authenticated, so its
    description is ours to set: the peer sees what it would see had OpenSSL been told.
    """
    if (
        len(sent) == _PLAINTEXT_ALERT_BYTES
        and sent[0] == record.ALERT
        and record.is_plaintext(sent)
        and sent[record.HEADER_BYTES] == _FATAL
    ):
        return sent[:-1] + bytes((description,))
    return sent
