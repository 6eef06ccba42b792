"""Which bytes go out, in which order, where a fault begins. Pure: the rim waits and hangs up."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from compass_ray.simulator.exchange import Frame
from compass_ray.simulator.script import Fault


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing is sent for this long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class HangUp:
    """The connection is closed without the end of the answer."""


Step = Frame | Pause | HangUp

HTML = b"<html><head><title>502 Bad Gateway</title></head><body>Bad Gateway</body></html>\n"
_BLOCK = b" " * (1024 * 1024)


def steps(frames: Iterable[Frame], fault: Fault | None) -> Iterator[Step]:
    """Follow the frames to the place where the fault says otherwise."""
    if fault is None:
        yield from frames
    elif fault.name == "cut_after_bytes":
        yield from _cut_after_bytes(frames, fault.amount)
    elif fault.name == "cut_after_chunks":
        yield from _after_chunks(frames, fault.amount, HangUp())
    elif fault.name == "stall_after_chunks":
        yield from _after_chunks(frames, fault.amount, Pause(fault.seconds))
    elif fault.name == "huge_line":
        yield from _huge_line(frames, fault.amount)
    else:
        yield from frames


def in_one_piece(document: bytes, tokens: int, fault: Fault | None) -> Iterator[Frame]:
    """Return a whole answer's frames: its tokens, unsent, and then the document.

    A fault that counts chunks begins in its middle: the document goes out in two halves.
    """
    for _ in range(tokens):
        yield Frame(b"", 1)
    if fault is not None and fault.name in ("cut_after_chunks", "stall_after_chunks"):
        half = len(document) // 2
        yield Frame(document[:half])
        yield Frame(document[half:])
    else:
        yield Frame(document)


def not_json(*, stream: bool) -> bytes:
    """Return an answer that begins as JSON and is none."""
    return b'data: {"id": not json\n\n' if stream else b'{"id": not json'


def _cut_after_bytes(frames: Iterable[Frame], left: int) -> Iterator[Step]:
    for frame in frames:
        if frame.data and len(frame.data) >= left:
            yield replace(frame, data=frame.data[:left])
            yield HangUp()
            return
        left -= len(frame.data)
        yield frame


def _huge_line(frames: Iterable[Frame], length: int) -> Iterator[Frame]:
    """Put `length` spaces, which JSON allows, after the first brace of what is sent first."""
    waiting = True
    for frame in frames:
        head, brace, rest = frame.data.partition(b"{")
        if not (waiting and brace):
            yield frame
            continue
        waiting = False
        yield Frame(head + brace, frame.tokens)
        for start in range(0, length, len(_BLOCK)):
            yield Frame(_BLOCK[: length - start])
        yield Frame(rest)


def _after_chunks(frames: Iterable[Frame], chunks: int, step: Step) -> Iterator[Step]:
    """Put a step before the frame that follows so many chunks; tokens unsent are no chunks."""
    sent = 0
    for frame in frames:
        if frame.data and sent == chunks:
            yield step
            if isinstance(step, HangUp):
                return
        sent += bool(frame.data)
        yield frame
