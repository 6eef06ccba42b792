from math import nan

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from compass_ray.policy.classify import classify
from compass_ray.policy.columns import Weights
from compass_ray.policy.rescore import Recorded, choice, compare, reweighted
from compass_ray.policy.select import Catalogue, Conditions, select
from compass_ray.rules import shipped_rules
from compass_ray.types.chat import ChatRequest
from compass_ray.types.routing import COLUMNS, Preferences, Table, Tier
from compass_ray.types.usage import Price
from tests.gateway.conftest import endpoint

CATALOGUE = Catalogue(
    [
        endpoint("a", "big", tier=Tier.PREMIUM, price=Price(50, 90), context_window=90_000),
        endpoint("b", "big", tier=Tier.PREMIUM, price=Price(50, 90), context_window=90_000),
        endpoint("a", "mid", tier=Tier.BALANCED, price=Price(9, 9), expected_ttft=0.1),
        endpoint("c", "small", price=Price(1, 1)),
        endpoint("d", "free", price=None, expected_ttft=3.0),
    ]
)
RULES = shipped_rules()
WEIGHT_LISTS = st.lists(st.integers(0, 9), min_size=5, max_size=5).filter(any)


def weights(parts):
    return Weights(**{name: n / sum(parts) for name, n in zip(COLUMNS, parts, strict=True)})


def decide(text="Compare two sorting algorithms.", tier=None, weights=None):
    request = ChatRequest(
        body={"messages": []},
        model="auto",
        text=text,
        last_user_text=text,
        needs=frozenset(),
        preferences=Preferences(tier=tier),
    )
    seen = classify(request, RULES)
    return select(request, seen, CATALOGUE, Conditions(), weights or Weights())


def recorded(decision, tier=None):
    return Recorded(decision.evidence.table(), None if tier is None else int(tier))


def table(*rows):
    """Return candidates as (id, columns, micro-dollars, seconds, quality)."""
    scores = np.array([(0, *columns, *rest) for _, columns, *rest in rows], np.float32).T
    return Table([row[0] for row in rows], [3] * len(rows), scores.reshape(9, -1))


@given(
    WEIGHT_LISTS,
    st.sampled_from([None, Tier.FAST, Tier.BALANCED, Tier.PREMIUM]),
    st.sampled_from(["hi", "Prove that 2 is prime, step by step.", "analyze this contract"]),
)
def test_other_weights_choose_in_the_record_what_they_would_have_chosen_at_the_time(
    parts, tier, text
):
    wanted = weights(parts)

    place = choice(recorded(decide(text, tier), tier), wanted)
    then = decide(text, tier, wanted)

    found = decide(text, tier).evidence.table().ids[place]
    if found != then.endpoints[0].id:  # 32 bits make ties of what differs by less
        scores = {one.endpoint.id: one.score for one in then.evidence.candidates()}
        assert scores[found] == pytest.approx(scores[then.endpoints[0].id], abs=1e-6)


@given(WEIGHT_LISTS)
@example([1, 0, 0, 0, 1])
def test_the_weights_of_the_time_change_nothing_but_between_equals(parts):
    wanted = weights(parts)
    decisions = [recorded(decide(text, weights=wanted)) for text in ("hi", "analyze this")]

    for one in decisions:
        scores = one.table.scores[0]
        assert scores[choice(one, wanted)] == pytest.approx(scores[0], abs=1e-6)


def test_the_default_weights_change_nothing():
    decisions = [recorded(decide(text)) for text in ("hi", "analyze this")]

    found = compare(decisions, Weights())

    assert found.changed == 0
    assert found.before == found.after


def test_what_changes_is_counted_and_so_is_what_to_expect_of_it():
    good = ("a/good", (1, 0, 0, 0.0, 1.0), 300.0, 2.0, 0.9)
    cheap = ("b/cheap", (0, 0, 0, 1.0, 0.5), 100.0, 1.0, 0.5)
    decisions = [Recorded(table(good, cheap), None)] * 3 + [Recorded(table(good), None)]

    found = compare(decisions, Weights(0, 0, 0, 1, 0))

    assert (found.decisions, found.free, found.changed, found.priced) == (4, 3, 3, 4)
    assert found.moves == {("a/good", "b/cheap"): 3}
    assert (found.before.micro_usd, found.after.micro_usd) == (300.0, 150.0)
    assert (found.before.seconds, found.after.seconds) == (2.0, 1.25)
    assert found.before.quality == pytest.approx(0.9)
    assert found.after.quality == pytest.approx(0.6)


def test_of_equals_the_cheaper_is_chosen_then_the_first_by_name():
    dear, unknown = ("a/dear", (1, 1, 1, 1, 1), 9.0, 1.0, 0.5), ("b/?", (1, 1, 1, 1, 1), nan, 1, 0)
    cheap, same = (("d/cheap", (1, 1, 1, 1, 1), 5.0, 1.0, 0.5), ("c/same", (1,) * 5, 5.0, 1.0, 0.5))

    assert choice(Recorded(table(dear, unknown, cheap), None), Weights()) == 2
    assert choice(Recorded(table(dear, cheap, same), None), Weights()) == 2


def test_an_unknown_price_is_left_out_of_the_costs_on_both_sides():
    known = ("a/known", (1, 0, 0, 0.0, 0.0), 300.0, 2.0, 0.9)
    unknown = ("b/unknown", (0, 1, 0, 0.0, 0.0), nan, 2.0, 0.9)
    decisions = [Recorded(table(known, unknown), None), Recorded(table(known), None)]

    found = compare(decisions, Weights(0, 1, 0, 0, 0))

    assert (found.changed, found.priced) == (1, 1)
    assert (found.before.micro_usd, found.after.micro_usd) == (300.0, 300.0)


def test_nothing_recorded_is_no_mistake():
    found = compare([Recorded(table(), None)], Weights())

    assert (found.decisions, found.changed, found.before.seconds) == (0, 0, 0.0)


@given(WEIGHT_LISTS, st.dictionaries(st.sampled_from(COLUMNS), st.floats(0, 0.2)))
def test_what_is_not_named_shares_the_rest_as_before(parts, named):
    before = weights(parts)
    others = [name for name in COLUMNS if name not in named and getattr(before, name)]
    if not others:
        return

    after = reweighted(before, named)

    assert sum(getattr(after, name) for name in COLUMNS) == pytest.approx(1)
    assert all(getattr(after, name) == value for name, value in named.items())
    for name in others:
        ratio = getattr(before, name) / getattr(before, others[0])
        assert getattr(after, name) == pytest.approx(ratio * getattr(after, others[0]))


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"price": 0.5}, "no column 'price'"),
        ({"cost": 1.5}, "must be from 0 to 1"),
        ({"cost": nan}, "must be from 0 to 1"),
        ({"cost": 0.7, "latency": 0.4}, "sum to 1.1"),
        (dict.fromkeys(COLUMNS, 0.1), "sum to 0.5"),
    ],
)
def test_weights_that_are_none_are_refused(named, message):
    with pytest.raises(ValueError, match=message):
        reweighted(Weights(), named)
