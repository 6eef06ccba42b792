# ruff: noqa: INP001, T201  # a program, not a package
"""Write the prices that the package genai-prices knows into models files, in place.

    uv run --with genai-prices python scripts/refresh_catalogue.py compass_ray/data/catalogue.yaml

Only `price: {...}` of endpoints written on one line and the `as_of` date are touched. Printed for
you to act on: unknown prices (left as they are; the exit status is then 1), announced changes,
and windows that reach into a provider's long-context prices.
"""

import re
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, StartDateConstraint, TieredPrices

ENDPOINT = re.compile(
    r'- \{provider: (?P<provider>[\w-]+), wire_model: "?(?P<wire>[^",]+)"?,.*?'
    r"(?P<price>price: \{[^}]*\})"
)
KEPT = re.compile(r", batch: [\d.]+")
"""genai-prices knows no batch prices."""
EMBEDS = re.compile(r"\s+embedding: ")
WINDOW = re.compile(r"\s+context_window: (\d+)")
FIELDS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
}
KEPT_BY_HAND = frozenset({"local", "replicate"})


def main(files: list[str]) -> int:
    """Refresh each file and return the exit status."""
    now = datetime.now(UTC)
    return max((refresh(Path(file), now) for file in files), default=0)


def refresh(file: Path, now: datetime) -> int:
    """Rewrite one file; return 1 where a price is unknown."""
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    status = window = 0
    embeds = False
    for n, line in enumerate(lines):
        if line.startswith("as_of:"):
            lines[n] = f"as_of: {now.date()}\n"
        if found := WINDOW.match(line):
            window, embeds = int(found[1]), False
        embeds = embeds or EMBEDS.match(line) is not None
        endpoint = ENDPOINT.search(line)
        if endpoint is None or endpoint["provider"] in KEPT_BY_HAND:
            continue
        place = f"{file}:{n + 1}: {endpoint['wire']}"
        model = model_of(endpoint["provider"], endpoint["wire"])
        if model is None:
            print(f"{place}: price unknown")
            status = 1
            continue
        price = model.get_prices(now)
        kept = KEPT.search(endpoint["price"])
        batch = kept[0] if kept else ""
        lines[n] = line.replace(endpoint["price"], written(price, embeds=embeds, batch=batch))
        for change in announced(model, now):
            print(f"{place}: {change}")
        if (step := long_context_from(price)) and window > step:
            print(f"{place}: window {window:,} reaches into the prices from {step:,} tokens")
    file.write_text("".join(lines), encoding="utf-8")
    return status


def model_of(provider: str, wire_model: str) -> ModelInfo | None:
    """Return what genai-prices knows; Azure charges OpenAI's prices."""
    name, _, router = wire_model.partition(":")
    source = {"azure": "openai", "huggingface": f"huggingface_{router}"}.get(provider, provider)
    try:
        found = get_snapshot().find_provider_model(
            name.replace("gpt-35", "gpt-3.5"), None, source, None
        )
    except LookupError:
        return None
    return found[1]


def written(price: ModelPrice, *, embeds: bool = False, batch: str = "") -> str:
    """Return the price as the models file writes it; embeddings have no output, which costs 0."""
    known = {name: base(getattr(price, field)) for name, field in FIELDS.items()}
    fields = ", ".join(f"{name}: {dollars(value)}" for name, value in known.items() if value)
    if embeds:
        fields += ", output: 0"
    return f"price: {{{fields}{batch}}}"


def base(value: Decimal | TieredPrices | None) -> Decimal | None:
    """Return the price of short prompts."""
    return value.base if isinstance(value, TieredPrices) else value


def dollars(value: Decimal) -> str:
    """Write without float noise of the source, as money where that is exact."""
    exact = round(value, 6).normalize()
    return f"{exact:.2f}" if exact == round(exact, 2) else f"{exact:f}"


def long_context_from(price: ModelPrice) -> int | None:
    """Return the prompt length from which more is charged for every token."""
    tiered = price.input_mtok
    return tiered.tiers[0].start if isinstance(tiered, TieredPrices) else None


def announced(model: ModelInfo, now: datetime) -> list[str]:
    """Return the changes of price to come."""
    if isinstance(model.prices, ModelPrice):
        return []
    return [
        f"from {change.constraint.start_date} {written(change.prices)}"
        for change in model.prices
        if isinstance(change.constraint, StartDateConstraint) and not change.constraint.active(now)
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
