"""Where `ftc` begins and ends: Ctrl-C is quiet before there is a command to stop, and once it is through."""

from __future__ import annotations

import signal

__all__ = ["main"]


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    # One who had SIGINT ignored for us, such as a shell for its background jobs, has it ignored.
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # of imports, the interpreter would tell a traceback
    from ftc_core.cli.main import cli

    if interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        cli(prog_name="ftc")
    finally:
        if interruptible:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
