"""When a budget's use is worth a word, and which. Pure."""

from collections.abc import Sequence

from compass_ray.types.money import Alert


def crossed(limit: int, before: int, after: int, percents: Sequence[int]) -> tuple[int, ...]:
    """Return the thresholds, in percent of `limit`, that lie above `before` and not `after`."""
    return tuple(percent for percent in percents if before * 100 < limit * percent <= after * 100)


def sentence(alert: Alert) -> str:
    """Return the alert in words."""
    return (
        f"account {alert.account!r} has used {alert.percent} % of its {alert.unit}: "
        f"{alert.spent} of {alert.limit} in {alert.window}"
    )


def as_json(alert: Alert) -> dict[str, object]:
    """Return the alert as callers and webhooks get it; money in micro-dollars."""
    return {
        "id": f"{alert.bucket}/{alert.percent}/{alert.limit}",
        "account": alert.account,
        "unit": "micro_usd" if alert.unit == "usd" else alert.unit,
        "window": alert.window,
        "percent": alert.percent,
        "spent": alert.spent,
        "limit": alert.limit,
        "at": alert.at,
    }
