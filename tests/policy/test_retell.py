import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.classify import classify
from compass_ray.policy.retell import retold, table_of, told
from compass_ray.policy.select import Catalogue, Conditions, Weights, explain, select
from compass_ray.rules import shipped_rules
from compass_ray.types.chat import ChatRequest
from compass_ray.types.events import Attempt, Record
from compass_ray.types.routing import Preferences, Tier
from compass_ray.types.usage import Usage
from tests.gateway.conftest import endpoint

ENDPOINTS = [
    endpoint("a", "big", tier=Tier.PREMIUM),
    endpoint("a", "small"),
    endpoint("b", "small"),
    endpoint("c", "free", price=None),
]
SECRET = "zebra"


def decided(out=(), tier=None):
    request = ChatRequest(
        body={"messages": []},
        model="auto",
        text=f"Why is a {SECRET} striped?",
        last_user_text=f"Why is a {SECRET} striped?",
        needs=frozenset(),
        preferences=Preferences(tier=tier),
    )
    seen = classify(request, shipped_rules())
    conditions = Conditions(unavailable=dict.fromkeys(out, "not configured"))
    return request, select(request, seen, Catalogue(ENDPOINTS), conditions, Weights())


def recorded(request, decision):
    """Return words and numbers as they come back from where they are kept."""
    attempts = (Attempt("a/big", ok=True, seconds=0.5),)
    record = Record(
        request_id="req_1",
        account="acme",
        key_name="k",
        provider="a",
        model="big",
        tier=1,
        status=200,
        stream=False,
        attempts=attempts,
        usage=Usage(),
        cost=20,
        seconds=0.5,
        ttft=None,
        at=1.0,
    )
    table = decision.evidence.table()
    words = json.loads(json.dumps(told(request, decision, table, record, ENDPOINTS[0])))
    return words, table.scores.tobytes()


@given(st.sets(st.sampled_from("abc")), st.sampled_from([None, Tier.FAST, Tier.PREMIUM]))
def test_a_recorded_decision_is_told_as_it_would_have_been_explained(out, tier):
    request, decision = decided(out, tier)
    words, numbers = recorded(request, decision)

    again, explained = retold(words, numbers), json.loads(json.dumps(explain(decision)))

    def by_name(one):
        return one["endpoint"]

    assert sorted(again["excluded"], key=by_name) == sorted(explained["excluded"], key=by_name)
    assert all(again[key] == explained[key] for key in explained.keys() - {"excluded"})
    assert again["asked_tier"] == tier
    assert again["outcome"]["endpoint"] == "a/big"
    assert "tiers" not in again


def test_no_word_of_the_prompt_is_recorded():
    words, numbers = recorded(*decided())

    assert SECRET not in json.dumps(words)
    assert SECRET.encode() not in numbers


def test_the_numbers_are_those_of_the_candidates():
    request, decision = decided()
    table = table_of(*recorded(request, decision))
    score, *columns, cost, seconds, quality = table.scores

    assert table.ids == [one.id for one in decision.endpoints]
    assert score == pytest.approx([one.score for one in decision.evidence.candidates()])
    assert [list(c) for c in np.transpose(columns)] == [
        pytest.approx(list(one.columns.values())) for one in decision.evidence.candidates()
    ]
    costs = [one.expected_cost for one in decision.evidence.candidates()]
    assert [None if np.isnan(one) else one for one in cost] == costs
    assert None in costs
    assert (seconds > 0).all()
    assert ((quality > 0) & (quality <= 1)).all()
