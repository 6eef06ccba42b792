"""What OpenAI's recipe counts, and what nobody but the provider can."""

import pytest

from compass_ray.policy.countable import countable
from compass_ray.types.chat import ChatRequest


def asking(*messages, **fields):
    body = {"messages": list(messages), **fields}
    return ChatRequest(
        body=body, model="m", text="", last_user_text="", needs=frozenset(), max_output_tokens=None
    )


def test_every_message_is_its_role_its_text_and_three_more():
    found = countable(
        asking({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi."})
    )

    assert found == (("system", "Be brief.", "user", "Hi."), 3 + 3 + 3)


def test_a_name_takes_one_more():
    found = countable(asking({"role": "user", "name": "ann", "content": "Hi."}))

    assert found == (("user", "Hi.", "ann"), 3 + 3 + 1)


def test_parts_of_text_are_text():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]

    assert countable(asking({"role": "user", "content": parts})).texts == ("user", "a", "b")


@pytest.mark.parametrize(
    "request_",
    [
        asking({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}),
        asking({"role": "user", "content": "x"}, tools=[]),
        asking({"role": "user", "content": "x"}, response_format={"type": "json_object"}),
        asking({"role": "assistant", "content": None, "tool_calls": [{}]}),
        asking({"role": "tool", "content": "x", "tool_call_id": "1"}),
    ],
)
def test_what_is_more_than_text_is_for_the_provider_to_count(request_):
    assert countable(request_) is None
