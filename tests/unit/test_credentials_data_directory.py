"""Making a data directory, reading it, and holding it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from ftc_core.application import initialise as initialise_module
from ftc_core.application.initialise import initialise
from ftc_core.config import load_settings
from ftc_core.credentials.data_directory import SECRET_BYTES, DataDirectory
from ftc_core.domain.account import Role
from ftc_core.errors import FtcError, Reason
from ftc_core.settings import Settings
from ftc_core.storage.engines import open_store

NOW = datetime.now(UTC)


def make(root: Path, **settings: object) -> DataDirectory:
    chosen = Settings(data_dir=root, **settings)  # type: ignore[arg-type]
    return asyncio.run(initialise(chosen, host_name="build-7", now=NOW))


def test_data_directory_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    directory = make(tmp_path / "data")
    assert directory.root.stat().st_mode & 0o777 == 0o700
    secret = [*directory.root.rglob("*.key"), *directory.secrets.iterdir()]
    assert len(secret) == 9
    assert {path.stat().st_mode & 0o777 for path in secret} == {0o600}
    assert list(tmp_path.iterdir()) == [tmp_path / "data"], "nothing else is left behind"


def test_server_identities_are_certified_by_the_server_ca_for_every_name(tmp_path: Path) -> None:
    directory = make(tmp_path / "data", public_host="ftc.example")
    for name in ("bootstrap", "lwm2m", "grpc"):
        certificate = directory.server_identity(name).certificate
        certificate.verify_directly_issued_by(directory.server_ca)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["localhost", "build-7", "ftc.example"]
        assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert directory.issuing_ca.certificate.subject != directory.server_ca.subject


def test_secrets_are_32_random_bytes_each(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one"), make(tmp_path / "two")
    secrets = {one.api_key_pepper, one.cookie_secret, two.api_key_pepper, two.cookie_secret}
    assert len(secrets) == 4
    assert {len(secret) for secret in secrets} == {SECRET_BYTES}


def test_operator_key_stands_in_the_store_with_its_role(tmp_path: Path) -> None:
    directory = make(tmp_path / "data")
    prefix, key_id, secret = directory.operator_key.read_text().strip().split("_")
    assert prefix == "ftc"
    store = open_store(Settings(data_dir=directory.root).store_url)
    try:
        with store.view() as view:
            key = view.get_api_key(key_id)
    finally:
        store.close()
    assert key is not None
    assert key.role is Role.OPERATOR
    assert secret.encode() not in key.secret_hash


def test_settings_given_at_init_are_found_again(tmp_path: Path) -> None:
    make(tmp_path / "data", public_host="ftc.example")
    found = load_settings(flags={"data_dir": tmp_path / "data"}, environ={})
    assert found.public_host == "ftc.example"
    assert found.store_url == f"lmdb://{tmp_path}/data/store"


@pytest.mark.parametrize("kind", ["directory", "file", "broken link"])
def test_what_is_there_already_is_never_touched(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "data"
    match kind:
        case "directory":
            target.mkdir()
        case "file":
            target.touch()
        case _:
            target.symlink_to("nowhere")
    with pytest.raises(FtcError) as caught:
        make(target)
    assert caught.value.reason is Reason.FILE_EXISTS
    assert list(tmp_path.iterdir()) == [target]


def test_failure_on_the_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise FtcError(Reason.INTERNAL_2)

    monkeypatch.setattr(initialise_module, "open_store", full)
    with pytest.raises(FtcError) as caught:
        make(tmp_path / "data")
    assert caught.value.reason is Reason.INTERNAL_2
    assert list(tmp_path.iterdir()) == []


def test_missing_data_directory_is_refused(tmp_path: Path) -> None:
    for root in (tmp_path / "none", tmp_path):
        with pytest.raises(FtcError) as caught:
            DataDirectory.open(root)
        assert caught.value.reason is Reason.DATA_DIRECTORY_MISSING
        assert str(root) in caught.value.message


def test_another_layout_is_refused(tmp_path: Path) -> None:
    directory = make(tmp_path / "data")
    directory.format_file.write_text("1\n")
    with pytest.raises(FtcError, match="has format '1'") as caught:
        DataDirectory.open(directory.root)
    assert caught.value.reason is Reason.DATA_DIRECTORY_INCOMPATIBLE


def test_damaged_material_is_refused_naming_the_file(tmp_path: Path) -> None:
    directory = make(tmp_path / "data")
    directory.server_ca_file.write_text("x")
    directory.key_file("issuing-ca").unlink()
    directory.cookie_secret_file.write_bytes(b"short")
    directory.key_file("grpc").write_bytes(directory.key_file("lwm2m").read_bytes())
    fresh = DataDirectory.open(directory.root)
    for read, name in (
        (lambda: fresh.server_ca, "server-ca.pem"),
        (lambda: fresh.issuing_ca, "issuing-ca.key"),
        (lambda: fresh.cookie_secret, "cookie-secret has 5 bytes"),
        (lambda: fresh.server_identity("grpc"), "grpc.key: private key does not belong"),
    ):
        with pytest.raises(FtcError) as caught:
            read()
        assert caught.value.reason is Reason.FILE_UNREADABLE
        assert name in caught.value.message


def test_one_instance_at_a_time_holds_the_directory(tmp_path: Path) -> None:
    directory = make(tmp_path / "data")
    with directory.lock():
        with (
            pytest.raises(FtcError, match=r"in use by another instance \(process \d+\)") as caught,
            directory.lock(),
        ):
            raise AssertionError("two holders")
        assert caught.value.reason is Reason.DATA_DIRECTORY_IN_USE
    with directory.lock():
        pass


def test_killed_instance_does_not_keep_the_directory(tmp_path: Path) -> None:
    directory = make(tmp_path / "data")
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, pathlib\n"
            "from ftc_core.credentials.data_directory import DataDirectory\n"
            "with DataDirectory.open(pathlib.Path(sys.argv[1])).lock():\n"
            "    print('held', flush=True)\n"
            "    sys.stdin.read()\n",
            str(directory.root),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(FtcError, match=f"process {holder.pid}"), directory.lock():
            raise AssertionError("two holders")
        holder.kill()
    with directory.lock():
        pass
