"""The configuration file that `ftc init` writes: every setting with its meaning, defaults commented out."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import msgspec

from ftc_core.client_identity import ClientIdentity
from ftc_core.config import environment_variable
from ftc_core.listen import ListenAddress
from ftc_core.settings import Settings, describe_setting, setting_names

__all__ = ["render_config"]

_INTRODUCTION = f"""\
# Settings of this First-to-Claim instance. A line that is commented out shows the default.
# {environment_variable("…")} in the environment outranks this file, and a flag outranks both.
"""
_WIDTH = 100


def render_config(settings: Settings) -> str:
    """TOML that `load_settings` reads back as `settings`, for a file inside `settings.data_dir`."""
    defaults = Settings()
    parts = [_INTRODUCTION]
    for name in setting_names():
        if name == "data_dir":  # the file lies in it
            continue
        value = getattr(settings, name)
        comment = textwrap.fill(
            describe_setting(name),
            _WIDTH,
            initial_indent="# ",
            subsequent_indent="# ",
            break_on_hyphens=False,
        )
        marker = "# " if value == getattr(defaults, name) else ""
        shown = _derived(settings, name) if value is None else value
        parts.append(f"{comment}\n{marker}{name} = {_toml(shown)}\n")
    return "\n".join(parts)


def _derived(settings: Settings, name: str) -> str:
    """What a setting without a value amounts to."""
    by_default = Settings(data_dir=settings.data_dir, public_host=settings.public_host)
    match name:
        case "storage_url":
            return by_default.store_url
        case "bootstrap_uri":
            return by_default.public_bootstrap_uri()
        case "lwm2m_uri":
            return by_default.public_lwm2m_uri()
        case "mtls_listen" | "mtls_client_ca":
            return ""
    raise KeyError(name)


def _toml(value: object) -> str:
    # JSON's strings, numbers and booleans are TOML's (TOML 1.0, basic strings take \\uXXXX).
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, ClientIdentity):
        row = (f"{key} = {_toml(text)}" for key, text in msgspec.structs.asdict(value).items())
        return f"{{ {', '.join(row)} }}"
    if isinstance(value, ListenAddress | Path):
        value = str(value)
    return json.dumps(value, ensure_ascii=False)
