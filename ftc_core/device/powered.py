"""A device with its bundle: what the runner brings home is kept, what the bundle holds is used."""

from __future__ import annotations

from ftc_core.device.bundle import BootstrapResult, Bundle, LwM2MCredentials
from ftc_core.device.client import BootstrapFailed, BootstrapOutcome, Succeeded
from ftc_core.device.model import IZUMA, ClientModel
from ftc_core.device.registration import OperationFailed
from ftc_core.device.runner import DeviceRunner, RegisteredDevice
from ftc_core.device.trace import Tracer
from ftc_core.limits import COAP_BLOCK_SIZE
from ftc_core.lwm2m.objects import CertificateUsage, SecurityInstance, SecurityMode

__all__ = ["PoweredDevice"]


class PoweredDevice:
    """One device on disk and on the network. Parameters as `DeviceRunner`'s."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        block_size: int = COAP_BLOCK_SIZE,
        answer_delay_s: float = 0.0,
        model: ClientModel = IZUMA,
        tracer: Tracer | None = None,
    ) -> None:
        self.bundle = bundle
        self._runner = DeviceRunner(
            bundle.endpoint_name,
            block_size=block_size,
            answer_delay_s=answer_delay_s,
            model=model,
            tracer=tracer,
        )

    async def bootstrap(self) -> Succeeded | BootstrapFailed:
        """One attempt; success is kept in the bundle.

        Raises FtcError BUNDLE_INVALID if what was written cannot be kept, OSError if the host is unknown.
        """
        bundle = self.bundle
        account = SecurityInstance(
            server_uri=bundle.bootstrap_server_uri,
            bootstrap_server=True,
            mode=SecurityMode.CERTIFICATE,
            public_key=bundle.bootstrap_certificate,
            server_public_key=bundle.bootstrap_server_ca,
            secret_key=bundle.bootstrap_private_key,
        )
        known = bundle.lwm2m
        outcome = await self._runner.bootstrap(
            account, device_id=known.device_id if known else "", claim_secret=bundle.claim_secret
        )
        if isinstance(outcome, Succeeded):
            bundle.store_bootstrap_result(_result(outcome.outcome))
        return outcome

    async def register(
        self, credentials: LwM2MCredentials, *, lifetime: int
    ) -> RegisteredDevice | OperationFailed:
        """Connect to the LwM2M server with `credentials` and register for `lifetime` seconds."""
        account = SecurityInstance(
            server_uri=credentials.server_uri,
            mode=SecurityMode.CERTIFICATE,
            public_key=credentials.certificate,
            server_public_key=credentials.server_ca,
            secret_key=credentials.private_key,
            # The bundle does not say which of the two `server_ca` is; taken as a CA, either is trusted.
            certificate_usage=CertificateUsage.TRUST_ANCHOR_ASSERTION,
        )
        return await self._runner.register(account, credentials.account_id, lifetime=lifetime)


def _result(outcome: BootstrapOutcome) -> BootstrapResult:
    account = outcome.lwm2m
    return BootstrapResult(
        lwm2m_server_uri=account.server_uri,
        server_ca=account.server_public_key or b"",
        certificate=account.public_key or b"",
        private_key=account.secret_key or b"",
        bootstrap_server_uri=outcome.bootstrap.server_uri,
    )
