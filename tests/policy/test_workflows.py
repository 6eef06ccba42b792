"""The step machine: any history, cut anywhere, goes on as if it had not been."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.plans import read_plan
from compass_ray.policy.workflows import MOST_AT_ONCE, MOST_FILLED_IN, Machine
from compass_ray.types.workflows import BudgetReached, Ended, Failed, Finished, Started

SAY = {"prompt": "say {{previous}}"}
JUDGE = {"prompt": "of {{answers}}"}
PLANS = {
    "call": SAY | {"attempts": 3},
    "chain": {"chain": [SAY, SAY, SAY]},
    "merge": {"parallel": [SAY] * 4},
    "vote": {"parallel": [SAY | {"attempts": 2}] * 3, "aggregate": "vote"},
    "judge": {"parallel": [{"chain": [SAY, SAY]}, SAY], "aggregate": "judge", "judge": JUDGE},
    "debate": {"debate": [SAY, JUDGE], "rounds": 3, "judge": JUDGE},
    "delegate": {
        "delegate": {"prompt": "split into {{width}}"},
        "worker": {"chain": [{"prompt": "do {{task}}"}, SAY]},
        "combine": JUDGE,
        "width": 3,
    },
}
PLANS["try"] = {
    "try": PLANS["vote"],
    "check": {"contains": ["<nobody says this>"], "judge": {"prompt": "of {{answer}}"}},
    "fallback": {
        "try": {"prompt": "{{failed}}: {{failure}}"},
        "check": {"judge": {"prompt": "is {{answer}} right?"}},
        "fallback": {"chain": [{"prompt": "again: {{failed}}, {{failure}}"}, SAY]},
    },
}
PLANS["all"] = {"chain": list(PLANS.values())}
DEADLINE = 1_000.0


def machine(plan, budget=1_000_000, history=(), told="it", alerts=()):
    made = Machine(read_plan({"plan": plan}), told, budget, DEADLINE, alerts)
    for event in history:
        made.apply(event)
    return made


def answer(pending, cost=None, text=None):
    """Answer a call, always the same way for the same question."""
    step, attempt, most, _, at, _ = pending.started
    asked = f"<{len(json.dumps(pending.body['messages']))}>"
    said = text or ('["one", "two"]' if step.endswith("delegate") else asked)
    return Finished(step, attempt, said, (most or 0) if cost is None else cost, "p/m", at + 1)


def run_on(made, history, choose=lambda calls: calls[0], cost=10):
    """Go on until the run is over; return its history."""
    history, now = list(history), 0.0
    while made.end is None:
        now += 0.001
        happened = made.decide(now) or (answer(choose(made.under_way()), cost),)
        for event in happened:
            made.apply(event)
        history.extend(happened)
        assert made.spent <= 1_000_000
    return history


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_a_run_cut_after_any_event_has_the_same_result_and_repeats_no_call(plan):
    whole = run_on(machine(plan), [])

    assert whole[-1].status == "completed"
    for cut in range(len(whole)):
        again = run_on(machine(plan, history=whole[:cut]), whole[:cut])
        assert again[-1][2:] == whole[-1][2:]
        answered = [(one.step, one.attempt) for one in again if isinstance(one, Finished)]
        assert len(answered) == len(set(answered))
        assert {one[:3] for one in again if isinstance(one, Finished)} == {
            one[:3] for one in whole if isinstance(one, Finished)
        }


@given(st.data(), st.sampled_from(sorted(PLANS)), st.integers(1, 2_000))
def test_every_prefix_of_every_history_decides_and_asks_the_same(data, name, budget):
    made = machine(PLANS[name], budget, alerts=(50, 75, 90))
    history = []
    for _ in range(60):
        if made.end is not None:
            break
        happened = made.decide(1.0)
        twin = machine(PLANS[name], budget, history, alerts=(50, 75, 90))
        assert twin.decide(1.0) == happened
        assert twin.under_way() == made.under_way()
        if not happened:
            pending = data.draw(st.sampled_from(made.under_way()))
            step, attempt, most, *_ = pending.started
            cost = data.draw(st.integers(0, most))
            happened = data.draw(
                st.sampled_from(
                    (
                        (answer(pending, cost),),
                        (Failed(step, attempt, "busy", "busy", True, cost, 1.0),),  # noqa: FBT003
                    )
                )
            )
        for event in happened:
            made.apply(event)
        history.extend(happened)
        held = sum(one.started.max_cost for one in made.under_way())
        assert made.spent + held <= budget
    told = [(one.share, one.spent) for one in history if isinstance(one, BudgetReached)]
    assert [share for share, _ in told] == [
        percent / 100 for percent in (50, 75, 90) if made.spent * 100 >= budget * percent
    ][: len(told)]
    assert all(spent >= budget * share for share, spent in told)


def test_what_a_budget_has_come_to_is_told_once_and_later_calls_are_asked_to_be_cheap():
    made = machine({"chain": [SAY] * 4}, budget=100, alerts=(50, 75, 90))
    told, used = [], []
    for cost in (40, 40, 0, 20):
        decided = made.decide(1.0)
        told.append([one.share for one in decided if isinstance(one, BudgetReached)])
        for event in decided:
            made.apply(event)
        (pending,) = made.under_way()
        used.append(pending.body["compass"].get("budget_used"))
        made.apply(answer(pending, cost))
    *last, end = made.decide(2.0)

    assert told == [[], [], [0.5, 0.75], []]
    assert used == [None, None, 0.75, 0.75]
    assert last == [BudgetReached(0.9, 100, 2.0)]
    assert end.status == "completed"


def test_a_call_under_way_is_not_asked_otherwise_because_a_threshold_was_reached_since():
    plan = {"parallel": [SAY, SAY | {"compass": {"budget_used": 0.8}}, SAY]}
    made = machine(plan, budget=90, alerts=(10,))
    history = list(made.decide(1.0))
    for event in history:
        made.apply(event)
    before = made.under_way()
    history.append(answer(before[0], 10))
    made.apply(history[-1])
    history += made.decide(2.0)

    later = machine(plan, budget=90, history=history, alerts=(10,)).under_way()

    assert later == before[1:]
    assert later[0].body["compass"]["budget_used"] == 0.8


def test_an_agent_s_own_wish_to_be_cheap_stays_where_it_is_the_greater():
    made = machine(
        {"chain": [SAY, SAY | {"compass": {"budget_used": 0.8}}]}, budget=100, alerts=(50,)
    )
    for event in made.decide(1.0):
        made.apply(event)
    made.apply(answer(made.under_way()[0], 60))
    for event in made.decide(2.0):
        made.apply(event)

    assert made.under_way()[0].body["compass"]["budget_used"] == 0.8


def test_a_call_under_way_is_asked_to_the_byte_as_before_whatever_else_has_happened():
    made = machine({"parallel": [SAY, SAY]})
    history = list(made.decide(5.0))
    first = machine({"parallel": [SAY, SAY]}, history=history).under_way()

    history.append(answer(first[0]))
    later = machine({"parallel": [SAY, SAY]}, history=history).under_way()

    assert later == [first[1]]
    assert first[1].body["compass"] == {"timeout_s": 995.0, "max_cost_usd": "0.500000"}
    assert first[1].body["messages"] == [{"role": "user", "content": "say it"}]


def test_an_answer_is_not_looked_through_for_names():
    made = machine({"chain": [SAY, SAY]})
    for event in (*made.decide(0), Finished("plan.chain[0]", 1, "{{input}}", 0, "p/m", 1)):
        made.apply(event)
    for event in made.decide(2):
        made.apply(event)

    (asked,) = made.under_way()

    assert asked.body["messages"][0]["content"] == "say {{input}}"


def test_the_share_of_a_call_is_never_more_than_it_asked_for_itself():
    made = machine(SAY | {"compass": {"max_cost_usd": "0.2", "timeout_s": 7}})
    for event in made.decide(0):
        made.apply(event)

    (asked,) = made.under_way()

    assert asked.body["compass"] == {"timeout_s": 7, "max_cost_usd": "0.200000"}


def test_a_call_without_a_budget_is_bounded_by_its_account_alone():
    (started,) = machine(SAY, budget=None).decide(0)

    assert started.max_cost is None


def test_no_more_calls_start_than_may_be_under_way():
    plan = {"parallel": [SAY] * (MOST_AT_ONCE + 1)}
    made = machine(plan)

    first = made.decide(0)
    for event in first:
        made.apply(event)

    assert len(first) == MOST_AT_ONCE
    assert made.decide(1) == ()


def test_what_is_left_after_the_first_calls_is_for_the_others():
    plan = {"parallel": [{"chain": [SAY, SAY]}, SAY]}
    made = machine(plan, budget=2)
    for event in made.decide(0):
        made.apply(event)
    made.apply(answer(made.under_way()[0], cost=1))

    waits = made.decide(1)
    made.apply(answer(made.under_way()[0], cost=0))
    (started,) = made.decide(2)

    assert waits == ()
    assert started.max_cost == 1


def test_a_used_up_budget_ends_the_run_by_name():
    made = machine({"chain": [SAY, SAY]}, budget=10)
    for event in made.decide(0):
        made.apply(event)
    made.apply(answer(made.under_way()[0], cost=10))

    (end,) = made.decide(1)

    assert (end.status, end.step, end.code) == ("failed", "plan.chain[1]", "budget_exceeded")


def test_after_the_deadline_nothing_starts():
    (end,) = machine(SAY).decide(DEADLINE)

    assert end.code == "deadline_exceeded"
    assert machine(SAY, history=[end]).decide(0) == ()


@pytest.mark.parametrize(("again", "tries"), [(True, 2), (False, 1)])
def test_a_failed_call_is_made_again_where_that_may_help(again, tries):
    made = machine(SAY | {"attempts": 2})
    seen = []
    while made.end is None:
        for event in made.decide(0) or (Failed("plan", len(seen), "busy", "no", again, 5, 0),):
            made.apply(event)
            seen += [event] if isinstance(event, Started) else []

    assert [one.attempt for one in seen] == list(range(1, tries + 1))
    assert made.end == Ended("failed", 0, step="plan", code="busy", message="no")
    assert made.spent == 5 * tries


def given_answers(plan, *texts):
    made = machine(plan)
    for text in (None, *texts):
        for event in made.decide(0):
            made.apply(event)
        if made.end is None and text is not None:
            made.apply(answer(made.under_way()[0], 0, text))
    for event in made.decide(0):
        made.apply(event)
    return made


def test_a_vote_tells_who_won_by_how_much_and_what_the_others_said():
    end = given_answers(PLANS["vote"], "Rome", "Paris", " paris").end

    assert (end.text, end.confidence, end.alternatives) == ("Paris", 2 / 3, ("Rome",))


def test_a_debate_flags_what_its_judge_did_not_choose():
    end = given_answers(PLANS["debate"] | {"rounds": 1}, "yes", "no", "no").end

    assert (end.text, end.alternatives) == ("no", ("yes",))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("no list", "no_tasks"),
        ("[1]", "no_tasks"),
        ("[" * 10_000 + "]", "no_tasks"),
        ("[]", "too_wide"),
        ('["a", "b", "c", "d"]', "too_wide"),
    ],
)
def test_a_lead_that_gives_no_tasks_or_too_many_ends_the_run(text, code):
    end = given_answers(PLANS["delegate"], text).end

    assert (end.code, end.step) == (code, "plan.delegate")


def test_names_that_come_to_too_much_end_the_run_and_not_its_process():
    made = machine({"prompt": "{{input}}" * 1_000}, told="x" * MOST_FILLED_IN)

    (end,) = made.decide(0)

    assert (end.step, end.code) == ("plan", "too_long")


TRY = {"try": {"prompt": "do it", "attempts": 2}, "fallback": {"prompt": "{{failed}}|{{failure}}"}}


def fail(made, step, attempt=1, *, again=True):
    made.apply(Failed(step, attempt, "busy", "nobody there", again, 7, 1.0))


def go_on(made):
    """Start what is ready; return what is under way by its step."""
    for event in made.decide(1.0):
        made.apply(event)
    return {one.started.step: one for one in made.under_way()}


def said(pending):
    return pending.body["messages"][-1]["content"]


def test_an_agent_that_fails_for_good_is_replaced_and_its_cost_counts():
    made = machine(TRY)
    go_on(made)
    fail(made, "plan.try")
    go_on(made)
    fail(made, "plan.try", 2)

    replaced = go_on(made)
    made.apply(answer(replaced["plan.fallback"], 10, "done"))
    go_on(made)

    assert said(replaced["plan.fallback"]) == "|nobody there"
    assert (made.end.status, made.end.text, made.spent) == ("completed", "done", 24)


@pytest.mark.parametrize(
    ("check", "text", "failure"),
    [
        ({}, "Fine.", None),
        ({}, "I'm sorry, but I can't help with that.", "it refuses"),
        ({"contains": ["Paris"]}, "It is PARIS.", None),
        ({"contains": ["Paris", "France"]}, "It is Paris.", "it does not say 'France'"),
        ({"json_schema": {"required": ["a"]}}, '{"a": 1}', None),
        ({"json_schema": {"required": ["a"]}}, '{"b": 1}', "it breaks its schema (required)"),
        ({"json_schema": {"required": ["a"]}}, "a: 1", "it is not JSON"),
    ],
)
def test_an_answer_that_does_not_pass_its_check_is_replaced(check, text, failure):
    made = machine(TRY | {"check": check})
    made.apply(answer(go_on(made)["plan.try"], 10, text))

    following = go_on(made)

    if failure is None:
        assert made.end.text == text
    else:
        assert said(following["plan.fallback"]) == f"{text}|{failure}"


@pytest.mark.parametrize(("share", "agreed"), [(0.6, True), (0.7, False)])
def test_a_vote_with_too_few_behind_it_is_replaced(share, agreed):
    vote = {"parallel": [{"prompt": "a or b?"}] * 3, "aggregate": "vote"}
    made = machine(TRY | {"try": vote, "check": {"confidence": share}})
    for pending, text in zip(go_on(made).values(), "aba", strict=True):
        made.apply(answer(pending, 10, text))

    following = go_on(made)

    assert (made.end is not None) == agreed
    if not agreed:
        assert said(following["plan.fallback"]) == "a|only 67% agree"


@pytest.mark.parametrize(
    ("verdict", "passes"),
    [("Yes.", True), ("**yes**, it is", True), ("No, yesterday", False), ("yesterday", False)],
)
def test_a_judge_may_send_an_answer_back(verdict, passes):
    made = machine(TRY | {"check": {"judge": {"prompt": "good? {{answer}}"}}})
    made.apply(answer(go_on(made)["plan.try"], 10, "it"))
    judge = go_on(made)["plan.check.judge"]
    made.apply(answer(judge, 10, verdict))

    following = go_on(made)

    assert said(judge) == "good? it"
    assert (made.end is not None) == passes
    if not passes:
        assert said(following["plan.fallback"]) == f"it|{verdict}"


def test_what_is_under_way_is_waited_for_before_a_step_is_replaced():
    fan = {"parallel": [{"prompt": "one"}, {"chain": [{"prompt": "two"}, {"prompt": "three"}]}]}
    made = machine(TRY | {"try": fan})
    first, second = go_on(made).values()
    fail(made, "plan.try.parallel[0]")

    waited_for = go_on(made)
    made.apply(answer(second, 10))
    replaced = go_on(made)

    assert list(waited_for) == ["plan.try.parallel[1].chain[0]"]
    assert list(replaced) == ["plan.fallback"]
    assert first.started.step == "plan.try.parallel[0]"


def test_a_fallback_that_fails_as_well_fails_the_run():
    made = machine(TRY)
    go_on(made)
    fail(made, "plan.try", again=False)
    go_on(made)
    fail(made, "plan.fallback")

    go_on(made)

    assert (made.end.status, made.end.step) == ("failed", "plan.fallback")


def test_names_that_come_to_too_much_are_a_failure_like_any_other():
    made = machine(TRY | {"try": {"prompt": "{{input}}" * 1_000}}, told="x" * MOST_FILLED_IN)

    (replaced,) = go_on(made).values()

    assert "characters" in said(replaced)


def test_what_an_attempt_calls_its_answers_is_known_in_it_alone():
    attempt = {"chain": [{"id": "x", "prompt": "France"}, {"prompt": "{{x}}!"}]}
    both = {"parallel": [{"id": "x", "prompt": "Italy"}, {"try": attempt, "fallback": SAY}]}
    made = machine({"chain": [both, {"prompt": "{{x}}"}]})
    first = go_on(made)
    made.apply(answer(first["plan.chain[0].parallel[0]"], 1, "Rome"))
    made.apply(answer(first["plan.chain[0].parallel[1].try.chain[0]"], 1, "Paris"))

    (second,) = go_on(made).values()
    made.apply(answer(second, 1, "Paris!"))
    (last,) = go_on(made).values()

    assert (said(second), said(last)) == ("Paris!", "Rome")
