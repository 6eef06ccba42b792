"""Lists that are told page by page, in OpenAI's words."""

from collections.abc import Mapping

from compass_ray.types.batches import Page
from compass_ray.types.errors import InvalidRequest


def page_of(query: Mapping[str, str], *, default: int, most: int) -> Page:
    """Return the page that a query asks for.

    Raises:
        InvalidRequest: names the parameter.
    """
    limit, order = query.get("limit", str(default)), query.get("order", "desc")
    if not (limit.isascii() and limit.isdecimal()) or not 0 < int(limit[:9]) <= most:
        raise InvalidRequest(f"limit must be from 1 to {most}", param="limit")
    if order not in {"asc", "desc"}:
        raise InvalidRequest("order must be asc or desc", param="order")
    return Page(query.get("after"), int(limit), order == "desc")


def listed(found: list[dict[str, object]], most: int) -> dict[str, object]:
    """Return a page; `found` has one entry more than `most` where there are more."""
    data = found[:most]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": len(found) > most,
    }
