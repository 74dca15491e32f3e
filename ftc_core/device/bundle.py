"""A device's bundle: the directory that stands for its key storage, one file per parameter.

`factory/` holds the parameters as they left the factory; a factory reset restores them.

Theory of operation: the LwM2M server URI is what makes the LwM2M credentials count. A bootstrap removes it
first and writes it last, so a power loss in between leaves a device that bootstraps again, and never one
that holds a certificate with another one's key. FirstToClaim goes before the URI with `aid` comes, since
the two together are refused [I].
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.x509.oid import NameOID

from ftc_core.device.parameters import (
    FACTORY_PARAMETERS,
    RESULT_PARAMETERS,
    Parameter,
    account_id_of,
    check_coaps_uri,
    decode_text,
    decode_u32,
    load_key_pair,
)
from ftc_core.domain.claim_secret import read_claim_secret
from ftc_core.domain.identity import fingerprint_of, parse_enrollment_id
from ftc_core.errors import FtcError, Reason
from ftc_core.files import PRIVATE, PUBLIC, read_file, remove_file, replace_file

__all__ = ["FACTORY_DIRECTORY", "BootstrapResult", "Bundle", "LwM2MCredentials"]

FACTORY_DIRECTORY = "factory"
"""The pristine copy inside a bundle."""

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class BootstrapResult:
    """What a bootstrap server wrote: LwM2M account (/0/0) and the bootstrap account's new URI (/0/1).

    URIs carry `aid`; `server_ca` and `certificate` are DER, `private_key` is DER (PKCS#8 or SEC 1).
    """

    lwm2m_server_uri: str
    server_ca: bytes
    certificate: bytes
    private_key: bytes = field(repr=False)
    bootstrap_server_uri: str


@dataclass(frozen=True, slots=True)
class LwM2MCredentials:
    """What a bootstrapped device registers with; DER throughout."""

    server_uri: str
    server_ca: bytes
    certificate: bytes
    private_key: bytes = field(repr=False)
    device_id: str
    account_id: str


class Bundle:
    """One device on disk. Reads a parameter when it is asked for; `load` has checked them all.

    Every accessor raises FtcError BUNDLE_INVALID, naming the file, if that was damaged since.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def load(cls, directory: Path) -> Bundle:
        """Open and check a bundle. Raises FtcError BUNDLE_INVALID, naming the file at fault."""
        if not directory.is_dir():
            raise FtcError(Reason.BUNDLE_INVALID, f"{directory} is not a directory")
        bundle = cls(directory)
        bundle._check()
        return bundle

    @property
    def endpoint_name(self) -> str:
        """The name that the device gives as `ep`."""
        return self._text(Parameter.ENDPOINT_NAME)

    @property
    def enrollment_id(self) -> str:
        """The `A-…` of the bootstrap certificate, as on the label."""
        return self._text(Parameter.ENROLLMENT_ID)

    @property
    def first_to_claim(self) -> bool:
        """Whether the device still waits for its first owner."""
        return self._has(Parameter.FIRST_TO_CLAIM) and self._flag(Parameter.FIRST_TO_CLAIM)

    @property
    def use_bootstrap(self) -> bool:
        """Whether the device gets its LwM2M account from a bootstrap server."""
        return self._flag(Parameter.USE_BOOTSTRAP)

    @property
    def bootstrap_server_uri(self) -> str:
        """`coaps://host:port`, with `?aid=…` once the device was claimed."""
        return self._value(Parameter.BOOTSTRAP_SERVER_URI, lambda raw: check_coaps_uri(decode_text(raw)))

    @property
    def bootstrap_server_ca(self) -> bytes:
        """DER."""
        return self._value(Parameter.BOOTSTRAP_SERVER_CA, _certificate_der)

    @property
    def bootstrap_certificate(self) -> bytes:
        """DER."""
        return self._value(Parameter.BOOTSTRAP_CERTIFICATE, _certificate_der)

    @property
    def bootstrap_private_key(self) -> bytes:
        """DER."""
        return self._value(Parameter.BOOTSTRAP_PRIVATE_KEY, bytes)

    @property
    def claim_secret(self) -> str | None:
        """The device's claim secret (`domain.claim_secret`), or None. It stays for the device's life."""
        if not self._has(Parameter.CLAIM_SECRET):
            return None
        return self._value(
            Parameter.CLAIM_SECRET,
            lambda raw: read_claim_secret(decode_text(raw), field=Parameter.CLAIM_SECRET.value),
        )

    @property
    def lwm2m(self) -> LwM2MCredentials | None:
        """The LwM2M account, or None if the device has to bootstrap first."""
        if not self._has(Parameter.LWM2M_SERVER_URI):
            return None
        return LwM2MCredentials(
            server_uri=self._value(Parameter.LWM2M_SERVER_URI, lambda raw: check_coaps_uri(decode_text(raw))),
            server_ca=self._value(Parameter.LWM2M_SERVER_CA, _certificate_der),
            certificate=self._value(Parameter.LWM2M_CERTIFICATE, _certificate_der),
            private_key=self._value(Parameter.LWM2M_PRIVATE_KEY, bytes),
            device_id=self._text(Parameter.DEVICE_ID),
            account_id=self._text(Parameter.ACCOUNT_ID),
        )

    def store_bootstrap_result(self, result: BootstrapResult) -> LwM2MCredentials:
        """Keep what the bootstrap server wrote; the device ID and the account come from the certificate.

        Raises FtcError BUNDLE_INVALID, before anything is changed, if the result cannot be used: key and
        certificate differ, the subject lacks CN, L or OU or names another endpoint, an URI has no `aid`.
        """
        device_id, account_id = self._judge(result)
        self._remove(Parameter.LWM2M_SERVER_URI)
        self._write(Parameter.LWM2M_SERVER_CA, result.server_ca)
        self._write(Parameter.LWM2M_CERTIFICATE, result.certificate)
        self._write(Parameter.LWM2M_PRIVATE_KEY, result.private_key)
        self._write(Parameter.DEVICE_ID, device_id.encode())
        self._write(Parameter.ACCOUNT_ID, account_id.encode())
        self._remove(Parameter.FIRST_TO_CLAIM)
        self._write(Parameter.BOOTSTRAP_SERVER_URI, result.bootstrap_server_uri.encode())
        self._write(Parameter.LWM2M_SERVER_URI, result.lwm2m_server_uri.encode())
        return LwM2MCredentials(
            server_uri=result.lwm2m_server_uri,
            server_ca=result.server_ca,
            certificate=result.certificate,
            private_key=result.private_key,
            device_id=device_id,
            account_id=account_id,
        )

    def forget_lwm2m(self) -> None:
        """Drop the LwM2M account only: what a client does when its registration is refused with 4.03 [I]."""
        self._remove(Parameter.LWM2M_SERVER_URI)

    def factory_reset(self) -> None:
        """Forget account and LwM2M credentials, and restore what the factory wrote.

        Raises FtcError BUNDLE_INVALID, before anything is changed, if the pristine copy is not whole.
        """
        factory = Bundle.load(self.directory / FACTORY_DIRECTORY)
        for parameter in RESULT_PARAMETERS:
            self._remove(parameter)
        # The URI without `aid` is back before FirstToClaim is: the two rules of `_check` hold in between.
        for parameter in reversed(FACTORY_PARAMETERS):
            self._write(parameter, factory._raw(parameter))

    def _check(self) -> None:
        uri = self.bootstrap_server_uri
        if self.first_to_claim and account_id_of(uri) is not None:
            raise self._invalid(
                Parameter.BOOTSTRAP_SERVER_URI, "carries aid, which is not allowed with mbed.FirstToClaim"
            )
        if not self.use_bootstrap:
            raise self._invalid(Parameter.USE_BOOTSTRAP, "is 0: this device never asks a bootstrap server")
        certificate = self.bootstrap_certificate
        with self._blaming(Parameter.BOOTSTRAP_PRIVATE_KEY):
            load_key_pair(certificate, self.bootstrap_private_key)
        with self._blaming(Parameter.ENROLLMENT_ID):
            if parse_enrollment_id(self.enrollment_id) != fingerprint_of(certificate):
                raise ValueError(f"is not the fingerprint of {Parameter.BOOTSTRAP_CERTIFICATE}")
        _ = self.endpoint_name, self.bootstrap_server_ca, self.claim_secret
        credentials = self.lwm2m
        if credentials is not None:
            with self._blaming(Parameter.LWM2M_PRIVATE_KEY):
                load_key_pair(credentials.certificate, credentials.private_key)

    def _judge(self, result: BootstrapResult) -> tuple[str, str]:
        with self._blaming(Parameter.LWM2M_PRIVATE_KEY):
            certificate = load_key_pair(result.certificate, result.private_key)
        with self._blaming(Parameter.LWM2M_SERVER_CA):
            x509.load_der_x509_certificate(result.server_ca)
        with self._blaming(Parameter.LWM2M_CERTIFICATE):
            name = _subject(certificate, NameOID.COMMON_NAME, "CN (endpoint name)")
            device_id = _subject(certificate, NameOID.LOCALITY_NAME, "L (device ID)")
            account_id = _subject(certificate, NameOID.ORGANIZATIONAL_UNIT_NAME, "OU (account ID)")
            if name != self.endpoint_name:
                raise ValueError(f"is for {name!r}, not for {self.endpoint_name!r}")
        for parameter, uri in (
            (Parameter.LWM2M_SERVER_URI, result.lwm2m_server_uri),
            (Parameter.BOOTSTRAP_SERVER_URI, result.bootstrap_server_uri),
        ):
            with self._blaming(parameter):
                if uri == self.bootstrap_server_uri:
                    continue  # a Bootstrap-Pack leaves the bootstrap account as it is
                if account_id_of(check_coaps_uri(uri)) != account_id:
                    raise ValueError(f"{uri!r} does not carry aid={account_id}")
        return device_id, account_id

    def _path(self, parameter: Parameter) -> Path:
        return self.directory / parameter.value

    def _has(self, parameter: Parameter) -> bool:
        return self._path(parameter).exists()

    def _raw(self, parameter: Parameter) -> bytes:
        try:
            return read_file(self._path(parameter))
        except FtcError as error:
            raise FtcError(Reason.BUNDLE_INVALID, error.message) from error

    def _value(self, parameter: Parameter, decode: Callable[[bytes], _Value]) -> _Value:
        raw = self._raw(parameter)
        with self._blaming(parameter):
            return decode(raw)

    def _text(self, parameter: Parameter) -> str:
        return self._value(parameter, decode_text)

    def _flag(self, parameter: Parameter) -> bool:
        return self._value(parameter, decode_u32) != 0

    def _write(self, parameter: Parameter, content: bytes) -> None:
        replace_file(self._path(parameter), content, PRIVATE if parameter.is_secret else PUBLIC)

    def _remove(self, parameter: Parameter) -> None:
        remove_file(self._path(parameter))

    @contextlib.contextmanager
    def _blaming(self, parameter: Parameter) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise self._invalid(parameter, str(error)) from error
        except FtcError as error:
            if error.reason is Reason.BUNDLE_INVALID:
                raise
            raise self._invalid(parameter, error.message) from error

    def _invalid(self, parameter: Parameter, cause: str) -> FtcError:
        return FtcError(Reason.BUNDLE_INVALID, f"{self._path(parameter)}: {cause}")


def _certificate_der(raw: bytes) -> bytes:
    x509.load_der_x509_certificate(raw)
    return raw


def _subject(certificate: x509.Certificate, oid: x509.ObjectIdentifier, meaning: str) -> str:
    attributes = certificate.subject.get_attributes_for_oid(oid)
    if len(attributes) != 1:
        raise ValueError(f"its subject has {len(attributes)} {meaning}, expected one")
    return str(attributes[0].value)
