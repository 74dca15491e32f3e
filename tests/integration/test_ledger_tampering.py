"""The ledger of a real instance, and what becomes of whoever alters it: its export, or its store."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb
import msgspec
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ftc_core.cli.main import cli
from ftc_core.credentials.ledger_keys import public_key_pem
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.domain.ledger import LedgerEntry, append
from ftc_core.storage.lmdb import records
from ftc_core.storage.lmdb.tables import number_key
from tests.certificates import Manufacturer
from tests.instance import Instance, Tenant, make_data_directory, running_instance
from tests.things import Thing, claimed_thing

Lines = list[dict[str, Any]]


@dataclass(frozen=True)
class Site:
    """An instance whose first device had three owners, its second two, its third one; and its export."""

    instance: Instance
    maker: Manufacturer
    owners: tuple[Tenant, Tenant, Tenant]
    things: tuple[Thing, Thing, Thing]
    exported: Path
    public_key: Path

    def identity(self, number: int) -> str:
        """The enrollment ID of a device, from 0."""
        return format_enrollment_id(self.things[number].fingerprint)

    def ftc(self, *words: str) -> Result:
        """The command with the operator's key, in this process."""
        host, port = self.instance.address("grpc")
        directory = self.instance.directory
        environment = {
            "FTC_ENDPOINT": f"{host}:{port}",
            "FTC_API_KEY_FILE": str(directory.operator_key),
            "FTC_CA": str(directory.server_ca_file),
        }
        return CliRunner().invoke(cli, words, env=environment)


async def change_hands(owners: tuple[Tenant, Tenant, Tenant], maker: Manufacturer) -> list[Thing]:
    """The first device: claimed, transferred, released, claimed; the second: claimed, transferred."""
    first, second, third = owners
    things = [(await claimed_thing(first, maker))[0] for _ in range(3)]
    for thing in things[:2]:
        first.transfer(thing.endpoint_name, to=second)
    device = second.device(things[0].endpoint_name)
    assert device is not None
    second.release(f"{second.name}/deviceEnrollments/{device.enrollment_id}")
    third.enroll(things[0].credential.certificate)
    await things[0].claimed()
    return things


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    place = tmp_path_factory.mktemp("ledger")
    directory = make_data_directory(place / "data")
    maker = Manufacturer("Factory")
    with running_instance(directory, "--shutdown-grace-s=1", whole=False) as instance:
        owners = (instance.tenant(), instance.tenant(), instance.tenant())
        for tenant in owners:
            tenant.trust(maker)
        one, two, three = asyncio.run(change_hands(owners, maker))
        public_key = place / "ledger.pub"
        made = Site(instance, maker, owners, (one, two, three), place / "ledger.jsonl", public_key)
        printed = made.ftc("ledger", "public-key")
        assert printed.exit_code == 0, printed.output
        public_key.write_text(printed.stdout)
        exported = made.ftc("ledger", "export", str(made.exported))
        assert exported.exit_code == 0, exported.output
        assert "7 changes of ownership" in exported.stdout
        yield made


def verify(file: Path, public_key: Path | None) -> Result:
    """`ftc ledger verify`, with nothing but these files."""
    flags = () if public_key is None else ("--public-key", str(public_key))
    nowhere = {"FTC_DATA_DIR": "/nonexistent", "FTC_ENDPOINT": "localhost:1"}
    return CliRunner().invoke(cli, ["ledger", "verify", str(file), *flags], env=nowhere)


def test_an_untouched_export_is_verified(site: Site) -> None:
    done = verify(site.exported, site.public_key)

    assert done.exit_code == 0, done.output
    assert "in this file   3 devices, 7 changes of ownership" in done.stdout
    assert done.stdout.splitlines()[-1] == "verified: every entry is the one that was signed"
    assert done.stderr == ""
    assert site.exported.stat().st_mode & 0o777 == 0o600
    alone = verify(site.exported, None)
    assert alone.exit_code == 0
    assert "the file vouches for itself" in alone.stderr
    assert site.public_key.read_bytes() == site.instance.directory.ledger_public_key_file.read_bytes()


def named(done: Result, site: Site) -> set[tuple[int, int]]:
    """Each entry that is said to be wrong: the number of its device, and its own."""
    numbers = {site.identity(number): number for number in range(len(site.things))}
    found = re.findall(r"^(A-[0-9A-F:]+): entry (\d+): ", done.stdout, re.MULTILINE)
    return {(numbers[identity], int(sequence)) for identity, sequence in found}


# --- an altered export -------------------------------------------------------------------------------


class Document:
    """The lines of an export, to be altered."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.lines: Lines = [json.loads(line) for line in site.exported.read_bytes().splitlines()]

    def entry(self, number: int, sequence: int) -> dict[str, Any]:
        """One entry of a device's history."""
        return self.lines[self.place(number, sequence)]["entry"]

    def place(self, number: int, sequence: int) -> int:
        """On which line it stands."""
        fingerprint = base64.b64encode(self._site.things[number].fingerprint).decode()
        return next(
            index
            for index, line in enumerate(self.lines)
            if line["type"] == "entry"
            and (line["entry"]["fingerprint"], line["entry"]["sequence"]) == (fingerprint, sequence)
        )

    def last(self, kind: str) -> dict[str, Any]:
        """The last record of a kind."""
        return [line for line in self.lines if line["type"] == kind][-1]


def change(document: Document) -> None:
    """Another owner."""
    document.entry(0, 2)["content"]["account_id"]["value"] = "e" * 32


def backdate(document: Document) -> None:
    document.entry(1, 1)["content"]["at"] = "2020-01-01T00:00:00Z"


def drop(document: Document) -> None:
    del document.lines[document.place(0, 3)]


def drop_the_last(document: Document) -> None:
    del document.lines[document.place(0, 4)]


def reorder(document: Document) -> None:
    first, second = document.place(0, 2), document.place(0, 3)
    lines = document.lines
    lines[first], lines[second] = lines[second], lines[first]


def insert(document: Document) -> None:
    """A change of ownership that never was, at the end of a history."""
    forged = json.loads(json.dumps(document.lines[document.place(2, 1)]))
    forged["entry"]["sequence"] = 2
    forged["entry"]["previous_hash"] = document.entry(2, 1)["hash"]
    document.lines.insert(document.place(2, 1) + 1, forged)


def swap(document: Document) -> None:
    """Two devices' second entries change places."""
    first, second = document.place(0, 2), document.place(1, 2)
    lines = document.lines
    lines[first], lines[second] = lines[second], lines[first]


def swap_in_disguise(document: Document) -> None:
    """The same, each with the other's fingerprint."""
    one, two = document.entry(0, 2), document.entry(1, 2)
    one["content"], two["content"] = two["content"], one["content"]


def drop_a_history(document: Document) -> None:
    del document.lines[document.place(1, 1) - 1 : document.place(1, 2) + 1]


def replace_the_signature(document: Document) -> None:
    signed = document.last("checkpoint")["signed"]
    signed["signature"] = base64.b64encode(bytes(64)).decode()


def change_the_checkpoint(document: Document) -> None:
    document.last("checkpoint")["signed"]["checkpoint"]["entry_count"] = 6


@pytest.mark.parametrize(
    ("alter", "entries", "detail"),
    [
        # Entry 3, the release, is then one by somebody who does not own the device.
        (change, {(0, 2), (0, 3)}, "its content does not give its hash"),
        (backdate, {(1, 1)}, "its content does not give its hash"),
        (drop, {(0, 3)}, "it is missing"),
        (drop_the_last, {(0, 4)}, "it is missing"),
        (reorder, {(0, 2)}, "it stands after entry 3"),
        (insert, {(2, 2)}, "the checkpoint ends this history at entry 1"),
        (swap, {(0, 2), (1, 2)}, "it stands in the history of"),
        (swap_in_disguise, {(0, 2), (0, 3), (1, 2)}, "its content does not give its hash"),
    ],
)
def test_an_altered_entry_is_named_and_no_sound_one(
    site: Site,
    tmp_path: Path,
    alter: Callable[[Document], None],
    entries: set[tuple[int, int]],
    detail: str,
) -> None:
    done = verify_altered(site, tmp_path, alter)

    assert named(done, site) == entries
    assert detail in done.stdout
    assert "verified: every entry" not in done.stdout


@pytest.mark.parametrize(
    ("alter", "detail"),
    [
        (drop_a_history, "histories missing"),
        (replace_the_signature, "the key whose turn it was has not signed it"),
        (change_the_checkpoint, "the key whose turn it was has not signed it"),
    ],
)
def test_what_is_altered_beside_the_entries_is_told(
    site: Site, tmp_path: Path, alter: Callable[[Document], None], detail: str
) -> None:
    assert detail in verify_altered(site, tmp_path, alter).stdout


def verify_altered(site: Site, place: Path, alter: Callable[[Document], None]) -> Result:
    document = Document(site)
    alter(document)
    altered = place / "altered.jsonl"
    altered.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in document.lines))
    done = verify(altered, site.public_key)
    assert done.exit_code == 1, done.output
    assert "error: " in done.stderr
    assert "altered.jsonl is not verified" in done.stderr
    assert "docs/ledger.md" in done.stderr
    return done


def test_the_same_lines_written_anew_are_told_from_those_that_were_signed(site: Site, tmp_path: Path) -> None:
    """JSON with other white space says the same: every entry is good, the document is another."""
    respelled = tmp_path / "respelled.jsonl"
    lines = [json.loads(line) for line in site.exported.read_bytes().splitlines()]
    respelled.write_text("".join(json.dumps(line) + "\n" for line in lines))

    done = verify(respelled, site.public_key)

    assert done.exit_code == 1
    assert done.stdout.splitlines()[0] == "it is not as it was written"
    assert "1 thing is wrong" in done.stderr


def test_another_key_than_the_ledger_s_is_told(site: Site, tmp_path: Path) -> None:
    other = tmp_path / "other.pub"
    other.write_bytes(public_key_pem(Ed25519PrivateKey.generate().public_key().public_bytes_raw()))

    done = verify(site.exported, other)

    assert done.exit_code == 1
    assert "is none of the document's keys" in done.stdout
    certificate = site.instance.directory.server_ca_file
    wrong_kind = verify(site.exported, certificate)
    assert wrong_kind.exit_code == 1
    assert str(certificate) in wrong_kind.stderr


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.97])
def test_a_cut_file_is_told(site: Site, tmp_path: Path, share: float) -> None:
    cut = tmp_path / "cut.jsonl"
    whole = site.exported.read_bytes()
    cut.write_bytes(whole[: int(len(whole) * share)])

    done = verify(cut, site.public_key)

    assert done.exit_code == 1
    assert "without its end" in done.stdout


def test_a_file_without_its_last_line_is_cut(site: Site, tmp_path: Path) -> None:
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(b"".join(site.exported.read_bytes().splitlines(keepends=True)[:-1]))

    done = verify(cut, site.public_key)

    assert done.exit_code == 1
    assert "without its end" in done.stdout


@pytest.mark.parametrize("content", [b"", b"\x00" * 100_000, b"{}\n", b"[" * 50_000, b"\xff\xfe\n" * 3])
def test_any_other_file_is_refused_line_by_line(site: Site, tmp_path: Path, content: bytes) -> None:
    other = tmp_path / "other"
    other.write_bytes(content)

    done = verify(other, site.public_key)

    assert done.exit_code == 1
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert "without its end" in done.stdout


def test_json_says_the_same_to_programs(site: Site, tmp_path: Path) -> None:
    document = Document(site)
    change(document)
    altered = tmp_path / "altered.jsonl"
    altered.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in document.lines))

    done = CliRunner().invoke(
        cli, ["ledger", "verify", str(altered), "--public-key", str(site.public_key), "--json"]
    )

    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert not told["verified"]
    assert told["pinned"]
    assert {
        "fault": "ENTRY_CHANGED",
        "enrollment_identity": site.identity(0),
        "sequence": 2,
        "detail": "its content does not give its hash",
    } in told["findings"]


def test_an_older_export_must_be_good_itself_and_come_before(site: Site, tmp_path: Path) -> None:
    document = Document(site)
    change(document)
    altered = tmp_path / "altered.jsonl"
    altered.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in document.lines))
    exported, key = str(site.exported), str(site.public_key)

    same = CliRunner().invoke(cli, ["ledger", "verify", exported, "--since", exported, "--public-key", key])
    spoilt = CliRunner().invoke(
        cli, ["ledger", "verify", exported, "--since", str(altered), "--public-key", key]
    )

    assert same.exit_code == 0, same.output
    assert spoilt.exit_code == 1
    assert "altered.jsonl is not verified itself" in spoilt.stderr


def test_verifying_needs_neither_the_api_nor_its_libraries(site: Site, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from ftc_core.cli.main import cli\n"
        "cli(sys.argv[1:], standalone_mode=False)\n"
        "print(sorted({'grpc', 'google.protobuf', 'ftc_grpc'} & set(sys.modules)))\n"
    )
    words = ["ledger", "verify", "-", "--public-key", str(site.public_key)]
    with site.exported.open("rb") as file:
        done = subprocess.run(
            [sys.executable, "-c", program, *words], stdin=file, cwd=tmp_path, capture_output=True, text=True
        )

    assert done.returncode == 0, done.stderr
    assert "verified: every entry is the one that was signed" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
    assert list(tmp_path.iterdir()) == []


# --- an altered store --------------------------------------------------------------------------------


class Store:
    """The instance's LMDB file, written past the running server."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._path = str(site.instance.directory.store)

    def entry(self, number: int, sequence: int) -> LedgerEntry:
        with self._table() as (txn, table):
            found = txn.get(self._key(number, sequence), db=table)
        assert found is not None
        return records.LEDGER_ENTRY.decode(found)

    def put(self, number: int, entry: LedgerEntry) -> None:
        with self._table() as (txn, table):
            assert txn.put(self._key(number, entry.sequence), records.LEDGER_ENTRY.encode(entry), db=table)

    def _key(self, number: int, sequence: int) -> bytes:
        return self._site.things[number].fingerprint + number_key(sequence)

    @contextmanager
    def _table(self) -> Iterator[tuple[Any, Any]]:
        with lmdb.open(self._path, max_dbs=64, lib_version=0) as environment:
            table = environment.open_db(b"ledger", create=False)
            with environment.begin(write=True) as txn:
                yield txn, table


def test_a_store_edited_behind_the_server_s_back_is_found(site: Site, tmp_path: Path) -> None:
    identity, store = site.identity(1), Store(site)
    sound = store.entry(1, 1)
    whole = site.ftc("ledger", "history", identity, "--verify")
    assert whole.exit_code == 0
    assert "verified: 2 entries shown to you; entries up to 2 are covered by checkpoint" in whole.stdout

    store.put(1, msgspec.structs.replace(sound, at=sound.at.replace(year=2020)))
    try:
        broken = site.ftc("ledger", "history", identity, "--verify")
        beside = site.ftc("ledger", "history", site.identity(2), "--verify")
        exported = tmp_path / "ledger.jsonl"
        assert site.ftc("ledger", "export", str(exported)).exit_code == 0
    finally:
        store.put(1, sound)

    assert broken.exit_code == 1
    assert named(broken, site) == {(1, 1)}
    assert "is not verified" in broken.stderr
    assert beside.exit_code == 0
    done = verify(exported, site.public_key)
    assert done.exit_code == 1
    assert named(done, site) == {(1, 1)}


def test_a_history_forged_with_all_its_hashes_is_never_signed(site: Site, tmp_path: Path) -> None:
    """The last test of this file: the new owner has no place in the old checkpoint, and gets no new one."""
    store = Store(site)
    sound = store.entry(2, 1)
    fields = msgspec.structs.asdict(sound) | {"account_id": "e" * 32}
    for derived in ("sequence", "previous_hash", "hash"):
        del fields[derived]
    store.put(2, append(None, **fields))
    asyncio.run(claimed_thing(site.owners[0], site.maker))

    broken = site.ftc("ledger", "history", site.identity(2), "--verify")
    refused = site.ftc("ledger", "checkpoint")
    exported = tmp_path / "ledger.jsonl"
    written = site.ftc("ledger", "export", str(exported))
    done = verify(exported, site.public_key)

    assert broken.exit_code == 1
    assert (2, 1) in named(broken, site)
    assert refused.exit_code == 1
    assert "the ledger is not what checkpoint 2 covers" in refused.stderr
    assert written.exit_code == 0, "it shows where"
    assert done.exit_code == 1
    assert (2, 1) in named(done, site)
    assert b"exporting a ledger that is not what was signed" in site.instance.log.read_bytes()
