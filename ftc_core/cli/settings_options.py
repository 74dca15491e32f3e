"""Settings as flags: `@settings_options("data_dir", "public_host")` gives a command its `Settings`."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ftc_core.config import environment_variable, load_settings
from ftc_core.settings import describe_setting, is_list_setting

__all__ = ["settings_options"]


def settings_options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add a flag for each of the settings `names`, and `--config`; the command gets `settings`.

    The flags take part in `load_settings`, so a bad value is SETTING_INVALID like one from a file.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def with_settings(config_file: Path | None, **arguments: Any) -> Any:
            flags = {name: arguments.pop(name) for name in names}
            settings = load_settings(flags=flags, environ=os.environ, config_file=config_file)
            return command(settings=settings, **arguments)

        decorated: Callable[..., Any] = with_settings
        for name in reversed(names):
            decorated = click.option(
                "--" + name.replace("_", "-"),
                name,
                multiple=is_list_setting(name),
                help=f"{describe_setting(name)} [{environment_variable(name)}]",
            )(decorated)
        return click.option(
            "--config",
            "config_file",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Settings file; else ./ftc.toml, else the one in the data directory. [FTC_CONFIG]",
        )(decorated)

    return decorate
