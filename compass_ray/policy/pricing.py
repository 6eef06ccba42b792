"""What a call costs, and the most it can cost. Pure."""

from decimal import ROUND_FLOOR, Decimal, InvalidOperation

from compass_ray.types.embeddings import EmbeddingRequest
from compass_ray.types.events import Amounts
from compass_ray.types.requests import Request
from compass_ray.types.routing import Classification, Endpoint
from compass_ray.types.usage import MICRO, Money, Price, Usage

_MESSAGE_OVERHEAD_TOKENS = 16
"""Role markers and separators of a chat template, per message and once for the reply."""

_IMAGE_TOKENS = 60_000
"""No provider charges more input tokens for one image (gpt-4o-mini, high detail: 48,169)."""


_TOOLS_TOKENS = 1_000
"""No provider adds more of its own prompt to a request with tools (Anthropic: some 350)."""

_SEQUENCE_TOKENS = 8
"""No model puts more of its own around a text that it embeds (BERT: 2)."""

_ANY_TOKENS = 2**40

_DEARER_TIERS = frozenset({"priority", "scale"})
"""OpenAI's `service_tier`s that cost more than the price says."""

_PRICED_APART = ("audio", "web_search_options")
"""Fields of what is charged by other units than tokens of text."""


def to_micro(dollars: str | float) -> Money:
    """Return dollars as micro-dollars, rounded down: an allowance is never rounded up.

    Raises:
        ValueError: not a number, negative or not finite.
    """
    try:
        amount = Decimal(str(dollars)) * MICRO
    except InvalidOperation:
        raise ValueError(f"not an amount of dollars: {dollars!r}") from None
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"not an amount of dollars: {dollars!r}")
    return int(amount.to_integral_value(ROUND_FLOOR))


def cost(price: Price, usage: Usage) -> Money:
    """Return micro-dollars, rounded up once."""
    if usage.batch and price.batch is not None:
        price = price.batch
    cached = usage.cached_input_tokens
    written = usage.cache_write_tokens
    cached_price = price.input if price.cached_input is None else price.cached_input
    write_price = price.input if price.cache_write is None else price.cache_write
    pico = (
        (usage.input_tokens - cached - written) * price.input
        + cached * cached_price
        + written * write_price
        + usage.output_tokens * price.output
    )
    return -(-pico // MICRO) + price.per_request


def unpriced(request: Request) -> str | None:
    """Return the field that asks for what the price of tokens does not cover; None without one."""
    body = request.body
    if body.get("service_tier") in _DEARER_TIERS:
        return "service_tier"
    return next(filter(body.__contains__, _PRICED_APART), None)


def max_input_tokens(request: Request) -> int:
    """Return an upper bound: a byte-level tokenizer never makes more tokens than bytes.

    What a document comes to is bounded by the model's context window alone.
    """
    if isinstance(request, EmbeddingRequest):
        return request.input_bytes + request.windows * _SEQUENCE_TOKENS
    messages = request.body["messages"]
    if "documents" in request.needs:
        return _ANY_TOKENS
    return (
        request.input_bytes
        + (len(messages) + 1) * _MESSAGE_OVERHEAD_TOKENS
        + request.images * _IMAGE_TOKENS
        + (_TOOLS_TOKENS if "tools" in request.needs else 0)
    )


def amounts(request: Request, endpoint: Endpoint, classification: Classification) -> Amounts:
    """Return what one call is to set aside; without a price no money."""
    asked = request.max_output_tokens
    input_tokens = _most_input(request, endpoint)
    output_tokens = endpoint.output_limit(asked) * request.n
    expected = classification.expected_output_tokens * request.n if asked is None else output_tokens
    return Amounts(
        usd=worst_case(request, endpoint) or 0,
        tokens=input_tokens + output_tokens,
        pace=min(classification.input_tokens, input_tokens) + min(expected, output_tokens),
    )


def worst_case(request: Request, endpoint: Endpoint) -> Money | None:
    """Return the most the call can cost in micro-dollars; None while the price is unknown.

    Input is bounded by bytes and by the context windows it may fill, output by the caller's limit
    and the model's, times the choices asked for.
    """
    price = endpoint.price
    if price is None:
        return None
    pico = (
        _most_input(request, endpoint) * price.dearest_input
        + endpoint.output_limit(request.max_output_tokens) * request.n * price.output
    )
    return -(-pico // MICRO) + price.per_request


def _most_input(request: Request, endpoint: Endpoint) -> int:
    return min(max_input_tokens(request), endpoint.context_window * request.windows)
