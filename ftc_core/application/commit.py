"""How the workers' use cases hand their commands to the group commit."""

from __future__ import annotations

from collections.abc import Callable

from ftc_core.errors import FtcError
from ftc_core.storage.commands import Command, Outcome, Submission

__all__ = ["Answer", "Commit", "submit"]

Answer = Callable[[Outcome | FtcError], None]
"""Gets the outcome once it is durable, or why there is none, on the submitter's own thread."""

Commit = Callable[[Submission, Answer], None]
"""Queues a submission for the group commit. Raises FtcError if the queue is full or closed."""


def submit(commit: Commit, command: Command, answer: Answer) -> None:
    """Queue `command`; a refusal by the queue itself is answered like one by the store."""
    try:
        commit(Submission(command), answer)
    except FtcError as error:
        answer(error)
