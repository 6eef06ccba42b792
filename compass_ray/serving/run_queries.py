"""What a query string asks of tasks and workflows: which to list, how long to wait."""

from collections.abc import Collection, Iterable, Mapping
from math import inf
from typing import Any, get_args

from compass_ray.doors.fields import page_size, wrong
from compass_ray.types.accounts import Caller
from compass_ray.types.errors import Forbidden
from compass_ray.types.run_analytics import AnalysisQuery, Grouping
from compass_ray.types.workflows import Kind, RunQuery, Status

LONGEST_WAIT = 60.0
"""Seconds."""
_USUAL, _MOST = 100, 1_000
"""Runs on a page."""
_FAR = 1e11
"""Unix seconds, in three thousand years."""

Said = Iterable[tuple[str, str]]
"""A query string's fields and values, in order."""


def listing(said: Said, kind: Kind, account: str) -> RunQuery:
    """Return which runs of an account are asked for.

    Raises:
        InvalidRequest: names the field.
    """
    known = {"status", "limit", "after", "created_after", "created_before"}
    asked = fields(said, known | {"name"} if kind == "workflow" else known)
    status: Any = asked.get("status")
    if status is not None and status not in get_args(Status):
        raise wrong("status", f"must be one of {', '.join(get_args(Status))}")
    return RunQuery(
        account,
        kind,
        page_size(asked.get("limit"), _USUAL, _MOST),
        status,
        asked.get("name"),
        asked.get("after"),
        number(asked, "created_after", _FAR),
        number(asked, "created_before", _FAR),
    )


def analysing(said: Said, caller: Caller, now: float) -> AnalysisQuery:
    """Return what is asked of workflows that are over; who is no admin asks of its own account.

    Raises:
        InvalidRequest: names the field.
        Forbidden: another account's.
    """
    asked = fields(said, {"by", "from", "to", "account", "name"})
    by: Any = asked.get("by", "name")
    if by not in get_args(Grouping):
        raise wrong("by", f"must be one of {', '.join(get_args(Grouping))}")
    account = asked.get("account", None if caller.admin else caller.account)
    if account != caller.account and not caller.admin:
        raise Forbidden("other accounts' runs take an admin's key", code="not_an_admin")
    since, until = number(asked, "from", _FAR), number(asked, "to", _FAR)
    until = now if until is None else until
    if since is not None and since > until:
        raise wrong("from", "must not be after to")
    return AnalysisQuery(by, since or 0.0, until, account, asked.get("name"))


def waiting(said: Said) -> float | None:
    """Return for how many seconds the end is to be waited for; None: not asked for.

    Raises:
        InvalidRequest: names the field.
    """
    return number(fields(said, {"wait_s"}), "wait_s", LONGEST_WAIT)


def resuming(said: Said, header: str | None) -> int:
    """Return the number of the event to begin with: after the one that was seen.

    Raises:
        InvalidRequest: names the field.
    """
    query = fields(said, {"last_event_id"}).get("last_event_id")
    for name, seen in (("Last-Event-ID", header), ("last_event_id", query)):
        if seen is None:
            continue
        if not (seen.isascii() and seen.isdecimal()):
            raise wrong(name, "must be an event's id")
        return int(seen[-9:]) + 1
    return 0


def fields(said: Said, known: Collection[str]) -> dict[str, str]:
    """Return the value of each field.

    Raises:
        InvalidRequest: one is unknown, or there twice.
    """
    found: dict[str, str] = {}
    for name, value in said:
        if name not in known:
            raise wrong(name[:100], f"is unknown; there are {', '.join(sorted(known))}")
        if name in found:
            raise wrong(name, "is there twice")
        found[name] = value
    return found


def number(asked: Mapping[str, Any], name: str, most: float) -> float | None:
    """Return a field's number, which a query string tells as text; None where it is not there.

    Raises:
        InvalidRequest: it is none from 0 to `most`.
    """
    value = asked.get(name)
    if value is None:
        return None
    try:
        told = -inf if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        told = -inf
    if not 0 <= told <= most:
        raise wrong(name, f"must be a number from 0 to {most:.0f}")
    return told
