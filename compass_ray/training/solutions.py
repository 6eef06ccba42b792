"""Answers to mathematical questions, and whether they are right: what a verifier learns from.

A folder in the layout of WildEval/ZeroEval's `result_dirs`: a folder for each data set, in it a
JSON array for each model, whose objects hold the question, what the model put out, and the right
answer, which here is a number or a formula that is compared as it is written.
"""

import ast
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["DATASETS", "Solution", "read"]

DATASETS = ("gsm", "math-l5")
"""Those with questions of mathematics."""

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_SAID = re.compile(r'"answer"\s*:\s*"?((?:[^"\\]|\\.)*)"?')
_SAME = 1e-6


@dataclass(frozen=True, slots=True)
class Solution:
    """One model's answer to one question."""

    dataset: str
    question_id: str
    model: str
    question: str
    answer: str
    right: bool


def read(folder: Path) -> Iterator[Solution]:
    """Yield every answer below `folder`.

    Raises:
        FileNotFoundError: it holds no answers to questions of mathematics.
    """
    files = [file for name in DATASETS for file in sorted((folder / name).glob("*.json"))]
    if not files:
        raise FileNotFoundError(f"{folder}: no {' or '.join(DATASETS)} with a JSON file in it")
    for file in files:
        for row in json.loads(file.read_text(encoding="utf-8")):
            answer = _unpacked(row["output"])
            if answer:
                yield Solution(
                    dataset=file.parent.name,
                    question_id=str(row["session_id"]),
                    model=file.stem,
                    question=str(row.get("question") or row.get("problem")),
                    answer=answer,
                    right=_is_right(answer, str(row["answer"])),
                )


def _unpacked(output: Any) -> str:
    """Return the first text that was put out; some files hold the list as Python would print it."""
    text = output[0] if isinstance(output, list) and output else output
    if not isinstance(text, str):
        return ""
    if text.startswith(("['", '["')):
        with suppress(SyntaxError, ValueError):
            return str(ast.literal_eval(text)[0])
    return text


def _is_right(answer: str, truth: str) -> bool:
    said = _SAID.findall(answer)
    if not said:
        return False
    last = said[-1].replace("\\\\", "\\")  # as JSON writes it
    one, other = (text.strip("#$ }\n").replace(" ", "") for text in (last, truth))
    if one == other:
        return True
    numbers = [_NUMBER.findall(text) for text in (one, other)]
    if not all(numbers) or _NUMBER.fullmatch(other) is None:
        return False
    given, wanted = (float(found[-1].replace(",", "")) for found in numbers)
    return abs(given - wanted) < _SAME
