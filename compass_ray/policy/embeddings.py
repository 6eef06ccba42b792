"""Which endpoints are asked for embeddings. Pure.

Vectors of different models mean nothing to each other: an index that holds both finds nothing.
So all candidates for one request are endpoints of one model, a fallback to another is refused, and
`auto` stands for one model at all times: the cheapest of those that the caller may use and whose
provider has a key. What passes has no say in it: circuits, budgets, the size of a request.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from math import inf

from compass_ray.policy.catalogue import Catalogue
from compass_ray.policy.filter import Conditions
from compass_ray.policy.select import AUTO, Weights, select
from compass_ray.policy.tokens import tokens_of
from compass_ray.types.embeddings import EmbeddingRequest
from compass_ray.types.errors import InvalidRequest, NoEndpoint
from compass_ray.types.routing import Classification, Decision, Embedding, Endpoint, Tier

_SURELY = 2
"""A text has at least its estimated tokens divided by this."""


def size_up(request: EmbeddingRequest) -> Classification:
    """Return what selection needs to know; there is nothing to classify.

    Tokens are estimated, those of token ids counted.
    """
    tokens = sum(tokens_of(one) if isinstance(one, str) else len(one) for one in request.inputs)
    return Classification(
        task_type="embedding",
        tier=Tier.SPECIALIZED,
        complexity=1.0,
        urgency=request.preferences.urgency or "normal",
        input_tokens=tokens,
        expected_output_tokens=0,
        scores={},
        reasons=("embeddings: nothing to classify",),
    )


def select_for_embeddings(
    request: EmbeddingRequest,
    keyless: Collection[str],
    catalogue: Catalogue,
    conditions: Conditions,
    weights: Weights,
) -> Decision:
    """Return the endpoints of one model, best first; there may be none.

    `keyless` are the providers that are out until an operator configures them.

    Raises:
        UnknownModel: no endpoint that makes embeddings goes by the name asked for.
        InvalidRequest: a wish that would lead to another model, dimensions that the model does not
            have, or an input that is longer than it takes.
        NoEndpoint: no model stands for `auto`.
    """
    wishes = request.preferences
    for wish in ("fallbacks", "tier", "escalate"):
        if getattr(wishes, wish):
            raise InvalidRequest(
                f"compass.{wish} could lead to another model, whose vectors do not compare",
                param=f"compass.{wish}",
            )
    if request.model == AUTO:
        request = replace(request, model=_cheapest(request, catalogue, keyless, conditions).model)
    for place in catalogue.named(request.model):
        _refuse_misfit(request, catalogue.endpoints[place])
    return select(request, size_up(request), catalogue, conditions, weights)


def _cheapest(
    request: EmbeddingRequest,
    catalogue: Catalogue,
    keyless: Collection[str],
    conditions: Conditions,
) -> Endpoint:
    """Return an endpoint of the model that `auto` stands for."""
    allowed, wished = conditions.allowed_models, request.preferences.providers
    places = {place for name in allowed or () for place in catalogue.named(name)}
    fit = [
        one
        for place, one in enumerate(catalogue.endpoints)
        if one.provider not in keyless
        and (allowed is None or place in places)
        and (not wished or one.provider in wished)
        and _card(one).gives(request.dimensions)
    ]
    if not fit:
        raise NoEndpoint("no model that makes such embeddings can be called", code="no_endpoint")
    return min(fit, key=_dearness)


def _card(endpoint: Endpoint) -> Embedding:
    if endpoint.embedding is None:
        raise TypeError(f"{endpoint.id} makes no embeddings")
    return endpoint.embedding


def _dearness(endpoint: Endpoint) -> tuple[float, str]:
    price = endpoint.price
    return (inf if price is None else price.input, endpoint.model)


def _refuse_misfit(request: EmbeddingRequest, endpoint: Endpoint) -> None:
    card, window = _card(endpoint), endpoint.context_window
    if not card.gives(request.dimensions):
        most = "at most " if card.shortens else ""
        raise InvalidRequest(
            f"{endpoint.model} has {most}{card.dimensions} dimensions", param="dimensions"
        )
    least = max(map(_least_tokens, request.inputs))
    if least > window:
        raise InvalidRequest(
            f"an input of at least {least:,} tokens exceeds the {window:,} of {endpoint.model}",
            code="context_length_exceeded",
            param="input",
        )


def _least_tokens(one: str | Sequence[int]) -> int:
    return tokens_of(one) // _SURELY if isinstance(one, str) else len(one)
