"""Batches of requests, and the files that hold them. Times are Unix seconds, money micro-dollars.

The shapes and words are OpenAI's: https://platform.openai.com/docs/api-reference/batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from compass_ray.types.accounts import Caller
from compass_ray.types.usage import Money

Purpose = Literal["batch", "batch_output"]
Status = Literal[
    "validating",
    "failed",
    "in_progress",
    "finalizing",
    "completed",
    "expired",
    "cancelling",
    "cancelled",
]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of an account; `name` is what its owner calls it, and never a path here."""

    id: str
    account: str
    name: str
    purpose: Purpose
    size: int
    created_at: float
    expires_at: float


class Page(NamedTuple):
    """So many of a list in order of creation, from after one of them on."""

    after: str | None = None
    most: int = 20
    latest_first: bool = True


class LineError(NamedTuple):
    """What is wrong with a line of an input file; lines count from 1, None is the file."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class Counts(NamedTuple):
    """How many requests a batch has, and how many have ended so or so."""

    total: int = 0
    completed: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch, and where it stands.

    `at` says when it reached each status; `keep_output` is how long its outputs are kept, in
    seconds.
    """

    id: str
    caller: Caller
    input_file: str
    endpoint: str
    created_at: float
    expires_at: float
    keep_output: float
    metadata: Mapping[str, str] = field(default_factory=dict)
    status: Status = "validating"
    at: Mapping[str, float] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    cost: Money = 0
    errors: tuple[LineError, ...] = ()
    output_file: str | None = None
    error_file: str | None = None


class Line(NamedTuple):
    """One request of an input file."""

    number: int
    custom_id: str
    body: bytes
    """Its JSON."""


class Told(NamedTuple):
    """What the gateway said to a line: an answer, or an error in the shape of its dialect."""

    status: int
    request_id: str
    body: bytes
    cost: Money = 0
    again: bool = False
    """Whether the same might fare better later..."""
    retry_after: float | None = None
    """...and after how many seconds, where that is known."""


class Outcome(NamedTuple):
    """How a line ended, as the line of a result file."""

    number: int
    ok: bool
    cost: Money
    written: bytes
    """JSON, without the end of the line."""


class Changes(NamedTuple):
    """What is put on disk together."""

    batch: Batch | None = None
    outcomes: tuple[tuple[str, Outcome], ...] = ()
    """Each with its batch's id."""
