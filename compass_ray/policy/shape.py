"""How a text looks from afar: how much of what kind of character, numbers, offered options. Pure.

All are counted on bytes in a handful of array operations, so a thousand characters take some
microseconds. Counts are on a logarithmic scale, as lengths of texts are.
"""

import re
from math import log1p
from typing import Final

import numpy as np

_KINDS: Final = {
    "digits": b"0123456789",
    "capitals": bytes(range(65, 91)),
    "beyond ASCII": bytes(range(128, 256)),
    "spaces": b" \t",
    "newlines": b"\n",
    "small letters": bytes(range(97, 123)),
    "full stops": b".",
    "commas": b",",
    "question marks": b"?",
    "exclamation marks": b"!",
    "colons": b":",
    "semicolons": b";",
    "parentheses": b"()",
    "brackets": b"[]",
    "braces": b"{}",
    "equals signs": b"=",
    "operators": b"+*/^%",
    "hyphens": b"-",
    "angles": b"<>",
    "backslashes": b"\\",
    "dollars": b"$",
    "underscores": b"_",
    "double quotes": b'"',
    "single quotes": b"'",
    "backticks": b"`",
    "number signs": b"#",
}
_RATIOS = 5
"""Of the first kinds of character, the share of all is a value of its own."""
_COUNTED: Final = ("bytes", *_KINDS, "numbers", "options", "before the options", "an option")
NAMES: Final = (*_COUNTED, *(f"{kind} a byte" for kind in list(_KINDS)[:_RATIOS]), "last option")
"""What each place of a shape holds; the first are logarithms of counts."""

_SORTED = np.array([byte for kind in _KINDS.values() for byte in kind])
_FIRSTS = np.cumsum([0, *map(len, _KINDS.values())])[:-1]
_IS_DIGIT = bytes(byte in _KINDS["digits"] for byte in range(256))
_OPTION = re.compile(rb"\n(?=([A-Z])[.):])")
_BEFORE_A = 64


def shape(data: bytes) -> list[float]:
    """Return the values that `NAMES` names."""
    size = len(data)
    of_byte = np.bincount(np.frombuffer(data, np.uint8), minlength=256)
    counts = np.add.reduceat(of_byte.take(_SORTED), _FIRSTS).tolist()
    digit = np.frombuffer(b"\0" + data.translate(_IS_DIGIT), np.bool_)
    numbers = np.count_nonzero(digit[1:] > digit[:-1])
    options, last, before, each = _options(data)
    counted = map(log1p, (size, *counts, numbers, options, before, each))
    return [*counted, *[count / max(1, size) for count in counts[:_RATIOS]], last]


def _options(data: bytes) -> tuple[int, int, int, float]:
    """Return how many lines begin like "A. ", the last letter's number, where they begin, size."""
    found = list(_OPTION.finditer(data)) if b"\n" in data else ()
    if not found:
        return 0, 0, len(data), 0.0
    before = found[0].start()
    return len(found), found[-1][1][0] - _BEFORE_A, before, (len(data) - before) / len(found)
