"""Anthropic's words and the normal form's, for the wire that speaks them and the door that hears.

Sources: anthropic.types and anthropic.types.shared, version 2026-10-21. Values only.
"""

from collections.abc import Mapping

from compass_ray.types.chat import FinishReason

STATUSES: Mapping[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""Error type to the status it comes with."""

FINISH: Mapping[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
"""Anthropic may add reasons within a version; a new one counts as `stop`."""

STOP_REASONS: Mapping[str, str] = {
    "stop": "end_turn",
    "tool_calls": "tool_use",
    "length": "max_tokens",
    "content_filter": "refusal",
}
"""The other way: the plainest of the reasons that mean the same."""

THINKING = ("thinking", "redacted_thinking")
"""Types of the blocks that hold the model's thoughts."""

BUDGET_SHARE: Mapping[str, int] = {
    "minimal": 10,
    "low": 20,
    "medium": 50,
    "high": 80,
    "xhigh": 95,
    "max": 95,
}
"""Percent of the output limit that may be thought, by effort; OpenRouter's ratios."""

TOOL_CHOICES: Mapping[str, str] = {"auto": "auto", "required": "any", "none": "none"}
"""The normal form's `tool_choice` to the type of Anthropic's."""
