"""What the clients did and saw, one JSON object a line: invoke, then ok, fail or info.

`ok`: the answer came to its end. `fail`: the gateway said no, and said so completely. `info`: the
client does not know what became of it (it left, or the connection broke).
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TextIO

from .generator import Operation

Outcome = Literal["ok", "fail", "info"]


@dataclass(frozen=True, slots=True)
class Seen:
    """How one operation ended for its client. Times are seconds since the run began."""

    operation: Operation
    outcome: Outcome
    began: float
    ended: float
    status: int | None = None
    request_id: str | None = None
    cost: int | None = None
    """What the answer says it cost, in micro-dollars."""
    output_tokens: int | None = None
    chars: int = 0
    """Characters of the answer that were received."""
    error: str = ""
    leaks: tuple[str, ...] = ()
    """Foreign words in what was received."""


class History:
    """Writes every event at once, so that a run that dies tells what it did."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.seen: list[Seen] = []
        self.invoked = 0
        self._out: TextIO = file.open("w")

    def invoke(self, operation: Operation, at: float) -> None:
        """Note that an operation begins."""
        self.invoked += 1
        self._write({"type": "invoke", "at": at, **asdict(operation)})

    def complete(self, seen: Seen) -> None:
        """Note how it ended."""
        self.seen.append(seen)
        told = {**asdict(seen), "operation": seen.operation.number}
        self._write({"type": seen.outcome, **told})

    def note(self, text: str, at: float) -> None:
        """Note what the nemesis does."""
        self._write({"type": "nemesis", "at": at, "deed": text})

    def close(self) -> None:
        """Close the file."""
        self._out.close()

    def _write(self, event: dict[str, object]) -> None:
        self._out.write(json.dumps(event) + "\n")
        self._out.flush()
