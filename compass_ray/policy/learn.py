"""Learning from one's own traffic: how far answers differ from what was expected of them. Pure.

Each tier has a Bayesian linear regression from a text's features to the quality of the tier's
answer beyond what the shipped model expects (or beyond nothing, for a cold start). Only the tier
that answered is heard of, so a choice is made by Thompson sampling: as if one draw from the
posterior were the truth, which tries what is uncertain and stops trying what is known to be poor
(Agrawal and Goyal, 2013, "Thompson Sampling for Contextual Bandits with Linear Payoffs").
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from compass_ray.types.routing import Tier

Floats: TypeAlias = NDArray[np.float64]

_MOST_SPREADS = 4.0
"""A feature further out than this from its mean counts as if it were there."""


@dataclass(frozen=True, slots=True)
class Posterior:
    """What is known of d weights: Gaussian, with `precision` (d, d) times the noise's variance.

    `moment` (d,) is the sum of features times outcome; `seen` counts the outcomes.
    """

    precision: Floats
    moment: Floats
    seen: int = 0

    @property
    def mean(self) -> Floats:
        """Return the most likely weights."""
        return np.asarray(np.linalg.solve(self.precision, self.moment))


@dataclass(frozen=True, slots=True)
class Feedback:
    """How an answer was judged: `quality` 0 to 1; `surplus` is quality less what was expected."""

    tier: Tier
    features: Floats
    surplus: float


Learner: TypeAlias = Mapping[Tier, Posterior]
"""One posterior for each tier that may answer."""


def fresh(tiers: tuple[Tier, ...], size: int, penalty: float) -> Learner:
    """Return a learner that has seen nothing; `penalty` outcomes' worth of belief in no surplus."""
    return {tier: Posterior(penalty * np.eye(size), np.zeros(size)) for tier in tiers}


def observe(learner: Learner, feedback: Feedback) -> Learner:
    """Return the learner after one answer was judged."""
    known, x = learner[feedback.tier], feedback.features
    updated = replace(
        known,
        precision=known.precision + np.outer(x, x),
        moment=known.moment + feedback.surplus * x,
        seen=known.seen + 1,
    )
    return {**learner, feedback.tier: updated}


def sample(posterior: Posterior, normals: Floats, noise: float) -> Floats:
    """Return weights drawn from the posterior by standard `normals` (d,).

    `noise` is the standard deviation of an outcome: at most one half for shares of one.
    """
    lower = np.linalg.cholesky(posterior.precision)
    return np.asarray(posterior.mean + noise * np.linalg.solve(lower.T, normals))


def standardised(values: NDArray[np.float32], means: Floats, spreads: Floats) -> Floats:
    """Return features that a posterior can learn from: a constant, then all on one scale.

    Divided by the root of their number, so that `penalty` means the same for any number of them.
    """
    scaled = np.clip((values - means) / spreads, -_MOST_SPREADS, _MOST_SPREADS)
    return np.concatenate(((1.0,), scaled / np.sqrt(len(scaled))))
