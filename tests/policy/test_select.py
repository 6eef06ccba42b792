import dataclasses
import itertools
import json
from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.pricing import worst_case
from compass_ray.policy.select import Catalogue, Conditions, Weights, explain, select
from compass_ray.types.chat import ChatRequest
from compass_ray.types.errors import ConfigError, InvalidRequest, UnknownModel
from compass_ray.types.routing import (
    SCORES,
    Classification,
    Endpoint,
    Expectation,
    Preferences,
    Tier,
)
from compass_ray.types.usage import Price

CAPABILITIES = ("vision", "tools", "json_schema", "reasoning")
USD_PER_MTOK = 1_000_000


def request(asks=None, **fields):
    fields = {"model": "auto", "needs": frozenset(), "input_bytes": 400} | fields
    body = {"messages": [{"role": "user", "content": "hello"}]} | (asks or {})
    return ChatRequest(body=body, text="hello", last_user_text="hello", **fields)


def seen(**fields):
    fields = {
        "task_type": "simple_qa",
        "tier": Tier.FAST,
        "complexity": 1.0,
        "urgency": "normal",
        "input_tokens": 100,
        "expected_output_tokens": 200,
        "scores": {"domain": 1},
        "reasons": ("tier 3 (fast)",),
    } | fields
    return Classification(**fields)


def endpoint(provider="openai", model="gpt", tier=Tier.FAST, dollars=1, **fields):
    price = None if dollars is None else Price(dollars * USD_PER_MTOK, dollars * USD_PER_MTOK)
    fields = {"context_window": 100_000, "max_output_tokens": 1_000, "price": price} | fields
    return Endpoint(provider=provider, model=model, wire_model=model, tier=tier, **fields)


def starting(seconds, provider="openai", **fields):
    """Conditions under which the provider's model `gpt` has to start first."""
    return Conditions(starts={provider: {"gpt": seconds}}, **fields)


FREE, DOCUMENTED = Conditions(), Weights()


def decide(endpoints, asked=None, classification=None, conditions=FREE, weights=DOCUMENTED):
    classification = seen() if classification is None else classification
    asked = request() if asked is None else asked
    return select(asked, classification, Catalogue(endpoints), conditions, weights)


def order(decision):
    return [endpoint.id for endpoint in decision.endpoints]


CHEAP = endpoint("openai", "mini", Tier.FAST, 1)
MIDDLE = endpoint("openai", "mid", Tier.BALANCED, 4)
DEAR = endpoint("anthropic", "big", Tier.PREMIUM, 20)
SIBLING = dataclasses.replace(CHEAP, provider="azure")
CODER = endpoint("huggingface", "coder", Tier.SPECIALIZED, 2, skills={"coding": 5})
ALL = (CHEAP, MIDDLE, DEAR, SIBLING, CODER)


@pytest.mark.parametrize(
    ("task", "tier", "winner"),
    [
        ("simple_qa", Tier.FAST, "azure/mini"),
        ("creative", Tier.BALANCED, "openai/mid"),
        ("reasoning", Tier.PREMIUM, "anthropic/big"),
        ("code", Tier.SPECIALIZED, "huggingface/coder"),
    ],
)
def test_the_classified_tier_wins_among_equals(task, tier, winner):
    classification = seen(task_type=task, tier=tier)

    assert order(decide(ALL, classification=classification))[0] == winner


def test_the_same_model_at_another_provider_is_tried_next():
    assert order(decide(ALL))[:2] == ["azure/mini", "openai/mini"]


def test_a_slow_sibling_is_still_tried_before_another_model():
    slow = dataclasses.replace(SIBLING, expected_ttft=60.0)
    other = endpoint("google", "tiny", dollars=2)
    decision = decide([CHEAP, slow, other], classification=seen(urgency="real-time"))

    assert order(decision) == ["openai/mini", "azure/mini", "google/tiny"]
    assert decision.evidence.candidates()[1].score < decision.evidence.candidates()[2].score


def test_equal_scores_go_to_the_cheaper_then_to_the_lower_id():
    twins = [endpoint(name, "m", dollars=1) for name in ("b", "a", "c")]
    weights = Weights(complexity=1.0, tokens=0.0, latency=0.0, cost=0.0, accuracy=0.0)
    dearer = endpoint("a", "other", dollars=2)

    assert order(decide([*twins, dearer], weights=weights)) == ["a/m", "b/m", "c/m", "a/other"]


@pytest.mark.parametrize(
    ("name", "candidates"),
    [
        ("mini", ["azure/mini", "openai/mini"]),
        ("MINI", ["azure/mini", "openai/mini"]),
        ("azure/mini", ["azure/mini"]),
        ("anthropic/big", ["anthropic/big"]),
    ],
)
def test_a_pinned_model_has_only_its_own_endpoints(name, candidates):
    decision = decide(ALL, request(model=name, preferences=Preferences(tier=Tier.FAST)))

    assert order(decision) == candidates
    reasons = {(one.kind, one.reason) for one in decision.evidence.excluded()}
    assert reasons == {("unasked", f"not the model asked for, {name}")}


def test_fallbacks_of_a_pinned_model_come_after_it_in_the_order_of_the_list():
    wishes = Preferences(fallbacks=("anthropic/big", "coder", "MINI"))

    decision = decide(ALL, request(model="mini", preferences=wishes))

    assert order(decision) == ["azure/mini", "openai/mini", "anthropic/big", "huggingface/coder"]
    assert [one.endpoint_id for one in decision.evidence.excluded()] == ["openai/mid"]


def test_fallbacks_pass_the_same_filter():
    wishes = Preferences(fallbacks=("big", "mid"), max_cost=5_000)

    asked = request(model="mini", preferences=wishes, max_output_tokens=400)

    assert order(decide(ALL, asked)) == ["azure/mini", "openai/mini", "openai/mid"]


def test_fallbacks_need_a_model_that_is_named():
    with pytest.raises(InvalidRequest) as refusal:
        decide(ALL, request(preferences=Preferences(fallbacks=("mini",))))

    assert refusal.value.param == "compass.fallbacks"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": "nope"}, "model"),
        (
            {"model": "mini", "preferences": Preferences(fallbacks=("mid", "nope"))},
            "compass.fallbacks[1]",
        ),
    ],
)
def test_an_unknown_model_is_refused(fields, param):
    with pytest.raises(UnknownModel, match="'nope'") as refusal:
        decide(ALL, request(**fields))

    assert refusal.value.param == param


def test_regions_are_endpoints_of_their_own():
    regions = [endpoint("azure", "m", region=name) for name in ("eu", "us")]

    assert order(decide(regions, request(model="azure/m@us"))) == ["azure/m@us"]
    assert order(decide(regions, request(model="azure/m"))) == ["azure/m@eu", "azure/m@us"]


def test_an_endpoint_listed_twice_is_refused():
    with pytest.raises(ConfigError, match="listed twice"):
        Catalogue([CHEAP, CHEAP])


@pytest.mark.parametrize(
    ("asked", "conditions", "reason"),
    [
        (request(needs=frozenset({"vision"})), Conditions(), "cannot do vision"),
        (request(), Conditions(allowed_models=frozenset({"x"})), "not among the caller's allowed"),
        (request(preferences=Preferences(providers=frozenset({"x"}))), Conditions(), "providers"),
        (request(), Conditions(unavailable={"openai": "not configured"}), "not configured"),
        (request(), Conditions(unavailable={"openai/gpt": "circuit open"}), "circuit open"),
        (request(), starting(60, timeout=60), "starts in about 60 s, and the request has 60 s"),
        (request(preferences=Preferences(timeout=5)), starting(60), "the request has 5 s"),
        (request(), starting(inf), "does not start"),
        (request(), Conditions(remaining=10), "worst case $0.001"),
        (request(preferences=Preferences(max_cost=9)), Conditions(), "exceeds a cost limit"),
        (request(preferences=Preferences(max_cost=9)), Conditions(remaining=5), "remaining budget"),
    ],
)
def test_an_excluded_endpoint_has_its_reason(asked, conditions, reason):
    decision = decide([endpoint()], asked, conditions=conditions)

    assert not decision.endpoints
    (excluded,) = decision.evidence.excluded()
    assert excluded.endpoint_id == "openai/gpt"
    out_of_service = conditions.unavailable or conditions.starts
    assert excluded.kind == ("unavailable" if out_of_service else "unfit")
    assert reason in excluded.reason


def test_a_model_that_starts_in_time_is_a_candidate_that_takes_longer():
    asleep = endpoint("vllm", "gpt")

    decision = decide([asleep, endpoint()], conditions=starting(60, "vllm", timeout=61))

    assert order(decision) == ["openai/gpt", "vllm/gpt"]
    ready, waited = decision.evidence.table().scores[list(SCORES).index("expected_seconds")]
    assert waited == pytest.approx(ready + 60)


def test_only_the_model_that_has_to_start_is_left_out():
    others = [endpoint("vllm", "other"), endpoint()]

    decision = decide([endpoint("vllm", "gpt"), *others], conditions=starting(9, "vllm", timeout=9))

    assert sorted(order(decision)) == ["openai/gpt", "vllm/other"]


def test_what_does_not_fit_the_window_is_excluded():
    small = endpoint(context_window=1000, max_output_tokens=900)

    assert order(decide([small], classification=seen(input_tokens=700)))
    assert not order(decide([small], classification=seen(input_tokens=900)))
    assert not order(decide([small], request(max_output_tokens=500), seen(input_tokens=700)))


def test_a_price_nobody_knows_is_closed_to_budgeted_callers_only():
    unknown = endpoint(dollars=None)

    assert order(decide([unknown])) == ["openai/gpt"]
    for conditions, wishes in (
        (Conditions(remaining=10**9), Preferences()),
        (Conditions(), Preferences(max_cost=10**9)),
    ):
        decision = decide([unknown], request(preferences=wishes), conditions=conditions)
        assert "price unknown" in decision.evidence.excluded()[0].reason


@pytest.mark.parametrize(
    ("field", "value"),
    [("service_tier", "priority"), ("web_search_options", {}), ("audio", {"voice": "ash"})],
)
def test_what_tokens_do_not_pay_for_is_refused_by_name_where_spending_is_limited(field, value):
    asked = request({field: value})
    limited = request({field: value}, preferences=Preferences(max_cost=10**9))

    assert order(decide([CHEAP], asked))
    for one, conditions in ((asked, Conditions(remaining=10**9)), (limited, Conditions())):
        with pytest.raises(InvalidRequest) as refused:
            decide([CHEAP], one, conditions=conditions)
        assert refused.value.param == field


@pytest.mark.parametrize("tier", ["auto", "default", "flex"])
def test_a_service_tier_that_costs_no_more_is_nobody_s_business(tier):
    asked = request({"service_tier": tier})

    assert order(decide([CHEAP], asked, conditions=Conditions(remaining=10**9)))


def test_an_unknown_price_counts_as_the_dearest():
    candidates = decide([endpoint("a", "unknown", dollars=None), CHEAP, DEAR]).evidence.candidates()

    costs = {one.endpoint.id: (one.columns["cost"], one.expected_cost) for one in candidates}
    assert costs["a/unknown"] == (0.0, None)
    assert costs["anthropic/big"] == (0.0, 6000)
    assert costs["openai/mini"] == (0.95, 300)


def test_a_wished_tier_comes_first_then_cheaper_ones_and_none_dearer():
    decision = decide(ALL, request(preferences=Preferences(tier=Tier.BALANCED)))

    assert order(decision)[0] == "openai/mid"
    assert set(order(decision)) == {"openai/mid", "openai/mini", "azure/mini", "huggingface/coder"}
    (excluded,) = decision.evidence.excluded()
    assert excluded.endpoint_id == "anthropic/big"
    assert excluded.reason == "dearer than the balanced tier asked for"


@pytest.mark.parametrize(
    ("max_cost", "winner"),
    [(100_000, "anthropic/big"), (9_000, "openai/mid"), (1_000, "azure/mini")],
)
def test_a_smaller_limit_leads_to_a_cheaper_tier(max_cost, winner):
    wishes = Preferences(max_cost=max_cost)
    asked = request(preferences=wishes, max_output_tokens=400)
    hard = seen(task_type="reasoning", tier=Tier.PREMIUM)

    assert order(decide((CHEAP, MIDDLE, DEAR, SIBLING), asked, hard))[0] == winner


def test_real_time_prefers_the_faster_of_two_equals():
    fast = endpoint("z", "fast", dollars=2, expected_ttft=0.1, expected_tpot=0.001)
    slow = endpoint("a", "slow", dollars=1, expected_ttft=2.0, expected_tpot=0.05)

    assert order(decide([fast, slow], classification=seen(urgency="real-time")))[0] == "z/fast"
    assert order(decide([fast, slow], classification=seen(urgency="batch")))[0] == "a/slow"


def test_nothing_to_call_is_a_decision_too():
    decision = decide([])

    assert not decision.endpoints
    assert decision.evidence.excluded() == ()


def test_an_explanation_is_json_and_names_every_endpoint():
    decision = decide(ALL, conditions=Conditions(unavailable={"azure": "not configured"}))
    explained = json.loads(json.dumps(explain(decision)))

    assert explained["tier_name"] == "fast"
    assert explained["candidates"][0]["endpoint"] == "openai/mini"
    assert explained["candidates"][0]["expected_cost_micro_usd"] == 300
    assert set(explained["candidates"][0]["columns"]) == {
        "complexity",
        "tokens",
        "latency",
        "cost",
        "accuracy",
    }
    assert explained["excluded"] == [{"endpoint": "azure/mini", "reason": "not configured"}]


def foreseen(fast, balanced, premium):
    quality = {Tier.PREMIUM: premium, Tier.BALANCED: balanced, Tier.FAST: fast}
    quality[Tier.SPECIALIZED] = balanced
    return Expectation(premium - fast, quality, "law", 0.75, np.zeros(0, np.float32))


def accuracy(decision):
    return {one.endpoint.id: one.columns["accuracy"] for one in decision.evidence.candidates()}


def test_the_accuracy_column_is_what_was_learned_of_the_tier():
    classification = seen(expectation=foreseen(0.2, 0.5, 0.9))
    columns = accuracy(decide(ALL, classification=classification))

    assert columns == {
        "openai/mini": 0.2,
        "azure/mini": 0.2,
        "openai/mid": 0.5,
        "huggingface/coder": 0.5,
        "anthropic/big": 0.9,
    }


def test_a_weak_tier_loses_more_where_a_mistake_is_serious_and_nothing_where_it_is_not():
    expectation = foreseen(0.6, 0.6, 0.6)
    critical = accuracy(
        decide(ALL, classification=seen(accuracy="critical", expectation=expectation))
    )
    free = accuracy(
        decide(ALL, classification=seen(accuracy="exploratory", expectation=expectation))
    )

    assert critical["openai/mini"] == pytest.approx(0.2)
    assert critical["anthropic/big"] == pytest.approx(0.6)
    assert set(free.values()) == {1.0}


def test_what_was_learned_decides_where_only_accuracy_counts():
    weights = Weights(complexity=0.0, tokens=0.0, latency=0.0, cost=0.2, accuracy=0.8)
    easy, hard = (seen(expectation=foreseen(*q)) for q in ((0.9, 0.9, 0.91), (0.1, 0.3, 0.9)))

    assert order(decide(ALL, classification=easy, weights=weights))[0] == "azure/mini"
    assert order(decide(ALL, classification=hard, weights=weights))[0] == "anthropic/big"


def test_a_column_without_weight_does_not_matter_where_nobody_is_left():
    weights = Weights(complexity=1, tokens=0, latency=0, cost=0, accuracy=0)
    nobody = Conditions(unavailable={one.provider: "not configured" for one in ALL})

    assert not decide(ALL, conditions=nobody, weights=weights).endpoints


def test_an_explanation_says_what_was_expected():
    classification = seen(expectation=foreseen(0.25, 0.5, 0.875))
    explained = json.loads(json.dumps(explain(decide(ALL, classification=classification))))

    assert explained["expectation"] == {
        "need": 0.625,
        "quality": {"premium": 0.875, "balanced": 0.5, "fast": 0.25, "specialized": 0.5},
        "field": "law",
        "confidence": 0.75,
        "surplus": {},
        "explored": False,
    }
    assert explain(decide(ALL))["expectation"] is None


NAMES = st.sampled_from(["a", "b", "c", "d"])
ENDPOINTS = st.lists(
    st.builds(
        Endpoint,
        provider=NAMES,
        model=NAMES,
        wire_model=st.just("w"),
        tier=st.sampled_from(Tier),
        context_window=st.integers(200, 100_000),
        max_output_tokens=st.integers(1, 5_000),
        capabilities=st.frozensets(st.sampled_from(CAPABILITIES)),
        price=st.none()
        | st.builds(
            Price,
            input=st.integers(0, 30).map(lambda n: n * USD_PER_MTOK),
            output=st.integers(0, 90).map(lambda n: n * USD_PER_MTOK),
        ),
        skills=st.dictionaries(st.sampled_from(["reasoning", "coding", "math"]), st.integers(1, 5)),
        expected_ttft=st.floats(0, 5),
        expected_tpot=st.floats(0, 0.1),
    ),
    max_size=8,
    unique_by=lambda one: one.id,
)
REQUESTS = st.builds(
    request,
    needs=st.frozensets(st.sampled_from(CAPABILITIES), max_size=2),
    stream=st.booleans(),
    n=st.integers(1, 3),
    max_output_tokens=st.none() | st.integers(1, 10_000),
    preferences=st.builds(
        Preferences,
        tier=st.none() | st.sampled_from(Tier),
        max_cost=st.none() | st.integers(0, 1_000_000),
        providers=st.frozensets(NAMES, max_size=2),
    ),
)
CLASSES = st.builds(
    seen,
    tier=st.sampled_from(Tier),
    task_type=st.sampled_from(["simple_qa", "code", "math", "reasoning", "translation"]),
    urgency=st.sampled_from(["real-time", "normal", "batch"]),
    accuracy=st.sampled_from(["critical", "normal", "exploratory"]),
    input_tokens=st.integers(1, 50_000),
    expected_output_tokens=st.integers(0, 3_000),
)
CONDITIONS = st.builds(
    Conditions,
    unavailable=st.dictionaries(NAMES, st.just("not configured"), max_size=2),
    allowed_models=st.none() | st.frozensets(NAMES),
    remaining=st.none() | st.integers(0, 1_000_000),
    paces=st.just({}),
)


@given(ENDPOINTS, REQUESTS, CLASSES, CONDITIONS)
def test_every_endpoint_is_a_candidate_or_excluded_with_a_reason(
    endpoints, asked, classification, conditions
):
    decision = decide(endpoints, asked, classification, conditions)

    excluded = [one.endpoint_id for one in decision.evidence.excluded() if one.reason]
    assert sorted(order(decision) + excluded) == sorted(one.id for one in endpoints)


@given(ENDPOINTS, REQUESTS, CLASSES, CONDITIONS)
def test_who_knows_schemas_comes_before_who_has_to_be_told_in_words(
    endpoints, asked, classification, conditions
):
    asked = replace(asked, needs=asked.needs | {"json_schema"})

    decision = decide(endpoints, asked, classification, conditions)

    able = ["json_schema" in one.capabilities for one in decision.endpoints]
    assert able == sorted(able, reverse=True)


@given(ENDPOINTS, REQUESTS, CLASSES, CONDITIONS)
def test_no_candidate_breaks_a_hard_limit(endpoints, asked, classification, conditions):
    decision = decide(endpoints, asked, classification, conditions)

    limits = [
        limit for limit in (asked.preferences.max_cost, conditions.remaining) if limit is not None
    ]
    for candidate in decision.evidence.candidates():
        chosen = candidate.endpoint
        assert asked.needs - {"json_schema"} <= chosen.capabilities
        assert chosen.provider not in conditions.unavailable
        assert not asked.preferences.providers or chosen.provider in asked.preferences.providers
        assert conditions.allowed_models is None or chosen.model in conditions.allowed_models
        assert not limits or worst_case(asked, chosen) <= min(limits)


@given(ENDPOINTS, REQUESTS, CLASSES, CONDITIONS, st.randoms(use_true_random=False))
def test_the_order_of_the_catalogue_changes_nothing(
    endpoints, asked, classification, conditions, random
):
    shuffled = list(endpoints)
    random.shuffle(shuffled)

    first = decide(endpoints, asked, classification, conditions)
    second = decide(shuffled, asked, classification, conditions)
    assert explain(second) == explain(first)


@given(ENDPOINTS, REQUESTS, CLASSES)
def test_columns_and_scores_stay_between_0_and_1(endpoints, asked, classification):
    for candidate in decide(endpoints, asked, classification).evidence.candidates():
        assert all(0.0 <= value <= 1.0 for value in candidate.columns.values())
        assert -1e-9 <= candidate.score <= 1.0 + 1e-9


@given(ENDPOINTS, REQUESTS, CLASSES)
def test_endpoints_of_a_model_stay_together_best_first(endpoints, asked, classification):
    # Who knows schemas comes before all others, and may part a model's endpoints.
    asked = dataclasses.replace(asked, needs=asked.needs - {"json_schema"})
    candidates = decide(endpoints, asked, classification).evidence.candidates()

    models = [candidate.endpoint.model for candidate in candidates]
    runs = [name for n, name in enumerate(models) if n == 0 or models[n - 1] != name]
    assert len(runs) == len(set(runs))
    for one, following in itertools.pairwise(candidates):
        assert one.endpoint.model != following.endpoint.model or one.score >= following.score


@given(ENDPOINTS, REQUESTS, CLASSES, st.floats(0.05, 0.95))
def test_more_weight_on_cost_never_makes_the_winner_dearer(endpoints, asked, classification, share):
    """Shift `share` of all weight to cost, shrinking the rest alike.

    If A won before and B wins after, then B's cost column is at least A's: subtract the two
    winning inequalities. The column falls with cost, down to 0 at the ceiling. A tier that is
    asked for comes before any score.
    """
    wishes = dataclasses.replace(asked.preferences, tier=None)
    asked = dataclasses.replace(asked, preferences=wishes)
    weights = Weights()
    shifted = Weights(
        **{
            name: value * (1 - share) + (share if name == "cost" else 0.0)
            for name, value in dataclasses.asdict(weights).items()
        }
    )
    before = decide(endpoints, asked, classification, weights=weights).evidence.candidates()
    after = decide(endpoints, asked, classification, weights=shifted).evidence.candidates()
    if not before:
        return

    assert after[0].columns["cost"] >= before[0].columns["cost"] - 1e-9


@given(st.lists(st.sampled_from([100, 200, 300]), min_size=1, max_size=6), st.data())
def test_the_first_is_the_same_whether_the_others_are_asked_for_or_not(prices, data):
    endpoints = [
        endpoint("p", f"m{n // 2}", tier=Tier(price // 100), dollars=price, region=str(n))
        for n, price in enumerate(prices)
    ]
    tier = data.draw(st.sampled_from([None, *Tier]))
    asked = request(preferences=Preferences(tier=tier))

    first, whole = decide(endpoints, asked).endpoints, decide(endpoints, asked).endpoints

    assert len(first) == len(list(whole))
    if first:
        assert first[0] == next(iter(whole)) == whole[0]
        assert whole[1:] == list(whole)[1:]
