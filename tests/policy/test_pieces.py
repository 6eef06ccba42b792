from compass_ray.policy.pieces import in_pieces

HEAD = {"id": "x", "created": 1, "model": "m", "object": "chat.completion"}


def body(*messages, **fields):
    choices = [
        {"index": n, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
        for n, message in enumerate(messages)
    ]
    return {**HEAD, "choices": choices, **fields}


def test_each_choice_says_its_message_and_then_how_it_ends():
    said = list(in_pieces(body({"content": "a"}, {"content": "b"})))

    assert [one["object"] for one in said] == ["chat.completion.chunk"] * 4
    assert [
        (c["index"], c["delta"].get("content"), c["finish_reason"])
        for one in said
        for c in one["choices"]
    ] == [(0, "a", None), (0, None, "stop"), (1, "b", None), (1, None, "stop")]
    assert {one["id"] for one in said} == {"x"}


def test_calls_are_numbered_as_in_a_stream():
    calls = [{"id": "1", "function": {"name": "f"}}, {"id": "2", "function": {"name": "g"}}]

    first, _ = in_pieces(body({"content": None, "tool_calls": calls}))

    told = first["choices"][0]["delta"]["tool_calls"]
    assert [(one["index"], one["id"]) for one in told] == [(0, "1"), (1, "2")]


def test_usage_comes_last_and_without_a_choice():
    *_, last = in_pieces(body({"content": "a"}, usage={"total_tokens": 3}))

    assert (last["choices"], last["usage"]) == ([], {"total_tokens": 3})
