"""The models as Anthropic's clients list them: all at once, whatever page is asked for. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

Listed = Mapping[str, Any]
"""A model in OpenAI's shape, with Compass's own fields."""


def page(models: Sequence[Listed]) -> dict[str, Any]:
    """Return the one page of the list."""
    return {
        "data": [model(one) for one in models],
        "has_more": False,
        "first_id": models[0]["id"] if models else None,
        "last_id": models[-1]["id"] if models else None,
    }


def model(listed: Listed) -> dict[str, Any]:
    """Return one model; what can be called now is active."""
    return {
        "type": "model",
        "id": listed["id"],
        "display_name": listed["id"],
        "created_at": datetime.fromtimestamp(listed["created"], UTC).isoformat(),
        "lifecycle": "active",
        "max_input_tokens": listed.get("context_window"),
        "max_tokens": listed.get("max_output_tokens"),
    }
