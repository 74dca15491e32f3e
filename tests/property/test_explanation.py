"""An explanation always equals what a real attempt then gets, whatever the store holds."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from ftc_core.application.ca_upload import read_ca
from ftc_core.application.context import ApplicationContext, new_id
from ftc_core.application.explain import CheckResult, ClaimQuestion, Explanation, explain_claim
from ftc_core.domain.account import Account, AccountStatus
from ftc_core.domain.block import Block, BlockedKind
from ftc_core.domain.certificate import CertificateService, CertificateStatus, TrustedCertificate
from ftc_core.domain.claim import ClaimRequest, Granted
from ftc_core.domain.enrollment import Enrollment
from ftc_core.domain.identity import fingerprint_of, format_enrollment_id
from ftc_core.domain.transfer import DeviceTransfer
from ftc_core.dtls.alert import alert_name
from ftc_core.dtls.trust import PathRefused, TrustEvaluator, VerifiedPath
from ftc_core.errors import FtcError, Reason
from ftc_core.storage.async_commit import AsyncCommit
from ftc_core.storage.block_commands import PlaceBlock
from ftc_core.storage.commands import (
    ClaimDevice,
    Claimed,
    Command,
    CreateAccount,
    CreateEnrollments,
    CreateTrustedCertificate,
    DeleteEnrollment,
    Submission,
)
from ftc_core.storage.group_commit import GroupCommit
from ftc_core.storage.lmdb import open_lmdb
from ftc_core.storage.port import Store
from ftc_core.storage.transfer_commands import AcceptTransfer, CreateTransfer
from tests.certificates import Credential, Manufacturer, now

NOW = now()
FACTORIES = [Manufacturer("Factory A"), Manufacturer("Factory B"), Manufacturer("Factory A")]
"""The third has the name of the first, and another key."""
DEVICES = [factory.device("device-0") for factory in FACTORIES for _ in range(2)]
ACCOUNTS = [new_id(), new_id()]


@dataclass(frozen=True)
class Attempt:
    """One Bootstrap-Request."""

    device: int
    endpoint_name: str
    account_id: str | None

    @property
    def credential(self) -> Credential:
        return DEVICES[self.device]


def account(account_id: str, quota: int | None, status: AccountStatus) -> Command:
    return CreateAccount(
        Account(
            id=account_id,
            display_name="Account",
            device_quota=quota,
            status=status,
            created_at=NOW,
            updated_at=NOW,
        )
    )


def certificate(
    account_id: str, factory: int, status: CertificateStatus, service: CertificateService, mode: bool
) -> Command:
    ca = read_ca(FACTORIES[factory].pem.decode(), NOW, field="certificate")
    return CreateTrustedCertificate(
        TrustedCertificate(
            id=new_id(),
            account_id=account_id,
            display_name="CA",
            service=service,
            status=status,
            enrollment_mode=mode,
            certificate=ca.pem,
            certificate_der=ca.der,
            fingerprint=ca.fingerprint,
            subject=ca.subject,
            subject_der=ca.subject_der,
            issuer=ca.issuer,
            not_before=ca.not_before,
            not_after=ca.not_after,
            created_at=NOW,
            updated_at=NOW,
        )
    )


def enrollment(account_id: str, device: int, expires_in: int | None) -> Command:
    wanted = Enrollment(
        id=new_id(),
        account_id=account_id,
        fingerprint=fingerprint_of(DEVICES[device].der),
        created_at=NOW - timedelta(hours=2),
        expires_at=None if expires_in is None else NOW + timedelta(seconds=expires_in),
    )
    return CreateEnrollments((wanted,), NOW - timedelta(hours=2))


def block(device: int | None, factory: int, account_id: str | None) -> Command:
    blocked = FACTORIES[factory].der if device is None else DEVICES[device].der
    kind = BlockedKind.CERTIFICATE_AUTHORITY if device is None else BlockedKind.DEVICE
    return PlaceBlock(
        Block(fingerprint=fingerprint_of(blocked), kind=kind, account_id=account_id, blocked_at=NOW)
    )


def claim(attempt: Attempt, store: Store) -> Command | None:
    """What the live path asks of the store; None if the handshake fails."""
    path = judged_path(attempt, store)
    if isinstance(path, PathRefused):
        return None
    return ClaimDevice(
        ClaimRequest(
            fingerprint=path.leaf_fingerprint,
            common_name=path.common_name,
            endpoint_name=attempt.endpoint_name,
            issuing_cas=path.issuing_cas,
            account_id=attempt.account_id,
        ),
        new_id(),
        NOW,
    )


def judged_path(attempt: Attempt, store: Store) -> VerifiedPath | PathRefused:
    with store.view() as view:
        evaluator = TrustEvaluator(view.find_trust_anchors, find_blocked=view.find_blocked)
        return evaluator.evaluate([attempt.credential.der], NOW)


Setup = tuple[Sequence[Command], ...]
"""Accounts, then certificates, enrollments and blocks."""

devices = st.integers(0, len(DEVICES) - 1)
factories = st.integers(0, len(FACTORIES) - 1)
account_ids = st.sampled_from(ACCOUNTS)
attempts = st.builds(
    Attempt,
    device=devices,
    endpoint_name=st.sampled_from(["device-0", "device-0", "device-0", "device-1"]),
    account_id=st.none() | st.none() | account_ids | st.just(new_id()),
)
setups = st.tuples(
    st.tuples(
        *(
            st.builds(
                account,
                st.just(each),
                st.sampled_from([None, None, 0, 1]),
                st.sampled_from([AccountStatus.ACTIVE] * 4 + [AccountStatus.SUSPENDED]),
            )
            for each in ACCOUNTS
        )
    ),
    st.lists(
        st.builds(
            certificate,
            account_ids,
            factories,
            st.sampled_from([CertificateStatus.ACTIVE] * 5 + [CertificateStatus.INACTIVE]),
            st.sampled_from([CertificateService.BOOTSTRAP] * 5 + [CertificateService.LWM2M]),
            st.sampled_from([True, True, False]),
        ),
        min_size=3,
        max_size=9,
    ),
    st.lists(
        st.builds(enrollment, account_ids, devices, st.sampled_from([None, 60, -60])), min_size=2, max_size=9
    ),
    st.lists(st.builds(block, st.none() | devices, factories, st.none() | account_ids), max_size=1),
)


@contextmanager
def desk() -> Iterator[tuple[Store, ApplicationContext]]:
    loop = asyncio.new_event_loop()
    with tempfile.TemporaryDirectory() as directory:
        store = open_lmdb(Path(directory) / "store", create=True)
        group = GroupCommit(store)
        context = ApplicationContext(
            store=store, commit=AsyncCommit(group, loop), pepper=bytes(32), now=lambda: NOW
        )
        try:
            yield store, context
        finally:
            group.close()
            store.close()
            loop.close()


def explained(context: ApplicationContext, question: ClaimQuestion) -> Explanation:
    return asyncio.run(explain_claim(context, question))


def run(store: Store, setup: Setup, earlier: Sequence[Attempt]) -> None:
    """Whatever of it is refused, all the same."""
    store.write([Submission(command) for group in setup for command in group])  # one commit
    for attempt in earlier:
        if (command := claim(attempt, store)) is not None:
            store.write([Submission(command)])


def outcome_of(explanation: Explanation) -> tuple[Reason | None, str, Granted | None]:
    return explanation.refusal, explanation.alert, explanation.granted


def seen(context: ApplicationContext, question: ClaimQuestion, account_id: str) -> object:
    """All that the account is told: the explanation, or the refusal."""
    try:
        return asyncio.run(explain_claim(context, msgspec.structs.replace(question, seen_by=account_id)))
    except FtcError as error:
        return error.reason, error.message, error.field


def question_of(attempt: Attempt) -> ClaimQuestion:
    return ClaimQuestion(
        certificate=attempt.credential.pem.decode(),
        endpoint_name=attempt.endpoint_name,
        named_account_id=attempt.account_id,
    )


@settings(max_examples=150, deadline=None)
@given(setup=setups, earlier=st.lists(attempts, max_size=3), attempt=attempts)
def test_explanation_equals_what_a_real_attempt_then_gets(
    setup: Setup, earlier: list[Attempt], attempt: Attempt
) -> None:
    with desk() as (store, context):
        run(store, setup, earlier)

        with store.view() as view:
            before = view.revision()
        explanation = explained(context, question_of(attempt))
        with store.view() as view:
            assert view.revision() == before

        command = claim(attempt, store)
        if command is None:
            path = judged_path(attempt, store)
            assert (explanation.refusal, explanation.alert) == (path.reason, alert_name(path.alert))
            return
        assert explanation.alert == ""
        [outcome] = store.write([Submission(command)])
        if isinstance(outcome, FtcError):
            assert explanation.refusal == outcome.reason
            assert explanation.granted is None
            assert explanation.checks[-1].result is CheckResult.FAILED
        else:
            assert isinstance(outcome, Claimed)
            assert explanation.refusal is None
            assert explanation.granted == outcome.grant
        assert all(check.result is CheckResult.PASSED for check in explanation.checks[:-1])


@settings(max_examples=40, deadline=None)
@given(setup=setups, earlier=st.lists(attempts, max_size=3), attempt=attempts)
def test_account_sees_nothing_of_another(setup: Setup, earlier: list[Attempt], attempt: Attempt) -> None:
    mine, other = ACCOUNTS
    with desk() as (store, context):
        run(store, setup, earlier)
        explanation = explained(context, msgspec.structs.replace(question_of(attempt), seen_by=mine))

        if explanation.granted is not None:
            assert explanation.granted.account_id == mine
        told = " ".join(check.detail for check in explanation.checks)
        assert other not in told
        with store.view() as view:
            fingerprint = fingerprint_of(attempt.credential.der)
            [held] = view.find_enrollments((fingerprint,))
            if held is not None and held.account_id == other:
                assert held.id not in told
                assert explanation.refusal is not None


@settings(max_examples=80, deadline=None)
@given(setup=setups, earlier=st.lists(attempts, max_size=3), attempt=attempts)
def test_account_sees_of_its_own_what_a_real_attempt_gets(
    setup: Setup, earlier: list[Attempt], attempt: Attempt
) -> None:
    """Unless another account has a hand in it, of which it is told nothing."""
    mine = ACCOUNTS[0]
    with desk() as (store, context):
        run(store, setup, earlier)
        fingerprint = fingerprint_of(attempt.credential.der)
        with store.view() as view:
            [listed], [device] = view.find_enrollments((fingerprint,)), view.find_devices((fingerprint,))
        holders = {each.account_id for each in (listed, device) if each is not None}
        if holders != {mine} or attempt.account_id not in (None, mine):
            return
        question = question_of(attempt)

        told = explained(context, msgspec.structs.replace(question, seen_by=mine))
        assert outcome_of(told) == outcome_of(explained(context, question))


QUESTIONS = st.fixed_dictionaries(
    {
        "endpoint_name": st.sampled_from(["device-0", "device-0", "device-1", "", "x" * 257]),
        "named_account_id": st.sampled_from([None, None, *ACCOUNTS, new_id()]),
    }
)


@settings(max_examples=120, deadline=None)
@given(
    certificates=st.lists(
        st.builds(
            certificate,
            st.just(ACCOUNTS[0]),
            factories,
            st.sampled_from([CertificateStatus.ACTIVE] * 5 + [CertificateStatus.INACTIVE]),
            st.sampled_from([CertificateService.BOOTSTRAP] * 5 + [CertificateService.LWM2M]),
            st.booleans(),
        ),
        max_size=4,
    ),
    quota=st.sampled_from([None, None, 0]),
    blocks=st.lists(
        st.builds(block, st.none() | devices, factories, st.none() | st.just(ACCOUNTS[0])), max_size=2
    ),
    foreign=st.tuples(
        st.booleans(),
        st.lists(
            st.builds(
                certificate,
                st.just(ACCOUNTS[1]),
                factories,
                st.just(CertificateStatus.ACTIVE),
                st.just(CertificateService.BOOTSTRAP),
                st.booleans(),
            ),
            max_size=4,
        ),
        st.sampled_from(["", "listed", "expired", "claimed", "released"]),
        st.sampled_from([None, None, *ACCOUNTS[1:]]),
        st.lists(st.builds(block, st.none() | devices, factories, st.just(ACCOUNTS[1])), max_size=1),
    ),
    target=devices,
    by_certificate=st.booleans(),
    asked=QUESTIONS,
)
def test_answer_about_what_is_not_yours_does_not_depend_on_whose_it_is_or_whether_it_is(
    certificates: list[Command],
    quota: int | None,
    blocks: list[Command],
    foreign: tuple[bool, list[Command], str, str | None, list[Command]],
    target: int,
    by_certificate: bool,
    asked: dict[str, str | None],
) -> None:
    mine, other = ACCOUNTS
    credential = DEVICES[target]
    named = {key: value for key, value in asked.items() if value is not None}
    if by_certificate:
        question = ClaimQuestion(certificate=credential.pem.decode(), **named)
    else:
        identity = format_enrollment_id(fingerprint_of(credential.der))
        question = ClaimQuestion(enrollment_identity=identity, **named)
    own: list[Command] = [account(mine, quota, AccountStatus.ACTIVE), *certificates, *blocks]
    there, theirs, standing, aid, held_back = foreign
    with desk() as (store, context), desk() as (alone_store, alone):
        for each in (store, alone_store):
            run(each, (own,), ())
        if there:
            listing = enrollment(other, target, -60 if standing == "expired" else None)
            setup = (account(other, None, AccountStatus.ACTIVE), *theirs), (listing,) if standing else ()
            claims = standing in ("claimed", "released")
            run(store, setup, [Attempt(target, "device-0", aid)] if claims else [])
            if standing == "released":
                with store.view() as view:
                    [listed] = view.find_enrollments((fingerprint_of(credential.der),))
                if listed is not None:
                    store.write([Submission(DeleteEnrollment(other, listed.id, NOW))])
            run(store, (held_back,), ())

        assert seen(context, question, mine) == seen(alone, question, mine)


def test_device_that_names_its_former_owner_is_explained_to_its_present_one() -> None:
    mine, other = ACCOUNTS
    with desk() as (store, context):
        setup = [
            *(account(each, None, AccountStatus.ACTIVE) for each in ACCOUNTS),
            *(
                certificate(each, 0, CertificateStatus.ACTIVE, CertificateService.BOOTSTRAP, True)
                for each in ACCOUNTS
            ),
            enrollment(other, 0, None),
        ]
        run(store, (setup,), [Attempt(0, "device-0", None)])
        with store.view() as view:
            [claimed] = view.find_devices((fingerprint_of(DEVICES[0].der),))
        assert claimed is not None
        transfer = DeviceTransfer(
            id=new_id(),
            account_id=other,
            receiver_account_id=mine,
            devices=(),
            created_at=NOW,
            expires_at=NOW + timedelta(hours=1),
        )
        for command in (
            CreateTransfer(transfer, (claimed.id,), 9),
            AcceptTransfer(mine, transfer.id, NOW),
        ):
            [outcome] = store.write([Submission(command)])
            assert not isinstance(outcome, FtcError)
        attempt = Attempt(0, "device-0", other)
        question = question_of(attempt)
        told = explained(context, msgspec.structs.replace(question, seen_by=mine))
        command = claim(attempt, store)
        assert command is not None
        former = explained(context, msgspec.structs.replace(question, seen_by=other))
        [outcome] = store.write([Submission(command)])

        assert isinstance(outcome, Claimed)
        assert told.granted == outcome.grant
        assert told.granted.account_id == mine
        assert outcome_of(former) == (Reason.ENROLLMENT_NOT_FOUND, "", None)


@pytest.mark.parametrize("identity", [format_enrollment_id(bytes(32))])
def test_identity_alone_needs_an_endpoint_name(identity: str) -> None:
    with desk() as (_, context), pytest.raises(FtcError) as refused:
        explained(context, ClaimQuestion(enrollment_identity=identity))

    assert (refused.value.reason, refused.value.field) == (Reason.FIELD_REQUIRED, "endpoint_name")


def test_identity_alone_assumes_what_needs_the_certificate() -> None:
    device = DEVICES[0]
    with desk() as (store, context):
        setup = [
            account(ACCOUNTS[0], None, AccountStatus.ACTIVE),
            certificate(ACCOUNTS[0], 0, CertificateStatus.ACTIVE, CertificateService.BOOTSTRAP, True),
            enrollment(ACCOUNTS[0], 0, None),
        ]
        for command in setup:
            [outcome] = store.write([Submission(command)])
            assert not isinstance(outcome, FtcError)
        identity = format_enrollment_id(fingerprint_of(device.certificate.public_bytes(Encoding.DER)))
        explanation = explained(
            context, ClaimQuestion(enrollment_identity=identity, endpoint_name="device-0")
        )

    assert explanation.granted is not None
    results = {check.reason: check.result for check in explanation.checks}
    assert results[Reason.CA_NOT_UPLOADED] is CheckResult.ASSUMED
    assert results[Reason.CA_NOT_IN_ACCOUNT] is CheckResult.ASSUMED
    assert results[Reason.ENROLLMENT_NOT_FOUND] is CheckResult.PASSED
