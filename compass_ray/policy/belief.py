"""What feedback has taught, as a replica uses it for one request. Pure.

A posterior over weights w says of a request with features x that its answer differs from what was
expected by about x·w: normally distributed, with mean x·m and variance s² xᵀCx. So drawing weights
for each request, which is Thompson sampling, takes one standard normal a tier.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from compass_ray.policy.learn import Floats, Posterior, standardised
from compass_ray.policy.quality import QualityModel
from compass_ray.types.chat import ChatRequest
from compass_ray.types.decisions import LearningMode
from compass_ray.types.routing import Classification, Expectation, Tier

__all__ = ["NOISE", "PENALTY", "Belief", "Taught", "belief", "corrected", "explorable", "read"]

PENALTY = 100.0
"""Outcomes' worth of belief that the shipped model is right; see docs/routing.md."""
NOISE = 0.4
"""Standard deviation of one answer's quality around what was expected of it."""


@dataclass(frozen=True, slots=True)
class Belief:
    """Of one tier's surplus: `mean` (d,) and `covariance` (d, d), in units of the noise's."""

    mean: Floats = field(repr=False)
    covariance: Floats = field(repr=False)
    seen: int


@dataclass(frozen=True, slots=True)
class Taught:
    """What replicas are told: beliefs by tier, and the quality model that they correct."""

    version: int = 0
    mode: LearningMode = "off"
    basis: str = ""
    beliefs: Mapping[Tier, Belief] = field(default_factory=dict)
    running: frozenset[str] = frozenset()
    """Digests of the experiments that are under way."""
    lengths: Mapping[str, float] = field(default_factory=dict)
    """How long answers are, by type of task, as a multiple of what the rules expect."""


def belief(posterior: Posterior) -> Belief:
    """Return what a replica needs of `posterior`."""
    covariance: Floats = np.linalg.inv(posterior.precision).astype(np.float64)
    return Belief(covariance @ posterior.moment, covariance, posterior.seen)


def read(expectation: Expectation, model: QualityModel) -> Floats:
    """Return a request's features as posteriors read them: to 32 bits, as they are kept."""
    values = standardised(expectation.features, model.means, model.spreads)
    return values.astype(np.float32).astype(np.float64)


def corrected(
    expectation: Expectation,
    x: Floats,
    beliefs: Mapping[Tier, Belief],
    normals: Mapping[Tier, float] | None = None,
) -> Expectation:
    """Return what to expect after feedback: by the beliefs' means, or drawn by `normals`."""
    surplus = {}
    for tier, known in beliefs.items():
        surplus[tier] = float(x @ known.mean)
        if normals is not None:
            spread = max(0.0, float(x @ known.covariance @ x)) ** 0.5
            surplus[tier] += NOISE * spread * normals[tier]
    return replace(expectation, surplus=surplus, explored=normals is not None)


def explorable(request: ChatRequest, seen: Classification) -> bool:
    """Tell whether an answer to this request may be an experiment.

    Only the expectation is drawn: what an endpoint may cost, must be able to do and how long it
    has are asked as ever, so an experiment is one of the candidates that there are anyway.
    """
    return request.model == "auto" and seen.accuracy != "critical" and seen.expectation is not None
