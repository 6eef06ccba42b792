"""The Idempotency actor as a plain class on a real SQLite file, and killed in each phase."""

import asyncio
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from compass_ray.actors.idempotency import IdempotencyActor
from compass_ray.policy.idempotency import LEASE, Keep
from compass_ray.types.idempotency import (
    Answered,
    Claim,
    Ending,
    Granted,
    InProgress,
    KeptAnswer,
    Mismatch,
)


def claim(n=1, key="k", account="acme", body=b"body"):
    return Claim(account, key, body, f"req_{n}")


def answer(content=b"hello"):
    return KeptAnswer(False, "p/m", "p", "m", 3, content)  # noqa: FBT003


class Keys(IdempotencyActor):
    """On a file of the test, with clocks that stand still until they are set."""

    def __init__(self, folder, keep=None, fail=None):
        self.now, self.unix = 100.0, 1_000_000.0
        super().__init__(
            folder / "k.db",
            keep or Keep(),
            clock=lambda: self.now,
            wall=lambda: self.unix,
            **({"fail": fail} if fail else {}),
        )

    async def keep(self, n=1, key="k", account="acme", content=b"hello"):
        return await self.end((Ending(claim(n, key, account), answer(content)),))


@pytest.fixture
async def keys(tmp_path):
    keys = Keys(tmp_path)
    yield keys
    if keys._tidying is not None:
        keys._tidying.cancel()
        await asyncio.gather(keys._tidying, return_exceptions=True)


async def test_of_many_claims_at_once_one_is_granted(keys):
    verdicts = await asyncio.gather(*(keys.begin(claim(n)) for n in range(100)))

    assert verdicts[0] == Granted()
    assert set(verdicts[1:]) == {InProgress("req_0", 1.0)}


async def test_an_answer_is_told_again_to_whoever_asks_the_same(keys):
    await keys.begin(claim(1))
    counts = await keys.keep(1)

    assert counts == [True]
    assert await keys.begin(claim(2)) == Answered("req_1", answer())
    assert await keys.begin(claim(3, body=b"other")) == Mismatch()
    assert await keys.begin(claim(4, account="other")) == Granted()


async def test_a_run_without_an_answer_frees_its_key(keys):
    await keys.begin(claim(1))
    await keys.end((Ending(claim(1)),))

    assert await keys.begin(claim(2)) == Granted()


async def test_messages_may_be_repeated(keys):
    assert [await keys.begin(claim(1)) for _ in range(2)] == [Granted()] * 2
    assert [await keys.keep(1) for _ in range(2)] == [[True]] * 2


async def test_who_extends_holds_and_who_does_not_is_taken_over(keys):
    await keys.begin(claim(1, "a"))
    await keys.begin(claim(2, "b"))
    keys.now += LEASE - 1
    await keys.extend(("req_1", "req_unknown"))
    keys.now += 1

    assert await keys.begin(claim(3, "a")) == InProgress("req_1", 1.0)
    assert await keys.begin(claim(4, "b")) == Granted()
    assert await keys.keep(2, "b") == [False]


async def test_a_taken_over_run_cannot_extend_its_successor(keys):
    await keys.begin(claim(1))
    keys.now += LEASE
    await keys.begin(claim(2))
    keys.now += LEASE / 2
    await keys.extend(("req_1",))
    keys.now += LEASE / 2

    assert await keys.begin(claim(3)) == Granted()


async def test_a_step_of_the_wall_clock_steals_no_lease(keys):
    await keys.begin(claim(1))

    keys.unix += 10 * 365 * 86_400

    assert isinstance(await keys.begin(claim(2)), InProgress)


async def test_an_answer_is_kept_for_so_long(keys):
    await keys.begin(claim(1))
    await keys.keep(1)

    keys.unix += Keep().seconds - 1
    kept = await keys.begin(claim(2))
    keys.unix += 1

    assert isinstance(kept, Answered)
    assert await keys.begin(claim(3)) == Granted()


async def test_a_shorter_time_holds_for_what_is_kept_already(keys):
    await keys.begin(claim(1))
    await keys.keep(1)
    keys.unix += 60

    await keys.configure(Keep(seconds=60))

    assert await keys.begin(claim(2)) == Granted()


async def test_what_is_old_is_tidied_away_without_a_request(tmp_path, keys):
    await keys.begin(claim(1))
    await keys.keep(1)
    await keys.begin(claim(2, "running"))
    keys.unix += Keep().seconds + 1

    await keys.tidy()

    rows = keys._store._db.execute("SELECT claim FROM keys").fetchall()
    assert rows == [("req_2",)]


async def test_beyond_the_room_there_is_the_oldest_go_and_it_is_said(keys, caplog):
    for n in range(30):
        await keys.begin(claim(n, f"k{n}"))
        await keys.keep(n, f"k{n}", content=bytes(50_000))
    keys._keep = Keep(bytes=1_000_000)

    await keys.tidy()

    assert "answers were forgotten early" in caplog.text
    assert await keys.begin(claim(99, "k0")) == Granted()


async def test_after_a_restart_runs_hold_for_one_lease_and_answers_are_there(tmp_path, keys):
    await keys.begin(claim(1, "running"))
    await keys.begin(claim(2, "answered"))
    await keys.keep(2, "answered")
    keys.now += LEASE - 1

    restarted = Keys(tmp_path)

    assert await restarted.begin(claim(3, "running")) == InProgress("req_1", 1.0)
    assert await restarted.begin(claim(4, "answered")) == Answered("req_2", answer())
    restarted.now += LEASE
    assert await restarted.begin(claim(5, "running")) == Granted()
    restarted._tidying.cancel()


async def test_a_second_actor_on_the_file_ends_the_first(tmp_path):
    ended = asyncio.get_running_loop().create_future()
    first = Keys(tmp_path, fail=ended.set_result)
    second = Keys(tmp_path)

    asking = asyncio.create_task(first.begin(claim(1)))

    assert await ended == 1
    assert not asking.done()
    assert await second.begin(claim(2)) == Granted()
    asking.cancel()
    for keys in (first, second):
        keys._tidying.cancel()
    await asyncio.gather(first._group._writing, return_exceptions=True)


async def test_an_actor_that_cannot_tidy_ends(tmp_path):
    ended = asyncio.get_running_loop().create_future()
    first = Keys(tmp_path, fail=ended.set_result)
    first._store.close()

    await first.configure(Keep())
    await asyncio.gather(first._tidying, return_exceptions=True)

    assert await ended == 1


PHASES = {
    # where the process dies: what a retry is told at once, and what after the lease
    "before the claim is on disk": (Granted, Granted),
    "before the claim is told": (InProgress, Granted),
    "while it runs": (InProgress, Granted),
    "before the answer is on disk": (InProgress, Granted),
    "before the answer is acknowledged": (Answered, Answered),
    "after all": (Answered, Answered),
}


@pytest.mark.parametrize("phase", PHASES)
async def test_after_a_kill_in_each_phase_the_retry_is_told_what_is_true(tmp_path, phase):
    die(tmp_path, phase)

    keys = Keys(tmp_path)
    first = await keys.begin(claim(2))
    if not isinstance(first, Granted):
        keys.now += LEASE
    else:
        await keys.end((Ending(claim(2)),))
    second = await keys.begin(claim(3))

    keys._tidying.cancel()
    assert (type(first), type(second)) == PHASES[phase]
    assert not isinstance(second, Answered) or second == Answered("req_1", answer())


def die(folder, phase):
    """Run one request in a process of its own that kills itself in that phase."""
    program = textwrap.dedent(f"""
        import asyncio, os, pathlib, signal, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_idempotency import Keys, claim
        phase = {phase!r}
        def reached(where):
            if where == phase:
                os.kill(os.getpid(), signal.SIGKILL)
        async def main():
            keys = Keys(pathlib.Path({str(folder)!r}))
            commit = keys._store.commit
            what = "claim"
            def deadly(changes):
                reached(f"before the {{what}} is on disk")
                commit(changes)
                reached("before the claim is told" if what == "claim"
                        else "before the answer is acknowledged")
            keys._store.commit = deadly
            await keys.begin(claim(1))
            reached("while it runs")
            what = "answer"
            await keys.keep(1)
            reached("after all")
        asyncio.run(main())
    """)
    done = subprocess.run(
        [sys.executable, "-c", program], timeout=60, check=False, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
