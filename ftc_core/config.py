"""Where settings come from: `ftc.toml`, then `FTC_…` in the environment, then flags; the later one counts."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import msgspec

from ftc_core.client_identity import ClientIdentity
from ftc_core.errors import FtcError, Reason
from ftc_core.files import read_file
from ftc_core.listen import ListenAddress
from ftc_core.settings import Settings

__all__ = ["CONFIG_FILE_NAME", "CONFIG_FILE_VARIABLE", "Settings", "environment_variable", "load_settings"]

CONFIG_FILE_NAME = "ftc.toml"
"""The file looked for in the working directory, then in the data directory."""
CONFIG_FILE_VARIABLE = "FTC_CONFIG"
"""The environment variable that names another file."""

_ENVIRONMENT_PREFIX = "FTC_"
_CLIENT_VARIABLES = frozenset(
    {
        "FTC_API_KEY",
        "FTC_API_KEY_FILE",
        "FTC_CA",
        "FTC_CLIENT_CERT",
        "FTC_CLIENT_KEY",
        "FTC_ENDPOINT",
        "FTC_TRANSFER_CODE",
    }
)
"""Variables of the API client commands: none of the server's business."""


def environment_variable(name: str) -> str:
    """The environment variable of setting `name`."""
    return _ENVIRONMENT_PREFIX + name.upper()


def load_settings(
    *, flags: Mapping[str, object], environ: Mapping[str, str], config_file: Path | None = None
) -> Settings:
    """The settings from all their sources.

    `flags` maps setting names to a value, a sequence of values, or None where the flag was not given. The
    file is `config_file`, else FTC_CONFIG, else `ftc.toml` in the working directory, else the one in the
    data directory; only a file that was named must exist. Relative paths in a file start from the file.

    Raises FtcError SETTING_INVALID for an unknown setting or a bad value, naming the setting and its source;
    FILE_UNREADABLE for a named file that cannot be read.
    """
    values: dict[str, object] = {}
    sources: dict[str, str] = {}

    def take(layer: Mapping[str, object], source: Callable[[str], str], *, strict: bool, base: Path) -> None:
        for name, raw in layer.items():
            sources[name] = source(name)
            values[name] = _decode(name, raw, sources[name], strict=strict, base=base)

    here = Path()
    given = {name: raw for name, raw in flags.items() if raw is not None and raw != ()}
    from_environment = _environment_layer(environ)
    path = config_file or _named(environ) or _found(given, from_environment)
    if path is not None:
        take(_file_layer(path), lambda name: str(path), strict=True, base=path.parent)
    take(from_environment, environment_variable, strict=False, base=here)
    take(given, lambda name: "--" + name.replace("_", "-"), strict=False, base=here)
    try:
        return Settings(**values)  # type: ignore[arg-type] # each was converted to its field's type
    except FtcError as error:
        raise _invalid(error.field, sources[error.field], error.message.partition(": ")[2]) from error


def _named(environ: Mapping[str, str]) -> Path | None:
    return Path(environ[CONFIG_FILE_VARIABLE]) if environ.get(CONFIG_FILE_VARIABLE) else None


def _found(flags: Mapping[str, object], environment: Mapping[str, object]) -> Path | None:
    data_dir = str(flags.get("data_dir") or environment.get("data_dir") or _FIELDS["data_dir"].default)
    candidates = (Path(CONFIG_FILE_NAME), Path(data_dir) / CONFIG_FILE_NAME)
    return next((path for path in candidates if path.is_file()), None)


def _file_layer(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(read_file(path).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FtcError(Reason.SETTING_INVALID, f"{path} is not TOML: {error}") from error


def _environment_layer(environ: Mapping[str, str]) -> dict[str, object]:
    return {
        variable.removeprefix(_ENVIRONMENT_PREFIX).lower(): raw
        for variable, raw in environ.items()
        if variable.startswith(_ENVIRONMENT_PREFIX)
        and variable not in _CLIENT_VARIABLES
        and variable != CONFIG_FILE_VARIABLE
        and raw  # `FTC_WORKERS=` in a compose file means: not set
    }


def _decode(name: str, raw: object, source: str, *, strict: bool, base: Path) -> object:
    if name not in _FIELDS:
        near = difflib.get_close_matches(name, _FIELDS, n=1)
        raise _invalid(
            name, source, "there is no such setting" + (f"; did you mean {near[0]}?" if near else "")
        )
    try:
        match name:
            case "data_dir":
                return base / _text(raw)
            case "bootstrap_listen" | "lwm2m_listen":
                return tuple(ListenAddress.parse(item) for item in _texts(raw))
            case "grpc_listen" | "metrics_listen":
                return ListenAddress.parse(_text(raw))
            case "mtls_listen":
                return None if raw == "" else ListenAddress.parse(_text(raw))
            case "mtls_client_ca":
                return None if raw == "" else base / _text(raw)
            case "mtls_identities":
                return _identities(raw)
            case _:
                return _converted(name, raw, strict=strict)
    except ValueError as error:
        raise _invalid(name, source, str(error)) from error


def _converted(name: str, raw: object, *, strict: bool) -> object:
    expected = _FIELDS[name].type
    try:
        return msgspec.convert(raw, expected, strict=strict)
    except msgspec.ValidationError as error:
        choices = get_args(get_args(expected)[0])
        if choices and all(isinstance(choice, str) for choice in choices):
            raise ValueError(f"{raw!r} is not one of {', '.join(choices)}") from error
        raise ValueError(f"{error}, got {raw!r}") from error


def _text(raw: object) -> str:
    if isinstance(raw, str | Path) and str(raw):
        return str(raw)
    raise ValueError(f"expected text, got {raw!r}")


def _texts(raw: object) -> list[str]:
    """A list as a file or repeated flags give it, or one text with commas as the environment does."""
    if isinstance(raw, str):
        return raw.split(",")
    if isinstance(raw, list | tuple):
        return [_text(item) for item in raw]
    raise ValueError(f"expected a list of texts, got {raw!r}")


def _identities(raw: object) -> tuple[ClientIdentity, ...]:
    """Tables as a file gives them, or JSON as the environment does."""
    try:
        if isinstance(raw, str):
            return msgspec.json.decode(raw, type=tuple[ClientIdentity, ...])
        return msgspec.convert(raw, tuple[ClientIdentity, ...])
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error


def _invalid(name: str, source: str, cause: str) -> FtcError:
    return FtcError(Reason.SETTING_INVALID, f"setting {name} (from {source}): {cause}", field=name)


_FIELDS: Mapping[str, Any] = {field.name: field for field in msgspec.structs.fields(Settings)}
