# ruff: noqa: INP001, T201  # a program that prints figures, not a package
"""Train the verifier that comes with Compass, and say what it is worth.

    python scripts/train_verifier.py --answers DIR [--seed 20261123] [--out FILE]

DIR is `result_dirs` of https://github.com/WildEval/ZeroEval, or of the same layout. Learns from
the answers of models whose licences let a model trained on them be given away. A quarter of the
questions is held out first, and the figures are measured there, on the answers of all the other
models, by a verifier that has seen neither; the one that is written has learned from all questions.
"""

import argparse
import datetime as dt
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compass_ray import learned
from compass_ray.policy.classify import classify
from compass_ray.policy.evaluate import evaluate
from compass_ray.policy.verifier import Verifier, chance_right, features, plain
from compass_ray.rules import shipped_rules
from compass_ray.training.asking import asking
from compass_ray.training.boost import Boosting, boost
from compass_ray.training.licences import ANSWERS
from compass_ray.training.measure import apgr, auc, calibration_error
from compass_ray.training.solutions import DATASETS, Solution, read
from compass_ray.types.chat import Answer
from compass_ray.types.routing import Endpoint, Tier

ROOT = Path(__file__).parent.parent
OUT = ROOT / "compass_ray" / "data" / "verifier.npz"
HOW = Boosting(
    trees=250, depth=5, rate=0.06, penalty=40.0, share_of_features=0.3, importance=(1.0,)
)
ENDPOINT = Endpoint("p", "m", "m", Tier.FAST, context_window=100_000, max_output_tokens=10_000)
CLASSIFIED = classify(asking("What is 1 + 1?"), shipped_rules())
HELD_OUT = 4
"""One question in so many."""
CHEAP = ("gpt-4o-mini-2024-07-18", "gemini-1.5-flash", "claude-3-haiku-20240307")
DEAR = "claude-3-5-sonnet-20241022"
"""Whose answers a cascade gives up, and for whose."""


def main() -> None:
    """Measure, then train on every question and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--answers", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    solutions = list(read(asked.answers))
    own = [one for one in solutions if one.model in ANSWERS]
    figures = measure(
        fit([one for one in own if not is_held_out(one)], asked.seed),
        [one for one in solutions if one.model not in ANSWERS and is_held_out(one)],
    )
    print(json.dumps(figures, indent=1))
    provenance = {
        "made_by": "scripts/train_verifier.py",
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "seed": asked.seed,
        "rows": {name: sum(one.model == name for one in own) for name in ANSWERS},
        "licences": ANSWERS,
        "held_out_figures": figures,
    }
    learned.write_verifier(fit(own, asked.seed, provenance), asked.out)
    print(f"{asked.out}: {asked.out.stat().st_size:,} bytes, learned from {len(own):,} answers")


def fit(
    solutions: Sequence[Solution], seed: int, provenance: Mapping[str, object] | None = None
) -> Verifier:
    """Return what these answers teach; the same ones and the same seed give the same verifier."""
    x = np.array([features(one.question, one.answer) for one in solutions], np.float64)
    y = np.array([[one.right] for one in solutions], np.float64)
    forest = boost(x, y, np.ones_like(y), HOW, seed)
    return Verifier(forest, frozenset({"math"}), provenance or {})


def measure(verifier: Verifier, solutions: Sequence[Solution]) -> dict[str, float]:
    """Return figures on answers that the verifier has not seen, by data set."""
    chance = np.array([chance_right(one.question, one.answer, verifier) for one in solutions])
    right = np.array([one.right for one in solutions])
    figures: dict[str, float] = {"answers": float(len(solutions))}
    form = np.array([_score([one.answer], one.question) for one in solutions])
    for dataset in DATASETS:
        inside = np.array([one.dataset == dataset for one in solutions])
        models = sorted({one.model for one in solutions if one.dataset == dataset})
        its = [inside & np.array([one.model == model for one in solutions]) for model in models]
        figures[f"{dataset} models"] = float(len(models))
        figures[f"{dataset} right"] = float(right[inside].mean())
        for name, score in (("form", form), ("verifier", chance)):
            each = [auc(score[some], right[some]) for some in its]
            figures[f"{dataset} auc of the {name}, mean of the models'"] = float(np.nanmean(each))
        figures[f"{dataset} auc of three answers' agreement"] = _agreement(solutions, dataset)
        figures[f"{dataset} calibration error"] = calibration_error(
            chance[inside], right[inside].astype(np.float64)
        )
        for cheap in CHEAP:
            found = _cascade(solutions, chance, dataset, cheap)
            figures[f"{dataset} apgr, {cheap} first"] = found
    return {name: round(value, 4) for name, value in figures.items()}


def is_held_out(solution: Solution) -> bool:
    """Return whether nothing may be learned of its question when the figures are measured."""
    return zlib.crc32(solution.question_id.encode()) % HELD_OUT == 0


def _score(conclusions: Sequence[str], question: str) -> float:
    """Return what Compass finds by the form of answers, and by whether they agree."""
    choices = [
        {"index": place, "message": {"content": text}, "finish_reason": "stop"}
        for place, text in enumerate(conclusions)
    ]
    return evaluate(
        asking(question), CLASSIFIED, ENDPOINT, Answer({"choices": choices}, None, "stop")
    ).score


def _agreement(solutions: Sequence[Solution], dataset: str) -> float:
    """Return the AUC of the first cheap model's answer by what share of all three agrees."""
    answers = {(one.question_id, one.model): one for one in solutions if one.dataset == dataset}
    asked = sorted({question_id for question_id, _ in answers})
    whole = [
        [answers[question_id, model] for model in CHEAP]
        for question_id in asked
        if all((question_id, model) in answers for model in CHEAP)
    ]
    scores = [
        _score([plain(one.answer).rpartition("\n")[2] for one in some], some[0].question)
        for some in whole
    ]
    return auc(np.array(scores), np.array([some[0].right for some in whole]))


def _cascade(
    solutions: Sequence[Solution], chance: NDArray[np.float64], dataset: str, cheap: str
) -> float:
    """Return the APGR of giving up first what is least likely to be right; 0.5 is chance."""
    dear = {s.question_id: s.right for s in solutions if (s.dataset, s.model) == (dataset, DEAR)}
    first = [
        place
        for place, one in enumerate(solutions)
        if (one.dataset, one.model) == (dataset, cheap) and one.question_id in dear
    ]
    strong = np.array([dear[solutions[place].question_id] for place in first], np.float64)
    weak = np.array([solutions[place].right for place in first], np.float64)
    return apgr(1 - chance[first], strong, weak)


if __name__ == "__main__":
    main()
