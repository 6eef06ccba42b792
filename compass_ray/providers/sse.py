"""Server-sent events, read incrementally. Pure.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html; `id` and `retry` are of
no use to a model stream and are skipped.
"""

from compass_ray.types.errors import BadAnswer

MAX_EVENT_BYTES = 4 * 1024 * 1024


class EventReader:
    """Turns pieces of a body, cut anywhere, into (event, data) pairs."""

    __slots__ = ("_data", "_event", "_max", "_rest", "_size")

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._rest = b""
        self._event = ""
        self._data: list[bytes] = []
        self._size = 0
        self._max = max_event_bytes

    def feed(self, piece: bytes) -> list[tuple[str, bytes]]:
        """Return the events that `piece` completes.

        Raises:
            BadAnswer: one event is larger than the limit.
        """
        text = self._rest + piece if self._rest else piece
        held = b""
        if b"\r" in text:
            if text.endswith(b"\r"):  # its \n may be in the next piece
                text, held = text[:-1], b"\r"
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = text.split(b"\n")
        self._rest = rest + held
        events: list[tuple[str, bytes]] = []
        for line in lines:
            if line:
                self._line(line)
            elif self._data:
                events.append((self._event, b"\n".join(self._data)))
                self._event, self._data, self._size = "", [], 0
            else:
                self._event = ""
        if len(self._rest) + self._size > self._max:
            raise BadAnswer(f"one streamed event exceeds {self._max} bytes")
        return events

    def _line(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        if field == b"data":
            data = value.removeprefix(b" ")
            self._data.append(data)
            self._size += len(data)
        elif field == b"event":
            self._event = value.removeprefix(b" ").decode("utf-8", "replace")
