"""What is charged for a call: the provider's word where it can be believed, else an estimate."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from compass_ray.policy.pricing import cost, max_input_tokens
from compass_ray.types.requests import Request
from compass_ray.types.routing import Classification, Endpoint
from compass_ray.types.usage import Money, Usage

_CHARS_PER_TOKEN = 3
"""Of produced text; low on purpose, so that an estimate does not favour the spender."""


class Charge(NamedTuple):
    """Micro-dollars and the tokens they are for."""

    cost: Money
    usage: Usage


def charge(
    request: Request,
    classification: Classification,
    endpoint: Endpoint,
    reported: Usage | None,
    produced_tokens: int,
) -> Charge:
    """Return the charge for one call.

    `produced_tokens` is our own count of the output, used where `reported` is missing or
    absurd; such a usage is marked as estimated and is never 0. An endpoint without a price
    costs 0: the selector keeps it from every account that has a budget.
    """
    if reported is not None and reported.is_credible():
        usage = reported
    else:
        input_tokens = min(classification.input_tokens, max_input_tokens(request))
        usage = Usage(
            input_tokens=max(1, input_tokens),
            output_tokens=min(produced_tokens, endpoint.max_output_tokens * request.n),
            estimated=True,
        )
    return Charge(0 if endpoint.price is None else cost(endpoint.price, usage), usage)


def chars_of(body: Mapping[str, Any]) -> int:
    """Return the characters that all choices of a `chat.completion` say, also to tools."""
    chars = 0
    for choice in body["choices"]:
        message = choice.get("message") or {}
        chars += len(message.get("content") or "")
        for call in message.get("tool_calls") or ():
            chars += len(call.get("function", {}).get("arguments") or "")
    return chars


def tokens_of_text(chars: int) -> int:
    """Return an estimate, rounded up, of the tokens in `chars` characters of output."""
    return -(-chars // _CHARS_PER_TOKEN)


def tokens_of_time(seconds: float, endpoint: Endpoint, classification: Classification) -> int:
    """Return an estimate of the tokens produced in `seconds` of a call nobody heard the end of."""
    generating = max(0.0, seconds - endpoint.expected_ttft)
    return min(
        classification.expected_output_tokens,
        int(generating / max(endpoint.expected_tpot, 1e-6)),
    )
