"""What a provider says that a call used, if it can be believed. Pure.

A usage with one impossible number (negative, fractional, a string, beyond MAX_TOKENS, a part
larger than its whole, no token at all) is None as a whole: the gateway then estimates, and says so.
"""

from typing import Any

from compass_ray.types.usage import Usage


def usage_of(
    input_tokens: Any,
    output_tokens: Any,
    cached_input_tokens: Any = None,
    reasoning_tokens: Any = None,
    cache_write_tokens: Any = None,
) -> Usage | None:
    """Return the usage; an absent part is 0, an absent or incredible whole makes it None."""
    counts = (
        input_tokens,
        output_tokens,
        0 if cached_input_tokens is None else cached_input_tokens,
        0 if reasoning_tokens is None else reasoning_tokens,
        0 if cache_write_tokens is None else cache_write_tokens,
    )
    if any(type(count) is not int for count in counts):
        return None
    usage = Usage(*counts)
    used = usage.input_tokens > 0 or usage.output_tokens > 0
    return usage if used and usage.is_credible() else None


def usage_json(usage: Usage) -> dict[str, Any]:
    """Return OpenAI's `usage` object."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_input_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }
