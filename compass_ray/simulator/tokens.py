"""How the simulator counts tokens: a rule anyone can redo by hand. Pure.

A text is ceil(UTF-8 bytes / 4) tokens. A request is the sum over its texts (messages, system
prompt, tool definitions as they were sent) of that count plus `PER_TEXT`, plus `PER_REQUEST`. An
image or a file counts `PER_MEDIUM`.
"""

import itertools
from collections.abc import Iterable

BYTES = 4
"""UTF-8 bytes in one token."""

_LEAD_MASK = 0b1100_0000
_CONTINUATION = 0b1000_0000
"""What the first two bits of every byte of a UTF-8 character but its first are."""

PER_TEXT = 4
PER_REQUEST = 3
PER_MEDIUM = 256


def count(text: str) -> int:
    """Count the tokens of a text."""
    return -(-len(text.encode()) // BYTES)


def count_request(texts: Iterable[str], media: int = 0) -> int:
    """Count the input tokens of a request: its texts, its images and files, its template."""
    return PER_REQUEST + media * PER_MEDIUM + sum(count(text) + PER_TEXT for text in texts)


def split(text: str) -> tuple[str, ...]:
    """Cut a text into its tokens: as many as `count` says, none empty, no character torn.

    Token k ends with the last whole character within the first 4k bytes. A character has at most
    4 bytes, so the first k tokens have more than 4(k - 1) bytes: they count as k.
    """
    data = text.encode()
    ends = [_boundary(data, BYTES * k) for k in range(count(text) + 1)]
    return tuple(data[start:end].decode() for start, end in itertools.pairwise(ends))


def _boundary(data: bytes, at: int) -> int:
    """Return the last place up to `at` that is not inside a character."""
    if at >= len(data):
        return len(data)
    while data[at] & _LEAD_MASK == _CONTINUATION:
        at -= 1
    return at
