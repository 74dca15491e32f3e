"""The `mbed.*` parameters of a device and the raw form of their values [I].

Numbers are unsigned 32-bit in the device's byte order (little-endian here), texts are UTF-8 without
terminator, certificates and keys are DER.
"""

from __future__ import annotations

from enum import StrEnum
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

__all__ = [
    "FACTORY_PARAMETERS",
    "RESULT_PARAMETERS",
    "Parameter",
    "account_id_of",
    "check_coaps_uri",
    "decode_text",
    "decode_u32",
    "encode_u32",
    "load_key_pair",
]


class Parameter(StrEnum):
    """A parameter; its value is its file's name."""

    FIRST_TO_CLAIM = "mbed.FirstToClaim"
    USE_BOOTSTRAP = "mbed.UseBootstrap"
    ENDPOINT_NAME = "mbed.EndpointName"
    ENROLLMENT_ID = "mbed.DeviceEnrollmentId"
    BOOTSTRAP_SERVER_URI = "mbed.BootstrapServerURI"
    BOOTSTRAP_SERVER_CA = "mbed.BootstrapServerCACert"
    BOOTSTRAP_CERTIFICATE = "mbed.BootstrapDeviceCert"
    BOOTSTRAP_PRIVATE_KEY = "mbed.BootstrapDevicePrivateKey"
    CLAIM_SECRET = "ftc.ClaimSecret"  # noqa: S105 - a name; ours, and there only if the device has one
    # Written by the device when it was bootstrapped.
    LWM2M_SERVER_URI = "mbed.LwM2MServerURI"
    LWM2M_SERVER_CA = "mbed.LwM2MServerCACert"
    LWM2M_CERTIFICATE = "mbed.LwM2MDeviceCert"
    LWM2M_PRIVATE_KEY = "mbed.LwM2MDevicePrivateKey"
    DEVICE_ID = "mbed.InternalEndpoint"
    ACCOUNT_ID = "mbed.AccountID"

    @property
    def is_secret(self) -> bool:
        """Whether only the owner may read the file."""
        return self in (
            Parameter.BOOTSTRAP_PRIVATE_KEY,
            Parameter.LWM2M_PRIVATE_KEY,
            Parameter.CLAIM_SECRET,
        )


FACTORY_PARAMETERS = (
    Parameter.FIRST_TO_CLAIM,
    Parameter.USE_BOOTSTRAP,
    Parameter.ENDPOINT_NAME,
    Parameter.ENROLLMENT_ID,
    Parameter.BOOTSTRAP_SERVER_URI,
    Parameter.BOOTSTRAP_SERVER_CA,
    Parameter.BOOTSTRAP_CERTIFICATE,
    Parameter.BOOTSTRAP_PRIVATE_KEY,
)
"""What the factory writes in any case."""

RESULT_PARAMETERS = (
    Parameter.LWM2M_SERVER_URI,  # first: see device.bundle on the order
    Parameter.LWM2M_SERVER_CA,
    Parameter.LWM2M_CERTIFICATE,
    Parameter.LWM2M_PRIVATE_KEY,
    Parameter.DEVICE_ID,
    Parameter.ACCOUNT_ID,
)
"""What a bootstrap adds, in the order in which a factory reset removes it."""


def encode_u32(number: int) -> bytes:
    """Four bytes, little-endian. Raises OverflowError outside 0 to 2**32-1."""
    return number.to_bytes(4, "little")


def decode_u32(raw: bytes) -> int:
    """The number in four little-endian bytes. Raises ValueError for another length."""
    if len(raw) != 4:
        raise ValueError(f"has {len(raw)} bytes, expected 4 (a 32-bit number)")
    return int.from_bytes(raw, "little")


def decode_text(raw: bytes) -> str:
    """A text that is not empty. Raises ValueError, also for what is not UTF-8."""
    if not raw:
        raise ValueError("is empty")
    return raw.decode()


def check_coaps_uri(uri: str) -> str:
    """`uri`, if it is `coaps://host[:port][?query]`; else ValueError."""
    parts = urlsplit(uri)
    if parts.scheme != "coaps" or not parts.hostname or parts.port == 0 or parts.fragment:
        raise ValueError(f"{uri!r} is not coaps://host:port")
    return uri


def account_id_of(uri: str) -> str | None:
    """The `aid` in the query of a server URI ("" if it has no value), or None."""
    return next(iter(parse_qs(urlsplit(uri).query, keep_blank_values=True).get("aid", ())), None)


def load_key_pair(certificate_der: bytes, private_key_der: bytes) -> x509.Certificate:
    """The certificate, once its private key is found to belong to it.

    Raises ValueError if it does not, or one of them cannot be used.
    """
    try:
        certificate = x509.load_der_x509_certificate(certificate_der)
        certified = certificate.public_key()
    except (UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise ValueError(f"the certificate cannot be used: {error}") from error
    try:
        key = serialization.load_der_private_key(private_key_der, password=None)
    except (TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(f"the private key cannot be used: {error}") from error
    if key.public_key() != certified:
        raise ValueError("the private key does not belong to the certificate")
    return certificate
