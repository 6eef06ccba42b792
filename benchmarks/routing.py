"""How good Compass is at choosing models, on public outcomes: learned router, rules, and bounds.

    python benchmarks/routing.py --train DIR --test DIR --json OUT [--svg OUT] [--seed N]

Learns on the rows of one folder with the product's own code, and measures on those of another;
prompts that occur in both are taken out of the former. Where both are the same folder, a fifth of
its groups of near-duplicates is tested on. Settings (lambda, evaluators) are fixed on a part of the
training rows. Folders are described in docs/routing.md.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
sys.path.append(str(ROOT / ".train"))  # pyarrow and scipy, see the Makefile

from benchmarks import (  # noqa: E402
    routing_bandit,
    routing_cascade,
    routing_plot,
    routing_rank,
    routing_speed,
    routing_tiers,
)
from benchmarks.routing_rows import Seen, halves, look, without  # noqa: E402
from compass_ray.config.schema import Routing  # noqa: E402
from compass_ray.learned import shipped_model  # noqa: E402
from compass_ray.policy.quality import QualityModel  # noqa: E402
from compass_ray.rules import shipped_rules  # noqa: E402
from compass_ray.training.fit import fit  # noqa: E402
from compass_ray.training.licences import clean  # noqa: E402
from compass_ray.training.measure import calibration_error  # noqa: E402
from compass_ray.training.rows import Rows, read  # noqa: E402

RULES = shipped_rules()
Figures = dict[str, Any]


def main() -> None:
    """Run all of it, print a table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--svg", type=Path, help="default: beside the JSON")
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    train, test = read(asked.train), read(asked.test)
    same = asked.train.resolve() == asked.test.resolve()
    if same:
        train, test = halves(train, 5, asked.seed)
    train = without(train, test)
    figures, curves = evaluate(train, test, asked.seed, seen_by_the_shipped=same)
    asked.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    print(summary(figures))
    svg = asked.svg or asked.json.with_suffix(".svg")
    if routing_plot.draw(curves, figures["three tiers"], svg):
        print(f"cost against quality: {svg}")


def evaluate(
    train: Rows, test: Rows, seed: int, *, seen_by_the_shipped: bool
) -> tuple[Figures, Figures]:
    """Return all figures, and the curves of cost against quality by ranking."""
    model = fit(train, RULES, seed)
    free = np.array([clean(*source.split(":", 1)) for source in train.source.tolist()])
    seen = look(test, RULES, model)
    scores = {"learned": seen.outputs[:, 0]}
    prior = None
    if free.any():
        prior = fit(train.where(free), RULES, seed)
        scores["prior"] = look(test, RULES, prior).outputs[:, 0]
    shipped = None if seen_by_the_shipped else shipped_model()
    if shipped is not None:
        scores["shipped file"] = look(test, RULES, shipped).outputs[:, 0]
    scores |= routing_rank.baselines(train, test, seen, seed)
    figures: Figures = {
        "prompts": {"train": len(train), "test": len(test)},
        "ranking": {name: routing_rank.ranked(test, one, seed) for name, one in scores.items()},
        "calibration error": _calibration(test, seen),
        "field accuracy": float((seen.fields == test.field).mean()),
        "latency": latency(shipped or model),
    }
    figures |= _with_settings(train, test, seed)
    if prior is not None:
        figures["bandit"] = routing_bandit.learned_from_feedback(
            train, look(train, RULES, prior), test, look(test, RULES, prior), seed
        )
    curves = {
        name: routing_rank.curve(test, scores[name])
        for name in ("learned", "random", "prompt length", "rules: complexity", "oracle")
    }
    return figures, curves


def _with_settings(train: Rows, test: Rows, seed: int) -> Figures:
    """Return the figures that need a setting, fixed on training rows that a model has not seen."""
    learned_from, held_out = halves(train, 2, seed + 1)
    model = fit(learned_from, RULES, seed)
    on_train, on_test = look(held_out, RULES, model), look(test, RULES, model)
    costs = routing_tiers.expected_costs(train, test)
    chosen = routing_tiers.fixed_lambda(
        held_out, on_train, routing_tiers.expected_costs(learned_from, held_out)
    )
    forests = routing_cascade.evaluators(held_out, on_train, seed)
    whole = fit(train, RULES, seed)
    full = look(test, RULES, whole)
    frugalities = (
        Routing().frugality,
        routing_tiers.Gateway(held_out, RULES, model).fixed_frugality(held_out),
    )
    asks = routing_tiers.Gateway(test, RULES, whole)
    gateway = {f"the gateway, frugality {one:.3g}": asks.ranks(one) for one in frugalities}
    return {
        "lambda": chosen,
        "three tiers": routing_tiers.measured(test, full, costs, chosen, seed, gateway=gateway),
        "cascade": routing_cascade.measured(test, on_test, costs, forests, seed),
    }


def _calibration(test: Rows, seen: Seen) -> dict[str, float]:
    errors = {}
    for rank, name in enumerate(routing_tiers.NAMES):
        known = ~np.isnan(test.quality[:, rank])
        if known.any():
            said = np.clip(seen.outputs[known, rank + 1], 0, 1)
            errors[name] = calibration_error(said, test.quality[known, rank])
    return errors


def latency(model: QualityModel, rounds: int = 3_000) -> dict[str, float]:
    """Return p50 and p99 of classify and select, in microseconds, for 1,000 characters."""
    step = routing_speed.deciding((routing_speed.SENTENCE * 8)[:1_000], model)
    for _ in range(rounds // 10):
        step()
    times = []
    for _ in range(rounds):
        started = perf_counter_ns()
        step()
        times.append((perf_counter_ns() - started) / 1e3)
    p50, p99 = np.quantile(times, (0.5, 0.99))
    return {"p50_us": float(p50), "p99_us": float(p99)}


def summary(figures: Mapping[str, Any]) -> str:
    """Return the figures as lines of text."""
    lines = [routing_rank.table(figures["ranking"]), ""]
    for name, one in figures["three tiers"].items():
        kept, saved = one["quality kept"], one["cost saved"]
        lines.append(f"three tiers, {name:<50} quality {kept:.1%}  saved {saved:.1%}")
    for file, by_way in figures["cascade"].items():
        for name, one in by_way.items():
            low, high = one["interval"]
            line = f"S95 {one['s95']:.2f} [{low:.2f}, {high:.2f}]  AUC {one['auc']:.2f}"
            lines.append(f"{file:<28} {name:<30} {line}")
    for name, one in figures.get("bandit", {}).items():
        lines.append(f"bandit, {name:<15} {one['before']:.3f} to {one['after']:.3f}")
    errors = ", ".join(f"{name} {one:.3f}" for name, one in figures["calibration error"].items())
    lines.append(f"calibration error: {errors}; field accuracy {figures['field accuracy']:.1%}")
    speed = figures["latency"]
    lines.append(f"classify and select: p50 {speed['p50_us']:.0f} us, p99 {speed['p99_us']:.0f} us")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
