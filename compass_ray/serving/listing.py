"""Lists that are told page by page, in OpenAI's words."""

from collections.abc import Mapping

from compass_ray.doors.fields import page_size
from compass_ray.types.batches import Page
from compass_ray.types.errors import InvalidRequest


def page_of(query: Mapping[str, str], *, default: int, most: int) -> Page:
    """Return the page that a query asks for.

    Raises:
        InvalidRequest: names the parameter.
    """
    order = query.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise InvalidRequest("order must be asc or desc", param="order")
    return Page(query.get("after"), page_size(query.get("limit"), default, most), order == "desc")


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
