"""How likely an answer is right, by how question and answer read, as learned from outcomes. Pure.

A verifier knows no right answers. It sees what a hasty grader sees: how long an answer is for its
question, how much of it is calculation, whether it doubts itself, runs in circles, brings in
numbers from nowhere, and what its conclusion looks like. For what that is worth see
docs/routing.md; `scripts/train_verifier.py` makes the file.
"""

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import log1p
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from compass_ray.policy.ngrams import encode
from compass_ray.policy.shape import NAMES, shape
from compass_ray.policy.trees import Forest
from compass_ray.types.routing import SURE, TaskType

__all__ = ["FEATURES", "Verifier", "chance_right", "features", "gives_reasons", "plain"]

_READ_CHARS = 8_000
"""At the beginning of the question, and at the end of the answer."""
_SHORTEST = 135
"""Characters that all but one in a hundred of the answers had that were learned from."""
_OF_QUESTION = 12
"""Values of the question's shape that are looked at: the first ones."""
_FENCED = re.compile(r"```[a-z]*\n(.*?)```", re.DOTALL)
_NUMBER = re.compile(rb"\d+(?:\.\d+)?")
_DOUBT = re.compile(
    rb"\b(?:actually|approximately|assum\w*|cannot|error|however|maybe|mistake|not possible"
    rb"|perhaps|recheck|seems?|sorry|unclear|wait)\b",
    re.IGNORECASE,
)
_EXTRA = (
    "digits of the last number",
    "the last number has a point",
    "the last number is in the question",
    "the last number is said before",
    "words of doubt",
    "packed size a byte",
    "numbers",
    "numbers that the question has not",
    "numbers of the question that are not used",
    "bytes a byte of the question",
)
FEATURES = (
    *(f"answer: {name}" for name in NAMES),
    *(f"question: {name}" for name in NAMES[:_OF_QUESTION]),
    *_EXTRA,
)
"""What each place of `features` holds."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """What training found out: trees over `FEATURES`, for tasks of these types."""

    forest: Forest
    tasks: frozenset[TaskType]
    provenance: Mapping[str, object] = field(default_factory=dict, repr=False)
    """Sources and their licences, seed, date, and figures on questions that were held out."""


def gives_reasons(answer: str) -> bool:
    """Return whether an answer is long enough to be like those that were learned from."""
    return len(plain(answer)) >= _SHORTEST


def chance_right(question: str, answer: str, verifier: Verifier) -> float:
    """Return the probability that the answer is right; never quite 0 or 1. Bounded in time."""
    value = float(verifier.forest.predict(features(question, answer))[0])
    return min(1 - SURE, max(SURE, value))


def features(question: str, answer: str) -> NDArray[np.float32]:
    """Return what is seen of a question and its answer, as one vector."""
    asked, said = encode(question[:_READ_CHARS]), encode(plain(answer)[-_READ_CHARS:])
    numbers = _NUMBER.findall(said)
    given, used = set(_NUMBER.findall(asked)), set(numbers)
    last = numbers[-1] if numbers else b""
    extra = (
        len(last),
        b"." in last,
        last in given,
        last in numbers[:-1],
        len(_DOUBT.findall(said)),
        len(zlib.compress(said, 1)) / max(1, len(said)),
        log1p(len(used)),
        log1p(len(used - given)),
        log1p(len(given - used)),
        len(said) / max(1, len(asked)),
    )
    values = [*shape(said), *shape(asked)[:_OF_QUESTION], *extra]
    return np.array(values, np.float32)


def plain(answer: str) -> str:
    """Return an answer as it would be said without a form: JSON's values, each on a line."""
    fenced = _FENCED.search(answer)
    try:
        value = orjson.loads(fenced[1] if fenced else answer)
    except orjson.JSONDecodeError:
        return answer
    if not isinstance(value, dict):
        return answer
    return "\n".join(one if isinstance(one, str) else _written(one) for one in value.values())


def _written(value: Any) -> str:
    try:
        return str(value)
    except RecursionError:
        return ""
