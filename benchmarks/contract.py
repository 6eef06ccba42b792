"""What the load asks and what the upstream answers, so that every answer can be checked.

A request carries a mark in its prompt. The upstream reads from it how to answer and returns it,
so an answer that was cached, mixed up or cut short is seen. A mark has a fixed width; so have the
bodies. Pure: no clock, no I/O.
"""

import re
from dataclasses import dataclass

MARK_WIDTH = len("bench-0000000000-000-00000")
_MARK = re.compile(rb"bench-(\d{10})-(\d{3})-(\d{5})")

INPUT_TOKENS = 61
ANSWER_TOKENS = 64
ANSWER_TEXT = (
    "Overflow is kept in a bounded queue and the newest work is refused first, because a caller "
    "that is told no at once can go elsewhere, while a caller that waits in a queue of unknown "
    "length learns nothing and holds its resources meanwhile. The bound should be small: it is "
    "the longest wait one is willing to promise."
)
_SYSTEM = "You answer questions about distributed systems in a few plain sentences."
_QUESTION = (
    "We run a service behind a load balancer and it is overloaded every morning for about ten "
    "minutes. Should it queue the requests it cannot serve, or refuse them, and why?"
)


@dataclass(frozen=True, slots=True)
class Shape:
    """How to answer: `chunks` 0 asks for one JSON body.

    `delay` is seconds between two chunks, or before the one body.
    """

    chunks: int = 0
    delay: float = 0.0


def mark(number: int, shape: Shape) -> bytes:
    """Return the mark of request `number`; the delay is kept to the microsecond, below 0.1 s."""
    return b"bench-%010d-%03d-%05d" % (number, shape.chunks, round(shape.delay * 1e6))


def find_mark(body: bytes) -> tuple[bytes, Shape] | None:
    """Return the first mark in a request's body and the shape that it asks for."""
    found = _MARK.search(body)
    if found is None:
        return None
    return found[0], Shape(chunks=int(found[2]), delay=int(found[3]) / 1e6)


def request_body(model: str, shape: Shape) -> tuple[bytes, bytes]:
    """Return what stands before and after the mark in a request's JSON."""
    stream = b',"stream":true,"stream_options":{"include_usage":true}' if shape.chunks else b""
    before = (
        b'{"model":"%s","max_tokens":256%s,"messages":['
        b'{"role":"system","content":"%s"},{"role":"user","content":"%s ('
    ) % (model.encode(), stream, _SYSTEM.encode(), _QUESTION.encode())
    return before, b')"}]}'


def answer_text(mark: str) -> str:
    """Return the content of a whole answer."""
    return f"{mark}: {ANSWER_TEXT}"


def usage(output_tokens: int) -> dict[str, int]:
    """Return the usage block that every answer carries."""
    return {
        "prompt_tokens": INPUT_TOKENS,
        "completion_tokens": output_tokens,
        "total_tokens": INPUT_TOKENS + output_tokens,
    }
