"""The LwM2M account that is written at bootstrap fits into one block, with the identities of `ftc init`.

A second block costs each onboarding a round trip (docs/performance.md), so nothing in it may grow unnoticed.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ftc_core.application.initialise import initialise
from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.credentials.issuer import CredentialIssuer
from ftc_core.limits import COAP_BLOCK_SIZE
from ftc_core.lwm2m import lwm2m_cbor, tlv
from ftc_core.lwm2m.accounts import AccountLayout, Trust
from ftc_core.lwm2m.sequence import BootstrapGrant, write_lwm2m_security
from ftc_core.settings import Settings

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DEVICE_ID = "0193a0b0c0d07000800000000000000d"
ACCOUNT_ID = "0193a0b0c0d07000800000000000000a"
SIGNATURE_MAX_BYTES = 72
"""Of ECDSA with P-256 in DER: two integers of 33 bytes at most; usually one or two bytes less."""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> DataDirectory:
    settings = Settings(data_dir=tmp_path_factory.mktemp("instance") / "data")
    return asyncio.run(initialise(settings, host_name="build-7", now=NOW))


def largest_write(
    directory: DataDirectory, endpoint_name: str, host: str, content_format: int, trust: Trust
) -> int:
    """Bytes of the write of /0/0, were both signatures in it as long as they can be."""
    credential = CredentialIssuer(directory.issuing_ca, timedelta(days=365)).issue(
        endpoint_name=endpoint_name, device_id=DEVICE_ID, account_id=ACCOUNT_ID, now=NOW
    )
    server_ca = directory.server_ca.public_bytes(Encoding.DER)
    certificates = (directory.server_ca, x509.load_der_x509_certificate(credential.certificate_der))
    grant = BootstrapGrant(
        account_id=ACCOUNT_ID,
        device_id=DEVICE_ID,
        endpoint_name=endpoint_name,
        lwm2m_uri=f"coaps://{host}:5684",
        lwm2m_server_certificate=server_ca,
        lwm2m_end_entity_certificate=directory.server_identity("lwm2m").certificate_der,
        client_certificate=credential.certificate_der,
        client_key=credential.private_key_der,
        bootstrap_uri=f"coaps://{host}:5784",
        bootstrap_server_certificate=server_ca,
    )
    written = write_lwm2m_security(grant, AccountLayout(trust=trust), content_format).message.payload
    return len(written) + sum(SIGNATURE_MAX_BYTES - len(each.signature) for each in certificates)


@pytest.mark.parametrize(("name_bytes", "host_bytes"), [(32, 31), (46, 17), (54, 9)])
def test_izumas_account_fits_into_one_block_up_to_63_characters_of_endpoint_name_and_host(
    directory: DataDirectory, name_bytes: int, host_bytes: int
) -> None:
    size = largest_write(directory, "n" * name_bytes, "h" * host_bytes, tlv.CONTENT_FORMAT, Trust.CA)
    assert size <= COAP_BLOCK_SIZE


@pytest.mark.parametrize("content_format", [tlv.CONTENT_FORMAT, lwm2m_cbor.CONTENT_FORMAT])
def test_an_account_with_certificate_usage_fits_into_one_block_up_to_59_characters(
    directory: DataDirectory, content_format: int
) -> None:
    size = largest_write(directory, "n" * 32, "h" * 27, content_format, Trust.CA_WITH_USAGE)
    assert size <= COAP_BLOCK_SIZE
