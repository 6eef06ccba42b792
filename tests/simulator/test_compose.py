import random

from compass_ray.simulator.compose import compose
from compass_ray.simulator.exchange import Ask, Tool, Usage
from compass_ray.simulator.script import Behaviour, Fault, ToolCall

TOOL = Tool("weather", {"type": "object", "properties": {"city": {"type": "string"}}})
ASK = Ask("sim-1", "hello", 9, max_tokens=10, tools=(TOOL,))


def reply(behaviour=Behaviour(), ask=ASK, seed=1):  # noqa: B008  # frozen
    return compose(ask, behaviour, 1, random.Random(seed))


def test_the_same_chance_gives_the_same_answer():
    assert reply() == reply()
    assert reply() != reply(seed=2)


def test_max_tokens_ends_an_answer_by_length():
    (choice,) = reply().choices

    assert (len(choice.tokens), choice.finish) == (10, "length")
    assert reply().usage == Usage(9, 10)


def test_a_model_may_ignore_max_tokens():
    (choice,) = reply(Behaviour(tokens=30, ignore_max_tokens=True)).choices

    assert (len(choice.tokens), choice.finish) == (30, "stop")


def test_a_script_can_have_any_listed_tool_called_with_made_up_arguments():
    (choice,) = reply(Behaviour(tool_call=(ToolCall("weather"),))).choices

    assert ([call.tool for call in choice.calls], choice.finish) == (["weather"], "tool_calls")
    assert choice.text.startswith('{"city":')


def test_calls_at_once_share_max_tokens_and_end_where_none_is_left():
    both = Behaviour(tool_call=(ToolCall("weather", "x" * 20), ToolCall("weather", "y" * 100)))

    (choice,) = reply(both).choices

    assert [call.arguments for call in choice.calls] == ["x" * 20, "y" * 20]
    assert choice.calls[0].id != choice.calls[1].id
    assert (len(choice.tokens), choice.finish) == (10, "length")


def test_a_script_can_send_arguments_that_are_not_json():
    (choice,) = reply(Behaviour(tool_call=(ToolCall("weather", "{oops"),))).choices

    assert choice.text == "{oops"


def test_faults_of_the_counts_are_told_not_lived():
    absurd = reply(Behaviour(fault=Fault("absurd_usage")))

    assert reply(Behaviour(fault=Fault("no_usage"))).usage is None
    assert absurd.usage == Usage(-1, 2**63)
    assert len(absurd.choices[0].tokens) == 10
