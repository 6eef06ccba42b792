"""Learning from one's own traffic: two thousand requests, of each only the chosen tier's answer.

From cold no outcome is known: before the first answer the rules' complexity is the ranking, then
only what was observed counts. The learner sees a text's shape, its scores of stage 2 and what the
prior's trees say of it, as numbers whose meaning it has to find out; without any model it sees the
former alone. From the prior, it learns how far answers differ from what the prior expects.
"""

from dataclasses import dataclass

import numpy as np

from benchmarks.routing_rows import Floats, Seen
from compass_ray.policy import learn
from compass_ray.policy.quality import SCORES
from compass_ray.policy.shape import NAMES
from compass_ray.training.measure import apgr
from compass_ray.training.rows import STRONG, WEAK, Rows
from compass_ray.types.routing import Tier

REQUESTS = 2_000
_TIERS = (Tier.FAST, Tier.BALANCED, Tier.PREMIUM)
_COSTS = np.array([0.05, 0.15, 1.0])
"""Of a tier, as a share of premium's; times `_LAMBDA` it is what quality a dollar must buy."""
_LAMBDA = 0.1
_NOISE = 0.4
_UNKNOWN = 0.6
"""What a cold learner expects of any answer."""
_DRAW_EVERY = 10
_RUNS = 5


@dataclass(frozen=True, slots=True)
class Start:
    """What is known before the first answer: expected qualities (n, 3) and features (n, d)."""

    expected: Floats
    features: Floats


def learned_from_feedback(
    train: Rows, seen: Seen, test: Rows, seen_test: Seen, seed: int
) -> dict[str, dict[str, float]]:
    """Return APGR on the test rows before and after, means over runs with other traffic."""
    plain = len(NAMES) + len(SCORES)
    known, asked = seen.features[:, -plain:], seen_test.features[:, -plain:]
    both = [
        np.column_stack([values, one.outputs])
        for values, one in ((known, seen), (asked, seen_test))
    ]
    strong, weak = test.quality[:, STRONG], test.quality[:, WEAK]
    figures = {}
    for name, pair, prior, penalty, before in (
        ("cold", both, False, 1.0, seen_test.complexity),
        ("cold, without any model", (known, asked), False, 0.3, seen_test.complexity),
        ("from the prior", both, True, 100.0, seen_test.outputs[:, 0]),
    ):
        starts = [
            Start(one.outputs[:, 1:] if prior else np.full((len(values), 3), _UNKNOWN), values)
            for one, values in zip((seen, seen_test), _standardised(*pair), strict=True)
        ]
        after = []
        for run in range(_RUNS):
            need = _need(train, starts[0], starts[1], penalty, seed + run)
            after.append(apgr(need, strong, weak))
        start = apgr(before, strong, weak)
        figures[name] = {
            "requests": REQUESTS,
            "before": start,
            "after": float(np.mean(after)),
            "gained": float(np.mean(after)) - start,
            "spread over runs": float(np.std(after)),
        }
    return figures


def _need(train: Rows, start: Start, test: Start, penalty: float, seed: int) -> Floats:
    """Return need for strength on the test rows, after the traffic of one run."""
    chance = np.random.default_rng(seed)
    traffic = chance.permutation(len(train))[:REQUESTS]
    size = start.features.shape[1]
    learner = learn.fresh(_TIERS, size, penalty)
    drawn = np.zeros((len(_TIERS), size))
    for n, row in enumerate(traffic):
        if n % _DRAW_EVERY == 0:
            drawn = np.array(
                [learn.sample(learner[t], chance.standard_normal(size), _NOISE) for t in _TIERS]
            )
        x, expected, quality = start.features[row], start.expected[row], train.quality[row]
        worth = np.where(np.isnan(quality), -np.inf, expected + drawn @ x - _LAMBDA * _COSTS)
        chosen = int(worth.argmax())
        surplus = float(quality[chosen] - expected[chosen])
        learner = learn.observe(learner, learn.Feedback(_TIERS[chosen], x, surplus))
    surplus_of = {tier: test.features @ learner[tier].mean for tier in _TIERS}
    believed = test.expected[:, STRONG] - test.expected[:, WEAK]
    return np.asarray(believed + surplus_of[Tier.PREMIUM] - surplus_of[Tier.FAST])


def _standardised(train: Floats, test: Floats) -> list[Floats]:
    means, spreads = train.mean(axis=0), train.std(axis=0) + 1e-6
    return [
        np.array([learn.standardised(row, means, spreads) for row in values])
        for values in (train, test)
    ]
