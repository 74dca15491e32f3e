"""A fleet's place in an instance: account, uploaded CA, enrollments, earlier claims, blocks.

Written straight into the store, beside the running instance, through the same commands as the API's: what is
measured is the devices, not how their owner made the lists.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

from ftc_core.application.accounts import NewAccount, create_account
from ftc_core.application.authentication import Principal
from ftc_core.application.certificates import NewTrustedCertificate, create_trusted_certificate
from ftc_core.application.context import ApplicationContext, WriteOptions, new_id, utc_now
from ftc_core.domain.account import Role
from ftc_core.domain.block import Block, BlockedKind
from ftc_core.domain.certificate import CertificateService
from ftc_core.domain.claim import ClaimRequest
from ftc_core.domain.enrollment import Enrollment
from ftc_core.limits import BATCH_CREATE_MAX
from ftc_core.storage.async_commit import AsyncCommit
from ftc_core.storage.block_commands import PlaceBlock
from ftc_core.storage.commands import ClaimDevice, Claimed, CreateEnrollments, Submission
from ftc_core.storage.engines import open_store
from ftc_core.storage.group_commit import GroupCommit

__all__ = ["EnrolledIdentity", "Site", "open_site", "store_url"]


@dataclass(frozen=True, slots=True)
class EnrolledIdentity:
    """What a device brings along: name, certificate (DER), its SHA-256, key (PKCS#8 in DER).

    `bootstrap_uri` carries `aid` if it was claimed before, as `device_id`, which is "" otherwise.
    """

    endpoint_name: str
    certificate: bytes
    fingerprint: bytes
    key: bytes
    bootstrap_uri: str
    device_id: str = ""


def store_url(data_dir: Path) -> str:
    """Of the store of the instance with this data directory."""
    return f"lmdb://{data_dir.absolute()}/store"


@asynccontextmanager
async def open_site(data_dir: Path) -> AsyncIterator[Site]:
    """A site in this instance, with an account that trusts nobody yet."""
    with closing(open_store(store_url(data_dir))) as store, closing(GroupCommit(store)) as group:
        commit = AsyncCommit(group, asyncio.get_running_loop())
        context = ApplicationContext(store, commit, pepper=bytes(32))
        operator = Principal(account_id=new_id(), role=Role.OPERATOR, key_id=new_id())
        account = await create_account(context, operator, NewAccount(display_name="Fleet"), WriteOptions())
        yield Site(context, operator, account.id)


class Site:
    """One account, and what it does for its devices. Made by `open_site`."""

    def __init__(self, context: ApplicationContext, operator: Principal, account_id: str) -> None:
        self.account_id = account_id
        self._context = context
        self._operator = operator

    async def trust(self, authority_pem: bytes) -> None:
        """Upload a manufacturer's CA, in enrollment mode."""
        upload = NewTrustedCertificate(
            account_id=self.account_id,
            display_name="Fleet CA",
            certificate=authority_pem.decode(),
            service=CertificateService.BOOTSTRAP,
            enrollment_mode=True,
        )
        await create_trusted_certificate(self._context, self._operator, upload, WriteOptions())

    async def enroll(self, fingerprints: Sequence[bytes]) -> None:
        """Put identities on the account's list."""
        now = utc_now()
        enrollments = [
            Enrollment(id=new_id(), account_id=self.account_id, fingerprint=fingerprint, created_at=now)
            for fingerprint in fingerprints
        ]
        batches = range(0, len(enrollments), BATCH_CREATE_MAX)
        for batch in (enrollments[start : start + BATCH_CREATE_MAX] for start in batches):
            await self._context.commit.execute(Submission(CreateEnrollments(tuple(batch), now)))

    async def claim(self, names: Sequence[tuple[str, bytes]], issuing_ca: bytes) -> list[str]:
        """Claim enrolled devices (endpoint name, fingerprint) as if they had been here → their device IDs."""
        now = utc_now()
        requests = (
            ClaimRequest(
                fingerprint=fingerprint, common_name=name, endpoint_name=name, issuing_cas=(issuing_ca,)
            )
            for name, fingerprint in names
        )
        claims = (
            self._context.commit.execute(Submission(ClaimDevice(request, new_id(), now)))
            for request in requests
        )
        device_ids = []
        for outcome in await asyncio.gather(*claims):
            assert isinstance(outcome, Claimed)  # noqa: S101 - the answer to ClaimDevice
            device_ids.append(outcome.device.id)
        return device_ids

    async def block(self, fingerprints: Sequence[bytes]) -> None:
        """Block devices everywhere, as the operator."""
        now = utc_now()
        blocks = (
            Block(fingerprint=fingerprint, kind=BlockedKind.DEVICE, account_id=None, blocked_at=now)
            for fingerprint in fingerprints
        )
        await asyncio.gather(*(self._context.commit.execute(Submission(PlaceBlock(each))) for each in blocks))
