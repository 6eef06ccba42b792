"""Which behaviour a request meets: the first rule that matches it, else the calm default. Pure."""

from dataclasses import dataclass
from typing import Any, Literal

FaultName = Literal[
    "reset",
    "cut_after_chunks",
    "cut_after_bytes",
    "stall_after_chunks",
    "blackhole",
    "html",
    "empty",
    "not_json",
    "error_in_200",
    "no_usage",
    "absurd_usage",
    "no_finish_reason",
    "no_done",
    "huge_line",
]
Provider = Literal["openai", "azure", "anthropic", "google", "huggingface", "replicate"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong; `amount` counts chunks or bytes, `seconds` is how long a stall lasts."""

    name: FaultName
    amount: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """When to try again, in one of the forms that providers use.

    `header`: the value of Retry-After, as it is. `ms`: the value of retry-after-ms. `date`: an
    HTTP date that many seconds from now. `retry_info`: Google's RetryInfo in the error's body.
    """

    form: Literal["header", "ms", "date", "retry_info"]
    value: str


@dataclass(frozen=True, slots=True)
class Failure:
    """An error answer; `kind` is the provider's own name of it, None the usual one of `status`."""

    status: int
    kind: str | None = None
    message: str | None = None
    retry_after: RetryAfter | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call to answer with; `arguments` None: made from the tool's schema."""

    name: str
    arguments: dict[str, Any] | str | None = None


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How one request is answered.

    `ttft_s` passes before anything is sent, `tpot_s` before each token after the first. `tokens`
    is the length of made-up text; the default is 20. `tool_call` lists all that are called at
    once. `headers` replace the answer's own.
    """

    ttft_s: float = 0.0
    tpot_s: float = 0.0
    error: Failure | None = None
    fault: Fault | None = None
    tokens: int | None = None
    ignore_max_tokens: bool = False
    text: str | None = None
    tool_call: tuple[ToolCall, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """The requests a rule is for; None matches all.

    `after_tool`: whether what was said last is a tool's result. `nth` counts, from 1, the
    requests since the script was set that meet all of these. `probability` is applied last.
    `busier_than`: more others than this are being answered.
    """

    provider: Provider | None = None
    model: str | None = None
    contains: str | None = None
    after_tool: bool | None = None
    busier_than: int | None = None
    nth: tuple[int, ...] | None = None
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A behaviour and the requests it is for."""

    match: Match
    then: Behaviour


@dataclass(frozen=True, slots=True)
class Facts:
    """What a rule may look at in a request."""

    provider: str
    model: str
    text: str
    after_tool: bool = False
    others: int = 0
    """Requests that are being answered beside it."""


Script = tuple[Rule, ...]
Seen = tuple[int, ...]
"""For each rule, how many requests met all of its match but nth and probability."""

CALM = Behaviour()


def unseen(script: Script) -> Seen:
    """Return the counts before the first request."""
    return (0,) * len(script)


def choose(script: Script, seen: Seen, facts: Facts, u: float) -> tuple[Behaviour, Seen]:
    """Return the behaviour a request meets and the counts after it; `u` is uniform in [0, 1).

    One `u` serves all probabilities: given that it missed a rule's, the rest of its range is
    uniform again, so rules are independent of each other.
    """
    met = tuple(_is_for(rule.match, facts) for rule in script)
    counts = tuple(count + is_for for count, is_for in zip(seen, met, strict=True))
    for rule, is_for, count in zip(script, met, counts, strict=True):
        nth, probability = rule.match.nth, rule.match.probability
        if not is_for or (nth is not None and count not in nth):
            continue
        if probability is None or u < probability:
            return rule.then, counts
        u = (u - probability) / (1 - probability)
    return CALM, counts


def _is_for(match: Match, facts: Facts) -> bool:
    return (
        match.provider in (None, facts.provider)
        and match.model in (None, facts.model)
        and (match.contains is None or match.contains in facts.text)
        and match.after_tool in (None, facts.after_tool)
        and (match.busier_than is None or facts.others > match.busier_than)
    )
