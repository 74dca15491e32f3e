"""A LwM2M 1.0 device on java-coap, the CoAP of Leshan's Java-CoAP transport, over Scandium's DTLS."""

from __future__ import annotations

from pathlib import Path

from tests.certificates import Manufacturer
from tests.interop.fleet import Device
from tests.interop.instance import Account, Instance
from tests.interop.leshan_device import JAVA_COAP, powered


def test_device_is_claimed_in_its_blocks_registers_and_deregisters(
    instance: Instance, account: Account, tmp_path: Path
) -> None:
    maker = Manufacturer("Long Names CA")
    (tmp_path / "maker.pem").write_bytes(maker.pem)
    account.upload_ca(tmp_path / "maker.pem")
    name = "n" * 64  # too long for its LwM2M account to fit into one block
    device = Device.of(maker.device(name), name, tmp_path)
    account.enroll(device.certificate)

    with powered(JAVA_COAP, device, instance, tmp_path) as client:
        requests = list(iter(client.event, "bootstrapped"))
        writes = [request for request in requests if not request.startswith("GET ")]
        # The server begins with blocks of 1,024 bytes; the device's answer asks for smaller ones.
        assert writes == ["DELETE /0", "PUT /0/0 in blocks of 256", "PUT /1/0", "PUT /0/1", "POST /bs"]
        (record,) = account.devices_named(device.endpoint_name)
        identity = record["name"].rpartition("/")[2]
        assert client.event() == f"registered /rd/{account.id}/{identity}"
        (record,) = account.devices_named(device.endpoint_name)
        assert record["state"] == "REGISTERED"

        client.switch_off()
        assert client.event() == "deregistered"
    (record,) = account.devices_named(device.endpoint_name)
    assert record["state"] == "DEREGISTERED"


def test_device_that_nobody_enrolled_is_told_so(
    instance: Instance, owner: Account, device: Device, tmp_path: Path
) -> None:
    with powered(JAVA_COAP, device, instance, tmp_path) as client:
        assert client.event() == "bootstrap-refused 4.03 Enrollment ID not registered"
