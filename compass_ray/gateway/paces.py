"""How long the endpoints have been taking, as this replica has seen it."""

from collections.abc import Mapping

import numpy as np

from compass_ray.policy.catalogue import Catalogue
from compass_ray.policy.columns import Floats
from compass_ray.policy.pace import PERCENTILES, followed
from compass_ray.types.routing import Endpoint, Urgency


class Paces:
    """Multiples of what the catalogue expects; 1 for an endpoint that has not answered yet."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._place = catalogue.place
        self._seen = [0] * len(catalogue.ids)
        self.by_urgency: Mapping[Urgency, Floats] = {
            urgency: np.ones(len(catalogue.ids)) for urgency in PERCENTILES
        }
        """Arrays over the catalogue, which change in place."""

    def observe(self, endpoint: Endpoint, output_tokens: float, seconds: float) -> None:
        """Take in an answer of so many tokens that took so long, from the call to its end."""
        place = self._place[endpoint.id]
        expected = endpoint.expected_ttft + endpoint.expected_tpot * output_tokens
        if expected <= 0 or seconds <= 0:
            return  # the clock is too coarse
        seen, ratio = self._seen[place], seconds / expected
        self._seen[place] = seen + 1
        for urgency, paces in self.by_urgency.items():
            paces[place] = followed(float(paces[place]), ratio, PERCENTILES[urgency], seen)
