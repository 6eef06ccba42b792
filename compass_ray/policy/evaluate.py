"""How good an answer looks, by what can be seen of it without knowing the right one. Pure.

Each finding multiplies the score, which begins at 1. What the caller's own limits have done to an
answer is not held against it: a dearer model would have met the same.

| finding                                                    | times |
|------------------------------------------------------------|-------|
| nothing is said and no tool is called                      | 0     |
| the provider's filter has stopped it                       | 0.3   |
| it refuses                                                 | 0.3   |
| the model's own limit has cut it off                       | 0.4   |
| it is not the JSON that was asked for, or breaks its schema | 0.1   |
| it calls no tool, an unknown one, or with wrong arguments  | 0.1   |
| it repeats itself                                          | 0.2   |
| a block of code is not closed                              | 0.5   |
| several answers to one question: the share that agrees     | 1/n…1 |
| one answer, with its reasons, of a kind that the verifier has learned | how likely it is right |

What that is worth as a judge of real answers is in docs/routing.md.
"""

import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from compass_ray.policy.declined import declines
from compass_ray.policy.verifier import Verifier, chance_right, gives_reasons
from compass_ray.policy.wellformed import flaw_of_calls, flaw_of_text
from compass_ray.types.chat import Answer, ChatRequest
from compass_ray.types.events import Evaluation
from compass_ray.types.routing import Classification, Endpoint, TaskType

__all__ = ["evaluate", "text_of"]

_EMPTY = 0.0, "says nothing"
_FILTERED = 0.3, "was stopped by the provider's filter"
_REFUSES = 0.3, "refuses"
_CUT_OFF = 0.4, "is cut off by the model's own limit"
_MALFORMED = 0.1
_REPEATS = 0.2, "repeats itself"
_UNCLOSED = 0.5, "does not close its block of code"

_ONE_RIGHT_ANSWER: frozenset[TaskType] = frozenset({"simple_qa", "math", "reasoning", "extraction"})
"""Where answers that differ cannot all be right."""
_FENCE = "```"
_LOOKED_AT = 4_096
"""Characters at the end of a text that are searched for repetition."""
_SHORTEST_LOOP = 600
_LOOPS = 0.06
"""A text that can be packed to this share of its size says the same again and again."""
_SHORT = 80
"""Characters up to which two answers are compared as they are."""
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")

_Finding = tuple[float, str]


def evaluate(
    request: ChatRequest,
    seen: Classification,
    endpoint: Endpoint,
    answer: Answer,
    verifier: Verifier | None = None,
) -> Evaluation:
    """Return the score of an answer, 0 to 1, and what was found; never raises.

    Of several choices the score is their mean, times the share of them that agrees.
    """
    limited = _is_limited(request, endpoint)
    choices = answer.body["choices"]
    findings = [list(_findings(choice, request, limited=limited)) for choice in choices]
    scores = [_product(some) for some in findings]
    score = sum(scores) / len(scores)
    reasons = list(dict.fromkeys(reason for some in findings for _, reason in some))
    if len(choices) > 1 and seen.task_type in _ONE_RIGHT_ANSWER:
        agreeing = _agreement([text_of(choice) for choice in choices])
        if agreeing is not None:
            score *= agreeing / len(choices)
            reasons.append(f"{agreeing} of {len(choices)} choices agree")
    elif verifier is not None and seen.task_type in verifier.tasks:
        said = text_of(choices[0])
        if gives_reasons(said):
            chance = chance_right(request.last_user_text, said, verifier)
            score *= chance
            reasons.append(f"reads like one that is right in {chance:.0%} of cases")
    return Evaluation(round(score, 4), tuple(reasons))


def text_of(choice: Mapping[str, Any]) -> str:
    """Return what a choice says as text."""
    content = choice["message"].get("content")
    return content if isinstance(content, str) else ""


def _is_limited(request: ChatRequest, endpoint: Endpoint) -> bool:
    """Return whether the caller's limit comes before the model's."""
    asked = request.max_output_tokens
    return asked is not None and asked <= endpoint.max_output_tokens


def _findings(
    choice: Mapping[str, Any], request: ChatRequest, *, limited: bool
) -> Iterator[_Finding]:
    text, message = text_of(choice), choice["message"]
    calls = message.get("tool_calls") or []
    finish = choice.get("finish_reason")
    if finish == "content_filter":
        yield _FILTERED
    elif message.get("refusal") or declines(text):
        yield _REFUSES
    elif not text.strip() and not calls and not (finish == "length" and limited):
        yield _EMPTY
    if _loops(text):
        yield _REPEATS
    if finish == "length":
        if not limited:
            yield _CUT_OFF
        return  # the rest cannot be in order
    yield from _malformed(text, calls, request)


def _malformed(text: str, calls: list[Any], request: ChatRequest) -> Iterator[_Finding]:
    body = request.body
    flaw = flaw_of_calls(calls, body) if "tools" in request.needs else None
    if flaw is None and not calls and text.strip():
        flaw = flaw_of_text(text, body.get("response_format"))
    if flaw is not None:
        yield _MALFORMED, flaw
    elif text.count(_FENCE) % 2:
        yield _UNCLOSED


def _loops(text: str) -> bool:
    if len(text) < _SHORTEST_LOOP:
        return False
    data = text[-_LOOKED_AT:].encode(errors="replace")
    return len(zlib.compress(data, 1)) < _LOOPS * len(data)


def _agreement(texts: list[str]) -> int | None:
    """Return how many say what most say; None where they cannot be compared."""
    said = [_conclusion(text) for text in texts]
    if None in said:
        return None
    return Counter(said).most_common(1)[0][1]


def _conclusion(text: str) -> str | None:
    """Return what an answer comes to, in a form that can be compared; None where nobody can tell.

    JSON as such, a short text by its letters, and of a longer one the last number in its last line.
    """
    text = text.strip()
    try:
        return orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS).decode()
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        pass  # no JSON, or nested too deeply to be written again
    if len(text) <= _SHORT:
        return "".join(filter(str.isalnum, text.casefold()))
    numbers = _NUMBER.findall(text[text.rfind("\n") + 1 :][-_LOOKED_AT:])
    return numbers[-1].replace(",", "") if numbers else None


def _product(findings: list[_Finding]) -> float:
    score = 1.0
    for factor, _ in findings:
        score *= factor
    return score
