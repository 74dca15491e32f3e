"""A certificate for a Diffie-Hellman key, made by OpenSSL 3.0.19 (`x509 -req -force_pubkey`).

Its group is RFC 3526's of 4,096 bits in the form of X9.42, but with generator 4, so that no library knows it
by heart: to load the key is to test its primes, for some seconds. Nobody may make us do that.
"""

from __future__ import annotations

from base64 import b64decode
from time import process_time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from ftc_core.application.ca_upload import read_ca
from ftc_core.dtls.alert import Alert
from ftc_core.dtls.trust import PathRefused, TrustEvaluator, fixed_anchors
from ftc_core.errors import FtcError, Reason
from tests.certificates import now

DIFFIE_HELLMAN = b64decode(
    "MIIE5DCCBIsCFFBPT5+8LW07TXPvA7YfJ2+213UWMAoGCCqGSM49BAMCMAwxCjAIBgNVBAMMAVIwIBcNMjYxMTI5MjEz"
    "OTUyWhgPMjEyNjExMDUyMTM5NTJaMBAxDjAMBgNVBAMMBWRldi0xMIIEIzCCBBkGByqGSM4+AgEwggQMAoICAQD/////"
    "/////8kP2qIhaMI0xMZii4DcHNEpAk4IimfMdAILvqY7E5siUUoIeY40BN3vlRmzzTpDGzArCm3yXxQ3T+E1bW1RwkXk"
    "hbV2Yl5+xvRMQummN+1rC/9ctvQGt+3uOGv7Womfpa6fJBF8Sx/mSShmUezkWz3CAHy4oWO/BZjaSDYcVdOaaRY/qP0k"
    "z1+DZV0j3KOtlhxi81YghVK7ntUpB3CWlm1nDDVOSryYBPF0bAjKGCF8MpBeRi42zjvjnncsGA6GA5sng6LsB6KPtcVd"
    "8G9MUsneK8v2lVgXGDmVSXzqlWrlFdImGJj6BRAVco5aiqrELa0zFw0EUHozqFUhq98cumTs+4UEWNvvCorqcVddBgx9"
    "s5cPhabh5Mer9a6M2wkz1x6MlOBKJWGdzuPSJhrS7mvxL/oG2YoIZNh2AnM+yGpkUh8rGBd7IAy74RdXemFdbHcJiMC6"
    "2UbiCOJPoHTlqzFD21v84P0QjkuC0SCpIQgBGnI8EqeH5teIcZoQvbpbJpnDJxhq9OI8GpRoNLYVC9olg+nKKtRM6Nu7"
    "wtsE3o75Lo78FB++yqYofFlHTmvAXZmylk+gkMOiIzuhhlFb5+0fYSlwzuLXr7gb3XYhcEgc0AaRJ9WwWqmTtOqYjY/d"
    "wYb/t9yQpsCPTfQ1yTQGMZn//////////wIBBAKCAgB//////////+SH7VEQtGEaYmMxRcBuDmiUgScERTPmOgEF31Md"
    "ic2RKKUEPMcaAm73yozZ5p0hjZgVhTb5L4obp/Catrao4SLyQtq7MS8/Y3omIXTTG/a1hf+uW3oDW/b3HDX9rUTP0tdP"
    "kgi+JY/zJJQzKPZyLZ7hAD5cULHfgsxtJBsOKunNNIsf1H6SZ6/Bsq6R7lHWyw4xeasQQqldz2qUg7hLSzazhhqnJV5M"
    "Ani6NgRlDBC+GUgvIxcbZx3xzzuWDAdDAc2TwdF2A9FH2uKu+DemKWTvFeX7SqwLjBzKpL51SrVyiukTDEx9AogKuUct"
    "RVViFtaZi4aCKD0Z1CqQ1e+OXTJ2fcKCLG33hUV1OKuugwY+2cuHwtNw8mPV+tdGbYSZ649GSnAlErDO53HpEw1pdzX4"
    "l/0DbMUEMmw7ATmfZDUyKQ+VjAu9kAZd8IurvTCutjuExGBdbKNxBHEn0Dpy1Zih7a3+cH6IRyXBaJBUkIQAjTkeCVPD"
    "82vEOM0IXt0tk0zhk4w1enEeDUo0GlsKhe0SwfTlFWomdG3d4W2Cb0d8l0d+Cg/fZVMUPiyjpzXgLszZSyfQSGHREZ3Q"
    "wyit8/aPsJS4Z3Fr19wN7rsQuCQOaANIk+rYLVTJ2nVMRsfu4MN/2+5IU2BHpvoa5JoDGMz//////////wMEAAIBEDAK"
    "BggqhkjOPQQDAgNHADBEAiAfE3Bf3v0d6ZNrSRrYnCYetwbsskI5bWEMPJ399pxe6gIgSFcTnmLn/Spmood8g4X2aIRl"
    "79hk1Hh7YBg3qu9LQTU="
)
BRIEF_S = 0.5
"""Of the processor, at most; without our care it is 3 or more."""


def test_as_a_devices_certificate_it_is_refused_without_a_look_into_its_key() -> None:
    began = process_time()
    verdict = TrustEvaluator(fixed_anchors(())).evaluate([DIFFIE_HELLMAN], now())
    assert process_time() - began < BRIEF_S
    assert verdict == PathRefused(Alert.BAD_CERTIFICATE, "leaf: key is neither elliptic-curve nor RSA")


def test_in_an_uploaded_chain_it_has_issued_nothing() -> None:
    issuer = x509.load_der_x509_certificate(DIFFIE_HELLMAN)
    key = ec.generate_private_key(ec.SECP256R1())
    below = (
        x509.CertificateBuilder()
        .issuer_name(issuer.subject)
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Below")]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now())
        .not_valid_after(now())
        .sign(key, hashes.SHA256())
    )
    chain = "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in (issuer, below))

    began = process_time()
    with pytest.raises(FtcError) as refused:
        read_ca(chain, now(), field="certificate")

    assert process_time() - began < BRIEF_S
    assert refused.value.reason is Reason.CERTIFICATE_CHAIN_BROKEN
