from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.continuation import Heard, Seam, continued, mark
from compass_ray.types.chat import ChatRequest

TEXT = st.text(alphabet="ab \n", max_size=12)


def request(**fields):
    body = {"messages": [{"role": "user", "content": "hi"}]} | fields
    return ChatRequest(
        body, "auto", "hi", "hi", frozenset(), max_output_tokens=fields.get("max_tokens")
    )


def heard(*pieces):
    told = Heard()
    for piece in pieces:
        told.add(chunk(piece))
    return told


def chunk(content, **delta):
    return {"choices": [{"index": 0, "delta": {"content": content} | delta}]}


def joined(seam, pieces):
    return "".join(seam.join(chunk(p))["choices"][0]["delta"]["content"] for p in pieces)


def in_pieces(text, sizes):
    while text:
        size = sizes.pop() if sizes else len(text)
        yield text[:size]
        text = text[size:]


@given(TEXT, TEXT, st.lists(st.integers(1, 4)))
def test_text_that_goes_on_is_neither_doubled_nor_cut(begun, rest, sizes):
    """The next model sees the text without its last blanks, and says them again."""
    told = heard(begun)
    prefill = begun.rstrip()
    seam = Seam({}, told.blanks)

    more = joined(seam, in_pieces(told.blanks + rest, sizes))

    assert prefill + told.blanks + more == begun + rest


@given(TEXT, TEXT)
def test_what_the_next_model_says_is_all_there_even_without_those_blanks(begun, rest):
    told = heard(begun)

    more = joined(Seam({}, told.blanks), [rest])

    assert (begun + more).replace(" ", "").replace("\n", "") == (begun + rest).replace(
        " ", ""
    ).replace("\n", "")
    assert rest.endswith(more)


@given(st.text(min_size=1, max_size=50), st.integers(1, 100))
def test_the_limit_is_lowered_and_stays_positive(text, limit):
    asked = request(max_tokens=limit)
    rest = continued(asked, heard(text))

    if rest is None:
        assert limit <= -(-len(text) // 3)
    elif rest is not asked:
        assert 1 <= rest.max_output_tokens < limit
        assert rest.body["max_tokens"] == rest.max_output_tokens
        assert rest.input_bytes > asked.input_bytes
        assert rest.body["messages"][-1]["content"] == text.rstrip()


def test_the_caller_s_request_is_left_as_it_was():
    asked = request(max_tokens=50)

    continued(asked, heard("some text"))

    assert asked.body["max_tokens"] == 50
    assert len(asked.body["messages"]) == 1


def test_a_request_without_a_limit_gets_none():
    rest = continued(request(), heard("some text"))

    assert rest.max_output_tokens is None
    assert "max_tokens" not in rest.body


def test_the_role_is_said_once_and_the_envelope_kept():
    seam = Seam({"id": "first", "created": 1})

    body = seam.join({"id": "second", "created": 2, "model": "b", **chunk("x", role="assistant")})

    assert (body["id"], body["created"], body["model"]) == ("first", 1, "b")
    assert body["choices"][0]["delta"] == {"content": "x"}


def test_a_restart_begins_every_choice_anew():
    body = mark({"id": "first", "created": 1}, "restart", 2, "b", {"endpoint": "p/b"})

    assert [choice["delta"]["role"] for choice in body["choices"]] == ["assistant"] * 2
    assert body["compass"] == {"event": "restart", "endpoint": "p/b"}
