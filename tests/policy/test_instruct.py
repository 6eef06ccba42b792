import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.instruct import instructed, is_instructed, kept, mended, missed
from compass_ray.types.chat import Answer, ChatRequest
from compass_ray.types.errors import InvalidRequest
from compass_ray.types.routing import Endpoint, Tier

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
USER = {"role": "user", "content": "Where?"}


def request(schema=CITY, messages=(USER,), needs=("json_schema",), **fields):
    told = {"name": "place"} if schema is None else {"name": "place", "schema": schema}
    body = {
        "model": "m",
        "messages": list(messages),
        "response_format": {"type": "json_schema", "json_schema": told},
    }
    return ChatRequest(body | fields, "m", "", "", frozenset(needs), input_bytes=100)


def answer(text, finish="stop", **message):
    message = {"role": "assistant", "content": text, **message}
    return Answer({"choices": [{"index": 0, "message": message, "finish_reason": finish}]}, None)


def endpoint(*capabilities):
    able = frozenset(capabilities)
    return Endpoint("p", "m", "m", Tier.FAST, 1_000, 100, capabilities=able)


def test_only_who_lacks_what_is_asked_for_is_instructed():
    assert is_instructed(request(), endpoint())
    assert not is_instructed(request(), endpoint("json_schema"))
    assert not is_instructed(request(needs=()), endpoint())


@pytest.mark.parametrize(
    ("first", "role", "beginning"),
    [
        ([], "system", "Answer with one JSON value"),
        ([{"role": "system", "content": "Be brief."}], "system", "Be brief.\n\nAnswer with"),
        ([{"role": "developer", "content": "Be."}], "developer", "Be.\n\nAnswer with"),
    ],
)
def test_the_words_stand_in_the_one_system_prompt(first, role, beginning):
    asked = request(messages=[*first, USER])

    system, *others = instructed(asked, json_mode=False).body["messages"]

    assert system["role"] == role
    assert system["content"].startswith(beginning)
    assert others == [USER]
    assert asked.body["messages"] == [*first, USER]


def test_a_system_prompt_of_parts_gets_another_part():
    parts = [{"type": "text", "text": "Be brief."}]

    told = instructed(
        request(messages=[{"role": "system", "content": parts}, USER]), json_mode=True
    )

    first, second = told.body["messages"][0]["content"]
    assert first == parts[0]
    assert '"city"' in second["text"]


@pytest.mark.parametrize(
    ("json_mode", "schema", "needs", "told"),
    [
        (True, CITY, {"json_schema"}, {"type": "json_object"}),
        (False, CITY, {"json_schema"}, None),
        (True, {"type": "array"}, {"json_schema"}, None),
        (True, CITY, {"json_schema", "tools"}, None),
    ],
)
def test_the_json_mode_is_asked_for_where_it_can_be_meant(json_mode, schema, needs, told):
    out = instructed(request(schema, needs=needs), json_mode=json_mode)

    assert out.body.get("response_format") == told
    assert out.needs == frozenset(needs) - {"json_schema"}


def test_a_stream_is_asked_for_in_one_piece():
    streamed = request(stream=True, stream_options={"include_usage": True})

    out = instructed(
        ChatRequest(streamed.body, "m", "", "", streamed.needs, stream=True), json_mode=True
    )

    assert not out.stream
    assert not out.body.keys() & {"stream", "stream_options"}


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (None, "is missing"),
        ({"properties": {"a": {"pattern": "x"}}}, "has pattern"),
        ({"items": [{"uniqueItems": True}]}, "has uniqueItems"),
        ({"$ref": "https://example.com/s"}, "which is not in it"),
        ({"type": "thing"}, "is no JSON schema"),
        ({"description": "x" * 20_000}, "more than"),
    ],
)
def test_a_schema_that_nobody_can_be_held_to_is_refused(schema, why):
    with pytest.raises(InvalidRequest, match=why) as refused:
        instructed(request(schema), json_mode=True)

    assert refused.value.param == "response_format.json_schema.schema"


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"pattern": {"type": "string"}, "$ref": {"type": "integer"}}},
        {"enum": [{"pattern": "x"}]},
        {"$defs": {"uniqueItems": {"type": "string"}}, "$ref": "#/$defs/uniqueItems"},
        {"format": "date-time"},
    ],
)
def test_names_and_values_that_look_like_keywords_are_none(schema):
    assert instructed(request(schema), json_mode=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('```json\n{"a": 1}\n```', '{"a": 1}'),
        ("  ```\n1\n```\n", "1"),
        ('{"a": "```\\n"}', '{"a": "```\\n"}'),
        ("Here: ```json\n1\n```", "Here: ```json\n1\n```"),
    ],
)
def test_only_fences_around_everything_are_taken_off(text, said):
    assert kept(answer(text)).body["choices"][0]["message"]["content"] == said


@pytest.mark.parametrize(
    ("told", "flaw"),
    [
        (answer('{"city": "Rome"}'), None),
        (answer('{"city": 1}'), "breaks its schema (type of city)"),
        (answer("Rome"), "is not JSON"),
        (answer(None), "is not JSON"),
        (answer("Ro", finish="length"), None),
        (answer(None, refusal="no"), None),
        (answer(None, finish="tool_calls", tool_calls=[{}]), None),
    ],
)
def test_an_answer_is_held_to_the_caller_s_schema(told, flaw):
    miss = missed(request(), told)

    assert (miss and miss[1]) == flaw


def test_what_takes_too_long_to_check_is_not_vouched_for():
    wide = {"items": {"anyOf": [{"type": "string"}] * 200 + [{"type": "integer"}]}}

    _text, flaw = missed(request(wide), answer(str([1] * 500)))

    assert flaw == "cannot be checked against its schema"


@given(st.text(), st.text())
def test_the_bound_of_the_input_grows_with_every_word(text, flaw):
    first = instructed(request(), json_mode=True)

    again = mended(first, (text, flaw))

    before, after = (
        sum(len(m["content"].encode(errors="replace")) for m in one.body["messages"])
        for one in (first, again)
    )
    assert again.input_bytes - first.input_bytes >= after - before
    assert first.input_bytes - 100 >= before - len("Where?")
