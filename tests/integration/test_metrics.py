"""Metrics and health of a real instance, after devices whose fate is known."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from ftc_core.credentials.data_directory import DataDirectory
from tests.certificates import Manufacturer
from tests.instance import FTC, Instance, eventually, make_data_directory, running_instance
from tests.things import Thing, claimed_thing, key_der


@pytest.fixture
def directory(tmp_path: Path) -> DataDirectory:
    return make_data_directory(tmp_path / "data")


@pytest.fixture
def own(directory: DataDirectory) -> Iterator[Instance]:
    """An instance that has seen nothing but this test."""
    with running_instance(directory, "--log-format=json", "--log-level=debug") as running:
        yield running


def get(instance: Instance, path: str, *, method: str = "GET", accept: str = "") -> tuple[HTTPResponse, str]:
    connection = HTTPConnection(*instance.address("metrics"), timeout=10)
    try:
        connection.request(method, path, headers={"Accept": accept} if accept else {})
        response = connection.getresponse()
        return response, response.read().decode()
    finally:
        connection.close()


def scrape(instance: Instance) -> dict[str, float]:
    """Every sample, by its name with labels in the order of the alphabet: `ftc_claims_total{kind=first}`."""
    _, text = get(instance, "/metrics")
    return {
        f"{sample.name}{{{','.join(f'{name}={value}' for name, value in sorted(sample.labels.items()))}}}": (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped(instance: Instance, wanted: dict[str, float]) -> dict[str, float]:
    """What is there of `wanted`, once that is all of it or two publications have passed."""
    deadline = time.monotonic() + 4
    while True:
        samples = scrape(instance)
        found = {name: samples[name] for name in wanted if name in samples}
        if found == wanted or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


async def test_counters_tell_of_one_claimed_one_refused_and_one_unknown_device(
    own: Instance, manufacturer: Manufacturer
) -> None:
    tenant = own.tenant()
    tenant.trust(manufacturer)
    thing, outcome = await claimed_thing(tenant, manufacturer)
    registered = await thing.registered(outcome, tenant.id)
    await Thing.of(own, manufacturer).refused()
    await Thing.of(own, Manufacturer("Nobody's CA")).refused()

    wanted = {
        "ftc_claims_total{kind=first}": 1.0,
        "ftc_credentials_issued_total{}": 1.0,
        "ftc_bootstraps_total{outcome=completed,reason=}": 1.0,
        "ftc_bootstraps_total{outcome=refused,reason=ENROLLMENT_NOT_FOUND}": 1.0,
        "ftc_bootstrap_duration_seconds_count{}": 1.0,
        "ftc_handshakes_total{alert=,outcome=completed,server=bootstrap}": 2.0,
        "ftc_handshakes_total{alert=unknown_ca,outcome=alert_sent,server=bootstrap}": 1.0,
        "ftc_handshakes_total{alert=,outcome=completed,server=lwm2m}": 1.0,
        "ftc_client_hellos_total{answer=challenged,server=bootstrap}": 3.0,
        "ftc_client_hellos_total{answer=proven,server=bootstrap}": 3.0,
        "ftc_registrations_total{operation=register,outcome=OK}": 1.0,
        "ftc_associations{server=lwm2m}": 1.0,
        "ftc_rpcs_total{code=OK,method=ftc.v1.AccountService/CreateAccount}": 1.0,
        "ftc_rpc_duration_seconds_count{method=ftc.v1.AccountService/CreateAccount}": 1.0,
        "ftc_store_entries{table=devices}": 1.0,
        "ftc_store_entries{table=enrollments}": 1.0,
        "ftc_process_ready{process=bootstrap-0}": 1.0,
        "ftc_process_restarts_total{process=bootstrap-0}": 0.0,
    }
    assert scraped(own, wanted) == wanted
    samples = scrape(own)
    assert samples["ftc_commit_submissions_count{}"] >= 4
    assert 0 < samples["ftc_store_used_bytes{}"] < samples["ftc_store_map_bytes{}"]
    for event in ("received", "sent"):
        assert samples[f"ftc_datagrams_total{{event={event},server=bootstrap}}"] > 10
    registered.close()


def test_health_is_served_and_nothing_else(own: Instance) -> None:
    response, body = get(own, "/healthz")
    assert (response.status, body) == (200, "alive\n")
    response, body = get(own, "/readyz")
    assert (response.status, body) == (200, "ready\n")
    response, body = get(own, "/metricsandmore")
    assert (response.status, body) == (404, "nothing here; there are /metrics, /healthz and /readyz\n")
    response, _ = get(own, "/metrics", method="POST")
    assert (response.status, response.headers["Allow"]) == (405, "GET")


def test_openmetrics_is_given_if_asked_for(own: Instance) -> None:
    response, text = get(own, "/metrics", accept="application/openmetrics-text; version=1.0.0")

    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    assert any(
        family.name == "ftc_build" or family.name == "ftc_build_info" for family in parse_openmetrics(text)
    )


def test_instance_is_not_ready_while_a_process_is_down(own: Instance) -> None:
    pid = own.processes()["lwm2m"]
    os.kill(pid, signal.SIGSTOP)  # so that its successor cannot be there before we look
    os.kill(pid, signal.SIGKILL)

    _, body = eventually(
        lambda: answer if (answer := get(own, "/readyz"))[0].status == 503 else None, "not ready"
    )

    assert body == "process lwm2m does not serve\n"
    assert get(own, "/healthz")[0].status == 200
    eventually(lambda: get(own, "/readyz")[0].status == 200, "ready again")
    assert scrape(own)["ftc_process_restarts_total{process=lwm2m}"] == 1


async def test_counts_of_a_dead_worker_stay_and_its_associations_go(
    own: Instance, manufacturer: Manufacturer
) -> None:
    tenant = own.tenant()
    tenant.trust(manufacturer)
    thing, outcome = await claimed_thing(tenant, manufacturer)
    registered = await thing.registered(outcome, tenant.id)
    before = {
        "ftc_registrations_total{operation=register,outcome=OK}": 1.0,
        "ftc_associations{server=lwm2m}": 1.0,
    }
    assert scraped(own, before) == before

    os.kill(own.processes()["lwm2m"], signal.SIGKILL)
    eventually(lambda: scrape(own)["ftc_process_restarts_total{process=lwm2m}"] == 1, "restarted")

    after = {**before, "ftc_associations{server=lwm2m}": 0.0}
    assert scraped(own, after) == after
    registered.close()

    again = await thing.registered(outcome, tenant.id)
    later = {
        "ftc_registrations_total{operation=register,outcome=OK}": 2.0,
        "ftc_associations{server=lwm2m}": 1.0,
    }
    assert scraped(own, later) == later
    again.close()


@pytest.mark.parametrize("name", ["api", "bootstrap-0", "lwm2m", "nursery"])
def test_processes_that_die_leave_no_more_files_than_one(own: Instance, name: str) -> None:
    directory = metric_files(own.processes()["api"])
    before = sorted(directory.iterdir())
    assert before
    for _ in range(3):
        pid = own.processes()[name]
        os.kill(pid, signal.SIGKILL)
        eventually(lambda old=pid: own.processes().get(name) not in (None, old), "restarted")  # type: ignore[misc]
    eventually(lambda: sorted(directory.iterdir()) == before, f"no more than {before}")


def metric_files(pid: int) -> Path:
    """The directory that this process writes its metrics to."""
    environment = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return Path(dict(line.split("=", 1) for line in environment if line)["PROMETHEUS_MULTIPROC_DIR"])


def test_port_in_use_is_one_line(directory: DataDirectory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*FTC, "serve", "--data-dir", str(directory.root), f"--metrics-listen=127.0.0.1:{port}"]
            + [f"--{server}-listen=127.0.0.1:0" for server in ("bootstrap", "lwm2m", "grpc")],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    assert done.returncode == 1
    assert done.stderr.startswith(f"error: TCP port {port} on 127.0.0.1 is in use / what to do:")


async def test_log_of_a_whole_story_tells_who_and_why_but_no_secret(
    own: Instance, manufacturer: Manufacturer
) -> None:
    tenant = own.tenant()
    tenant.trust(manufacturer)
    thing, outcome = await claimed_thing(tenant, manufacturer)
    (await thing.registered(outcome, tenant.id)).close()
    await Thing.of(own, manufacturer).refused()
    await Thing.of(own, Manufacturer("Nobody's CA")).refused()
    api_key = own.directory.operator_key.read_text().strip()
    pepper, cookie_secret = own.directory.api_key_pepper, own.directory.cookie_secret
    keys = [key_der(thing.credential), outcome.lwm2m.secret_key]

    assert own.stop() == 0

    log = own.log.read_text()
    secrets = [api_key, api_key.rpartition(".")[2], api_key.rpartition("_")[2]]
    for secret in (pepper, cookie_secret, *(key[-32:] for key in keys)):
        secrets += [secret.hex(), repr(secret)[2:-1]]
    assert not [secret for secret in secrets if secret and secret in log]
    assert "PRIVATE KEY" not in log
    lines = log.splitlines()
    for event, facts in {
        "bootstrapped": (outcome.device_id, tenant.id, '"peer"', '"process": "bootstrap-0"'),
        "bootstrap refused": ("ENROLLMENT_NOT_FOUND", '"peer"'),
        "devices bootstrapped": ('"completed": 1', '"refused_ENROLLMENT_NOT_FOUND": 1', '"level": "info"'),
        "devices registered": ('"register": 1',),
    }.items():
        (line,) = (line for line in lines if f'"event": "{event}"' in line)
        assert all(fact in line for fact in facts), line
