"""Which endpoints may not serve a request, and the one reason why. Pure.

Asked in this order: model pinned, allowed models, provider, capability, unavailable, started in
time, context window, tier, price unknown, worst case above what may be spent.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np

from compass_ray.policy.catalogue import Catalogue, Mask
from compass_ray.policy.columns import RANK, Floats
from compass_ray.policy.pricing import max_input_tokens, worst_case
from compass_ray.types.requests import Request
from compass_ray.types.routing import Capability, Classification, Exclusion, Tier, Urgency
from compass_ray.types.usage import MICRO, Money, dollars

MADE_GOOD: frozenset[Capability] = frozenset({"json_schema"})
"""What a model may lack: the gateway makes it good, see `policy.instruct`. Those come last."""


class Conditions(NamedTuple):
    """What holds at this moment, and for this caller.

    `unavailable` maps an endpoint id or a provider to the reason why it cannot be called (not
    configured, unhealthy, circuit open). `allowed_models` holds models or endpoint ids; None
    allows all. `remaining` is what the tightest budget has left; None without a budget. `paces`
    are by what endpoints' times are to be multiplied, arrays over the catalogue; none where
    nothing was observed, or time does not matter.
    `starts`: seconds until a model answers, by provider and wire name, where it has to start first;
    `timeout`: the seconds that a request has whose caller does not say.
    """

    unavailable: Mapping[str, str] = MappingProxyType({})
    allowed_models: frozenset[str] | None = None
    remaining: Money | None = None
    paces: Mapping[Urgency, Floats] = MappingProxyType({})
    starts: Mapping[str, Mapping[str, float]] = MappingProxyType({})
    timeout: float = inf


class Question(NamedTuple):
    """One question asked of all endpoints: who passes, and why the one at a place does not."""

    passed: Mask
    why: Callable[[int], str]
    kind: Literal["unasked", "unavailable", "unfit"] = "unfit"


class Filter:
    """One request's questions, and who passes them all."""

    __slots__ = ("_ids", "_questions", "conditions", "passed")

    def __init__(
        self,
        request: Request,
        classification: Classification,
        catalogue: Catalogue,
        conditions: Conditions,
        pinned: Sequence[int] | None,
    ) -> None:
        """Take the places that a pinned model stands for; None where the router is free."""
        self._ids = catalogue.ids
        self.conditions = conditions
        asking = _Asking(request, classification, catalogue, conditions)
        self._questions = tuple(asking.questions(pinned))
        self.passed: Mask = catalogue.everyone.copy()
        for question in self._questions:
            self.passed &= question.passed

    def exclusions(self) -> Iterator[Exclusion]:
        """Yield why each endpoint that is out is out."""
        answers = [(one, one.passed.tolist()) for one in self._questions]
        for place in np.flatnonzero(~self.passed).tolist():
            question = next(one for one, passed in answers if not passed[place])
            yield Exclusion(self._ids[place], question.kind, question.why(place))


@dataclass(frozen=True, slots=True)
class _Asking:
    request: Request
    classification: Classification
    catalogue: Catalogue
    conditions: Conditions

    def questions(self, pinned: Sequence[int] | None) -> Iterator[Question]:
        """Yield those that this request raises; what all pass for certain is not asked."""
        wishes = self.request.preferences
        if pinned is not None:
            yield self._is_meant(pinned)
        if self.conditions.allowed_models is not None:
            yield self._is_allowed(self.conditions.allowed_models)
        if wishes.providers:
            yield self._is_wished(wishes.providers)
        for need in sorted(self.request.needs - MADE_GOOD):
            yield self._can(need)
        if self.conditions.unavailable:
            yield self._is_available()
        if self.conditions.starts:
            yield self._starts_in_time()
        if self._most_tokens() > self.catalogue.smallest_window:
            yield self._fits_the_window()
        if wishes.tier is not None and pinned is None:
            yield self._is_no_dearer_than(wishes.tier)
        limit, name = _limit(wishes.max_cost, self.conditions.remaining)
        if limit is not None:
            yield self._is_affordable(limit, name)

    def _is_meant(self, pinned: Sequence[int]) -> Question:
        why = f"not the model asked for, {self.request.model}"
        return Question(self._only(pinned), lambda _: why, "unasked")

    def _is_allowed(self, names: frozenset[str]) -> Question:
        places = [place for name in names for place in self.catalogue.named(name)]
        return Question(self._only(places), lambda _: "not among the caller's allowed models")

    def _is_wished(self, providers: frozenset[str]) -> Question:
        places = [place for name in providers for place in self.catalogue.of_provider(name)]
        return Question(self._only(places), lambda _: "not among the providers asked for")

    def _can(self, need: Capability) -> Question:
        return Question(self.catalogue.able[need], lambda _: f"cannot do {need}")

    def _is_available(self) -> Question:
        catalogue, unavailable = self.catalogue, self.conditions.unavailable

        def why(place: int) -> str:
            own = unavailable.get(catalogue.ids[place])
            return own or unavailable[catalogue.endpoints[place].provider]

        return Question(catalogue.without(unavailable), why, "unavailable")

    def _starts_in_time(self) -> Question:
        """Leave out what is not expected to answer before the request's deadline."""
        wished, allowed = self.request.preferences.timeout, self.conditions.timeout
        seconds = allowed if wished is None else min(allowed, wished)
        late = {
            place: start
            for place, start in starting(self.catalogue, self.conditions.starts)
            if start >= seconds
        }
        passed = self.catalogue.everyone.copy()
        passed[list(late)] = False

        def why(place: int) -> str:
            if late[place] == inf:
                return "does not start"
            return f"starts in about {late[place]:.0f} s, and the request has {seconds:.0f} s"

        return Question(passed, why, "unavailable")

    def _output_tokens(self) -> int:
        asked = self.request.max_output_tokens
        return self.classification.expected_output_tokens if asked is None else asked

    def _most_tokens(self) -> int:
        return self.classification.input_tokens + self._output_tokens()

    def _fits_the_window(self) -> Question:
        catalogue = self.catalogue
        output = np.minimum(self._output_tokens(), catalogue.max_outputs)
        wanted = self.classification.input_tokens + output

        def why(place: int) -> str:
            window = catalogue.endpoints[place].context_window
            return f"about {int(wanted[place]):,} tokens exceed its window of {window:,}"

        return Question(wanted <= catalogue.context_windows, why)

    def _is_no_dearer_than(self, tier: Tier) -> Question:
        passed = self.catalogue.ranks <= RANK[tier]
        return Question(passed, lambda _: f"dearer than the {tier.name.lower()} tier asked for")

    def _is_affordable(self, limit: Money, name: str) -> Question:
        """Ask in pico-dollars, which are exact up to 2**53 of them: 9,007 dollars a call."""
        request, catalogue = self.request, self.catalogue
        enough = float(limit) * MICRO

        def why(place: int) -> str:
            worst = worst_case(request, catalogue.endpoints[place])
            if worst is None:
                return f"price unknown, and the caller has {name}"
            return f"worst case ${dollars(worst)} exceeds {name} of ${dollars(limit)}"

        if enough >= catalogue.dearest_call * request.n * request.windows:
            return Question(catalogue.priced, why)
        asked = inf if request.max_output_tokens is None else request.max_output_tokens
        outputs = np.minimum(asked, catalogue.max_outputs)
        windows = catalogue.context_windows * request.windows
        inputs = np.minimum(max_input_tokens(request), windows)
        most = (
            inputs * catalogue.dearest_inputs
            + outputs * catalogue.output_prices * request.n
            + catalogue.per_request
        )
        return Question(most <= enough, why)  # an unknown price, NaN, is never enough

    def _only(self, places: Sequence[int]) -> Mask:
        passed = np.zeros(len(self.catalogue.ids), np.bool_)
        passed[places] = True
        return passed


def starting(
    catalogue: Catalogue, starts: Mapping[str, Mapping[str, float]]
) -> Iterator[tuple[int, float]]:
    """Yield the places of endpoints whose model has to start first, and its seconds."""
    for provider, models in starts.items():
        for place in catalogue.of_provider(provider):
            seconds = models.get(catalogue.endpoints[place].wire_model)
            if seconds is not None:
                yield place, seconds


def _limit(max_cost: Money | None, remaining: Money | None) -> tuple[Money | None, str]:
    if max_cost is not None and (remaining is None or max_cost <= remaining):
        return max_cost, "a cost limit"
    return remaining, "a remaining budget"
