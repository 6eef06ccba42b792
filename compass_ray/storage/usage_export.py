"""Reads what providers export about an organisation's usage.

OpenAI     /v1/organization/usage/completions            tokens, by model where grouped
           /v1/organization/costs                        dollars
Anthropic  /v1/organizations/usage_report/messages       tokens, by model where grouped
           /v1/organizations/cost_report                 cents, by model where grouped
anybody    CSV with the columns day, model, input_tokens, output_tokens and cost_usd, of which
           only day must be there

Source: the providers' references of these routes.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import orjson

from compass_ray.policy.drift import DayUsage
from compass_ray.types.errors import ConfigError
from compass_ray.types.usage import MICRO, Money

_CENT = MICRO // 100


def read(file: Path) -> list[DayUsage]:
    """Return the rows of an export, several of one day and model possibly.

    Raises:
        ConfigError: it cannot be read, or is none of these.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig").strip()
        rows = list(_json(orjson.loads(text)) if text.startswith("{") else _csv(text))
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(file)) from error
    except (ValueError, KeyError, TypeError, AttributeError, InvalidOperation) as error:
        raise ConfigError(f"is no usage export that is known: {error!r}", file=str(file)) from error
    if not rows:
        raise ConfigError("tells of no usage", file=str(file))
    return rows


def _json(page: Mapping[str, Any]) -> Iterator[DayUsage]:
    if page.get("has_more"):
        raise ValueError("has_more: this is one page of several; ask for more days a page")
    for bucket in page["data"]:
        start = bucket["start_time"] if "start_time" in bucket else bucket["starting_at"]
        for result in bucket["results"]:
            yield _result(_day(start), result)


def _result(day: str, result: Mapping[str, Any]) -> DayUsage:
    model = result.get("model") or ""
    if "uncached_input_tokens" in result:
        written = sum((result.get("cache_creation") or {}).values())
        read_again = result["cache_read_input_tokens"]
        tokens_in = result["uncached_input_tokens"] + written + read_again
        return DayUsage(day, model, tokens_in, result["output_tokens"])
    if "input_tokens" in result:
        return DayUsage(day, model, result["input_tokens"], result["output_tokens"])
    amount = result["amount"]
    if isinstance(amount, Mapping):
        _only_usd(amount["currency"])
        return DayUsage(day, model, cost=_money(amount["value"], MICRO))
    _only_usd(result["currency"])
    return DayUsage(day, model, cost=_money(amount, _CENT))


def _csv(text: str) -> Iterator[DayUsage]:
    for row in csv.DictReader(io.StringIO(text)):
        cost = row.get("cost_usd")
        yield DayUsage(
            day=datetime.fromisoformat(row["day"]).date().isoformat(),
            model=row.get("model") or "",
            input_tokens=_count(row.get("input_tokens")),
            output_tokens=_count(row.get("output_tokens")),
            cost=_money(cost, MICRO) if cost else None,
        )


def _day(start: int | str) -> str:
    if isinstance(start, int):
        return datetime.fromtimestamp(start, UTC).date().isoformat()
    return datetime.fromisoformat(start).astimezone(UTC).date().isoformat()


def _count(text: str | None) -> int | None:
    return int(text) if text else None


def _money(amount: object, unit: int) -> Money:
    return int((Decimal(str(amount)) * unit).to_integral_value(ROUND_HALF_EVEN))


def _only_usd(currency: str) -> None:
    if currency.lower() != "usd":
        raise ValueError(f"{currency} is not US dollars")
