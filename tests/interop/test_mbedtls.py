"""Devices on Mbed TLS and aiocoap: another DTLS library and another CoAP stack."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import pytest
from aiocoap import Message
from aiocoap.numbers.codes import Code
from mbedtls import tls

from tests.interop.fleet import Device
from tests.interop.instance import Account, Instance
from tests.interop.mbedtls_device import SERVER_URI, Credential, ObjectTree, Offer, associate

CCM_8 = "TLS-ECDHE-ECDSA-WITH-AES-128-CCM-8"
OFFERS = [
    *(
        pytest.param(Offer(f"TLS-ECDHE-ECDSA-WITH-{cipher}"), id=cipher)
        for cipher in (
            "AES-128-CCM-8",
            "AES-128-CCM",
            "AES-128-CBC-SHA256",
            "AES-128-GCM-SHA256",
            "AES-256-GCM-SHA384",
            "CHACHA20-POLY1305-SHA256",
        )
    ),
    # As small devices ask for it, whose buffers hold no larger records.
    pytest.param(Offer(CCM_8, tls.MaxFragmentLength.MFL_1024K), id="records of 1,024"),
    pytest.param(Offer(CCM_8, tls.MaxFragmentLength.MFL_512K), id="records of 512"),
]
SECONDS = 10.0


@pytest.mark.parametrize("offer", OFFERS)
async def test_device_bootstraps_and_registers(
    instance: Instance, owner: Account, device: Device, offer: Offer
) -> None:
    owner.enroll(device.certificate)
    tree = ObjectTree()
    factory = Credential.of_factory(device, instance.ca.read_text())

    async with (
        asyncio.timeout(SECONDS),
        associate(instance.ports["bootstrap"], factory, tree, offer) as context,
    ):
        request = Message(code=Code.POST, uri=f"coaps://localhost/bs?ep={device.endpoint_name}")
        assert (await context.request(request).response).code is Code.CHANGED
        await tree.finished.wait()

    writes = [request for request in tree.requests if not request.startswith("GET ")]
    assert writes == ["DELETE /0", "PUT /0/0", "PUT /1/0", "PUT /0/1", "POST /bs"]

    account = tree.account()
    port = urlsplit(account[SERVER_URI].decode()).port
    assert port == instance.ports["lwm2m"]
    async with (
        asyncio.timeout(SECONDS),
        associate(port, Credential.of_account(account), ObjectTree(), offer) as context,
    ):
        register = Message(
            code=Code.POST,
            uri=f"coaps://localhost/rd?ep={device.endpoint_name}&lt=3600&lwm2m=1.0&b=U",
            content_format=40,
            payload=b"</1/0>,</3/0>",
        )
        answer = await context.request(register).response

    assert answer.code is Code.CREATED, answer
    (record,) = owner.devices_named(device.endpoint_name)
    assert answer.opt.location_path == ("rd", owner.id, record["name"].rpartition("/")[2])
    assert record["state"] == "REGISTERED"
