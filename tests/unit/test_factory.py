"""The factory: CA, provisioning, enrollment list and labels, on real files."""

from __future__ import annotations

import csv
import html.parser
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from ftc_core.credentials.pki import Identity
from ftc_core.device.bundle import Bundle
from ftc_core.domain.identity import fingerprint_of, parse_enrollment_id
from ftc_core.errors import FtcError, Reason
from ftc_core.factory import labels as labels_module
from ftc_core.factory.ca import create_factory_ca, find_factory_ca, load_factory_ca
from ftc_core.factory.claim_secrets import read_claim_secrets
from ftc_core.factory.labels import enrollment_qr
from ftc_core.factory.provision import ProvisionPlan, provision
from tests.certificates import Manufacturer
from tests.faults import no_file_longer_than

NOW = datetime.now(UTC)


@pytest.fixture
def authority(tmp_path: Path) -> Identity:
    return create_factory_ca(tmp_path / "ca", name="ACME Devices CA", now=NOW)


@pytest.fixture
def plan(tmp_path: Path, authority: Identity) -> ProvisionPlan:
    return ProvisionPlan(
        count=2,
        out=tmp_path / "out",
        authority=authority,
        server_ca=authority.certificate_der,
        bootstrap_uri="coaps://ftc.example:5784",
        name_prefix="device-",
        validity=timedelta(days=365),
        now=NOW,
    )


def names(plan: ProvisionPlan) -> list[str]:
    with (plan.out / "enrollments.csv").open(newline="") as file:
        return [row[1] for row in csv.reader(file)][1:]


class Labels(html.parser.HTMLParser):
    """The texts of a sheet's labels, and whether it asks for anything from outside."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.codes: list[str] = []
        self.svgs = 0
        self.outside: list[str] = []
        self._open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = tag
        self.svgs += tag == "svg"
        self.outside += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "code":
            self.codes.append(data)


def test_factory_ca_is_written_with_a_private_key_file(tmp_path: Path, authority: Identity) -> None:
    assert (tmp_path / "ca" / "ca.key").stat().st_mode & 0o777 == 0o600
    loaded = load_factory_ca(tmp_path / "ca")
    assert loaded.certificate == authority.certificate
    (name,) = loaded.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == "ACME Devices CA"


@pytest.mark.parametrize("left", ["ca.pem", "ca.key"])
def test_factory_ca_is_never_overwritten(tmp_path: Path, authority: Identity, left: str) -> None:
    for path in (tmp_path / "ca").iterdir():
        if path.name != left:
            path.unlink()
    before = (tmp_path / "ca" / left).read_bytes()
    with pytest.raises(FtcError) as caught:
        create_factory_ca(tmp_path / "ca", name="other", now=NOW)
    assert caught.value.reason is Reason.FILE_EXISTS
    assert (tmp_path / "ca" / left).read_bytes() == before


def test_factory_ca_that_found_no_room_can_be_made_again(tmp_path: Path) -> None:
    with no_file_longer_than(400), pytest.raises(OSError, match=r"ca\.pem"):  # enough for the key
        create_factory_ca(tmp_path / "new", name="ACME Devices CA", now=NOW)

    assert list((tmp_path / "new").iterdir()) == []
    create_factory_ca(tmp_path / "new", name="ACME Devices CA", now=NOW)


@pytest.mark.parametrize("name", ["", "x" * 65])
def test_factory_ca_name_is_1_to_64_bytes(tmp_path: Path, name: str) -> None:
    with pytest.raises(FtcError) as caught:
        create_factory_ca(tmp_path / "x", name=name, now=NOW)
    assert (caught.value.reason, caught.value.field) == (Reason.FIELD_INVALID, "name")
    assert not (tmp_path / "x").exists()


def test_first_directory_with_a_ca_key_is_the_ca(tmp_path: Path, authority: Identity) -> None:
    (tmp_path / "customer").mkdir()
    shutil.copy(tmp_path / "ca" / "ca.pem", tmp_path / "customer")
    found = find_factory_ca((tmp_path / "customer", tmp_path / "ca"))
    assert found.certificate == authority.certificate
    with pytest.raises(FtcError, match="ftc factory init-ca") as caught:
        find_factory_ca((tmp_path / "customer",))
    assert caught.value.reason is Reason.FILE_UNREADABLE


def test_what_is_no_ca_signs_no_devices(tmp_path: Path, manufacturer: Manufacturer) -> None:
    leaf = manufacturer.device("leaf")
    impostor = Manufacturer(is_authority=False)
    for pem, key in ((leaf.pem, leaf.key_pem), (impostor.pem, _key_pem(impostor))):
        (tmp_path / "ca.pem").write_bytes(pem)
        (tmp_path / "ca.key").write_bytes(key)
        with pytest.raises(FtcError) as caught:
            load_factory_ca(tmp_path)
        assert caught.value.reason is Reason.CERTIFICATE_NOT_CA
    (tmp_path / "ca.key").write_bytes(leaf.key_pem)
    with pytest.raises(FtcError, match="does not belong") as caught:
        load_factory_ca(tmp_path)
    assert caught.value.reason is Reason.FILE_UNREADABLE


def _key_pem(manufacturer: Manufacturer) -> bytes:
    return manufacturer.private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def test_each_device_gets_a_bundle_and_a_line(plan: ProvisionPlan, authority: Identity) -> None:
    made = list(provision(plan))
    assert [device.directory.name for device in made] == ["device-000001", "device-000002"]
    lines = (plan.out / "enrollments.csv").read_text().splitlines()
    assert lines == ["enrollment_id,endpoint_name", *(",".join(device.row) for device in made)]
    assert (plan.out / "ca.pem").read_bytes() == authority.certificate_pem
    for device in made:
        bundle = Bundle.load(device.directory)
        assert bundle.endpoint_name == device.row.endpoint_name == device.directory.name
        assert bundle.enrollment_id == device.row.enrollment_id
        assert bundle.bootstrap_server_uri == "coaps://ftc.example:5784"
        assert Bundle.load(device.directory / "factory").first_to_claim


def test_device_certificate_is_signed_by_the_ca_and_named_after_the_endpoint(plan: ProvisionPlan) -> None:
    (device, _) = provision(plan)
    certificate = x509.load_pem_x509_certificate((device.directory / "device.pem").read_bytes())
    certificate.verify_directly_issued_by(plan.authority.certificate)
    (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == "device-000001"
    der = certificate.public_bytes(serialization.Encoding.DER)
    assert fingerprint_of(der) == parse_enrollment_id(device.row.enrollment_id)
    assert certificate.not_valid_after_utc == (NOW + timedelta(days=365)).replace(microsecond=0)
    key = serialization.load_pem_private_key((device.directory / "device.key").read_bytes(), password=None)
    assert key.public_key() == certificate.public_key()


def test_private_keys_are_readable_by_their_owner_only(plan: ProvisionPlan) -> None:
    (device, _) = provision(plan)
    secret = [*device.directory.rglob("*PrivateKey"), device.directory / "device.key"]
    assert len(secret) == 3
    assert {path.stat().st_mode & 0o777 for path in secret} == {0o600}


def test_device_certificate_never_outlives_the_ca(plan: ProvisionPlan) -> None:
    (device, _) = provision(replace(plan, validity=timedelta(days=40_000)))
    certificate = x509.load_pem_x509_certificate((device.directory / "device.pem").read_bytes())
    assert certificate.not_valid_after_utc == plan.authority.certificate.not_valid_after_utc


def test_second_run_continues_the_numbers_of_its_prefix(plan: ProvisionPlan) -> None:
    list(provision(plan))
    list(provision(replace(plan, count=1, name_prefix="meter-")))
    list(provision(replace(plan, count=1)))
    assert names(plan) == ["device-000001", "device-000002", "meter-000001", "device-000003"]
    sheet = Labels((plan.out / "labels.html").read_text())
    assert len(set(sheet.codes)) == 4


def test_interrupted_run_is_completed_by_the_next(plan: ProvisionPlan) -> None:
    run = provision(plan)
    next(run)
    run.close()  # as by Ctrl-C, after the first device
    (plan.out / "enrollments.csv").write_text("enrollment_id,endpoint_name\n")  # killed before its line
    (plan.out / "devices" / ".device-000002.partial" / "factory").mkdir(
        parents=True
    )  # killed amid the second
    list(provision(replace(plan, count=1)))
    assert names(plan) == ["device-000001", "device-000002"]
    assert sorted(path.name for path in (plan.out / "devices").iterdir()) == names(plan)
    for name in names(plan):
        Bundle.load(plan.out / "devices" / name)


def test_directory_of_another_ca_is_refused(plan: ProvisionPlan, tmp_path: Path) -> None:
    list(provision(plan))
    other = create_factory_ca(tmp_path / "other", name="other", now=NOW)
    with pytest.raises(FtcError, match="is another CA") as caught:
        list(provision(replace(plan, authority=other)))
    assert caught.value.reason is Reason.FILE_EXISTS
    assert len(names(plan)) == 2


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("something,else\n", "line 1"),
        ("enrollment_id,endpoint_name\nA-00,device-000001\n", "line 2"),
        ("enrollment_id,endpoint_name\nA-0", "line 2"),
    ],
)
def test_damaged_enrollment_list_is_refused_naming_the_line(
    plan: ProvisionPlan, text: str, line: str
) -> None:
    plan.out.mkdir()
    (plan.out / "enrollments.csv").write_text(text)
    with pytest.raises(FtcError) as caught:
        list(provision(plan))
    assert caught.value.reason is Reason.FILE_UNREADABLE
    assert line in caught.value.message
    assert (plan.out / "enrollments.csv").read_text() == text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("count", 0),
        ("validity", timedelta()),
        ("name_prefix", "../x"),
        ("name_prefix", ".hidden"),
        ("name_prefix", "x" * 55),
        ("bootstrap_uri", "coaps://h:5784?aid=0193a0b0c0d07000800000000000000a"),
        ("bootstrap_uri", "coaps://h:5784?x=1&aid="),
        ("bootstrap_uri", "coap://h:5784"),
        ("bootstrap_uri", "h:5784"),
    ],
)
def test_impossible_plan_is_refused(plan: ProvisionPlan, field: str, value: object) -> None:
    with pytest.raises(FtcError) as caught:
        replace(plan, **{field: value})  # type: ignore[arg-type]
    assert (caught.value.reason, caught.value.field) == (Reason.FIELD_INVALID, field)


def test_label_sheet_is_self_contained_and_holds_one_code_per_device(plan: ProvisionPlan) -> None:
    made = list(provision(plan))
    sheet = Labels((plan.out / "labels.html").read_text())
    assert sheet.codes == [device.row.enrollment_id for device in made]
    assert sheet.svgs == 2
    assert sheet.outside == []


def test_long_runs_go_to_several_sheets(plan: ProvisionPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels_module, "LABELS_PER_SHEET", 2)
    list(provision(replace(plan, count=3)))
    list(provision(replace(plan, count=2)))
    counts = {path.name: Labels(path.read_text()).svgs for path in sorted(plan.out.glob("labels*.html"))}
    assert counts == {"labels.html": 2, "labels-2.html": 2, "labels-3.html": 1}


def test_labels_can_be_left_out(plan: ProvisionPlan) -> None:
    list(provision(replace(plan, labels=False)))
    assert not list(plan.out.glob("labels*"))


def test_qr_code_uses_the_compact_alphanumeric_mode(plan: ProvisionPlan) -> None:
    (device, _) = provision(plan)
    assert enrollment_qr(device.row.enrollment_id).designator == "5-M"


# --- claim secrets ---------------------------------------------------------------------------------


def test_devices_have_no_claim_secret_unless_it_is_asked_for(plan: ProvisionPlan) -> None:
    for made in provision(plan):
        assert Bundle.load(made.directory).claim_secret is None
    assert not (plan.out / "claim-secrets.csv").exists()


def test_each_device_has_a_claim_secret_of_its_own_that_its_owner_alone_can_read(plan: ProvisionPlan) -> None:
    guarded = replace(plan, claim_secrets=True)
    devices = list(provision(guarded))

    secrets = [Bundle.load(made.directory).claim_secret for made in devices]
    assert len(set(secrets)) == len(devices) == 2
    for made, secret in zip(devices, secrets, strict=True):
        assert secret is not None
        assert len(secret) == 32
        for place in (made.directory, made.directory / "factory"):
            assert (place / "ftc.ClaimSecret").read_text() == secret
            assert (place / "ftc.ClaimSecret").stat().st_mode & 0o777 == 0o600
    listed = plan.out / "claim-secrets.csv"
    assert listed.stat().st_mode & 0o777 == 0o600
    assert read_claim_secrets(listed) == {
        parse_enrollment_id(made.row.enrollment_id): secret
        for made, secret in zip(devices, secrets, strict=True)
    }
    sheet = plan.out / "labels.html"
    assert sheet.stat().st_mode & 0o777 == 0o600
    labels = Labels(sheet.read_text())
    assert labels.svgs == 4
    assert [text.replace(" ", "") for text in labels.codes[1::2]] == secrets
    assert "claim" not in (plan.out / "enrollments.csv").read_text()


def test_a_run_that_was_cut_off_lists_the_secret_that_the_device_has(plan: ProvisionPlan) -> None:
    guarded = replace(plan, claim_secrets=True, count=1)
    (first,) = provision(guarded)
    for name in ("enrollments.csv", "claim-secrets.csv", "labels.html"):
        (plan.out / name).unlink()
    (second,) = provision(guarded)

    secrets = {
        parse_enrollment_id(made.row.enrollment_id): Bundle.load(made.directory).claim_secret
        for made in (first, second)
    }
    assert read_claim_secrets(plan.out / "claim-secrets.csv") == secrets
