"""Reading plans: what is sound, and where what is not is refused."""

import pytest

from compass_ray.policy.plans import MOST_CALLS, MOST_DEPTH, calls, read_plan
from compass_ray.types.errors import InvalidPlan
from compass_ray.types.plans import Call, Chain, Parallel

SAY = {"prompt": "hi"}
DELEGATE = {"delegate": SAY, "worker": {"prompt": "{{task}}"}, "combine": {"prompt": "{{answers}}"}}

TRY = {"try": SAY, "fallback": {"prompt": "{{failed}}, {{failure}}"}}
CHECK_JUDGE = "plan.check.judge"


def nested(depth):
    plan = SAY
    for _ in range(depth):
        plan = {"chain": [plan]}
    return plan


def test_a_call_becomes_a_chat_body_with_its_agent_s_fields():
    agents = {"critic": {"model": "m", "system": "Be harsh.", "temperature": 0}}

    call = read_plan({"plan": SAY | {"agent": "critic"}, "agents": agents})

    assert call.body == {
        "model": "m",
        "temperature": 0,
        "messages": [
            {"role": "system", "content": "Be harsh."},
            {"role": "user", "content": "hi"},
        ],
    }


def test_steps_nest_and_each_call_has_a_path():
    fan = {"parallel": [SAY, DELEGATE], "aggregate": "judge", "judge": {"prompt": "{{answers}}"}}

    tried = TRY | {"check": {"judge": {"prompt": "{{answer}}"}}}
    debate = {"debate": [SAY, SAY], "judge": SAY}

    plan = read_plan({"plan": {"chain": [SAY, fan, debate, tried]}})

    assert isinstance(plan, Chain)
    assert isinstance(plan.steps[1], Parallel)
    assert [path.removeprefix("plan.chain") for path, _ in calls(plan)] == [
        "[0]",
        "[1].parallel[0]",
        "[1].parallel[1].delegate",
        "[1].parallel[1].worker",
        "[1].parallel[1].combine",
        "[1].judge",
        "[2].debate[0]",
        "[2].debate[1]",
        "[2].judge",
        "[3].try",
        "[3].check.judge",
        "[3].fallback",
    ]


def test_a_later_step_may_use_what_an_earlier_one_is_called():
    first = SAY | {"id": "draft"}

    plan = read_plan({"plan": {"chain": [{"parallel": [first, SAY]}, {"prompt": "{{draft}}"}]}})

    assert isinstance(plan, Chain)


def test_both_ways_may_give_the_same_name():
    same = {"chain": [SAY | {"id": "draft"}, {"prompt": "{{draft}}"}]}

    assert read_plan({"plan": {"try": same, "fallback": same}})


def test_a_literal_text_is_not_looked_through():
    assert isinstance(read_plan({"plan": {"prompt": "{{else}}", "literal": True}}), Call)


REFUSED = {
    "no step": (None, "plan"),
    "no kind": ({}, "plan"),
    "two kinds": (SAY | {"chain": []}, "plan"),
    "an unknown field": ({"chain": [SAY], "width": 2}, "plan.width"),
    "an empty chain": ({"chain": []}, "plan.chain"),
    "an unknown agent": ({"chain": [SAY, SAY | {"agent": "x"}]}, "plan.chain[1].agent"),
    "an agent that is no name": (SAY | {"agent": ["x"]}, "plan.agent"),
    "itself": ({"prompt": "{{me}}", "id": "me"}, "plan"),
    "a cycle": (
        {"chain": [{"prompt": "{{b}}", "id": "a"}, {"prompt": "{{a}}", "id": "b"}]},
        "plan.chain[0]",
    ),
    "what runs at the same time": (
        {"parallel": [SAY | {"id": "a"}, {"prompt": "{{a}}"}]},
        "plan.parallel[1]",
    ),
    "a name twice": ({"chain": [SAY | {"id": "a"}] * 2}, "plan.chain[1].id"),
    "a name twice at the same time": ({"parallel": [SAY | {"id": "a"}] * 2}, "plan.parallel[1]"),
    "a name of ours": (SAY | {"id": "previous"}, "plan.id"),
    "a name that is none": (SAY | {"id": "A b"}, "plan.id"),
    "a name in a debate": ({"debate": [SAY | {"id": "a"}], "judge": SAY}, "plan.debate[0].id"),
    "a name of a worker": (DELEGATE | {"worker": SAY | {"id": "a"}}, "plan.worker.id"),
    "too deep": (nested(MOST_DEPTH), "plan" + ".chain[0]" * MOST_DEPTH),
    "too wide": ({"parallel": [SAY] * (MOST_CALLS + 1)}, "plan.parallel"),
    "too wide together": (
        DELEGATE | {"width": 40, "worker": DELEGATE | {"width": 40}},
        "plan.worker.worker",
    ),
    "a judge without a case": ({"parallel": [SAY], "judge": SAY}, "plan.judge"),
    "a case without a judge": ({"parallel": [SAY], "aggregate": "judge"}, "plan.judge"),
    "an unknown aggregate": ({"parallel": [SAY], "aggregate": "mean"}, "plan.aggregate"),
    "no rounds": ({"debate": [SAY], "rounds": 0, "judge": SAY}, "plan.rounds"),
    "a stream": (SAY | {"stream": True}, "plan.stream"),
    "prompt and messages": (SAY | {"messages": []}, "plan"),
    "an empty prompt": ({"prompt": ""}, "plan.prompt"),
    "messages that are none": ({"messages": "hi"}, "plan.messages"),
    "too many attempts": (SAY | {"attempts": 100}, "plan.attempts"),
    "nothing in its place": ({"try": SAY}, "plan.fallback"),
    "a judge who may never be asked": (
        {
            "try": SAY,
            "check": {"judge": SAY | {"id": "verdict"}},
            "fallback": {"chain": [{"prompt": "mend: {{verdict}}"}]},
        },
        "plan.fallback.chain[0]",
    ),
    "a schema that cannot be checked": (
        TRY | {"check": {"json_schema": {"pattern": "^[0-9]{5}$"}}},
        "plan.check.json_schema",
    ),
    "a schema of an unknown type": (
        TRY | {"check": {"json_schema": {"type": "objekt"}}},
        "plan.check.json_schema",
    ),
    "a share of no vote": (TRY | {"check": {"confidence": 0.5}}, "plan.check.confidence"),
    "what is not said of a failure": (TRY | {"try": {"prompt": "{{failure}}"}}, "plan.try"),
    "a name of what may have failed": (
        {"chain": [TRY | {"try": SAY | {"id": "a"}}, {"prompt": "{{a}}"}]},
        "plan.chain[1]",
    ),
    "a name of what has failed": (
        {"try": SAY | {"id": "a"}, "fallback": {"prompt": "{{a}}"}},
        "plan.fallback",
    ),
    "an unknown check": (TRY | {"check": {"length": 3}}, "plan.check.length"),
    "a check that is none": (TRY | {"check": "good"}, "plan.check"),
    "a schema that is none": (TRY | {"check": {"json_schema": "s"}}, "plan.check.json_schema"),
    "an empty text": (TRY | {"check": {"contains": [""]}}, "plan.check.contains[0]"),
    "texts that are none": (TRY | {"check": {"contains": "x"}}, "plan.check.contains"),
    "more than all": (TRY | {"check": {"confidence": 1.5}}, "plan.check.confidence"),
    "a judge of nothing": (TRY | {"check": {"judge": {"prompt": "{{answers}}"}}}, CHECK_JUDGE),
    "too much together": (
        TRY | {"try": {"parallel": [SAY] * 600}, "fallback": {"parallel": [SAY] * 600}},
        "plan.fallback.parallel[400]",
    ),
    "a word for a flag": (SAY | {"literal": "no"}, "plan.literal"),
}


@pytest.mark.parametrize(("plan", "path"), REFUSED.values(), ids=REFUSED)
def test_what_could_not_end_well_is_refused_by_its_path(plan, path):
    with pytest.raises(InvalidPlan) as refused:
        read_plan({"plan": plan})

    assert refused.value.param == path
    assert refused.value.status == 422


@pytest.mark.parametrize("agents", [[], {"a": 1}, {"a": {"prompt": "hi"}}, {"a": {"n": 2}}])
def test_agents_are_fields_of_calls(agents):
    with pytest.raises(InvalidPlan, match="agents"):
        read_plan({"plan": SAY, "agents": agents})


def test_a_plan_that_holds_itself_is_refused():
    circle = {"chain": []}
    circle["chain"].append(circle)
    words = ["hi"]
    words.append(words)

    for plan in (circle, {"messages": words}):
        with pytest.raises(InvalidPlan):
            read_plan({"plan": plan})
