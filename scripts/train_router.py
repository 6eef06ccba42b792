# ruff: noqa: INP001, T201  # a program that prints figures, not a package
"""Train the quality model that comes with Compass, and say what it is worth.

    python scripts/train_router.py --data DIR [--seed 20261123] [--out FILE] [--any-licence]

Learns only from rows whose licence lets a model trained on them be given away, unless it is to
stay at home: then `--any-licence` reads all, one's own among them. A fifth of the
groups of near-duplicates is held out first, and the figures are measured there by a model that
has not seen it; the model that is written has learned from all rows. DIR is described in
docs/routing.md; it needs the extra `train`.
"""

import argparse
import datetime as dt
import json
import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent / ".train"))  # see the Makefile

from compass_ray import learned
from compass_ray.policy.classify import classify
from compass_ray.policy.quality import QualityModel, expect
from compass_ray.rules import shipped_rules
from compass_ray.training.asking import asking
from compass_ray.training.fit import fit
from compass_ray.training.licences import LICENCES, clean
from compass_ray.training.measure import apgr, calibration_error
from compass_ray.training.rows import STRONG, WEAK, Rows, folds, read
from compass_ray.types.routing import Tier

ROOT = Path(__file__).parent.parent
OUT = ROOT / "compass_ray" / "data" / "quality.npz"
HELD_OUT = 5
TIERS = (Tier.FAST, Tier.BALANCED, Tier.PREMIUM)


def main() -> None:
    """Measure, then train on everything and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--any-licence", action="store_true")
    asked = parser.parse_args()
    rows = read(asked.data) if asked.any_licence else read(asked.data, clean)
    rules = shipped_rules()
    held_out = folds(rows, HELD_OUT, asked.seed) == 0
    figures = measure(fit(rows.where(~held_out), rules, asked.seed), rows.where(held_out))
    print(json.dumps(figures, indent=1))
    sources, sizes = np.unique(rows.source, return_counts=True)
    provenance = {
        "made_by": "scripts/train_router.py",
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "seed": asked.seed,
        "rows": dict(zip(sources.tolist(), sizes.tolist(), strict=True)),
        "licences": {"any": "not to be given away"} if asked.any_licence else LICENCES,
        "held_out_figures": figures,
    }
    learned.write(fit(rows, rules, asked.seed, provenance), asked.out)
    print(f"{asked.out}: {asked.out.stat().st_size:,} bytes, learned from {len(rows):,} prompts")


def measure(model: QualityModel, rows: Rows) -> dict[str, float]:
    """Return figures of a model on rows that it has not seen."""
    rules = shipped_rules()
    seen = [
        expect(text, classify(asking(text), rules).scores, model) for text in rows.prompt.tolist()
    ]
    need = np.array([one.need for one in seen])
    strong, weak = rows.quality[:, STRONG], rows.quality[:, WEAK]
    figures = {"prompts": float(len(rows)), "apgr pooled": apgr(need, strong, weak)}
    for file in np.unique(rows.file).tolist():
        inside = rows.file == file
        figures[f"apgr {file}"] = apgr(need[inside], strong[inside], weak[inside])
    for rank, tier in enumerate(TIERS):
        known = ~np.isnan(rows.quality[:, rank])
        predicted = np.array([one.quality[tier] for one in seen])[known]
        error = calibration_error(predicted, rows.quality[known, rank])
        figures[f"calibration error {tier.name.lower()}"] = error
    right = np.array([one.field for one in seen]) == rows.field
    figures["field accuracy"] = float(right.mean())
    return {name: round(value, 4) for name, value in figures.items()}


if __name__ == "__main__":
    main()
