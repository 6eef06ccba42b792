"""What the simulator served: the provider's side of the bill."""

from collections import deque
from dataclasses import dataclass

LIMIT = 500_000


@dataclass(slots=True)
class Entry:
    """One request for an answer.

    `status` is None while nothing was answered. `output_tokens` were produced, whether or not
    they were received. `aborted`: the client left first. `asked` is the SHA-256 of what was said,
    by which its author can find a request again. Times are seconds since 1970; `ended_at` of an
    aborted request is when its leaving was noticed.
    """

    number: int
    provider: str
    started_at: float
    model: str = ""
    asked: str = ""
    stream: bool = False
    status: int | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    fault: str | None = None
    aborted: bool = False
    ended_at: float | None = None


class Log:
    """The last requests that have ended, by number."""

    def __init__(self, limit: int = LIMIT) -> None:
        """Keep at most `limit` entries."""
        self._entries: deque[Entry] = deque(maxlen=limit)

    def add(self, entry: Entry) -> None:
        """Add an entry; the oldest makes room."""
        self._entries.append(entry)

    def entries(self) -> list[Entry]:
        """Return all entries in the order the requests came."""
        return sorted(self._entries, key=lambda entry: entry.number)
