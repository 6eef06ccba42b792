"""How a text looks from afar: how much of what kind of character, numbers, offered options. Pure.

All are counted on bytes in a handful of array operations, so a thousand characters take some
microseconds. Counts are on a logarithmic scale, as lengths of texts are.
"""

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from compass_ray.policy.ngrams import Bytes

Shape: TypeAlias = NDArray[np.float64]

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

_BY_BYTE = np.zeros((256, len(_KINDS)))
for _place, _bytes in enumerate(_KINDS.values()):
    _BY_BYTE[list(_bytes), _place] = 1.0
_DIGIT = _BY_BYTE[:, 0] > 0
_CAPITAL = _BY_BYTE[:, 1] > 0
_ENDS_LABEL = np.isin(np.arange(256), list(b".):"))
_NEWLINE = 10
_KINDS_END, _COUNTED_END = 1 + len(_KINDS), len(_COUNTED)
_BEFORE_A = 64


def shape(data: Bytes) -> Shape:
    """Return the values that `NAMES` names."""
    size = len(data)
    counts = np.bincount(data, minlength=256) @ _BY_BYTE
    digit = _DIGIT.take(data)
    numbers = np.count_nonzero(digit[1:] > digit[:-1]) + np.count_nonzero(digit[:1])
    options, last, before, each = _options(data)
    values = np.empty(len(NAMES))
    values[0] = size
    values[1:_KINDS_END] = counts
    values[_KINDS_END:_COUNTED_END] = numbers, options, before, each
    np.log1p(values[:_COUNTED_END], out=values[:_COUNTED_END])
    values[_COUNTED_END:-1] = counts[:_RATIOS] / max(1, size)
    values[-1] = last
    return values


def _options(data: Bytes) -> tuple[int, int, int, float]:
    """Return how many lines begin like "A. ", the last letter's number, where they begin, size."""
    newlines = (data[:-2] == _NEWLINE).nonzero()[0]
    if not len(newlines):
        return 0, 0, len(data), 0.0
    places = newlines[_CAPITAL[data[newlines + 1]] & _ENDS_LABEL[data[newlines + 2]]]
    if not len(places):
        return 0, 0, len(data), 0.0
    first = int(places[0])
    return (
        len(places),
        int(data[places[-1] + 1]) - _BEFORE_A,
        first,
        (len(data) - first) / len(places),
    )
