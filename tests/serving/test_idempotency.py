"""`Idempotency-Key` over HTTP: replays, refusals, and who leaves."""

import asyncio
import json

import pytest

from compass_ray.types.errors import BrokenStream, Overloaded
from tests.gateway.conftest import USAGE, Provider, answer, chunk

from .conftest import ADMIN_KEY, CHAT, HELLO, KEY, error_of, events_of, play

STREAM = HELLO | {"stream": True, "stream_options": {"include_usage": True}}
STORY = [chunk("he"), chunk("llo"), chunk(finish_reason="stop", usage=USAGE)]
SAYS_SO = "idempotent-replayed"


@pytest.fixture
async def kept(rim):
    """Build the application with a replica that tells of its runs' ends."""
    rims, tasks = [], []

    def build(*script, **named):
        r = rim(a=Provider(*script), **named)
        rims.append(r)
        tasks.append(asyncio.create_task(r.claims.run()))
        return r

    yield build
    tasks.extend(r.keys._tidying for r in rims if r.keys._tidying is not None)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def post(r, body=HELLO, idempotency_key="k1", key=KEY, **headers):
    return await r.ask(
        "POST", CHAT, key=key, json=body, headers={"idempotency-key": idempotency_key} | headers
    )


def leave(r, body, *headers):
    """Ask like a client of whom nothing more is heard; return the task to be cancelled."""
    raw = json.dumps(body, separators=(",", ":")).encode()  # the bytes that httpx sends
    message = {"type": "http.request", "body": raw}
    sent = [(b"authorization", b"Bearer ck-alice"), (b"idempotency-key", b"k1"), *headers]
    return asyncio.create_task(play(r.app, [message], method="POST", path=CHAT, headers=sent))


async def test_the_same_answer_is_told_again_for_nothing_and_says_so(kept):
    r = kept(answer("hello", USAGE), left=1_000)

    first, again = await post(r), await post(r)

    assert (first.status_code, again.status_code) == (200, 200)
    assert again.content == first.content
    assert SAYS_SO not in first.headers
    assert again.headers[SAYS_SO] == "true"
    same = ("x-compass-request-id", "x-compass-provider", "x-compass-model", "x-compass-tier",
            "content-type", "x-compass-remaining-budget-usd")  # fmt: skip
    assert [again.headers[name] for name in same] == [first.headers[name] for name in same]
    assert first.headers["x-compass-cost-usd"] == "0.000020"
    assert again.headers["x-compass-cost-usd"] == "0.000000"
    assert again.headers["x-compass-attempts"] == "0"
    assert r.world.providers["a"].calls == 1


async def test_a_stream_is_told_again_as_a_stream_byte_by_byte(kept):
    r = kept(STORY)

    first, again = await post(r, STREAM), await post(r, STREAM)

    assert again.content == first.content
    assert events_of(again)[-1] == "[DONE]"
    assert again.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert again.headers[SAYS_SO] == "true"
    assert again.headers["x-compass-request-id"] == first.headers["x-compass-request-id"]
    assert again.headers["x-compass-cost-usd"] == "0.000000"
    assert r.world.providers["a"].calls == 1


async def test_without_the_header_every_request_runs_and_no_actor_is_asked(kept):
    r = kept(answer(), answer())
    r.replica.once = None

    both = [await r.chat(), await r.chat()]

    assert [SAYS_SO in response.headers for response in both] == [False, False]
    assert r.world.providers["a"].calls == 2


async def test_twice_at_once_is_one_run_and_a_conflict_that_says_when(kept):
    r = kept(None)
    first = leave(r, HELLO)
    await r.world.providers["a"].waiting.wait()

    second = await post(r)

    error = error_of(second)
    assert (second.status_code, second.headers["retry-after"]) == (409, "1")
    assert (error["type"], error["code"]) == ("idempotency_error", "idempotency_key_in_use")
    assert r.world.providers["a"].calls == 1
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_another_body_is_unprocessable(kept):
    r = kept(answer())
    await post(r)

    response = await post(r, HELLO | {"max_tokens": 21})

    error = error_of(response)
    assert (response.status_code, error["code"]) == (422, "idempotency_key_reused")
    assert (error["param"], error["blame"]) == ("Idempotency-Key", "caller")
    assert r.world.providers["a"].calls == 1


async def test_another_tenant_s_equal_key_is_independent(kept):
    r = kept(answer("alice's"), answer("the operator's"))

    hers, theirs = await post(r), await post(r, key=ADMIN_KEY)

    assert "alice's" in hers.text
    assert "the operator's" in theirs.text
    assert SAYS_SO not in theirs.headers


@pytest.mark.parametrize("key", ["", "k" * 256, b"schl\xfcssel", b"a\tb"])
async def test_what_can_be_no_key_is_refused_by_name(kept, key):
    r = kept()

    response = await post(r, idempotency_key=key)

    error = error_of(response)
    assert (response.status_code, error["code"]) == (400, "invalid_idempotency_key")
    assert error["param"] == "Idempotency-Key"
    assert r.world.providers["a"].calls == 0


async def test_two_keys_are_none(kept):
    r = kept()

    sent = await leave(r, HELLO, (b"idempotency-key", b"k2"))

    assert sent[0]["status"] == 400
    assert r.world.providers["a"].calls == 0


async def test_the_longest_key_is_one(kept):
    r = kept(answer())

    both = [await post(r, idempotency_key="k" * 255) for _ in range(2)]

    assert both[1].headers[SAYS_SO] == "true"


async def test_an_error_frees_the_key_and_the_next_try_runs(kept):
    r = kept(Overloaded("busy"), answer(), attempts=1)

    responses = [await post(r) for _ in range(3)]

    assert [response.status_code for response in responses] == [503, 200, 200]
    assert [SAYS_SO in response.headers for response in responses] == [False, False, True]


async def test_a_broken_stream_frees_the_key(kept):
    r = kept([chunk("he"), BrokenStream("cut")], STORY, attempts=1)

    responses = [await post(r, STREAM) for _ in range(3)]

    assert [events_of(response)[-1] == "[DONE]" for response in responses] == [False, True, True]
    assert responses[2].content == responses[1].content


@pytest.mark.parametrize(
    ("body", "script"),
    [(HELLO, (None, answer("hello"))), (STREAM, ([chunk("he"), None], STORY))],
    ids=["whole", "stream"],
)
async def test_who_leaves_ends_the_run_and_frees_the_key(kept, body, script):
    r = kept(*script)
    leaving = leave(r, body)
    await r.world.providers["a"].waiting.wait()

    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    async with asyncio.timeout(5):
        while (again := await post(r, body)).status_code == 409:  # noqa: ASYNC110  # a retry
            await asyncio.sleep(0)

    assert again.status_code == 200
    assert SAYS_SO not in again.headers
    assert len(r.world.purse.ends) == 2
    assert all(how == "settled" for how, *_ in r.world.purse.ends)
    assert [record.status for record in r.world.records if record.status != 409] == [499, 200]


async def test_without_the_authority_a_key_is_refused_and_all_else_goes_on(kept):
    r = kept(answer())

    class Gone:
        async def begin(self, claim):
            raise ConnectionError

    r.claims._authority = Gone()
    r.claims._patience = type(r.claims._patience)(begin=0.01, retry=0.001)

    refused, served = await post(r), await r.chat()

    assert (refused.status_code, error_of(refused)["blame"]) == (503, "capacity")
    assert served.status_code == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_another_dialect_is_told_again_in_its_own_words(kept, stream):
    counted = chunk()
    counted.body["usage"] = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    r = kept([*STORY, counted] if stream else answer("hello", USAGE))
    if not stream:
        r.world.providers["a"].script[0].body["usage"] = counted.body["usage"]
    asked = {"model": "auto", "max_tokens": 9, "messages": HELLO["messages"], "stream": stream}
    key = {"idempotency-key": "k1"}

    first = await r.ask("POST", "/v1/messages", json=asked, headers=key)
    again = await r.ask("POST", "/v1/messages", json=asked, headers=key)

    assert again.headers[SAYS_SO] == "true"
    assert again.headers["request-id"] == first.headers["request-id"]
    assert again.text == first.text
    assert r.world.providers["a"].calls == 1
