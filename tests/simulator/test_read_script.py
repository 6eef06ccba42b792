import pytest

from compass_ray.simulator.read_script import BadScript, read, read_file
from compass_ray.simulator.script import (
    Behaviour,
    Failure,
    Fault,
    Match,
    RetryAfter,
    Rule,
    ToolCall,
)


def then(**fields):
    (rule,) = read([{"then": fields}])
    return rule.then


def test_a_yaml_file_with_every_key_is_read(tmp_path):
    path = tmp_path / "script.yaml"
    path.write_text(
        """
        rules:
        - match: {provider: openai, model: sim-1, contains: x, after_tool: true, nth: 1,
                  probability: 0.5}
          then:
            ttft_s: 0.1
            tpot_s: 0.01
            error: {status: 429, kind: insufficient_quota, message: no money, retry_after: 3}
            fault: {stall_after_chunks: 2, seconds: 1.5}
            tokens: 7
            ignore_max_tokens: true
            text: hi
            tool_call: {name: f, arguments: {a: 1}}
        """
    )
    failure = Failure(429, "insufficient_quota", "no money", RetryAfter("header", "3"))

    assert read_file(path) == (
        Rule(
            Match("openai", "sim-1", "x", after_tool=True, nth=(1,), probability=0.5),
            Behaviour(
                ttft_s=0.1,
                tpot_s=0.01,
                error=failure,
                fault=Fault("stall_after_chunks", 2, 1.5),
                tokens=7,
                ignore_max_tokens=True,
                text="hi",
                tool_call=(ToolCall("f", {"a": 1}),),
            ),
        ),
    )


def test_nothing_is_an_empty_script():
    assert read(None) == read({}) == read([]) == read({"rules": []}) == ()


def test_short_forms_stand_for_the_long_ones():
    assert then(error=503).error == Failure(503)
    assert then(fault="reset").fault.name == "reset"
    assert then(tool_call="f").tool_call == (ToolCall("f"),)
    assert then(tool_call=["f", {"name": "g"}]).tool_call == (ToolCall("f"), ToolCall("g"))


@pytest.mark.parametrize(
    ("told", "read_as"),
    [
        (3, ("header", "3")),
        (-1, ("header", "-1")),
        ("soon", ("header", "soon")),
        ({"ms": 250}, ("ms", "250")),
        ({"date": 5}, ("date", "5")),
        ({"retry_info": "3s"}, ("retry_info", "3s")),
    ],
)
def test_retry_after_has_every_form(told, read_as):
    assert then(error={"status": 429, "retry_after": told}).error.retry_after == RetryAfter(
        *read_as
    )


@pytest.mark.parametrize(
    ("script", "key"),
    [
        ("text", "script"),
        ({"rule": []}, "script.rule"),
        ({"rules": {}}, "script"),
        ([{"when": {}}], "rules[0].when"),
        ([{}, {"match": {"modell": "x"}}], "rules[1].match.modell"),
        ([{"match": {"provider": "cohere"}}], "rules[0].match.provider"),
        ([{"match": {"nth": 0}}], "rules[0].match.nth"),
        ([{"match": {"probability": 1.5}}], "rules[0].match.probability"),
        ([{"then": {"ttft_s": -1}}], "rules[0].then.ttft_s"),
        ([{"then": {"ttft_s": float("nan")}}], "rules[0].then.ttft_s"),
        ([{"then": {"tokens": True}}], "rules[0].then.tokens"),
        ([{"then": {"ignore_max_tokens": 1}}], "rules[0].then.ignore_max_tokens"),
        ([{"then": {"text": 5}}], "rules[0].then.text"),
        ([{"then": {"text": "\ud800"}}], "rules[0].then.text"),
        ([{"then": {"error": {"kind": "x"}}}], "rules[0].then.error.status"),
        ([{"then": {"error": 200}}], "rules[0].then.error.status"),
        ([{"then": {"error": {"status": 429, "retry_after": {}}}}], "rules[0].then.error.retry"),
        ([{"then": {"error": {"status": 429, "retry_after": "a\nb"}}}], "rules[0].then.error.ret"),
        ([{"then": {"fault": "explode"}}], "rules[0].then.fault"),
        ([{"then": {"fault": 5}}], "rules[0].then.fault"),
        ([{"then": {"fault": {"reset": 1}}}], "rules[0].then.fault.reset"),
        ([{"then": {"fault": "cut_after_bytes"}}], "rules[0].then.fault.cut_after_bytes"),
        ([{"then": {"fault": {"cut_after_bytes": -1}}}], "rules[0].then.fault.cut_after_bytes"),
        ([{"then": {"fault": {"stall_after_chunks": 1}}}], "rules[0].then.fault.seconds"),
        ([{"then": {"fault": {"reset": None, "html": None}}}], "rules[0].then.fault"),
        ([{"then": {"headers": ["x"]}}], "rules[0].then.headers: must be a mapping"),
        ([{"then": {"headers": {"x": "a\r\nb"}}}], "rules[0].then.headers.x"),
        ([{"then": {"tool_call": {}}}], "rules[0].then.tool_call.name"),
        ([{"then": {"tool_call": ["f", {}]}}], "rules[0].then.tool_call[1].name"),
        ([{"match": {"after_tool": 1}}], "rules[0].match.after_tool"),
        ([{"then": {"tool_call": {"name": "f", "arguments": 1}}}], "rules[0].then.tool_call.arg"),
    ],
)
def test_an_error_begins_with_the_key_at_fault(script, key):
    with pytest.raises(BadScript) as caught:
        read(script)

    assert str(caught.value).startswith(key)


def test_a_broken_file_is_named(tmp_path):
    path = tmp_path / "script.yaml"
    path.write_text("rules: [")

    with pytest.raises(BadScript, match=r"script\.yaml"):
        read_file(path)
