"""What was learned decides, and experiments keep within what is allowed anyway."""

import asyncio
import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compass_ray.gateway.taught import Pupil, follow
from compass_ray.learned import shipped_model
from compass_ray.policy.belief import Taught, belief
from compass_ray.policy.classify import classify
from compass_ray.policy.columns import Weights
from compass_ray.policy.filter import Conditions
from compass_ray.policy.learn import Feedback, fresh, observe
from compass_ray.policy.select import Catalogue, select
from compass_ray.rules import shipped_rules
from compass_ray.types.chat import ChatRequest
from compass_ray.types.routing import Preferences, Tier
from compass_ray.types.usage import Price

from .conftest import endpoint

MODEL = shipped_model()
RULES = shipped_rules()
SIZE = 1 + len(MODEL.means)
ENDPOINTS = [
    endpoint(provider, tier.name.lower(), tier=tier, price=Price(dollars * 10**6, dollars * 10**6))
    for provider in ("a", "b")
    for tier, dollars in ((Tier.FAST, 1), (Tier.BALANCED, 5), (Tier.PREMIUM, 50))
]
CATALOGUE = Catalogue(ENDPOINTS)
ONLY_ACCURACY = Weights(complexity=0, tokens=0, latency=0, cost=0, accuracy=1)


def ask(text="Why is the sky blue?", model="auto", **wishes):
    return ChatRequest(
        body={"model": model, "messages": [{"role": "user", "content": text}]},
        model=model,
        text=text,
        last_user_text=text,
        needs=frozenset(),
        preferences=Preferences(**wishes),
        input_bytes=len(text),
    )


def lessons(*outcomes, basis=MODEL.basis, version=2):
    """Return what replicas are told after (tier, surplus) of texts that differ in nothing."""
    learner = fresh(tuple(Tier), SIZE, 1.0)
    x = np.zeros(SIZE)
    x[0] = 1.0
    for tier, surplus in outcomes:
        learner = observe(learner, Feedback(tier, x, surplus))
    beliefs = {tier: belief(posterior) for tier, posterior in learner.items()}
    return Taught(version, "on", basis, beliefs)


def pupil(explore=0.0, draws=(), taught=None):
    one = Pupil(MODEL, explore, iter(draws).__next__)
    if taught is not None:
        one.hear(taught)
    return one


def decide(one, request, *, act=True, conditions=None, weights=ONLY_ACCURACY):
    seen = one.correct(request, classify(request, RULES, model=MODEL), act=act)
    return select(request, seen, CATALOGUE, conditions or Conditions(), weights)


def test_how_long_answers_have_been_is_expected_of_the_next():
    request = ask()
    seen = classify(request, RULES, model=MODEL)
    taught = replace(lessons(), lengths={seen.task_type: 3.0})
    found = pupil(taught=taught).correct(request, seen, act=False)

    assert found.expected_output_tokens == 3 * seen.expected_output_tokens
    assert found.reasons[-1].endswith("3.00 times the rules', as answers have been")


def test_who_was_taught_nothing_changes_nothing():
    request = ask()
    seen = classify(request, RULES, model=MODEL)

    assert pupil().correct(request, seen, act=True) is seen
    assert pupil(taught=lessons()).correct(request, seen, act=True) is seen


def test_what_was_learned_decides():
    bad_premium = lessons(*[(Tier.PREMIUM, -0.8)] * 50, *[(Tier.FAST, 0.3)] * 50)

    assert decide(pupil(), ask()).endpoints[0].tier is Tier.PREMIUM
    assert decide(pupil(taught=bad_premium), ask()).endpoints[0].tier is Tier.FAST


def test_lessons_about_another_quality_model_are_not_used():
    request = ask()
    seen = classify(request, RULES, model=MODEL)
    one = pupil(taught=lessons((Tier.FAST, 1.0)))
    one.hear(lessons((Tier.FAST, 1.0), basis="other"))

    assert one.correct(request, seen, act=True) is seen


def test_without_a_share_for_experiments_chance_is_not_asked():
    one = pupil(0.0, (), lessons((Tier.FAST, 0.1)))

    decisions = [decide(one, ask()) for _ in range(3)]

    assert len({tuple(e.id for e in d.endpoints) for d in decisions}) == 1
    assert not decisions[0].classification.expectation.explored


def test_an_experiment_says_so_and_is_drawn():
    usual = decide(pupil(taught=lessons((Tier.FAST, 0.1))), ask())
    drawn = decide(pupil(0.5, (0.4, *(0.9, 0.1) * 4), lessons((Tier.FAST, 0.1))), ask())

    assert drawn.classification.expectation.explored
    assert "explores" in drawn.classification.reasons[-1]
    assert drawn.classification.expectation.surplus != usual.classification.expectation.surplus


@pytest.mark.parametrize(
    ("request_", "act"),
    [
        (ask(model="fast"), True),
        (ask("This is safety-critical: which dose is right?"), True),
        (ask(), False),
    ],
)
def test_no_experiment_with_a_pinned_model_a_critical_answer_or_a_mere_question(request_, act):
    one = pupil(1.0, (), lessons((Tier.FAST, 0.1)))  # chance would be asked in vain

    decision = decide(one, request_, act=act)

    assert not decision.classification.expectation.explored


def test_no_experiment_while_nobody_learns_from_it():
    frozen = replace(lessons((Tier.FAST, 0.1)), mode="frozen")
    one = pupil(1.0, (), frozen)  # chance would be asked in vain

    expectation = decide(one, ask()).classification.expectation

    assert not expectation.explored
    assert expectation.surplus[Tier.FAST] > 0


def test_of_many_requests_the_share_is_explored():
    chance = np.random.default_rng(3)
    one = Pupil(MODEL, 0.25, chance.random)
    one.hear(lessons((Tier.FAST, 0.1)))

    explored = sum(decide(one, ask()).classification.expectation.explored for _ in range(1_000))

    assert explored == pytest.approx(250, abs=50)


WISHES = st.fixed_dictionaries(
    {},
    optional={
        "tier": st.sampled_from([Tier.FAST, Tier.BALANCED, Tier.PREMIUM]),
        "max_cost": st.integers(0, 20_000),
        "providers": st.frozensets(st.sampled_from("ab"), min_size=1),
        "urgency": st.sampled_from(["real-time", "normal", "batch"]),
    },
)


@settings(deadline=None)
@given(
    wishes=WISHES,
    draws=st.lists(st.floats(0, 1, exclude_max=True), min_size=8, max_size=8),
    remaining=st.none() | st.integers(0, 20_000),
    out=st.sets(st.sampled_from(sorted(CATALOGUE.ids))),
)
def test_an_experiment_has_the_same_candidates_and_exclusions_whatever_is_drawn(
    wishes, draws, remaining, out
):
    conditions = Conditions(dict.fromkeys(out, "circuit open"), None, remaining)
    taught = lessons((Tier.FAST, 0.3), (Tier.PREMIUM, -0.9))
    request = ask(**wishes)

    usual = decide(pupil(taught=taught), request, conditions=conditions)
    drawn = decide(pupil(1.0, (0.0, *draws), taught), request, conditions=conditions)

    assert {e.id for e in drawn.endpoints} == {e.id for e in usual.endpoints}
    assert drawn.evidence.excluded() == usual.evidence.excluded()
    if drawn.endpoints and "tier" in wishes:
        asked = [e.tier is wishes["tier"] for e in drawn.endpoints]
        assert asked == sorted(asked, reverse=True)
    for _, same_model in itertools.groupby(drawn.endpoints, lambda e: e.model):
        assert len({e.tier for e in same_model}) == 1


async def test_it_follows_the_learner_and_keeps_its_last_word_while_that_is_silent(caplog):
    taught = lessons((Tier.FAST, 1.0))

    class Teacher:
        asked = 0
        enough = asyncio.Event()

        async def watch(self, version, wait):
            self.asked += 1
            if self.asked == 1:
                return 5, taught
            if self.asked == 3:
                self.enough.set()
            raise OSError("gone")

    one, teacher, request = Pupil(MODEL, 0.0, float), Teacher(), ask()
    following = asyncio.create_task(follow(teacher, [one], pace=0.0))
    await teacher.enough.wait()
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)

    corrected = one.correct(request, classify(request, RULES, model=MODEL), act=False)

    assert corrected.expectation.surplus[Tier.FAST] > 0
    assert [r.getMessage() for r in caplog.records] == ["the learner is silent: OSError"]
