"""Who is told what of a device's history: three owners, one after the other, a stranger, and the operator."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from ftc_core.application.authentication import Principal
from ftc_core.application.context import new_id, utc_now
from ftc_core.credentials.ledger_keys import public_key_pem
from ftc_core.domain.account import Role
from ftc_core.domain.claim import ClaimRequest
from ftc_core.domain.export_verifier import ExportVerifier
from ftc_core.domain.identity import format_enrollment_id
from ftc_core.domain.ledger_verification import LedgerFault
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.commands import ClaimDevice, Claimed, Submission
from ftc_grpc._gen.ftc.v1 import ledger_service_pb2 as ledger
from ftc_grpc._gen.ftc.v1.device_enrollment_pb2 import DeviceEnrollment
from ftc_grpc._gen.ftc.v1.device_enrollment_service_pb2 import (
    CreateDeviceEnrollmentRequest,
    DeleteDeviceEnrollmentRequest,
    LookupDeviceEnrollmentRequest,
)
from ftc_grpc._gen.ftc.v1.device_transfer_pb2 import DeviceTransfer
from ftc_grpc._gen.ftc.v1.device_transfer_service_pb2 import (
    AcceptDeviceTransferRequest,
    CreateDeviceTransferRequest,
)
from ftc_grpc._gen.ftc.v1.ledger_pb2 import LedgerCheckpoint, LedgerFinding, LedgerKey
from ftc_grpc._gen.ftc.v1.ownership_pb2 import (
    GetOwnershipHistoryRequest,
    OwnershipEntry,
    OwnershipHistory,
    VerifyOwnershipHistoryRequest,
    VerifyOwnershipHistoryResponse,
)
from ftc_grpc._gen.ftc.v1.trusted_certificate_pb2 import TrustedCertificate
from ftc_grpc._gen.ftc.v1.trusted_certificate_service_pb2 import CreateTrustedCertificateRequest
from ftc_grpc.caller import set_caller
from ftc_grpc.client import ApiClient
from ftc_grpc.pagination import Paginator
from ftc_grpc.services.ledger import LedgerService
from tests.api import Tenant, TestApi, running_api
from tests.certificates import Manufacturer
from tests.integration.test_api_cli import Shell

CLAIMED, RELEASED, TRANSFERRED = OwnershipEntry.CLAIMED, OwnershipEntry.RELEASED, OwnershipEntry.TRANSFERRED


@dataclass(frozen=True)
class Story:
    """A claimed the device and handed it to B, B released it, C claimed it."""

    api: TestApi
    a: Tenant
    b: Tenant
    c: Tenant
    stranger: Tenant
    identity: str
    transfer: str
    first_device: str
    second_device: str


def trust(tenant: Tenant, factory: Manufacturer) -> None:
    wanted = TrustedCertificate(
        display_name="Factory",
        service=TrustedCertificate.BOOTSTRAP,
        enrollment_mode=True,
        certificate=factory.pem.decode(),
    )
    client = tenant.client
    request = CreateTrustedCertificateRequest(trusted_certificate=wanted)
    client.call(client.trusted_certificates.CreateTrustedCertificate, request)


def own(api: TestApi, tenant: Tenant, factory: Manufacturer, fingerprint: bytes, name: str) -> str:
    """Enroll and claim, as a worker does; gives the device's ID."""
    client = tenant.client
    enrollment = DeviceEnrollment(enrollment_identity=format_enrollment_id(fingerprint))
    request = CreateDeviceEnrollmentRequest(device_enrollment=enrollment)
    client.call(client.device_enrollments.CreateDeviceEnrollment, request)
    claim = ClaimRequest(
        fingerprint=fingerprint,
        common_name=name,
        endpoint_name=name,
        issuing_cas=(hashlib.sha256(factory.der).digest(),),
    )
    outcome = api.run(api.context.commit.execute(Submission(ClaimDevice(claim, new_id(), utc_now()))))
    assert isinstance(outcome, Claimed)
    return outcome.device.id


def hand_over(giver: Tenant, taker: Tenant, device_id: str) -> str:
    """By a transfer; gives its ID."""
    request = CreateDeviceTransferRequest(
        device_transfer=DeviceTransfer(to_account_id=taker.id),
        devices=[f"{giver.name}/devices/{device_id}"],
    )
    made = giver.client.call(giver.client.device_transfers.CreateDeviceTransfer, request).device_transfer
    accept = AcceptDeviceTransferRequest(name=f"{taker.name}/deviceTransfers/{made.id}")
    taker.client.call(taker.client.device_transfers.AcceptDeviceTransfer, accept)
    return made.id


def release(tenant: Tenant, identity: str) -> None:
    client = tenant.client
    lookup = LookupDeviceEnrollmentRequest(enrollment_identity=identity)
    found = client.call(client.device_enrollments.LookupDeviceEnrollment, lookup)
    request = DeleteDeviceEnrollmentRequest(name=found.name)
    client.call(client.device_enrollments.DeleteDeviceEnrollment, request)


@pytest.fixture(scope="module")
def story(api: TestApi) -> Story:
    factory = Manufacturer("Factory")
    a, b, c, stranger = (api.tenant(name) for name in ("A", "B", "C", "Stranger"))
    for tenant in (a, b, c):
        trust(tenant, factory)
    fingerprint = hashlib.sha256(factory.device("device-1").der).digest()
    identity = format_enrollment_id(fingerprint)
    first = own(api, a, factory, fingerprint, "device-1")
    transfer = hand_over(a, b, first)
    release(b, identity)
    second = own(api, c, factory, fingerprint, "device-1")
    own(api, stranger_of(api, factory), factory, b"\x00" * 32, "another")  # a history beside it
    return Story(api, a, b, c, stranger, identity, transfer, first, second)


def stranger_of(api: TestApi, factory: Manufacturer) -> Tenant:
    """An account that only has a device of its own."""
    tenant = api.tenant("Neighbour")
    trust(tenant, factory)
    return tenant


def history(client: ApiClient, **request: object) -> OwnershipHistory:
    asked = GetOwnershipHistoryRequest(**request)  # type: ignore[arg-type]
    return client.call(client.device_transfers.GetOwnershipHistory, asked)


def verified(client: ApiClient, **request: object) -> VerifyOwnershipHistoryResponse:
    asked = VerifyOwnershipHistoryRequest(**request)  # type: ignore[arg-type]
    return client.call(client.device_transfers.VerifyOwnershipHistory, asked)


def checkpoint(api: TestApi) -> LedgerCheckpoint:
    client = api.client()
    return client.call(client.ledger.CreateLedgerCheckpoint, ledger.CreateLedgerCheckpointRequest())


def export(client: ApiClient, parent: str = "") -> bytes:
    answers = client.stream(client.ledger.ExportLedger, ledger.ExportLedgerRequest(parent=parent))
    return b"".join(answer.data for answer in answers)


def told(shown: OwnershipHistory) -> list[tuple[object, ...]]:
    """What the entries say."""
    return [
        (
            entry.sequence,
            entry.kind,
            entry.account_id,
            entry.from_account_id,
            entry.device_id,
            entry.transfer_id,
        )
        for entry in shown.entries
    ]


def test_each_owner_sees_how_it_came_to_the_device_and_gave_it_up_and_no_more(story: Story) -> None:
    first, second, transfer = story.first_device, story.second_device, story.transfer
    seen = {
        tenant.id: history(tenant.client, enrollment_identity=story.identity)
        for tenant in (story.a, story.b, story.c)
    }

    assert told(seen[story.a.id]) == [
        (1, CLAIMED, story.a.id, "", first, ""),
        (2, TRANSFERRED, "", story.a.id, first, transfer),
    ]
    assert told(seen[story.b.id]) == [
        (2, TRANSFERRED, story.b.id, "", first, transfer),
        (3, RELEASED, story.b.id, "", first, ""),
    ]
    assert told(seen[story.c.id]) == [(4, CLAIMED, story.c.id, "", second, "")]
    assert [seen[tenant.id].owned_now for tenant in (story.a, story.b, story.c)] == [False, False, True]


def test_the_operator_sees_all_of_it_under_either_name(story: Story) -> None:
    operator = story.api.client()
    shown = history(operator, enrollment_identity=story.identity)

    assert told(shown) == [
        (1, CLAIMED, story.a.id, "", story.first_device, ""),
        (2, TRANSFERRED, story.b.id, story.a.id, story.first_device, story.transfer),
        (3, RELEASED, story.b.id, "", story.first_device, ""),
        (4, CLAIMED, story.c.id, "", story.second_device, ""),
    ]
    assert shown.owned_now
    assert shown.entries[0].previous_hash == "0" * 64
    for before, after in zip(shown.entries, shown.entries[1:], strict=False):
        assert after.previous_hash == before.hash
        assert after.revision > before.revision
        assert after.changed_at.ToDatetime() >= before.changed_at.ToDatetime()
    assert history(operator, name=f"{story.c.name}/devices/{story.second_device}") == shown
    assert told(history(operator, enrollment_identity=story.identity, parent=story.a.name)) == told(
        history(story.a.client, enrollment_identity=story.identity)
    )


def test_a_past_owner_does_not_learn_that_the_device_moves_on(story: Story) -> None:
    """What A is told is the same before and after all that came later: also its size and its tokens."""
    api, factory = story.api, Manufacturer("Another factory")
    a, b = api.tenant("A"), api.tenant("B")
    for tenant in (a, b):
        trust(tenant, factory)
    fingerprint = hashlib.sha256(factory.device("device-1").der).digest()
    identity = format_enrollment_id(fingerprint)
    hand_over(a, b, own(api, a, factory, fingerprint, "device-1"))
    before = history(a.client, enrollment_identity=identity)

    release(b, identity)
    own(api, b, factory, fingerprint, "device-1")

    assert history(a.client, enrollment_identity=identity) == before


@pytest.mark.parametrize("method", ["GetOwnershipHistory", "VerifyOwnershipHistory"])
def test_for_a_stranger_the_device_is_one_that_does_not_exist(story: Story, method: str) -> None:
    client = story.stranger.client
    stub = getattr(client.device_transfers, method)
    request = GetOwnershipHistoryRequest if method.startswith("Get") else VerifyOwnershipHistoryRequest
    nobody = format_enrollment_id(b"\x01" * 32)

    def answer(asked: object) -> tuple[object, ...]:
        refusal = story.api.refused(client, stub, asked)
        cause = refusal.__cause__
        assert isinstance(cause, grpc.Call)
        assert refusal.resource in (getattr(asked, "name", ""), getattr(asked, "parent", ""))
        return cause.code(), cause.details(), refusal.reason, refusal.metadata

    unknown = answer(request(enrollment_identity=nobody))
    assert unknown[0] is grpc.StatusCode.NOT_FOUND
    assert answer(request(enrollment_identity=story.identity)) == unknown
    named = answer(request(name=f"accounts/{new_id()}/devices/{new_id()}"))
    assert named[0] is grpc.StatusCode.NOT_FOUND
    assert answer(request(name=f"{story.c.name}/devices/{story.second_device}")) == named
    # A past owner's resource name of it is gone with the ownership, as for GetDevice.
    assert (
        story.api.refused(
            story.a.client, stub, request(name=f"{story.a.name}/devices/{story.first_device}")
        ).reason
        is Reason.RESOURCE_NOT_FOUND
    )
    # Nobody takes another's view.
    assert answer(request(enrollment_identity=story.identity, parent=story.c.name))[0] is (
        grpc.StatusCode.NOT_FOUND
    )


def test_a_device_is_named_once_and_well(story: Story) -> None:
    client = story.c.client
    stub = client.device_transfers.GetOwnershipHistory
    name = f"{story.c.name}/devices/{story.second_device}"
    for request, reason, field in (
        (GetOwnershipHistoryRequest(), Reason.FIELD_REQUIRED, "name"),
        (
            GetOwnershipHistoryRequest(name=name, enrollment_identity=story.identity),
            Reason.FIELD_INVALID,
            "enrollment_identity",
        ),
        (
            GetOwnershipHistoryRequest(enrollment_identity="A-1"),
            Reason.ENROLLMENT_ID_INVALID,
            "enrollment_identity",
        ),
        (
            GetOwnershipHistoryRequest(enrollment_identity="B" + story.identity[1:]),
            Reason.ENROLLMENT_ID_VERSION_UNSUPPORTED,
            "enrollment_identity",
        ),
        (GetOwnershipHistoryRequest(name=name, page_token="AAAA"), Reason.PAGE_TOKEN_INVALID, "page_token"),
        (GetOwnershipHistoryRequest(name=name, page_size=-1), Reason.FIELD_INVALID, "page_size"),
    ):
        refusal = story.api.refused(client, stub, request)
        assert (refusal.reason, refusal.field) == (reason, field)


def test_a_long_history_comes_in_pages_each_entry_once(story: Story) -> None:
    operator = story.api.client()
    request = GetOwnershipHistoryRequest(enrollment_identity=story.identity, page_size=3)

    pages = list(operator.pages(operator.device_transfers.GetOwnershipHistory, request))

    assert [[entry.sequence for entry in page.entries] for page in pages] == [[1, 2, 3], [4]]
    token = pages[0].next_page_token
    assert (
        story.api.refused(
            operator,
            operator.device_transfers.GetOwnershipHistory,
            GetOwnershipHistoryRequest(
                enrollment_identity=story.identity, parent=story.a.name, page_token=token
            ),
        ).reason
        is Reason.PAGE_TOKEN_INVALID
    ), "of another view"


def test_verification_tells_each_owner_how_far_the_checkpoint_covers_what_it_sees(story: Story) -> None:
    made = checkpoint(story.api)
    callers = {"a": story.a, "b": story.b, "c": story.c}

    answers = {
        name: verified(tenant.client, enrollment_identity=story.identity) for name, tenant in callers.items()
    }
    everything = verified(story.api.client(), enrollment_identity=story.identity)

    for answer in (*answers.values(), everything):
        assert answer.verified
        assert list(answer.findings) == []
        assert answer.checkpoint == made
        assert answer.enrollment_identity == story.identity
    assert {name: (answer.entry_count, answer.covered_sequence) for name, answer in answers.items()} == {
        "a": (2, 2),
        "b": (2, 3),
        "c": (1, 4),
    }
    assert (everything.entry_count, everything.covered_sequence) == (4, 4)


def test_what_came_after_the_checkpoint_is_verified_but_not_covered(story: Story) -> None:
    api, factory = story.api, Manufacturer("Third factory")
    tenant = api.tenant()
    trust(tenant, factory)
    before = checkpoint(api)
    fingerprint = hashlib.sha256(factory.device("late").der).digest()
    identity = format_enrollment_id(fingerprint)
    own(api, tenant, factory, fingerprint, "late")

    uncovered = verified(tenant.client, enrollment_identity=identity)
    after = checkpoint(api)
    covered = verified(tenant.client, enrollment_identity=identity)

    assert (uncovered.verified, uncovered.covered_sequence, uncovered.checkpoint) == (True, 0, before)
    assert (covered.verified, covered.covered_sequence, covered.checkpoint) == (True, 1, after)


def test_an_export_has_what_its_owner_sees_and_hashes_of_the_rest(story: Story) -> None:
    checkpoint(story.api)
    documents = {tenant.id: export(tenant.client) for tenant in (story.a, story.b, story.c, story.stranger)}
    key = story.api.ledger_keys.first_public_key()

    seen = {}
    for account_id, document in documents.items():
        verifier = ExportVerifier(key)
        found = [finding for line in document.splitlines(keepends=True) for finding in verifier.feed(line)]
        assert found + verifier.finish() == []
        assert verifier.summary.pinned
        assert verifier.summary.account_id == account_id
        entries = [row["entry"] for row in map(json.loads, document.splitlines()) if row["type"] == "entry"]
        assert len(entries) in (0, 4), "whole, up to the head that is signed"
        seen[account_id] = [entry["sequence"] for entry in entries if isinstance(entry["content"], dict)]
    assert seen == {story.a.id: [1, 2], story.b.id: [2, 3], story.c.id: [4], story.stranger.id: []}

    secrets = {story.a.id, story.b.id, story.c.id, story.first_device, story.second_device, story.transfer}
    known = {
        story.a.id: {story.a.id, story.first_device, story.transfer},
        story.b.id: {story.b.id, story.first_device, story.transfer},
        story.c.id: {story.c.id, story.second_device},
        story.stranger.id: set(),
    }
    for account_id, document in documents.items():
        assert {word for word in secrets if word.encode() in document} == known[account_id]


def test_the_operator_s_export_has_everything_as_it_is_now_and_that_of_any_account(story: Story) -> None:
    operator = story.api.client()
    verifier = ExportVerifier(story.api.ledger_keys.first_public_key())

    document = export(operator)

    found = [finding for line in document.splitlines(keepends=True) for finding in verifier.feed(line)]
    assert found + verifier.finish() == []
    covered = verifier.summary.checkpoint
    assert covered is not None
    assert (verifier.summary.histories, verifier.summary.entries) == (covered.head_count, covered.entry_count)
    with story.api.context.store.view() as view:
        assert covered.entry_count == view.count_ledger()
    for word in (story.a.id, story.b.id, story.c.id, story.first_device, story.second_device, story.transfer):
        assert word.encode() in document

    of_a = export(operator, parent=story.a.name)
    assert json.loads(of_a.splitlines()[0])["account_id"] == story.a.id
    assert story.b.id.encode() not in of_a
    refusal = _refused_export(story.stranger.client, story.a.name)
    assert refusal.reason is Reason.RESOURCE_NOT_FOUND
    assert _refused_export(operator, f"accounts/{new_id()}").reason is Reason.RESOURCE_NOT_FOUND


def test_what_no_signature_covers_yet_is_told_after_an_export(api: TestApi, tmp_path: Path) -> None:
    tenant, factory = api.tenant(), Manufacturer("Late factory")
    trust(tenant, factory)
    shell, operator = Shell(api, tenant.api_key, tmp_path), Shell(api, api.operator.secret, tmp_path)
    checkpoint(api)
    identities = [hashlib.sha256(b"unsigned %d" % number).digest() for number in range(3)]
    for fingerprint in identities:
        own(api, tenant, factory, fingerprint, fingerprint.hex()[:8])
    listed = shell.json("enrollment", "list")
    assert shell.run("enrollment", "delete", listed[0]["id"]).exit_code == 0
    file = str(tmp_path / "ledger.jsonl")

    early = shell.run("ledger", "export", file)
    of_operator = operator.run("ledger", "export", file)  # which signs it as it is now
    late = shell.run("ledger", "export", file)

    assert "0 changes of ownership" in early.stdout
    assert "not signed yet, so not in it: devices gained: 3, given up: 1, since checkpoint" in early.stderr
    assert "ftc ledger checkpoint" in early.stderr
    assert (of_operator.exit_code, of_operator.stderr) == (0, "")
    assert "4 changes of ownership" in late.stdout
    assert late.stderr == ""
    newest = operator.json("ledger", "checkpoints", "--limit", "1")[0]
    assert operator.json("ledger", "get-checkpoint", str(newest["number"])) == newest
    assert operator.run("ledger", "get-checkpoint", "9999").exit_code == 1


def _refused_export(client: ApiClient, parent: str) -> FtcError:
    with pytest.raises(FtcError) as caught:
        export(client, parent)
    return caught.value


def test_an_unchanged_ledger_gets_no_second_checkpoint(story: Story) -> None:
    first = checkpoint(story.api)
    revision = story.api.revision()

    assert checkpoint(story.api) == first
    assert story.api.revision() == revision


def test_checkpoints_are_listed_newest_first_in_pages_and_chained(story: Story) -> None:
    newest = checkpoint(story.api)
    client = story.api.client()
    request = ledger.ListLedgerCheckpointsRequest(page_size=1, include_total_size=True)

    pages = list(client.pages(client.ledger.ListLedgerCheckpoints, request))
    falling = [found for page in pages for found in page.ledger_checkpoints]
    rising = client.call(
        client.ledger.ListLedgerCheckpoints, ledger.ListLedgerCheckpointsRequest(order_by="number")
    )

    assert falling[0] == newest
    assert [found.number for found in falling] == list(range(newest.number, 0, -1))
    assert list(rising.ledger_checkpoints) == falling[::-1]
    assert {page.total_size for page in pages} == {newest.number}
    assert falling[-1].previous_hash == "0" * 64
    request_one = ledger.GetLedgerCheckpointRequest(name=newest.name)
    assert client.call(client.ledger.GetLedgerCheckpoint, request_one) == newest
    for name, reason in (
        ("ledgerCheckpoints/0", Reason.RESOURCE_NAME_INVALID),
        ("ledgerCheckpoints/x", Reason.RESOURCE_NAME_INVALID),
        ("", Reason.FIELD_REQUIRED),
        (f"ledgerCheckpoints/{newest.number + 1}", Reason.RESOURCE_NOT_FOUND),
    ):
        asked = ledger.GetLedgerCheckpointRequest(name=name)
        assert story.api.refused(client, client.ledger.GetLedgerCheckpoint, asked).reason is reason


def keys_of(client: ApiClient) -> list[LedgerKey]:
    request = ledger.ListLedgerKeysRequest(page_size=1)
    return [key for page in client.pages(client.ledger.ListLedgerKeys, request) for key in page.ledger_keys]


def test_a_rotated_key_signs_what_comes_and_whoever_has_the_first_verifies_both(story: Story) -> None:
    client, api = story.api.client(), story.api
    checkpoint(api)
    before = keys_of(client)
    assert before[0].public_key.encode() == public_key_pem(api.ledger_keys.first_public_key())

    request = ledger.RotateLedgerKeyRequest(etag=before[-1].etag)
    made = client.call(client.ledger.RotateLedgerKey, request)
    refusal = api.refused(client, client.ledger.RotateLedgerKey, request)

    assert refusal.reason is Reason.ETAG_MISMATCH, "a repeat does not rotate again"
    assert keys_of(client) == [*before, made]
    factory, tenant = Manufacturer("Fourth factory"), api.tenant()
    trust(tenant, factory)
    own(api, tenant, factory, hashlib.sha256(factory.device("x").der).digest(), "x")
    assert checkpoint(api).key == made.name
    verifier = ExportVerifier(api.ledger_keys.first_public_key())
    found = [finding for line in export(client).splitlines(keepends=True) for finding in verifier.feed(line)]
    assert found + verifier.finish() == []
    assert verifier.summary.pinned


def test_keys_that_cannot_be_used_are_no_business_of_callers(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        client = api.client()
        (tmp_path / "pki" / "ledger.key").write_text("nonsense")
        tenant, factory = api.tenant(), Manufacturer("Factory")
        trust(tenant, factory)
        own(api, tenant, factory, hashlib.sha256(factory.device("x").der).digest(), "x")
        with pytest.raises(FtcError) as exported:
            export(tenant.client)
        errors = [
            api.refused(client, client.ledger.CreateLedgerCheckpoint, ledger.CreateLedgerCheckpointRequest()),
            api.refused(client, client.ledger.RotateLedgerKey, ledger.RotateLedgerKeyRequest()),
            exported.value,
        ]

    assert {(error.reason, error.message) for error in errors} == {(Reason.INTERNAL_6, "Internal error #6")}


def test_an_account_exports_once_at_a_time(story: Story) -> None:
    service = LedgerService(story.api.context, story.api.server.signing, Paginator(bytes(32)))
    request = ledger.ExportLedgerRequest(parent=story.a.name)
    context: Any = None

    async def overlap() -> None:
        set_caller(Principal(story.a.id, Role.READER, "key"))
        first = service.ExportLedger(request, context)
        assert (await anext(first)).data
        with pytest.raises(FtcError) as caught:
            await anext(service.ExportLedger(request, context))
        assert caught.value.reason is Reason.LEDGER_EXPORT_RUNNING
        assert caught.value.retry_after_s
        await first.aclose()
        assert [answer async for answer in service.ExportLedger(request, context)]

    story.api.run(overlap())


def test_the_api_has_a_word_for_each_fault() -> None:
    told = set(LedgerFinding.Fault.keys()) - {"FAULT_UNSPECIFIED"}

    assert told == {fault.value for fault in LedgerFault}
