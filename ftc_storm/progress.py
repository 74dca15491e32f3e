"""A storm on its way, for who watches the terminal."""

from __future__ import annotations

from types import TracebackType

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ftc_storm.fleet import Fleet

__all__ = ["ProgressView"]


class ProgressView:
    """A line that moves while it is entered: devices onboarded, powered on, open associations, retries."""

    def __init__(self, devices: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
            TimeElapsedColumn(),
            auto_refresh=False,  # a thread of its own would take turns from the fleet
        )
        self._task = self._progress.add_task("registered", total=devices, visible=False)

    def __enter__(self) -> ProgressView:
        """Begin to show."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the last state."""
        self._progress.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self._progress.console.print(text, highlight=False)

    def look(self, fleet: Fleet) -> None:
        """Show how far it is."""
        tally = fleet.tally
        self._progress.update(
            self._task,
            visible=True,
            completed=tally.onboarded,
            description=f"{tally.powered_on:,} powered on, {fleet.active:,} active,"
            f" {tally.retries:,} retries, {tally.bootstrapped:,} bootstrapped; registered",
        )
        self._progress.refresh()
