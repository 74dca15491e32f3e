"""Settings: their sources, in rising order, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from ftc_core.client_identity import ClientIdentity
from ftc_core.config import load_settings
from ftc_core.config_template import render_config
from ftc_core.errors import FtcError, Reason
from ftc_core.listen import ListenAddress
from ftc_core.settings import Settings, describe_setting, setting_names


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(environ: dict[str, str] | None = None, config_file: Path | None = None, **flags: object) -> Settings:
    return load_settings(flags=flags, environ=environ or {}, config_file=config_file)


def refusal(**arguments: object) -> FtcError:
    with pytest.raises(FtcError) as caught:
        load(**arguments)  # type: ignore[arg-type]
    assert caught.value.reason is Reason.SETTING_INVALID
    return caught.value


def test_without_any_source_every_setting_has_its_default() -> None:
    settings = load()
    assert settings == Settings()
    assert settings.bootstrap_listen == (ListenAddress("*", 5784),)
    assert settings.lwm2m_listen == (ListenAddress("*", 5684),)
    assert str(settings.grpc_listen) == "[::]:50051"
    assert str(settings.metrics_listen) == "127.0.0.1:9464"
    assert settings.data_dir == Path("ftc-data")


def test_environment_outranks_file_and_flag_outranks_environment(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text('workers = 3\nshort_server_id = 3\nlwm2m_lifetime_s = 3\npublic_host = "file"\n')
    settings = load(
        {"FTC_WORKERS": "4", "FTC_SHORT_SERVER_ID": "4", "FTC_LWM2M_LIFETIME_S": ""},
        file,
        workers="5",
        public_host=None,
    )
    assert (settings.workers, settings.short_server_id) == (5, 4)
    assert settings.lwm2m_lifetime_s == 3, "an empty variable is not set"
    assert settings.public_host == "file", "a flag that was not given does not count"


def test_file_named_by_variable_is_used(tmp_path: Path) -> None:
    (tmp_path / "named.toml").write_text("workers = 7")
    assert load({"FTC_CONFIG": "named.toml"}).workers == 7


def test_file_in_working_directory_outranks_file_in_data_directory(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ftc.toml").write_text("workers = 8")
    assert load(data_dir=Path("data")).workers == 8
    assert load({"FTC_DATA_DIR": "data"}).workers == 8
    (tmp_path / "ftc.toml").write_text("workers = 9")
    assert load(data_dir=Path("data")).workers == 9


def test_relative_data_dir_in_a_file_starts_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "x.toml").write_text('data_dir = "data"')
    assert load(config_file=Path("etc/x.toml")).data_dir == Path("etc/data")


def test_named_file_that_does_not_exist_is_refused() -> None:
    with pytest.raises(FtcError, match=r"none\.toml") as caught:
        load(config_file=Path("none.toml"))
    assert caught.value.reason is Reason.FILE_UNREADABLE


@pytest.mark.parametrize(("text", "where"), [("workers = \n", "line 1"), ("a = 'caf\xe9'", "utf-8")])
def test_file_that_is_not_toml_is_refused_with_the_place(tmp_path: Path, text: str, where: str) -> None:
    (tmp_path / "x.toml").write_text(text, encoding="latin-1")
    assert where in refusal(config_file=Path("x.toml")).message


def test_unknown_setting_is_refused_with_the_one_meant(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("worker = 2")
    error = refusal(config_file=Path("x.toml"))
    assert error.message == "setting worker (from x.toml): there is no such setting; did you mean workers?"
    assert "FTC_WORKER" in refusal(environ={"FTC_WORKER": "2"}).message


def test_variables_of_the_api_client_are_not_settings() -> None:
    client = {"FTC_ENDPOINT": "h:1", "FTC_API_KEY": "k", "FTC_CA": "c"}
    assert load({**client, "FTC_CLIENT_CERT": "c", "FTC_CLIENT_KEY": "k"}) == Settings()


@pytest.mark.parametrize(
    ("name", "value", "cause"),
    [
        ("workers", "0", ">= 1"),
        ("workers", "many", "Expected `int`"),
        ("workers", "257", "<= 256"),
        ("log_format", "xml", "'xml' is not one of console, json"),
        ("log_level", "loud", "'loud' is not one of debug, info, warning, error"),
        ("lwm2m_binding", "T", "'T' is not one of U, UQ"),
        ("credential_validity_days", "0", ">= 1"),
        ("lwm2m_lifetime_s", "4294967296", "<= 4294967295"),
        ("short_server_id", "65535", "<= 65534"),
        ("shutdown_grace_s", "-1", ">= 0"),
        ("shutdown_grace_s", "nan", "Expected"),
        ("commit_batch", "1001", "<= 1000"),
        ("public_host", "two words", "neither a host name nor an IP address"),
        ("bootstrap_uri", "coap://host", "is not coaps://host:port"),
        ("bootstrap_uri", "coaps://host:0", "is not coaps://host:port"),
        ("bootstrap_uri", "coaps://host:99999", "ort"),
        ("lwm2m_uri", "coaps://host:1?aid=1", "must end after the port"),
        (
            "storage_url",
            "postgresql://u:hidden@h/d",
            "there is no engine for 'postgresql', only for lmdb:///absolute/path",
        ),
        ("storage_url", "lmdb://relative", "is not lmdb:///absolute/path"),
        ("bootstrap_listen", "localhost", "has no port"),
        ("bootstrap_listen", "*:5784,", "has no port"),
        ("lwm2m_listen", "::1:5684", "write an IPv6 address in brackets"),
        ("grpc_listen", "[::1]:65536", "a number from 0 to 65535"),
        ("metrics_listen", "a b:1", "is no host"),
        ("mtls_listen", "localhost:50052", "needs mtls_client_ca"),
        ("mtls_listen", "localhost", "has no port"),
    ],
)
def test_bad_value_names_setting_source_and_cause(name: str, value: str, cause: str) -> None:
    variable = f"FTC_{name.upper()}"
    for error, source in (
        (refusal(environ={variable: value}), variable),
        (refusal(**{name: value}), "--" + name.replace("_", "-")),
    ):
        assert error.field == name
        assert error.message.startswith(f"setting {name} (from {source}): ")
        assert cause in error.message
        assert "hidden" not in error.message


@pytest.mark.parametrize("line", ['workers = "2"', "public_host = 1", "bootstrap_listen = 5", "data_dir = 1"])
def test_file_value_of_another_type_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "x.toml").write_text(line)
    assert refusal(config_file=Path("x.toml")).field == line.split()[0]


def test_lists_come_from_toml_arrays_commas_and_repeated_flags(tmp_path: Path) -> None:
    expected = (ListenAddress("127.0.0.1", 0), ListenAddress("::1", 1))
    (tmp_path / "x.toml").write_text('bootstrap_listen = ["127.0.0.1:0", "[::1]:1"]')
    assert load(config_file=Path("x.toml")).bootstrap_listen == expected
    assert load({"FTC_BOOTSTRAP_LISTEN": "127.0.0.1:0, [::1]:1"}).bootstrap_listen == expected
    assert load(bootstrap_listen=("127.0.0.1:0", "[::1]:1")).bootstrap_listen == expected


ACCOUNT = "0123456789abcdef" * 2
OPERATOR = {"uri": "spiffe://ftc.example/operator", "role": "OPERATOR"}


def test_identities_come_from_toml_tables_or_json_in_the_environment(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "x.toml").write_text(
        'mtls_listen = "localhost:50052"\nmtls_client_ca = "clients.pem"\n'
        f'[[mtls_identities]]\nuri = "urn:acme:ci"\naccount = "{ACCOUNT}"\nrole = "ADMIN"\n'
        '[[mtls_identities]]\nuri = "spiffe://ftc.example/operator"\nrole = "OPERATOR"\n'
    )
    settings = load(config_file=Path("etc/x.toml"))
    assert settings.mtls_listen == ListenAddress("localhost", 50_052)
    assert settings.mtls_client_ca == Path("etc/clients.pem"), "it starts from the file"
    assert settings.mtls_identities == (
        ClientIdentity(uri="urn:acme:ci", account=ACCOUNT, role="ADMIN"),
        ClientIdentity(uri="spiffe://ftc.example/operator", role="OPERATOR"),
    )
    rows = '[{"uri": "urn:acme:ops", "role": "OPERATOR"}]'
    overridden = load({"FTC_MTLS_IDENTITIES": rows}, Path("etc/x.toml"))
    assert [identity.uri for identity in overridden.mtls_identities] == ["urn:acme:ops"]


@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        ([{**OPERATOR, "uri": "ftc.example/operator"}], "is no absolute URI"),
        ([{**OPERATOR, "uri": "urn:a b"}], "is no absolute URI"),
        ([{**OPERATOR, "uri": "urn:caf\xe9"}], "is no absolute URI"),
        ([{**OPERATOR, "uri": "urn:" + "a" * 2_045}], "at most 2048 characters"),
        ([{**OPERATOR, "role": "ADMIN"}], "spiffe://ftc.example/operator: role ADMIN needs an account"),
        ([{**OPERATOR, "account": f"accounts/{ACCOUNT}"}], "is not 32 lower-case hex digits"),
        ([{**OPERATOR, "account": ACCOUNT.upper()}], "is not 32 lower-case hex digits"),
        ([{**OPERATOR, "role": "BOSS"}], "Invalid enum value 'BOSS' - at `$[0].role`"),
        ([{**OPERATOR, "urls": "x"}], "unknown field `urls` - at `$[0]`"),
        ([OPERATOR, {"uri": "urn:x"}], "missing required field `role` - at `$[1]`"),
        ([OPERATOR, {**OPERATOR, "account": ACCOUNT}], "spiffe://ftc.example/operator has 2 rows"),
        (OPERATOR, "Expected `array`"),
        ([OPERATOR], "needs mtls_listen"),
        ("[", "Input data was truncated"),
    ],
)
def test_bad_table_of_identities_is_refused_with_row_and_cause(rows: object, cause: str) -> None:
    error = refusal(mtls_identities=rows)
    assert error.message.startswith("setting mtls_identities (from --mtls-identities): ")
    assert cause in error.message


def test_star_binds_both_address_families() -> None:
    assert ListenAddress.parse("*:5784").bindings() == (("::", 5784), ("0.0.0.0", 5784))  # noqa: S104
    assert ListenAddress.parse("[::1]:1").bindings() == (("::1", 1),)


def test_device_uris_follow_public_host_and_bound_port() -> None:
    settings = Settings(public_host="ftc.example", lwm2m_listen=(ListenAddress("127.0.0.1", 0),))
    assert settings.public_bootstrap_uri() == "coaps://ftc.example:5784"
    assert settings.public_lwm2m_uri(40_001) == "coaps://ftc.example:40001"
    with pytest.raises(FtcError, match="not known before it is bound"):
        settings.public_lwm2m_uri()
    assert Settings(public_host="2001:db8::1").public_lwm2m_uri() == "coaps://[2001:db8::1]:5684"
    assert Settings(lwm2m_uri="coaps://lb.example").public_lwm2m_uri(1) == "coaps://lb.example"


def test_store_lies_in_the_data_directory_unless_said_otherwise(tmp_path: Path) -> None:
    assert Settings(data_dir=Path("d")).store_url == f"lmdb://{tmp_path}/d/store"
    assert Settings(storage_url="lmdb:///ssd/store").store_url == "lmdb:///ssd/store"


def test_settings_made_in_code_are_checked_as_well() -> None:
    with pytest.raises(FtcError, match="at least one address"):
        Settings(bootstrap_listen=())


def test_settings_reach_a_spawned_process() -> None:
    settings = Settings(public_host="ftc.example")
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301 - our own bytes


def test_written_file_reads_back_as_the_same_settings(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path,
        public_host="ftc.example",
        workers=200,
        bootstrap_listen=(ListenAddress("::1", 1), ListenAddress("*", 2)),
        metrics_listen=ListenAddress("::1", 3),
        shutdown_grace_s=1.5,
        lwm2m_uri="coaps://lb.example:1",
        mtls_listen=ListenAddress("*", 4),
        mtls_client_ca=tmp_path / "clients.pem",
        mtls_identities=(
            ClientIdentity(uri="urn:acme:ci", account=ACCOUNT, role="ADMIN"),
            ClientIdentity(uri="spiffe://ftc.example/operator", role="OPERATOR"),
        ),
    )
    (tmp_path / "ftc.toml").write_text(render_config(settings))
    assert load(data_dir=tmp_path) == settings


def test_written_file_explains_every_setting_and_shows_working_defaults(tmp_path: Path) -> None:
    text = render_config(Settings(data_dir=tmp_path))
    live = "\n".join(
        line.removeprefix("# ") if line.startswith(tuple(f"# {n} = " for n in setting_names())) else line
        for line in text.splitlines()
    )
    (tmp_path / "ftc.toml").write_text(live)
    settings = load(data_dir=tmp_path)
    assert settings.store_url == Settings(data_dir=tmp_path).store_url
    assert settings.public_bootstrap_uri() == Settings().public_bootstrap_uri()
    for name in set(setting_names()) - {"data_dir", "storage_url", "bootstrap_uri", "lwm2m_uri"}:
        assert getattr(settings, name) == getattr(Settings(), name)
        assert describe_setting(name).split()[0] in text
