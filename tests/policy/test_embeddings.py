"""All vectors of one answer, and all answers for one name, come of one model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.catalogue import Catalogue
from compass_ray.policy.embeddings import select_for_embeddings, size_up
from compass_ray.policy.filter import Conditions
from compass_ray.policy.select import AUTO, Weights
from compass_ray.types.embeddings import EmbeddingRequest
from compass_ray.types.errors import CompassError, InvalidRequest, NoEndpoint, UnknownModel
from compass_ray.types.routing import Embedding, Endpoint, Preferences, Tier
from compass_ray.types.usage import Price


def embedder(provider, model, price=1, dimensions=1536, *, shortens=True, window=100):
    return Endpoint(
        provider,
        model,
        model,
        Tier.SPECIALIZED,
        context_window=window,
        max_output_tokens=0,
        price=None if price is None else Price(price, 0),
        embedding=Embedding(dimensions, shortens),
    )


CHAT = Endpoint("a", "chatty", "chatty", Tier.FAST, context_window=10_000, max_output_tokens=10)
LISTED = [
    embedder("a", "cheap", 1, 512, shortens=False),
    embedder("a", "large", 5),
    embedder("b", "large", 4),
    embedder("c", "unpriced", None),
    CHAT,
]
CATALOGUE = Catalogue(LISTED, embeddings=True)


def asked(model=AUTO, *inputs, dimensions=None, **wishes):
    inputs = inputs or ("some words",)
    return EmbeddingRequest(
        {}, model, inputs, dimensions, input_bytes=50, preferences=Preferences(**wishes)
    )


def chosen(request, keyless=(), **conditions):
    decision = select_for_embeddings(
        request, keyless, CATALOGUE, Conditions(**conditions), Weights()
    )
    return [endpoint.id for endpoint in decision.endpoints]


def test_a_model_is_asked_for_at_each_of_its_providers_and_nowhere_else():
    assert set(chosen(asked("large"))) == {"a/large", "b/large"}
    assert chosen(asked("b/large")) == ["b/large"]


def test_auto_is_the_cheapest_model():
    assert chosen(asked()) == ["a/cheap"]


def test_auto_is_the_cheapest_model_that_has_the_dimensions():
    assert set(chosen(asked(dimensions=256))) == {"a/large", "b/large"}


def test_auto_stays_with_its_model_while_that_cannot_be_called():
    assert chosen(asked(), unavailable={"a": "down"}) == []
    assert chosen(asked(), remaining=0) == []


def test_auto_passes_over_a_provider_that_nobody_has_a_key_for():
    assert set(chosen(asked(), keyless={"a"})) == {"a/large", "b/large"}


def test_auto_is_a_model_that_the_caller_may_use():
    assert chosen(asked(), allowed_models=frozenset({"c/unpriced"})) == ["c/unpriced"]
    assert chosen(asked(providers=frozenset({"c"}))) == ["c/unpriced"]


def test_auto_is_refused_where_no_model_fits():
    with pytest.raises(NoEndpoint):
        chosen(asked(dimensions=9_999))


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (asked("cheap", dimensions=256), "dimensions"),
        (asked("large", dimensions=1537), "dimensions"),
        (asked("large", fallbacks=("cheap",)), "compass.fallbacks"),
        (asked("large", tier=Tier.FAST), "compass.tier"),
        (asked(AUTO, tier=Tier.FAST), "compass.tier"),
        (asked("chatty"), "model"),
        (asked("large", "short", "word " * 500), "input"),
        (asked("large", [7] * 101), "input"),
    ],
)
def test_what_a_model_cannot_do_is_refused_by_its_field(request_, param):
    with pytest.raises(InvalidRequest) as refusal:
        chosen(request_)

    assert refusal.value.param == param


def test_a_model_that_nobody_knows_is_unknown():
    with pytest.raises(UnknownModel):
        chosen(asked("nonsense"))


def test_inputs_have_a_window_each():
    assert chosen(asked("large", *["word " * 60] * 50))


def test_token_ids_are_counted_and_texts_estimated():
    seen = size_up(asked(AUTO, [1, 2, 3], "four"))

    assert seen.input_tokens == 4
    assert seen.expected_output_tokens == 0


@given(
    st.lists(
        st.builds(
            embedder,
            st.sampled_from("abc"),
            st.sampled_from(["x", "y", "z"]),
            st.none() | st.integers(0, 9),
            st.integers(1, 4),
            shortens=st.booleans(),
        ),
        unique_by=lambda one: one.id,
    ),
    st.sampled_from([AUTO, "x", "a/x"]),
    st.none() | st.integers(1, 4),
    st.sets(st.sampled_from("abc")),
    st.sets(st.sampled_from("abc")),
)
def test_nobody_s_vectors_are_ever_mixed(listed, model, dimensions, keyless, down):
    catalogue = Catalogue([*listed, CHAT], embeddings=True)
    conditions = Conditions(unavailable=dict.fromkeys(down, "down"))

    try:
        decision = select_for_embeddings(
            asked(model, dimensions=dimensions), keyless, catalogue, conditions, Weights()
        )
    except CompassError:
        return

    models = {endpoint.model for endpoint in decision.endpoints}
    assert len(models) <= 1
    assert all(one.embedding.gives(dimensions) for one in decision.endpoints)
