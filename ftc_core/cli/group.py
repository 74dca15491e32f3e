"""The root of the `ftc` command: refusals become one line and an exit code, and other rooms add their verbs.

Exit codes: 0 done, 1 refused (the reason on standard error), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import errno
import sys
import traceback
from importlib.metadata import entry_points
from typing import IO, Any

import click

from ftc_core.cli.terminal import abandon_output, open_streams, say, visible
from ftc_core.errors import FtcError

__all__ = ["EXTENSION_GROUP", "ExtensibleGroup", "Refusal", "RootGroup"]

EXTENSION_GROUP = "ftc.commands"
"""Entry points of this group are callables `register(root: click.Group) -> None`."""

_INTERRUPTED = 130  # 128 + SIGINT, the shells' convention
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Refusal(click.ClickException):
    """An error that the user can do something about; click prints it and exits 1."""

    exit_code = 1

    def __init__(self, message: str, action: str) -> None:
        super().__init__(message)
        self._action = action

    def show(self, file: IO[Any] | None = None) -> None:
        """One line on standard error."""
        say(f"error: {self.message} / what to do: {self._action}", file=file, err=True)


class RootGroup(click.Group):
    """The `ftc` command itself.

    Extensions are loaded only when a command is asked for that is not known yet, or all are listed, so that
    the plain commands start without them.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._extended = False

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line; ends the process with its exit code, unless not `standalone_mode`."""
        open_streams()
        return super().main(*args, **extra)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """As click does; help and version are printed here."""
        try:
            return super().make_context(*args, **extra)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _refusal_of_system(error) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run the chosen command; what it refuses is shown as one line."""
        try:
            return super().invoke(ctx)
        except FtcError as error:
            cause = error.metadata.get("cause")
            raise Refusal(
                f"{error.message}: {cause}" if cause else error.message, error.spec.action
            ) from error
        except KeyboardInterrupt:
            ctx.exit(_INTERRUPTED)
        except BrokenPipeError:
            raise  # click ends quietly
        except OSError as error:
            raise _refusal_of_system(error) from error
        except UnicodeEncodeError as error:
            raise click.UsageError(f"this is not text in UTF-8: {visible(error.object)}", ctx) from error
        except click.UsageError as error:
            raise click.UsageError(visible(error.format_message()), error.ctx) from error
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if sys.flags.dev_mode:
                raise
            raise Refusal(_bug_text(error), "Report it; with PYTHONDEVMODE=1 it tells more.") from error

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, from an extension if it is not our own."""
        if cmd_name not in self.commands:
            self.load_extensions()
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, those of extensions included."""
        self.load_extensions()
        return super().list_commands(ctx)

    def load_extensions(self) -> None:
        """Let every installed extension register its commands, once. One that fails is named and left out."""
        if self._extended:
            return
        self._extended = True
        for entry_point in entry_points(group=EXTENSION_GROUP):
            try:
                entry_point.load()(self)
            except Exception as error:
                say(f"warning: the commands of {entry_point.name!r} are missing: {error}", err=True)


class ExtensibleGroup(click.Group):
    """A group of `root` to which extensions add commands as well."""

    def __init__(self, *args: Any, root: RootGroup, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._root = root

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, from an extension if it is not our own."""
        if cmd_name not in self.commands:
            self._root.load_extensions()
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, those of extensions included."""
        self._root.load_extensions()
        return super().list_commands(ctx)


def _refusal_of_system(error: OSError) -> Refusal:
    text = f"{error.strerror or error}"
    if error.filename is None and error.errno in _FULL:  # it was standard output that would not take it
        abandon_output()
    action = "Free some space." if error.errno in _FULL else "Check the path and its permissions."
    return Refusal(f"{error.filename}: {text}" if error.filename else text, action)


def _bug_text(error: Exception) -> str:
    (where,) = traceback.extract_tb(error.__traceback__)[-1:]
    return f"a bug in ftc: {type(error).__name__}: {error} ({where.filename}:{where.lineno})"
