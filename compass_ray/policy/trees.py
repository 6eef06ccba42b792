"""Boosted symmetric trees: a sum of tables, each looked up by a few yes-or-no questions. Pure.

All nodes of one level of a tree ask the same question, so a tree of depth d is d comparisons that
spell the number of a leaf, and a whole forest is a handful of array operations.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Forest:
    """T trees of depth d over f features, with k outputs.

    `features` (T, d) and `thresholds` (T, d) are the questions: is the feature above the
    threshold? The first question is the lowest bit of the leaf's number. `leaves` (T * 2**d, k)
    holds tree after tree; `start` (k,) is what is predicted without any tree.
    """

    features: NDArray[np.int64]
    thresholds: NDArray[np.float32]
    leaves: NDArray[np.float32]
    start: NDArray[np.float32]
    _ones: NDArray[np.float32] = field(init=False, repr=False)
    _offsets: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        count, depth = self.features.shape
        object.__setattr__(self, "_ones", np.ones(count, np.float32))
        object.__setattr__(self, "_offsets", np.arange(count) << depth)

    def predict(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the k outputs for the f values of one text."""
        answers = values.take(self.features) > self.thresholds
        places = np.packbits(answers, 1, "little")[:, 0] + self._offsets
        outputs: NDArray[np.float32] = self._ones @ self.leaves.take(places, 0) + self.start
        return outputs
