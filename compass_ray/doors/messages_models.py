"""The models as Anthropic's clients list them: by pages. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from compass_ray.doors.fields import page_size, wrong

_USUAL, _MOST = 20, 1_000
"""Models on a page, as Anthropic documents it."""

Listed = Mapping[str, Any]
"""A model in OpenAI's shape, with Compass's own fields."""


def page(models: Sequence[Listed], query: Mapping[str, str]) -> dict[str, Any]:
    """Return the page of the list that a query string asks for.

    Raises:
        InvalidRequest: names the parameter.
    """
    limit = page_size(query.get("limit"), _USUAL, _MOST)
    after, before = query.get("after_id"), query.get("before_id")
    if after is not None and before is not None:
        raise wrong("before_id", "cannot go with after_id")
    first, end = 0, len(models)
    if after is not None:
        first = _place(models, after, "after_id") + 1
    if before is not None:
        end = _place(models, before, "before_id")
        first = max(0, end - limit)
    shown = models[first : min(end, first + limit)]
    return {
        "data": [model(one) for one in shown],
        "has_more": first > 0 if before is not None else first + limit < end,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
    }


def _place(models: Sequence[Listed], name: str, param: str) -> int:
    for place, one in enumerate(models):
        if one["id"] == name:
            return place
    raise wrong(param, "is no model of this list")


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
