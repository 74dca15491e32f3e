"""Certificate requests that OpenSSL made, some of them in ways in which our own library makes none.

Made by OpenSSL 3.0.19. To make them again, SUBJECT being `/CN=dev-1/L=d…/OU=a…` with 32 letters each:

    openssl ecparam -name prime256v1 -genkey -noout -out key.pem    # -param_enc explicit for EXPLICIT
    openssl genpkey -algorithm ed25519 -out key.pem                 # for ED25519
    openssl req -new -key key.pem -sha256 -subj SUBJECT -outform DER    # -sha1 for SHA_1
"""

from __future__ import annotations

from base64 import b64decode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ftc_core.credentials.signing_request import judge_signing_request
from ftc_core.errors import FtcError, Reason

GOOD = b64decode(
    "MIIBITCByAIBADBmMQ4wDAYDVQQDDAVkZXYtMTEpMCcGA1UEBwwgZGRkZGRkZGRkZGRkZGRkZGRkZGRkZGRkZGRkZGRk"
    "ZGQxKTAnBgNVBAsMIGFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcD"
    "QgAEpFRTS0uxCy98AwXdmre0VgfngYjAp1AZn31a4CMOiHuBZ+yL+Mq8cwrjb6HMVgfEAs8XdIaUfuwda3iL1nH+KqAA"
    "MAoGCCqGSM49BAMCA0gAMEUCIAw0pnDg4ROYmvw/Sh0eM5ztZD9o54lUnLKAv66xsAfpAiEAzEzgWt6ZQbtGW80/TYMn"
    "XDt0QEchyd8YWzCWrr4opz0="
)
SHA_1 = b64decode(
    "MIIBIDCByAIBADBmMQ4wDAYDVQQDDAVkZXYtMTEpMCcGA1UEBwwgZGRkZGRkZGRkZGRkZGRkZGRkZGRkZGRkZGRkZGRk"
    "ZGQxKTAnBgNVBAsMIGFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcD"
    "QgAEpFRTS0uxCy98AwXdmre0VgfngYjAp1AZn31a4CMOiHuBZ+yL+Mq8cwrjb6HMVgfEAs8XdIaUfuwda3iL1nH+KqAA"
    "MAkGByqGSM49BAEDSAAwRQIhAM+XwkmXXWno3uFgdmEGUgRzmEkQPlMPx+Wdw3dOUkVEAiBDGPJoDGdbLVLMo6exk9eP"
    "Ugs1MCVx9sXtiZD7HULO7A=="
)
EXPLICIT = b64decode(
    "MIICFzCCAbwCAQAwZjEOMAwGA1UEAwwFZGV2LTExKTAnBgNVBAcMIGRkZGRkZGRkZGRkZGRkZGRkZGRkZGRkZGRkZGRk"
    "ZGRkMSkwJwYDVQQLDCBhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYTCCAUswggEDBgcqhkjOPQIBMIH3AgEB"
    "MCwGByqGSM49AQECIQD/////AAAAAQAAAAAAAAAAAAAAAP///////////////zBbBCD/////AAAAAQAAAAAAAAAAAAAA"
    "AP///////////////AQgWsY12Ko6k+ez671VdpiGvGUdBrDMU7D2O848PifSYEsDFQDEnTYIhucEk2pmeOETnSa3gZ9+"
    "kARBBGsX0fLhLEJH+Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT+NC4v4af5uO5+tKfA+eFivOM1drMV7Oy7ZAaDe/UfUC"
    "IQD/////AAAAAP//////////vOb6racXnoTzucrC/GMlUQIBAQNCAATXQFvZ6peGwtN01Pzxxragy9XJpfE87v0sKzYQ"
    "DC2IH/O6+ABJ4v70C0AYtp9pDk1gOBmXDBH9iShaO0OJzqiKoAAwCgYIKoZIzj0EAwIDSQAwRgIhALSbdS0WVveUYArw"
    "4qR+c4g2K/qzbkNLbnk+eizMiEV7AiEA6kd3RSB+S+ie1fbufwTYXPZKU4K7ocoCKqHiVg8f4GA="
)
ED25519 = b64decode(
    "MIHmMIGZAgEAMGYxDjAMBgNVBAMMBWRldi0xMSkwJwYDVQQHDCBkZGRkZGRkZGRkZGRkZGRkZGRkZGRkZGRkZGRkZGRk"
    "ZDEpMCcGA1UECwwgYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWEwKjAFBgMrZXADIQDz/rw/PtjFLhK9zlQ/"
    "3db7xMmAKsxRo8FgHo92k10XTKAAMAUGAytlcANBAP4PhmXwSymaxW+19/kZD/aJgn/yPeYe+vb7dxpVn7qTKgCc6wlT"
    "xCHChrP8iy/W7DHXYHv5Lvewh71B3bxVAQE="
)


def judge(der: bytes) -> ec.EllipticCurvePublicKey:
    return judge_signing_request(der, endpoint_name="dev-1", device_id="d" * 32, account_id="a" * 32)


@pytest.mark.parametrize(
    "der", [pytest.param(GOOD, id="as usual"), pytest.param(EXPLICIT, id="P-256 by its parameters")]
)
def test_a_request_of_openssl_is_taken_and_its_curve_called_by_name(der: bytes) -> None:
    key = judge(der)
    assert isinstance(key.curve, ec.SECP256R1)
    assert len(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)) == 91


@pytest.mark.parametrize(
    ("der", "text"),
    [
        pytest.param(SHA_1, "CSR is not signed by its key with SHA-256", id="signed with SHA-1"),
        pytest.param(ED25519, "CSR key is not P-256", id="Ed25519"),
    ],
)
def test_one_that_we_do_not_take_is_told_why(der: bytes, text: str) -> None:
    with pytest.raises(FtcError) as refused:
        judge(der)
    assert refused.value.reason is Reason.SIGNING_REQUEST_INVALID
    assert refused.value.message == text
