"""One run per key: what is kept, what frees the key, and what is told again."""

import asyncio
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.actors.idempotency import IdempotencyActor
from compass_ray.gateway import once as module
from compass_ray.gateway.idempotency import Claims
from compass_ray.gateway.job import Clock
from compass_ray.gateway.once import Once, Replay, _Deflated
from compass_ray.policy.idempotency import LEASE, Keep
from compass_ray.types.accounts import Caller
from compass_ray.types.errors import (
    AllAttemptsFailed,
    BrokenStream,
    BudgetExceeded,
    CompassError,
    IdempotencyKeyReused,
    InvalidRequest,
    Overloaded,
    Rejected,
    RunInProgress,
)
from compass_ray.types.idempotency import Answered, KeptAnswer
from tests.gateway.conftest import USAGE, Provider, answer, chunk, world

__all__ = ["world"]  # a fixture

BODY = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 20}
STREAM = BODY | {"stream": True, "stream_options": {"include_usage": True}}
STORY = [chunk("he"), chunk("llo"), chunk(finish_reason="stop", usage=USAGE)]


class Door:
    """A gateway that answers once per key, and the keys' authority."""

    def __init__(self, world, keys):
        self.world, self.keys = world, keys
        self.claims = Claims(keys)
        clock = Clock(lambda: 1_000.0, lambda: 5.0, asyncio.sleep, lambda: 0.5)
        self.once = Once(world.gateway, self.claims, self, clock)
        self.asked = 0

    def record(self, record):
        self.world.records.append(record)

    def active(self, change):
        """Nothing that is told again was ever active."""

    async def chat(self, body=BODY, key="k", account="open"):
        self.asked += 1
        raw, caller = json.dumps(body).encode(), Caller("anybody", account)
        return await self.once.answer(raw, caller, f"req_{self.asked}", key)

    async def stream(self, **named):
        """Return all chunks of a stream, as far as they came, and the error that ended it."""
        reply, said, ended_by = await self.chat(STREAM, **named), [], None
        if isinstance(reply, Replay):
            return [json.loads(event) for event in reply.events()], None
        try:
            async for one in reply.chunks():
                said.append(dict(one))  # noqa: PERF401  # what came before an error counts
        except CompassError as error:
            ended_by = error
        finally:
            await reply.close()
        return said, ended_by

    @property
    def calls(self):
        return sum(provider.calls for provider in self.world.providers.values())

    @property
    def charged(self):
        return sum(end[2] for end in self.world.purse.ends if end[0] == "settled")


@pytest.fixture
async def door(world, tmp_path):
    doors, running = [], []

    def build(*script, **named):
        now = [0.0]
        keys = IdempotencyActor(tmp_path / "k.db", Keep(), clock=lambda: now[0])
        door = Door(world(a=Provider(*script), **named), keys)
        door.now = now
        running.append(asyncio.create_task(door.claims.run()))
        doors.append(door)
        return door

    yield build
    running.extend(door.keys._tidying for door in doors if door.keys._tidying is not None)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def settled(door):
    """Wait until every end is told."""
    async with asyncio.timeout(5):
        while door.claims._untold:  # noqa: ASYNC110  # another task tells them
            await asyncio.sleep(0)


async def test_the_same_request_later_is_told_the_same_answer_and_costs_nothing(door):
    d = door(answer("hello", USAGE))

    first = await d.chat()
    again = await d.chat()

    assert json.loads(again.body()) == first.body
    assert again.request_id == "req_1"
    assert (d.calls, d.charged) == (1, 20)
    assert again.about() == {
        "request_id": "req_1",
        "endpoint": "a/m",
        "tier": 3,
        "cost_micro_usd": 0,
        "attempts": [],
        "replayed": True,
    }


async def test_what_is_told_again_is_counted_for_nobody_and_says_whose_it_is(door):
    d = door(answer("hello", USAGE))
    await d.chat()

    await d.chat()

    first, again = d.world.records
    assert (first.request_id, first.replay_of, first.cost) == ("req_1", "", 20)
    assert (again.request_id, again.replay_of, again.cost) == ("req_2", "req_1", 0)
    assert (again.status, again.provider, again.account) == (200, "", "open")


async def test_a_stream_is_told_again_chunk_by_chunk(door):
    d = door(STORY)

    said, _ = await d.stream()
    again, _ = await d.stream()

    assert again == said
    assert [one["choices"] for one in again][-1] == []  # its usage
    assert (d.calls, d.charged) == (1, 20)
    assert d.world.records[-1].stream


async def test_many_at_once_make_one_run(door):
    d = door(None, answer())
    first = asyncio.create_task(d.chat())
    await d.world.providers["a"].waiting.wait()

    others = await asyncio.gather(*(d.chat() for _ in range(20)), return_exceptions=True)

    assert d.calls == 1
    assert {type(other) for other in others} == {RunInProgress}
    assert {(other.status, other.code, other.retry_after) for other in others} == {
        (409, "idempotency_key_in_use", 1.0)
    }
    assert [record.status for record in d.world.records] == [409] * 20
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_another_body_under_the_same_key_is_refused_and_nothing_is_called(door):
    d = door(answer())
    await d.chat()

    with pytest.raises(IdempotencyKeyReused) as refused:
        await d.chat(BODY | {"max_tokens": 21})

    assert (refused.value.status, refused.value.code) == (422, "idempotency_key_reused")
    assert d.calls == 1
    assert d.world.records[-1].status == 422


async def test_another_account_s_equal_key_and_another_key_are_others(door):
    d = door(answer("one"), answer("two"), answer("three"))

    replies = [await d.chat(), await d.chat(account="else"), await d.chat(key="k2")]

    said = [reply.body["choices"][0]["message"]["content"] for reply in replies]
    assert said == ["one", "two", "three"]


@pytest.mark.parametrize(
    "error",
    [Overloaded("busy"), Rejected("too rude"), ValueError("our own mistake")],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_error_ends_a_run_frees_its_key(door, error):
    d = door(error, answer("hello"), attempts=1)

    with pytest.raises((AllAttemptsFailed, ValueError)):
        await d.chat()
    again = await d.chat()

    assert again.body["choices"][0]["message"]["content"] == "hello"


async def test_who_could_not_pay_may_when_he_can(door):
    d = door(answer(), left=0)

    with pytest.raises(BudgetExceeded):
        await d.chat()
    d.world.purse.left = 1_000

    assert (await d.chat()).body


async def test_what_is_not_sound_holds_no_key(door):
    d = door(answer())

    with pytest.raises(InvalidRequest):
        await d.chat({"model": 5})

    assert (await d.chat()).body


async def test_a_key_that_can_be_none_is_refused_and_counted(door):
    d = door()

    with pytest.raises(InvalidRequest, match="Idempotency-Key"):
        await d.chat(key="")

    assert [record.status for record in d.world.records] == [400]


async def test_a_stream_that_never_began_and_one_that_broke_free_their_key(door):
    d = door([Overloaded("busy")], [chunk("he"), BrokenStream("cut")], STORY, attempts=1)

    with pytest.raises(AllAttemptsFailed):
        await d.stream()
    _, broken = await d.stream()
    said, whole = await d.stream()

    assert isinstance(broken, AllAttemptsFailed)
    assert whole is None
    assert len(said) == 3
    assert d.charged > 20  # what was delivered before the break is charged, too


async def test_who_leaves_before_the_answer_stops_the_run_and_frees_the_key(door):
    d = door(None, answer("hello"))
    leaving = asyncio.create_task(d.chat())
    await d.world.providers["a"].waiting.wait()

    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await settled(d)
    again = await d.chat()

    assert again.body["choices"][0]["message"]["content"] == "hello"
    assert len(d.world.purse.ends) == 2  # what nobody heard is charged by estimate
    assert [record.status for record in d.world.records] == [499, 200]


async def test_who_leaves_in_mid_stream_stops_it_and_frees_the_key(door):
    d = door([chunk("he"), None], STORY)
    reply = await d.chat(STREAM)
    async for _ in reply.chunks():
        break

    await reply.close()
    await settled(d)
    said, _ = await d.stream()

    assert d.world.providers["a"].closed >= 1
    assert len(said) == 3
    assert [record.status for record in d.world.records] == [499, 200]


async def test_a_stream_ends_only_once_it_is_kept(door):
    d = door(STORY)
    reply = await d.chat(STREAM)
    said = [one async for one in reply.chunks()]

    again = await d.chat(STREAM)

    assert len(list(again.events())) == len(said)
    await reply.close()


async def test_a_run_that_was_taken_over_tells_no_answer(door):
    d = door(None, answer("second"))
    slow = asyncio.create_task(d.chat())
    await d.world.providers["a"].waiting.wait()
    d.now[0] += LEASE
    await d.chat()
    d.world.providers["a"].script.append(answer())
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
    await settled(d)

    again = await d.chat()

    assert again.request_id == "req_2"


async def test_a_stream_that_was_taken_over_ends_with_an_error(door):
    d = door(STORY, STORY)
    slow = await d.chat(STREAM)
    d.now[0] += LEASE
    await d.stream()

    with pytest.raises(RunInProgress, match="taken over"):
        [one async for one in slow.chunks()]

    await slow.close()
    assert (await d.chat(STREAM)).request_id == "req_2"


@pytest.mark.parametrize("body", [BODY, STREAM], ids=["whole", "stream"])
async def test_an_answer_too_large_to_keep_is_told_once_and_never_run_again(
    door, monkeypatch, body
):
    monkeypatch.setattr(module, "MOST_BYTES", 1)
    d = door(STORY if body is STREAM else answer())
    if body is STREAM:
        said, _ = await d.stream()
        assert len(said) == 3
    else:
        assert (await d.chat()).body

    with pytest.raises(IdempotencyKeyReused, match="req_1 was too large") as refused:
        await d.chat(body)

    assert (refused.value.status, refused.value.code) == (422, "answer_not_kept")
    assert d.calls == 1


@given(
    st.lists(st.binary(max_size=300).map(lambda raw: raw.replace(b"\n", b""))), st.integers(0, 3)
)
def test_events_come_out_as_they_went_in(events, repeats):
    events = events * 10**repeats
    content = _Deflated()
    for event in events:
        content.add(event + b"\n")

    kept = KeptAnswer(True, "p/m", "p", "m", 3, content.whole())  # noqa: FBT003

    assert list(Replay(Answered("req_1", kept)).events()) == events


def test_an_answer_that_is_cut_off_is_no_answer():
    content = _Deflated()
    content.add(b'{"a": 1}\n' * 100)
    kept = KeptAnswer(True, "p/m", "p", "m", 3, content.whole()[:-8])  # noqa: FBT003

    with pytest.raises(zlib.error):
        list(Replay(Answered("req_1", kept)).events())
