"""The catalogue of settings: a setting's type, bounds, default and description stand here and nowhere else.

The configuration file that `ftc init` writes and the help of the flags are made from it.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from ftc_core.client_identity import ClientIdentity, check_identities
from ftc_core.errors import FtcError, Reason
from ftc_core.limits import (
    COMMIT_BATCH_MAX,
    DTLS_MTU_BYTES,
    DTLS_MTU_MAX_BYTES,
    DTLS_MTU_MIN_BYTES,
    OPERATIONS_MAX,
    RESUMPTION_LIFETIME_MAX_S,
)
from ftc_core.listen import ListenAddress, is_host_name

__all__ = ["Settings", "describe_setting", "is_list_setting", "setting_names"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting, each with its meaning, unit and bounds.

    Raises FtcError SETTING_INVALID (its `field` the setting's name) for a value that cannot work.
    """

    data_dir: Annotated[
        Path, Meta(description="Directory of the store, the keys and the secrets, made by `ftc init`.")
    ] = Path("ftc-data")
    storage_url: Annotated[
        str | None,
        Meta(
            description="Where the enrollment index is: lmdb:///absolute/path. "
            "Default: store/ in the data directory."
        ),
    ] = None
    bootstrap_listen: Annotated[
        tuple[ListenAddress, ...],
        Meta(description="UDP addresses of the bootstrap server, host:port; * means all of IPv4 and IPv6."),
    ] = (ListenAddress("*", 5784),)
    lwm2m_listen: Annotated[
        tuple[ListenAddress, ...],
        Meta(description="UDP addresses of the LwM2M server, host:port; * means all of IPv4 and IPv6."),
    ] = (ListenAddress("*", 5684),)
    grpc_listen: Annotated[
        ListenAddress, Meta(description="TCP address of the gRPC API, host:port; [::] takes IPv4 too.")
    ] = ListenAddress("::", 50051)
    mtls_listen: Annotated[
        ListenAddress | None,
        Meta(
            description="TCP address, host:port, of a second port of the API, which demands a client "
            "certificate. Default: none."
        ),
    ] = None
    mtls_client_ca: Annotated[
        Path | None,
        Meta(description="PEM file of the CA (or CAs) that client certificates of the API must come from."),
    ] = None
    mtls_identities: Annotated[
        tuple[ClientIdentity, ...],
        Meta(
            description="Who calls with which client certificate: rows of uri, account (an ID) and role; "
            "a JSON array in the environment."
        ),
    ] = ()
    metrics_listen: Annotated[
        ListenAddress, Meta(description="TCP address of metrics and health over HTTP, host:port.")
    ] = ListenAddress("127.0.0.1", 9464)
    public_host: Annotated[
        str,
        Meta(description="Name or address under which devices reach this server; it goes into their URIs."),
    ] = "localhost"
    bootstrap_uri: Annotated[
        str | None,
        Meta(
            description="URI of the bootstrap server as devices see it, without aid. "
            "Default: coaps://, public_host and the port of bootstrap_listen."
        ),
    ] = None
    lwm2m_uri: Annotated[
        str | None,
        Meta(
            description="URI of the LwM2M server as devices see it, without aid. "
            "Default: coaps://, public_host and the port of lwm2m_listen."
        ),
    ] = None
    workers: Annotated[
        int, Meta(ge=1, le=256, description="Bootstrap worker processes. Default: one for each CPU.")
    ] = msgspec.field(default_factory=lambda: os.cpu_count() or 1)
    log_format: Annotated[
        Literal["console", "json"],
        Meta(description="console for people, json for machines: one object a line."),
    ] = "console"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least severity that is logged.")
    ] = "info"
    credential_validity_days: Annotated[
        int,
        Meta(
            ge=1,
            le=7_300,
            description="Days for which an LwM2M client certificate is valid (never beyond the issuing CA).",
        ),
    ] = 3_650
    lwm2m_credentials: Annotated[
        Literal["delivered", "est"],
        Meta(
            description="How a device comes by its LwM2M key: delivered (made here, and written to it with "
            "its certificate) or est (made by the device, which asks for the certificate: for clients that "
            "know security mode 4, in LwM2M from 1.1 on, and Izuma's if built with EST; others fail)."
        ),
    ] = "delivered"
    lwm2m_lifetime_s: Annotated[
        int,
        Meta(
            ge=1,
            le=2**32 - 1,
            description="Registration lifetime written to devices, seconds (LwM2M object 1, resource 1).",
        ),
    ] = 86_400
    lwm2m_binding: Annotated[
        Literal["U", "UQ"],
        Meta(
            description="Binding written to devices: U (UDP) or UQ (UDP, queue mode) (object 1, resource 7)."
        ),
    ] = "U"
    short_server_id: Annotated[
        int,
        Meta(ge=1, le=65_534, description="Short server ID of the LwM2M server (objects 0/10 and 1/0)."),
    ] = 1
    enrollment_ttl_s: Annotated[
        int,
        Meta(
            ge=0,
            le=100 * 365 * 86_400,
            description="Seconds after which an enrollment that no device has claimed is removed, if its "
            "creator names no expiry. 0: never.",
        ),
    ] = 0
    enrollment_expiry_notice_s: Annotated[
        int,
        Meta(
            ge=0,
            le=365 * 86_400,
            description="Seconds before its expiry at which watchers are told of an enrollment that no "
            "device has claimed. 0: they are not.",
        ),
    ] = 86_400
    operations_max: Annotated[
        int,
        Meta(
            ge=1, le=OPERATIONS_MAX, description="Bulk operations of one account that are kept, done or not."
        ),
    ] = 100
    operation_retention_days: Annotated[
        int,
        Meta(
            ge=1,
            le=3_650,
            description="Days for which a bulk operation is kept after its end, with its file and reports.",
        ),
    ] = 7
    denial_retention_days: Annotated[
        int,
        Meta(
            ge=1,
            le=3_650,
            description="Days for which it is remembered that a device was refused, after the last time.",
        ),
    ] = 30
    ledger_checkpoint_interval_s: Annotated[
        int,
        Meta(
            ge=0,
            le=365 * 86_400,
            description="Seconds between checkpoints of the ownership ledger, each made only if something "
            "was entered since the last. 0: only when an operator asks for one.",
        ),
    ] = 3_600
    dtls_mtu: Annotated[
        int,
        Meta(
            ge=DTLS_MTU_MIN_BYTES,
            le=DTLS_MTU_MAX_BYTES,
            description="Bytes of UDP payload that we send at most: the path MTU to the devices, less 28 "
            "(IPv4) or 48 (IPv6). CoAP blocks shrink with it.",
        ),
    ] = DTLS_MTU_BYTES
    resumption_lifetime_s: Annotated[
        int,
        Meta(
            ge=0,
            le=RESUMPTION_LIFETIME_MAX_S,
            description="Seconds for which a device may resume its DTLS session by a ticket; 0: never. "
            "Its certificate is judged anew each time.",
        ),
    ] = 86_400
    overload_answer: Annotated[
        Literal["delay", "5.03"],
        Meta(
            description="What a device gets that was let in while claims wait for the disk for 2 s or "
            "longer: delay (its answer comes late) or 5.03 with the wait as Max-Age. Some clients stop for "
            "good at a 5.03."
        ),
    ] = "delay"
    shutdown_grace_s: Annotated[
        float,
        Meta(ge=0, le=600, description="Seconds that running sessions and calls get to end on SIGTERM."),
    ] = 10.0
    commit_batch: Annotated[
        int,
        Meta(
            ge=1,
            le=COMMIT_BATCH_MAX,
            description="Claims and other changes in one durable transaction at most.",
        ),
    ] = COMMIT_BATCH_MAX

    def __post_init__(self) -> None:
        for name, check in _CHECKS.items():
            try:
                check(getattr(self, name))
            except ValueError as error:
                raise _invalid(name, str(error)) from error
        if self.mtls_listen is not None and self.mtls_client_ca is None:
            raise _invalid("mtls_listen", "needs mtls_client_ca, the CA that client certificates come from")
        if self.mtls_identities and self.mtls_listen is None:
            raise _invalid("mtls_identities", "needs mtls_listen: no other port asks for certificates")

    @property
    def store_url(self) -> str:
        """`storage_url`, or the store in the data directory."""
        return self.storage_url or f"lmdb://{self.data_dir.absolute() / 'store'}"

    def public_bootstrap_uri(self, bound_port: int | None = None) -> str:
        """The bootstrap URI for devices; `bound_port` is the real one where `bootstrap_listen` says 0."""
        return self.bootstrap_uri or self._coaps_uri("bootstrap_uri", self.bootstrap_listen, bound_port)

    def public_lwm2m_uri(self, bound_port: int | None = None) -> str:
        """The LwM2M URI for devices, without aid; `bound_port` is the real one if `lwm2m_listen` says 0."""
        return self.lwm2m_uri or self._coaps_uri("lwm2m_uri", self.lwm2m_listen, bound_port)

    def _coaps_uri(self, name: str, listen: tuple[ListenAddress, ...], bound_port: int | None) -> str:
        port = bound_port or listen[0].port
        if port == 0:
            raise _invalid(name, "the port is not known before it is bound")
        return f"coaps://{ListenAddress(self.public_host, port)}"


def _invalid(name: str, cause: str) -> FtcError:
    return FtcError(Reason.SETTING_INVALID, f"setting {name}: {cause}", field=name)


def _check_listen(addresses: tuple[ListenAddress, ...]) -> None:
    if not addresses:
        raise ValueError("at least one address is needed")


def _check_public_host(host: str) -> None:
    if is_host_name(host):
        return
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{host!r} is neither a host name nor an IP address") from None


def _check_coaps_uri(uri: str | None) -> None:
    if uri is None:
        return
    parts = urlsplit(uri)
    if parts.scheme != "coaps" or not parts.hostname or parts.port == 0:
        raise ValueError(f"{uri!r} is not coaps://host:port")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"{uri!r} must end after the port: the server adds path and aid itself")


def _check_storage_url(url: str | None) -> None:
    if url is None:
        return
    parts = urlsplit(url)
    if parts.scheme != "lmdb":  # what follows the scheme may hold a password
        raise ValueError(f"there is no engine for {parts.scheme!r}, only for lmdb:///absolute/path")
    if parts.netloc or not parts.path.startswith("/"):
        raise ValueError("it is not lmdb:///absolute/path")


_CHECKS: Mapping[str, Callable[[Any], None]] = {
    "bootstrap_listen": _check_listen,
    "lwm2m_listen": _check_listen,
    "mtls_identities": check_identities,
    "public_host": _check_public_host,
    "bootstrap_uri": _check_coaps_uri,
    "lwm2m_uri": _check_coaps_uri,
    "storage_url": _check_storage_url,
}

_TYPES: Mapping[str, Any] = {field.name: field.type for field in msgspec.structs.fields(Settings)}


def setting_names() -> tuple[str, ...]:
    """Every setting, in the order of the catalogue."""
    return tuple(_TYPES)


def describe_setting(name: str) -> str:
    """What setting `name` means, for help texts and the configuration file."""
    return str(get_args(_TYPES[name])[1].description)


def is_list_setting(name: str) -> bool:
    """Whether setting `name` holds several values."""
    return get_origin(get_args(_TYPES[name])[0]) is tuple
