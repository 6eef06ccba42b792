"""How good an answer each tier would give to a text, as learned from outcomes. Pure.

    text ─ hashed n-grams ─► linear heads ┐
         └ shape ─────────────────────────┼─► boosted trees ─► need for strength, quality by tier
    the six scores of stage 2 ────────────┘
    heads ─► field of knowledge

A head is the sum of a weight for each n-gram, divided by the length of the text's vector: TF-IDF
with every n-gram counted once, its weights held as one signed byte each. Some heads guess where a
question comes from, others how much a stronger model helps; the trees weigh them up. See
docs/routing.md for what it was measured to be worth, and `compass_ray.training` for its making.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp

import numpy as np
from numpy.typing import NDArray

from compass_ray.policy import ngrams
from compass_ray.policy.shape import NAMES, shape
from compass_ray.policy.trees import Forest
from compass_ray.types.routing import SURE, Expectation, Tier

__all__ = ["OUTPUTS", "SCORES", "QualityModel", "expect", "features"]

OUTPUTS = ("need", "fast", "balanced", "premium")
"""What the trees predict: the gain of premium over fast, and the quality of each tier, 0 to 1."""

SCORES = ("sentence_structure", "technical_density", "multi_step", "domain", "context")
"""The scores of stage 2 that are read; `history` is not about the text."""

_PLAIN = len(NAMES) + len(SCORES)
"""Features that mean the same whatever was trained: the last ones."""


@dataclass(frozen=True, slots=True)
class QualityModel:
    """What training found out; h heads over the buckets of `ngrams`.

    `weights` (2**BITS, h) are multiples of `scales` (h,) and hold each n-gram's rarity already;
    `rarity` (2**BITS,) is its square, `offsets` (h,) what a head says without any word.
    `field_heads` are the places of the heads that stand for `fields`; `sharpness` turns them into
    probabilities. `forest` reads heads, shape and scores, in this order.
    """

    weights: NDArray[np.int8]
    scales: NDArray[np.float32]
    offsets: NDArray[np.float32]
    rarity: NDArray[np.float32]
    fields: Sequence[str]
    field_heads: NDArray[np.int64]
    sharpness: float
    forest: Forest
    means: NDArray[np.float64]
    spreads: NDArray[np.float64]
    """Of what `Expectation.features` holds, on the prompts that were learned from."""
    basis: str = ""
    """Digest of the file: what was learned from feedback on one model is not for another."""
    provenance: Mapping[str, object] = field(default_factory=dict, repr=False)
    """Sources and their licences, seed, date, and figures on prompts that were held out."""


def features(text: str, scores: Mapping[str, int], model: QualityModel) -> NDArray[np.float32]:
    """Return all that is known of a text as one vector: heads, shape, scores of stage 2."""
    data = ngrams.encode(ngrams.sample(text))
    places = ngrams.buckets(data)
    total = _ones(len(places)) @ model.weights.take(places, 0).astype(np.float32)
    length = float(np.add.reduce(model.rarity.take(places))) ** 0.5 or 1.0
    heads = total * model.scales / length + model.offsets
    others = [*shape(data), *[scores[name] for name in SCORES]]
    return np.concatenate((heads, np.array(others, np.float32)))


def expect(text: str, scores: Mapping[str, int], model: QualityModel) -> Expectation:
    """Return what to expect of each tier's answer to `text`.

    At most `ngrams.READ_CHARS` characters are read at each end, so the time has a bound.
    """
    values = features(text, scores, model)
    outputs = model.forest.predict(values)
    need, *qualities = outputs.tolist()
    fast, balanced, premium = (min(1 - SURE, max(SURE, quality)) for quality in qualities)
    name, confidence = _field(values, model)
    quality = {
        Tier.PREMIUM: premium,
        Tier.BALANCED: balanced,
        Tier.FAST: fast,
        Tier.SPECIALIZED: balanced,
    }
    return Expectation(need, quality, name, confidence, taught(values, outputs))


def taught(values: NDArray[np.float32], outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what feedback is learned by: a text's shape, its scores, and the trees' outputs."""
    return np.concatenate((values[-_PLAIN:], outputs))


def _ones(count: int) -> NDArray[np.float32]:
    ones = np.empty(count, np.float32)
    ones.fill(1.0)
    return ones


def _field(values: NDArray[np.float32], model: QualityModel) -> tuple[str, float]:
    heads = values.take(model.field_heads).tolist()
    most = max(heads)
    odds = sum([exp(model.sharpness * (head - most)) for head in heads])
    return model.fields[heads.index(most)], 1.0 / odds
