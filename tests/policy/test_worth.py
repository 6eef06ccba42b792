import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.catalogue import Catalogue
from compass_ray.policy.worth import worth_its_price
from compass_ray.types.chat import ChatRequest
from compass_ray.types.routing import Classification, Endpoint, Expectation, Preferences, Tier
from compass_ray.types.usage import Price

TIERS = {Tier.FAST: 1, Tier.BALANCED: 2, Tier.PREMIUM: 10}
"""Each with its price."""


def endpoint(tier, price):
    return Endpoint(
        provider="p",
        model=tier.name,
        wire_model=tier.name,
        tier=tier,
        context_window=100_000,
        max_output_tokens=1_000,
        price=None if price is None else Price(price, price),
    )


CATALOGUE = Catalogue([endpoint(tier, price) for tier, price in TIERS.items()])


def request(model="auto", tier=None):
    return ChatRequest(
        body={},
        model=model,
        text="x",
        last_user_text="x",
        needs=frozenset(),
        input_bytes=100,
        preferences=Preferences(tier=tier),
    )


def seen(fast, balanced, premium, **fields):
    quality = {Tier.FAST: fast, Tier.BALANCED: balanced, Tier.PREMIUM: premium}
    fields = {
        "task_type": "simple_qa",
        "tier": Tier.BALANCED,
        "complexity": 1.0,
        "urgency": "normal",
        "input_tokens": 100,
        "expected_output_tokens": 100,
        "scores": {},
        "reasons": (),
        "expectation": Expectation(0.0, quality, "maths", 0.5, np.zeros(1, np.float32)),
    } | fields
    return Classification(**fields)


def chosen(classification, asked=None, frugality=0.1, catalogue=CATALOGUE):
    return worth_its_price(asked or request(), classification, catalogue, frugality).tier


def test_an_easy_request_goes_to_the_cheap_tier_and_a_hard_one_to_premium():
    assert chosen(seen(0.80, 0.81, 0.82)) is Tier.FAST
    assert chosen(seen(0.20, 0.50, 0.90)) is Tier.PREMIUM
    assert chosen(seen(0.40, 0.70, 0.75)) is Tier.BALANCED


def test_the_more_frugal_the_cheaper():
    hard = seen(0.5, 0.6, 0.8)

    tiers = [chosen(hard, frugality=value) for value in (0.0, 0.2, 0.5, 5.0)]

    prices = [TIERS[tier] for tier in tiers]
    assert prices == sorted(prices, reverse=True)
    assert (tiers[0], tiers[-1]) == (Tier.PREMIUM, Tier.FAST)


@given(st.tuples(*[st.floats(0.01, 0.99)] * 3), st.floats(0, 1))
def test_no_other_tier_is_worth_more(quality, frugality):
    tier = chosen(seen(*quality), frugality=frugality)

    worth = {
        one: value - frugality * TIERS[one] / TIERS[Tier.PREMIUM]
        for one, value in zip(TIERS, quality, strict=True)
    }
    assert worth[tier] == pytest.approx(max(worth.values()))


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        (request(tier=Tier.BALANCED), {}),
        (request(model="BALANCED"), {}),
        (request(), {"accuracy": "critical"}),
        (request(), {"expectation": None}),
    ],
)
def test_another_s_last_word_stands(asked, fields):
    assert chosen(seen(0.1, 0.2, 0.9, **fields), asked) is Tier.BALANCED


def test_a_task_for_a_specialised_model_stays_there():
    assert chosen(seen(0.1, 0.2, 0.9, tier=Tier.SPECIALIZED)) is Tier.SPECIALIZED


def test_without_prices_the_rules_tier_stands():
    unpriced = Catalogue([endpoint(tier, None) for tier in TIERS])

    assert chosen(seen(0.1, 0.2, 0.9), catalogue=unpriced) is Tier.BALANCED


def test_a_tier_that_nobody_serves_is_not_asked_for():
    two = Catalogue([endpoint(tier, TIERS[tier]) for tier in (Tier.FAST, Tier.PREMIUM)])

    assert chosen(seen(0.40, 0.80, 0.45), catalogue=two) is Tier.FAST


def test_it_says_what_was_expected():
    told = worth_its_price(request(), seen(0.2, 0.5, 0.9), CATALOGUE, 0.1).reasons

    assert told == (
        "tier 1 (premium), worth its price: expected are fast 0.20, balanced 0.50, premium 0.90",
    )
