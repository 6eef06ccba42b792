"""Decisions, and what other weights would make of them, as tables for people."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from compass_ray.policy.rescore import Comparison
from compass_ray.types.usage import MICRO, dollars

_MOST_MOVES = 10
_SHORT = {
    "complexity": "compl",
    "tokens": "tok",
    "latency": "lat",
    "cost": "cost",
    "accuracy": "acc",
}
"""All of a row is to fit on 80 characters."""


def show_decision(console: Console, told: Mapping[str, Any]) -> None:
    """Print what `POST /api/v1/route` says: the class, the candidates, and why others are out."""
    _line(
        console,
        f"{told['task_type']}, tier {told['tier']} ({told['tier_name']}), {told['urgency']}, "
        f"about {told['input_tokens']:,} tokens in and {told['expected_output_tokens']:,} out",
    )
    for reason in told["reasons"]:
        _line(console, f"  {reason}")
    if told["expectation"] is not None:
        qualities = told["expectation"]["quality"].items()
        foreseen = ", ".join(f"{tier} {quality:.2f}" for tier, quality in qualities)
        _line(console, f"  quality to expect: {foreseen}")
    headings = ("", "endpoint", "score", *_SHORT.values(), "$", "s")
    table = Table(box=None, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    for place, one in enumerate(told["candidates"], 1):
        cost = one["expected_cost_micro_usd"]
        table.add_row(
            str(place),
            escape(one["endpoint"]),
            f"{one['score']:.3f}",
            *(f"{one['columns'][name]:.2f}" for name in _SHORT),
            "?" if cost is None else dollars(cost),
            f"{one['expected_seconds']:.1f}",
        )
    console.print(table)
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for one in told["excluded"]:
        reasons[one["reason"]].append(one["endpoint"])
    for reason, endpoints in reasons.items():
        _line(console, f"out: {reason}: {', '.join(endpoints)}")


def show_comparison(console: Console, found: Comparison) -> None:
    """Print how often another endpoint would be chosen, and what to expect of that."""
    share = found.changed / found.decisions if found.decisions else 0.0
    _line(
        console,
        f"{found.changed:,} of {found.decisions:,} choices change ({share:.1%}); "
        f"{found.free:,} had more than one candidate",
    )
    before, after = found.before, found.after
    table = Table("expected, mean", "recorded", "new", "change", box=None)
    rows = (
        (f"cost, $ per 1,000 of {found.priced:,}", before.micro_usd, after.micro_usd, 1000 / MICRO),
        ("latency, seconds", before.seconds, after.seconds, 1.0),
        ("quality, 0 to 1", before.quality, after.quality, 1.0),
    )
    for name, old, new, unit in rows:
        change = f"{new / old - 1:+.1%}" if old else "-"
        table.add_row(name, f"{old * unit:,.4f}", f"{new * unit:,.4f}", change)
    console.print(table)
    for (old_id, new_id), count in list(found.moves.items())[:_MOST_MOVES]:
        _line(console, f"{count:>8,}  {old_id} -> {new_id}")
    others = list(found.moves.values())[_MOST_MOVES:]
    if others:
        _line(console, f"{sum(others):>8,}  in {len(others):,} other ways")


def _line(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
