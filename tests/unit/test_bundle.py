"""A device's bundle: what the factory wrote, what a bootstrap adds, what a reset restores."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from ftc_core.credentials.issuer import CredentialIssuer
from ftc_core.credentials.pki import Identity, create_authority, private_key_der
from ftc_core.device import bundle as bundle_module
from ftc_core.device.bundle import BootstrapResult, Bundle
from ftc_core.device.parameters import FACTORY_PARAMETERS, RESULT_PARAMETERS, Parameter
from ftc_core.domain.identity import fingerprint_of, parse_enrollment_id
from ftc_core.errors import FtcError, Reason
from ftc_core.factory.device_certificate import DeviceCertificateIssuer
from ftc_core.factory.provision import ProvisionPlan, provision

NOW = datetime.now(UTC)
DEVICE_ID = "0193a0b0c0d07000800000000000000d"
ACCOUNT_ID = "0193a0b0c0d07000800000000000000a"
OTHER_ACCOUNT_ID = "0193a0b0c0d07000800000000000000b"


@pytest.fixture(scope="module")
def authority() -> Identity:
    return create_authority("Test CA", now=NOW)


@pytest.fixture(scope="module")
def issuer(authority: Identity) -> CredentialIssuer:
    return CredentialIssuer(authority, timedelta(days=1))


@pytest.fixture(scope="module")
def template(authority: Identity, tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = ProvisionPlan(
        count=1,
        out=tmp_path_factory.mktemp("factory"),
        authority=authority,
        server_ca=authority.certificate_der,
        bootstrap_uri="coaps://localhost:5784",
        name_prefix="device-",
        validity=timedelta(days=1),
        now=NOW,
        labels=False,
    )
    (made,) = provision(plan)
    return made.directory


@pytest.fixture
def directory(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "device"))


@pytest.fixture
def result(authority: Identity, issuer: CredentialIssuer) -> BootstrapResult:
    issued = issuer.issue(endpoint_name="device-000001", device_id=DEVICE_ID, account_id=ACCOUNT_ID, now=NOW)
    return BootstrapResult(
        lwm2m_server_uri=f"coaps://localhost:5684?aid={ACCOUNT_ID}",
        server_ca=authority.certificate_der,
        certificate=issued.certificate_der,
        private_key=issued.private_key_der,
        bootstrap_server_uri=f"coaps://localhost:5784?aid={ACCOUNT_ID}",
    )


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.glob("*") if path.is_file()}


def test_fresh_bundle_tells_what_the_factory_wrote(directory: Path, authority: Identity) -> None:
    bundle = Bundle.load(directory)
    assert bundle.endpoint_name == "device-000001"
    assert bundle.first_to_claim
    assert bundle.use_bootstrap
    assert bundle.bootstrap_server_uri == "coaps://localhost:5784"
    assert bundle.bootstrap_server_ca == authority.certificate_der
    assert parse_enrollment_id(bundle.enrollment_id) == fingerprint_of(bundle.bootstrap_certificate)
    assert bundle.bootstrap_private_key
    assert bundle.lwm2m is None


def test_bootstrap_result_is_kept_and_ends_first_to_claim(directory: Path, result: BootstrapResult) -> None:
    credentials = Bundle.load(directory).store_bootstrap_result(result)
    bundle = Bundle.load(directory)
    assert bundle.lwm2m == credentials
    assert credentials.certificate == result.certificate
    assert (credentials.device_id, credentials.account_id) == (DEVICE_ID, ACCOUNT_ID)
    assert not bundle.first_to_claim
    assert bundle.bootstrap_server_uri == f"coaps://localhost:5784?aid={ACCOUNT_ID}"
    written = content(directory)
    assert written["mbed.InternalEndpoint"] == DEVICE_ID.encode()
    assert written["mbed.AccountID"] == ACCOUNT_ID.encode()
    assert "mbed.FirstToClaim" not in written
    assert not [name for name in written if name.startswith(".")], "no temporary file is left"
    assert (directory / "mbed.LwM2MDevicePrivateKey").stat().st_mode & 0o777 == 0o600


def test_factory_reset_forgets_account_and_credentials(directory: Path, result: BootstrapResult) -> None:
    before = content(directory)
    bundle = Bundle.load(directory)
    bundle.store_bootstrap_result(result)
    bundle.factory_reset()
    assert content(directory) == before
    assert Bundle.load(directory).first_to_claim
    bundle.factory_reset()
    assert content(directory) == before, "a second reset changes nothing"


def test_refused_registration_drops_the_lwm2m_account_only(directory: Path, result: BootstrapResult) -> None:
    bundle = Bundle.load(directory)
    bundle.store_bootstrap_result(result)
    bundle.forget_lwm2m()
    again = Bundle.load(directory)
    assert again.lwm2m is None
    assert again.bootstrap_server_uri.endswith(f"?aid={ACCOUNT_ID}")
    assert again.store_bootstrap_result(result) == again.lwm2m


def _no_locality(result: BootstrapResult, authority: Identity) -> BootstrapResult:
    plain = DeviceCertificateIssuer(authority, now=NOW, validity=timedelta(days=1)).issue("device-000001")
    assert not plain.certificate.subject.get_attributes_for_oid(NameOID.LOCALITY_NAME)
    return replace(result, certificate=plain.certificate_der, private_key=private_key_der(plain.private_key))


def _other_endpoint(result: BootstrapResult, authority: Identity) -> BootstrapResult:
    issued = CredentialIssuer(authority, timedelta(days=1)).issue(
        endpoint_name="device-000002", device_id=DEVICE_ID, account_id=ACCOUNT_ID, now=NOW
    )
    return replace(result, certificate=issued.certificate_der, private_key=issued.private_key_der)


def _other_key(result: BootstrapResult, authority: Identity) -> BootstrapResult:
    return replace(result, private_key=_other_endpoint(result, authority).private_key)


@pytest.mark.parametrize(
    ("spoil", "file", "cause"),
    [
        (_no_locality, "mbed.LwM2MDeviceCert", "its subject has 0 L (device ID)"),
        (_other_endpoint, "mbed.LwM2MDeviceCert", "is for 'device-000002', not for 'device-000001'"),
        (_other_key, "mbed.LwM2MDevicePrivateKey", "does not belong to the certificate"),
        (lambda r, _: replace(r, private_key=b"junk"), "mbed.LwM2MDevicePrivateKey", ""),
        (lambda r, _: replace(r, certificate=b""), "mbed.LwM2MDevicePrivateKey", ""),
        (lambda r, _: replace(r, server_ca=b"\x30\x00"), "mbed.LwM2MServerCACert", ""),
        (
            lambda r, _: replace(r, lwm2m_server_uri="coaps://h:1"),
            "mbed.LwM2MServerURI",
            "does not carry aid=",
        ),
        (
            lambda r, _: replace(r, bootstrap_server_uri=f"coaps://h:1?aid={OTHER_ACCOUNT_ID}"),
            "mbed.BootstrapServerURI",
            "does not carry aid=",
        ),
        (
            lambda r, _: replace(r, lwm2m_server_uri="coap://h:1?aid=1"),
            "mbed.LwM2MServerURI",
            "is not coaps://",
        ),
    ],
)
def test_unusable_result_is_refused_and_changes_nothing(
    directory: Path,
    result: BootstrapResult,
    authority: Identity,
    spoil: Callable[[BootstrapResult, Identity], BootstrapResult],
    file: str,
    cause: str,
) -> None:
    before = content(directory)
    with pytest.raises(FtcError) as caught:
        Bundle.load(directory).store_bootstrap_result(spoil(result, authority))
    assert caught.value.reason is Reason.BUNDLE_INVALID
    assert file in caught.value.message
    assert cause in caught.value.message
    assert content(directory) == before


class PowerLossError(Exception):
    """The device stops here."""


def power_cuts(
    monkeypatch: pytest.MonkeyPatch, run: Callable[[], object], restore: Callable[[], object]
) -> Iterator[int]:
    """Run with the power cut before the first, second, … change of a file, until one run completes."""
    for allowed in range(100):
        restore()
        changes = 0

        def cut(change: Callable[..., None], *arguments: object, allowed: int = allowed) -> None:
            nonlocal changes
            if changes == allowed:
                raise PowerLossError
            changes += 1
            change(*arguments)

        with monkeypatch.context() as patch:
            for name in ("replace_file", "remove_file"):
                real = getattr(bundle_module, name)
                patch.setattr(bundle_module, name, lambda *a, real=real, cut=cut: cut(real, *a))
            try:
                run()
            except PowerLossError:
                yield allowed
            else:
                return
    raise AssertionError("never completed")


@pytest.mark.parametrize("bootstrapped_before", [False, True])
def test_power_loss_while_storing_leaves_a_device_that_works(
    directory: Path,
    result: BootstrapResult,
    issuer: CredentialIssuer,
    monkeypatch: pytest.MonkeyPatch,
    bootstrapped_before: bool,
) -> None:
    bundle = Bundle.load(directory)
    renewed = issuer.issue(endpoint_name="device-000001", device_id=DEVICE_ID, account_id=ACCOUNT_ID, now=NOW)
    second = replace(result, certificate=renewed.certificate_der, private_key=renewed.private_key_der)

    def restore() -> None:
        bundle.factory_reset()
        if bootstrapped_before:
            bundle.store_bootstrap_result(result)

    cuts = 0
    for _ in power_cuts(monkeypatch, lambda: bundle.store_bootstrap_result(second), restore):
        cuts += 1
        credentials = Bundle.load(directory).lwm2m
        assert credentials is None or (bootstrapped_before and credentials.certificate == result.certificate)
    assert cuts == 9, "one before each file"
    assert Bundle.load(directory).lwm2m is not None


def test_power_loss_during_factory_reset_leaves_a_device_that_bootstraps(
    directory: Path, result: BootstrapResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle.load(directory)
    cuts = 0
    for allowed in power_cuts(
        monkeypatch, bundle.factory_reset, lambda: bundle.store_bootstrap_result(result)
    ):
        cuts += 1
        interrupted = Bundle.load(directory)
        assert interrupted.lwm2m is None or allowed == 0
    assert cuts == len(RESULT_PARAMETERS) + len(FACTORY_PARAMETERS)
    assert Bundle.load(directory).first_to_claim


@pytest.mark.parametrize(
    ("name", "raw", "cause"),
    [
        ("mbed.FirstToClaim", b"\x01", "has 1 bytes, expected 4"),
        ("mbed.UseBootstrap", b"\0\0\0\0", "is 0"),
        ("mbed.UseBootstrap", None, "No such file"),
        ("mbed.EndpointName", b"", "is empty"),
        ("mbed.EndpointName", b"\xff", "utf-8"),
        ("mbed.DeviceEnrollmentId", b"B-00", "version 'B' is not supported"),
        ("mbed.DeviceEnrollmentId", b"A-" + b":".join([b"00"] * 32), "is not the fingerprint"),
        ("mbed.BootstrapServerURI", b"coaps://h:1?aid=" + ACCOUNT_ID.encode(), "carries aid"),
        ("mbed.BootstrapServerURI", b"coap://h:1", "is not coaps://"),
        ("mbed.BootstrapServerURI", b"coaps://[::1", "Invalid IPv6"),
        ("mbed.BootstrapServerCACert", b"-----BEGIN", ""),
        ("mbed.BootstrapDeviceCert", b"\x30", ""),
        ("mbed.BootstrapDevicePrivateKey", b"\x30", ""),
        ("mbed.BootstrapDevicePrivateKey", None, "No such file"),
    ],
)
def test_damaged_bundle_is_refused_naming_the_file(
    directory: Path, name: str, raw: bytes | None, cause: str
) -> None:
    path = directory / name
    path.unlink()
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(FtcError) as caught:
        Bundle.load(directory)
    assert caught.value.reason is Reason.BUNDLE_INVALID
    assert str(path) in caught.value.message
    assert cause in caught.value.message


def test_what_is_no_directory_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(FtcError, match="is not a directory") as caught:
        Bundle.load(tmp_path / "none")
    assert caught.value.reason is Reason.BUNDLE_INVALID


def test_reset_without_a_whole_pristine_copy_changes_nothing(
    directory: Path, result: BootstrapResult
) -> None:
    bundle = Bundle.load(directory)
    bundle.store_bootstrap_result(result)
    (directory / "factory" / "mbed.EndpointName").unlink()
    before = content(directory)
    with pytest.raises(FtcError) as caught:
        bundle.factory_reset()
    assert caught.value.reason is Reason.BUNDLE_INVALID
    assert content(directory) == before


def test_numbers_are_32_bit_little_endian_and_certificates_der(directory: Path) -> None:
    written = content(directory)
    assert written[Parameter.FIRST_TO_CLAIM] == b"\x01\x00\x00\x00"
    assert written[Parameter.USE_BOOTSTRAP] == b"\x01\x00\x00\x00"
    assert x509.load_der_x509_certificate(written[Parameter.BOOTSTRAP_CERTIFICATE])
