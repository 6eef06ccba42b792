import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.catalogue import Catalogue
from compass_ray.policy.descent import Mean, Standing, descended
from compass_ray.types.chat import ChatRequest
from compass_ray.types.routing import Classification, Endpoint, Preferences, Tier
from compass_ray.types.usage import Price

ABOVE = 0.9
PRICES = {Tier.FAST: 1, Tier.BALANCED: 2, Tier.PREMIUM: 10}
"""Micro-dollars a token: 200 tokens of premium cost 2,000."""


def endpoint(tier):
    price = PRICES[tier] * 1_000_000
    return Endpoint("p", tier.name, tier.name, tier, 100_000, 1_000, price=Price(price, price))


CATALOGUE = Catalogue([endpoint(tier) for tier in PRICES])


def request(model="auto", tier=None):
    wishes = Preferences(tier=tier)
    return ChatRequest({}, model, "x", "x", frozenset(), input_bytes=9, preferences=wishes)


def seen(tier=Tier.PREMIUM, accuracy="normal"):
    return Classification("code", tier, 1.0, "normal", 100, 100, {}, (), accuracy=accuracy)


def after(*answers):
    standing = Standing()
    for tier, score in answers:
        standing = standing.noted(tier, score, good=score >= 0.7)
    return standing


WELL = [(Tier.PREMIUM, 0.95)] * 20


def asked_first(standing, *, asked=None, classified=None, catalogue=CATALOGUE, dear=2_000):
    asked, classified = asked or request(), classified or seen()
    return descended(asked, classified, catalogue, standing, above=ABOVE, dear=dear).tier


def test_premium_that_scores_well_and_is_dear_gives_way_to_balanced_and_says_why():
    found = descended(request(), seen(), CATALOGUE, after(*WELL), above=ABOVE, dear=2_000)

    assert found.tier is Tier.BALANCED
    assert found.reasons == (
        "tier 2 (balanced): premium's answers to code score 0.95, and this one would cost $0.0020",
    )


@pytest.mark.parametrize(
    "kept",
    [
        {"standing": after(*WELL), "dear": 2_001},
        {"standing": after(*WELL[:5])},
        {"standing": after(*[(Tier.PREMIUM, 0.89)] * 20)},
        {"standing": after(*WELL), "asked": request("p/PREMIUM")},
        {"standing": after(*WELL), "asked": request(tier=Tier.PREMIUM)},
        {"standing": after(*WELL), "classified": seen(accuracy="critical")},
        {"standing": after(*WELL), "catalogue": Catalogue([endpoint(Tier.PREMIUM)])},
        {"standing": after(*WELL, *[(Tier.BALANCED, 0.3)] * 10)},
    ],
    ids=["cheap", "few", "poor", "named", "wished", "serious", "alone", "kept-failing"],
)
def test_otherwise_premium_is_asked_first(kept):
    assert asked_first(**kept) is Tier.PREMIUM


def test_where_balanced_failed_it_is_tried_anew_after_many_of_premium_s_answers():
    failed = [*WELL, *[(Tier.BALANCED, 0.3)] * 10]

    found = [asked_first(after(*failed, *WELL * times)) for times in range(4)]

    assert found == sorted(found)
    assert (found[0], found[-1]) == (Tier.PREMIUM, Tier.BALANCED)


@given(st.sampled_from([Tier.FAST, Tier.BALANCED, Tier.SPECIALIZED]))
def test_only_premium_is_left(tier):
    assert asked_first(after(*WELL), classified=seen(tier)) is tier


@given(st.lists(st.floats(0, 1), min_size=1))
def test_a_mean_is_within_its_values_and_the_last_one_counts_most(values):
    mean = Mean()
    for value in values:
        mean = mean.with_one(value)

    assert min(values) - 1e-9 <= mean.value <= max(values) + 1e-9
    assert mean.with_one(1.0).value >= mean.value >= mean.with_one(0.0).value
    assert mean.weight < 34
