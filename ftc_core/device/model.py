"""Which client a simulated device behaves as."""

from __future__ import annotations

from dataclasses import dataclass

from ftc_core.lwm2m import content, lwm2m_cbor, tlv
from ftc_core.lwm2m.discovery import VERSION_1_0, VERSION_1_1, Version
from ftc_core.lwm2m.est import CERTS_ONLY

__all__ = ["IZUMA", "VERSION_1_2", "ClientModel"]

VERSION_1_2: Version = (1, 2)

_TLV_FORMATS = frozenset({tlv.CONTENT_FORMAT, tlv.LEGACY_CONTENT_FORMAT})


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientModel:
    """A client by the book of one LwM2M version, or (`izuma`) the widely used one [I].

    `bootstrap_instance` is where it has its bootstrap account. `discovers`: it answers Bootstrap-Discover,
    and from 1.1 on Bootstrap-Read; else with 4.05, Izuma's with silence. `content_format` is its `pct`, which
    1.0 does not have, and its Accept for a pack. `packs`: it asks for a Bootstrap-Pack first.
    `pins_certificate`: it takes resource 4 for the server's own certificate, unless resource 15 says that it
    is another. `token_bytes` (4 to 8) is the length of its tokens. `certificate_format` is its Accept for a
    certificate by EST, 281 or 287, or None.
    """

    version: Version = VERSION_1_0
    izuma: bool = False
    bootstrap_instance: int = 0
    discovers: bool = True
    content_format: int | None = None
    packs: bool = False
    pins_certificate: bool = True
    token_bytes: int = 8
    certificate_format: int | None = CERTS_ONLY

    def __post_init__(self) -> None:
        """Raises ValueError for what the version does not have."""
        if self.content_format is not None and self.version < VERSION_1_1:
            raise ValueError("LwM2M 1.0 knows no preferred content format")
        if self.content_format is not None and self.content_format not in self.content_formats:
            raise ValueError(f"this client does not take content format {self.content_format}")
        if self.packs and self.version < VERSION_1_2:
            raise ValueError("a Bootstrap-Pack needs LwM2M 1.2")
        if self.packs and self.content_format in _TLV_FORMATS:
            raise ValueError("a Bootstrap-Pack cannot be TLV")

    @property
    def content_formats(self) -> frozenset[int]:
        """What may be written to it."""
        if self.version >= VERSION_1_2:
            return content.SUPPORTED_FORMATS
        if self.version >= VERSION_1_1:
            return content.SUPPORTED_FORMATS - {lwm2m_cbor.CONTENT_FORMAT}
        return _TLV_FORMATS

    @property
    def enrolls(self) -> bool:
        """Whether it knows security mode EST."""
        return self.izuma or self.version >= VERSION_1_1

    @property
    def version_text(self) -> str:
        """As in `lwm2m=1.0`."""
        return f"{self.version[0]}.{self.version[1]}"


IZUMA = ClientModel(
    izuma=True,
    bootstrap_instance=1,
    discovers=False,
    pins_certificate=False,
    token_bytes=4,
    certificate_format=None,
)
"""The widely used client, with EST: 1.0, accounts at /0/0 and /0/1, silent on Discover, tokens of 32 bits."""
