"""`python -m ftc_core`: the same as `ftc`."""

from __future__ import annotations

from ftc_core.cli.entry import main

if __name__ == "__main__":  # a spawned worker imports this module again
    main()
