"""A replica's claims against the real actor, which now and then is not there."""

import asyncio
import contextlib

import pytest

from compass_ray.actors.idempotency import IdempotencyActor
from compass_ray.gateway.idempotency import Claims, Patience
from compass_ray.policy.idempotency import LEASE, Keep
from compass_ray.types.errors import IdempotencyUnavailable, RunInProgress
from compass_ray.types.idempotency import Answered, Claim, Granted, InProgress, KeptAnswer

PATIENT = Patience(retry=0.005, beat=3600)
HASTY = Patience(begin=0.5, keep=0.3, silent=0.2, retry=0.005, beat=3600, close=0.2)
BEATING = Patience(beat=0.001)
ANSWER = KeptAnswer(False, "p/m", "p", "m", 3, b"hello")  # noqa: FBT003


def claim(n, key="k"):
    return Claim("acme", key, b"body", f"req_{n}")


class Line:
    """The line to the actor: it may be dead, hang, or lose what is answered."""

    def __init__(self, folder):
        self.now = 0.0
        self.actor = IdempotencyActor(folder / "k.db", Keep(), clock=lambda: self.now)
        self.trouble = None
        self.messages = []

    async def begin(self, claim):
        return await self._ask("begin", claim)

    async def end(self, endings):
        return await self._ask("end", endings)

    async def extend(self, claims):
        return await self._ask("extend", claims)

    async def _ask(self, method, message):
        self.messages.append((method, message))
        if self.trouble == "dead":
            raise ConnectionError
        if self.trouble == "hangs":
            await asyncio.Event().wait()
        reply = await getattr(self.actor, method)(message)
        if self.trouble == "loses" and method != "extend":
            self.trouble = None
            raise ConnectionError
        return reply

    def sent(self, method):
        return [message for name, message in self.messages if name == method]


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # whatever the condition is
            await asyncio.sleep(0)


@pytest.fixture
async def line(tmp_path):
    line = Line(tmp_path)
    yield line
    if line.actor._tidying is not None:
        line.actor._tidying.cancel()
        await asyncio.gather(line.actor._tidying, return_exceptions=True)


@contextlib.asynccontextmanager
async def running(claims):
    task = asyncio.create_task(claims.run())
    yield claims
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def claims(line):
    async with running(Claims(line, PATIENT)) as claims:
        yield claims


@pytest.fixture
async def hasty(line):
    """Claims that give up soon."""
    async with running(Claims(line, HASTY)) as claims:
        yield claims


@pytest.fixture
async def beating(line):
    async with running(Claims(line, BEATING)) as claims:
        yield claims


async def test_one_message_before_a_run_and_one_after(line, claims):
    await claims.begin(claim(1))
    await claims.keep(claim(1), ANSWER)
    claims.abandon(claim(1))
    await asyncio.sleep(0)

    assert [name for name, _ in line.messages if name != "extend"] == ["begin", "end"]
    assert await claims.begin(claim(2)) == Answered("req_1", ANSWER)


async def test_a_freed_key_is_free_when_that_returns(claims):
    await claims.begin(claim(1))
    await claims.free(claim(1))

    assert await claims.begin(claim(2)) == Granted()


async def test_an_abandoned_key_is_free_soon(line, claims):
    await claims.begin(claim(1))

    claims.abandon(claim(1))

    await until(lambda: not claims._untold)
    assert await claims.begin(claim(2)) == Granted()


@pytest.mark.parametrize("trouble", ["dead", "hangs"])
async def test_without_the_authority_nothing_runs(line, hasty, trouble):
    line.trouble = trouble

    with pytest.raises(IdempotencyUnavailable):
        await hasty.begin(claim(1))


async def test_a_claim_whose_reply_was_lost_is_asked_again_and_granted(line, claims):
    line.trouble = "loses"

    assert await claims.begin(claim(1)) == Granted()
    assert len(line.sent("begin")) == 2


async def test_a_claim_waits_for_an_authority_that_restarts(line, claims):
    line.trouble = "dead"
    asking = asyncio.create_task(claims.begin(claim(1)))
    await until(lambda: len(line.sent("begin")) == 3)

    line.trouble = None

    assert await asking == Granted()


async def test_who_leaves_before_the_verdict_leaves_no_claim_behind(line, claims):
    line.trouble = "hangs"
    asking = asyncio.create_task(claims.begin(claim(1)))
    await asyncio.sleep(0)
    line.trouble = None
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)

    await until(lambda: line.sent("end") and not claims._untold)

    assert asking.cancelled()
    assert await claims.begin(claim(2)) == Granted()


async def test_an_answer_waits_in_memory_for_an_authority_that_is_away(line, hasty, caplog):
    await hasty.begin(claim(1))
    line.trouble = "dead"
    await hasty.keep(claim(1), ANSWER)
    hasty.abandon(claim(1))
    line.trouble = None

    await until(lambda: not hasty._untold)

    assert "req_1 is answered before its answer is kept" in caplog.text
    assert await hasty.begin(claim(2)) == Answered("req_1", ANSWER)


async def test_who_leaves_while_his_answer_is_being_kept_finds_it_later(line, claims):
    await claims.begin(claim(1))
    line.trouble = "dead"
    keeping = asyncio.create_task(claims.keep(claim(1), ANSWER))
    await asyncio.sleep(0)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    claims.abandon(claim(1))
    line.trouble = None

    await until(lambda: not claims._untold)

    assert await claims.begin(claim(2)) == Answered("req_1", ANSWER)


async def test_an_end_whose_reply_was_lost_is_told_again(line, claims):
    await claims.begin(claim(1))
    line.trouble = "loses"

    await claims.keep(claim(1), ANSWER)

    assert len(line.sent("end")) == 2


async def test_a_run_that_lost_its_key_does_not_tell_its_answer(line, claims):
    await claims.begin(claim(1))
    line.now += LEASE
    await claims.begin(claim(2))

    with pytest.raises(RunInProgress, match="taken over") as refused:
        await claims.keep(claim(1), ANSWER)

    assert refused.value.status == 409
    await claims.keep(claim(2), ANSWER)
    assert await claims.begin(claim(3)) == Answered("req_2", ANSWER)


async def test_what_is_held_is_extended_until_it_ends(line, beating):
    await beating.begin(claim(1))
    await beating.begin(claim(2, "other"))
    for _ in range(3):
        line.now += LEASE - 1
        beats = len(line.sent("extend"))
        await until(lambda n=beats: len(line.sent("extend")) > n + 1)

    await beating.free(claim(2, "other"))
    await until(lambda: set(line.sent("extend")[-1]) == {"req_1"})

    assert isinstance(await beating.begin(claim(3)), InProgress)


async def test_without_a_claim_nothing_beats(line, beating):
    await asyncio.sleep(10 * BEATING.beat)

    assert line.messages == []


async def test_closing_tells_what_is_untold(line):
    claims = Claims(line, PATIENT)  # nobody runs it
    await claims.begin(claim(1))
    claims.abandon(claim(1))

    await claims.close()

    assert await claims.begin(claim(2)) == Granted()


async def test_closing_does_not_wait_for_ever(line, caplog):
    claims = Claims(line, HASTY)
    await claims.begin(claim(1))
    claims.abandon(claim(1))
    line.trouble = "hangs"

    await claims.close()

    assert "1 ends of runs stay untold" in caplog.text


async def test_silence_is_said_once_and_its_end_too(line, hasty, caplog):
    line.trouble = "dead"
    with pytest.raises(IdempotencyUnavailable):
        await hasty.begin(claim(1))
    line.trouble = None
    await hasty.begin(claim(2))

    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "the authority for idempotency keys is silent: ConnectionError",
        "the authority for idempotency keys answers again",
    ]


async def test_a_key_is_freed_later_where_the_authority_is_away(line, hasty):
    await hasty.begin(claim(1))
    line.trouble = "hangs"
    await hasty.free(claim(1))
    line.trouble = None

    await until(lambda: not hasty._untold)

    assert await hasty.begin(claim(2)) == Granted()


async def test_a_beat_that_is_lost_is_followed_by_the_next(line, beating):
    await beating.begin(claim(1))
    line.trouble = "dead"
    await until(lambda: len(line.sent("extend")) > 2)
    line.now += LEASE - 1
    line.trouble = None
    beats = len(line.sent("extend"))
    await until(lambda: len(line.sent("extend")) > beats + 1)
    line.now += 2

    assert isinstance(await beating.begin(claim(2)), InProgress)
