import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.ladder import Escalation, dearer, may_escalate
from compass_ray.types.chat import ChatRequest
from compass_ray.types.routing import Endpoint, Preferences, Tier

RANK = {Tier.FAST: 0, Tier.BALANCED: 1, Tier.PREMIUM: 2}


def endpoint(number, tier):
    return Endpoint(f"p{number}", "m", "m", tier, context_window=1, max_output_tokens=1)


def request(model="auto", *, stream=False, **wishes):
    return ChatRequest({}, model, "", "", frozenset(), stream, preferences=Preferences(**wishes))


@given(st.sampled_from(Tier), st.lists(st.sampled_from(Tier)))
def test_the_next_is_the_nearest_tier_above_and_keeps_its_order(tier, tiers):
    candidates = [endpoint(number, one) for number, one in enumerate(tiers)]

    found = dearer(tier, candidates)

    above = [one for one in tiers if RANK.get(one, -1) > RANK.get(tier, 9)]
    if not above:
        assert found == []
    else:
        nearest = min(above, key=RANK.__getitem__)
        assert found == [one for one in candidates if one.tier is nearest]


@pytest.mark.parametrize("always", [True, False])
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (request(), None),
        (request(escalate=True), True),
        (request(escalate=False), False),
        (request("gpt-4o", escalate=True), False),
        (request(stream=True, escalate=True), False),
        (request(stream=True, escalate=True, buffer=True), True),
        (request(stream=True, buffer=True), None),
    ],
)
def test_who_may_be_escalated(always, asked, expected):
    assert may_escalate(asked, Escalation(always)) is (always if expected is None else expected)
