"""When something is worth a word, and which: a budget's use, a drift. Pure."""

from collections.abc import Sequence

from compass_ray.types.money import Alert
from compass_ray.types.shifts import Shift


def crossed(limit: int, before: int, after: int, percents: Sequence[int]) -> tuple[int, ...]:
    """Return the thresholds, in percent of `limit`, that lie above `before` and not `after`."""
    return tuple(percent for percent in percents if before * 100 < limit * percent <= after * 100)


def sentence(alert: Alert | Shift) -> str:
    """Return the alert in words."""
    if isinstance(alert, Shift):
        task, endpoint, trait = alert.stream
        return (
            f"{trait} of {endpoint} in {task} has drifted: {alert.now:.4g} in the last "
            f"{alert.values}, {alert.was:.4g} before"
        )
    return (
        f"account {alert.account!r} has used {alert.percent} % of its {alert.unit}: "
        f"{alert.spent} of {alert.limit} in {alert.window}"
    )


def as_json(alert: Alert | Shift) -> dict[str, object]:
    """Return the alert as callers and webhooks get it; money in micro-dollars."""
    if isinstance(alert, Shift):
        task, endpoint, trait = alert.stream
        return {
            "kind": "drift",
            "id": f"{task}/{endpoint}/{trait}/{alert.at:.3f}",
            "task_type": task,
            "endpoint": endpoint,
            "trait": trait,
            "was": alert.was,
            "now": alert.now,
            "values": alert.values,
            "at": alert.at,
        }
    return {
        "kind": "budget",
        "id": f"{alert.bucket}/{alert.percent}/{alert.limit}",
        "account": alert.account,
        "unit": "micro_usd" if alert.unit == "usd" else alert.unit,
        "window": alert.window,
        "percent": alert.percent,
        "spent": alert.spent,
        "limit": alert.limit,
        "at": alert.at,
    }
