"""A process that claims devices in a store and says, one line each, what it was answered.

`python -m tests.conformance.writer_process URL FIRST COUNT BATCH`: claims the devices FIRST … FIRST+COUNT-1,
BATCH in one transaction, and writes `<number> <device id or reason>` for each once the commit returned.
"""

from __future__ import annotations

import os
import sys

from ftc_core.storage.commands import ClaimDevice, Claimed, Submission
from ftc_core.storage.engines import open_store
from tests.conformance.scene import NOW, claim_request


def main(url: str, first: int, count: int, batch: int) -> None:
    store = open_store(url)
    for start in range(first, first + count, batch):
        numbers = range(start, min(start + batch, first + count))
        answers = store.write(
            [Submission(ClaimDevice(claim_request(n), f"{os.getpid():016x}{n:016x}", NOW)) for n in numbers]
        )
        lines = [
            f"{n} {answer.device.id if isinstance(answer, Claimed) else answer}\n"
            for n, answer in zip(numbers, answers, strict=True)
        ]
        # One write(2) of less than PIPE_BUF bytes: a line is there as a whole or not at all.
        for line in lines:
            os.write(sys.stdout.fileno(), line.encode())
    store.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
