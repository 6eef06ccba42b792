"""The Learner as a plain class on a real SQLite file, and killed in each phase."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import zlib
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compass_ray.actors.learner import LearnerActor
from compass_ray.storage import decisions as storage
from compass_ray.storage.sqlite import SingleWriter
from compass_ray.types.decisions import (
    Called,
    Judged,
    Judgement,
    LearnerSettings,
    Note,
    NotJudged,
    Order,
    Outcome,
)
from compass_ray.types.routing import Tier

SIZE = 4
SETTINGS = LearnerSettings(keep=100, mode="on", basis="model", size=SIZE)
ROLL_BACK = "roll_back"


def note(n=1, account="acme", tier=3, basis="model", seed=None):
    chance = np.random.default_rng(n if seed is None else seed)
    features = chance.standard_normal(SIZE).astype(np.float32).tobytes()
    return Note(
        f"req_{n}",
        account,
        100.0 + n,
        tier,
        0.5,
        basis,
        features,
        b'{"n": %d}' % n,
        b"numbers",
        Outcome("code", "a/m", 200, 20, 1.0, 5),
    )


def said(n=1, score=1.0, account="acme"):
    return Judgement(f"req_{n}", account, score, 200.0)


async def learner(folder, settings=SETTINGS, **named):
    one = LearnerActor(folder / "d.db", **named)
    await one.configure(settings)
    return one


async def teach(one, *numbers):
    await one.note(tuple(note(n) for n in numbers))
    return [await one.judge(said(n)) for n in numbers]


async def believed(one):
    """Return all that replicas are told, to the last bit."""
    _, taught = await one.watch(-1, 0)
    return {
        tier: (known.seen, known.mean.tobytes(), known.covariance.tobytes())
        for tier, known in taught.beliefs.items()
    }


async def test_a_decision_is_kept_and_told_with_its_score(tmp_path):
    one = await learner(tmp_path)
    await one.note((note(1), note(2, tier=0)))
    await one.judge(said(1, 0.25))

    judged, other = await one.decision("req_1"), await one.decision("req_2")

    assert (judged.account, judged.told, judged.scores) == ("acme", b'{"n": 1}', b"numbers")
    assert (judged.score, judged.judged_at, judged.learned_in) == (0.25, 200.0, 2)
    assert (other.score, other.learned_in) == (None, None)
    assert await one.decision("req_9") is None


async def test_the_file_is_for_its_owner_s_eyes_alone(tmp_path):
    await learner(tmp_path / "new")

    assert (tmp_path / "new" / "d.db").stat().st_mode & 0o777 == 0o600


async def test_messages_may_be_repeated(tmp_path):
    one = await learner(tmp_path)
    for _ in range(2):
        await one.note((note(1),))

    verdicts = [await one.judge(said()) for _ in range(2)]

    assert verdicts == [Judged(1.0, 2)] * 2
    assert (await one.learning()).seen[Tier.FAST] == 1


async def test_who_judges_while_the_decision_is_being_told_is_heard(tmp_path):
    one = await learner(tmp_path)

    verdict, _ = await asyncio.gather(one.judge(said()), one.note((note(),)))

    assert verdict == Judged(1.0, 2)


async def test_of_many_judgements_of_one_answer_the_first_counts(tmp_path):
    one = await learner(tmp_path)
    await one.note((note(),))

    verdicts = await asyncio.gather(*(one.judge(said(score=score / 9)) for score in range(10)))

    assert verdicts == [Judged(0.0, 2)] + [NotJudged("judged")] * 9


async def test_a_file_of_an_earlier_version_goes_on(tmp_path):
    with (
        closing(SingleWriter(tmp_path / "d.db", storage._SCHEMAS[:1])) as old,
        old.transaction() as db,
    ):
        db.execute(
            "INSERT INTO decisions (request_id, account, at, tier, basis, features, told, scores)"
            " VALUES ('req_1', 'acme', 1, 3, '', '', ?, '')",
            (zlib.compress(b"{}"),),
        )
    one = await learner(tmp_path)

    assert (await one.decision("req_1")).account == "acme"
    assert await one.judge(said()) == Judged(1.0, None)
    assert await one.experiments() == []


async def test_only_so_many_decisions_are_kept(tmp_path):
    one = await learner(tmp_path, replace(SETTINGS, keep=3))
    for n in range(5):
        await one.note((note(n),))

    kept = [n for n in range(5) if await one.decision(f"req_{n}") is not None]

    assert kept == [2, 3, 4]
    assert await one.judge(said(1)) == NotJudged("unknown")


async def test_replicas_are_told_of_a_lesson_as_soon_as_it_is_learned(tmp_path):
    one = await learner(tmp_path)
    await one.note((note(),))
    version, before = await one.watch(-1, 0)
    waiting = asyncio.create_task(one.watch(version, 5))
    await asyncio.sleep(0)
    await one.judge(said())

    _, after = await waiting

    assert (before.version, after.version) == (1, 2)
    assert after.basis == "model"
    assert np.any(after.beliefs[Tier.FAST].mean != before.beliefs[Tier.FAST].mean)


async def test_what_is_learned_outlives_the_actor(tmp_path):
    one = await learner(tmp_path)
    await teach(one, *range(5))
    before = await believed(one)

    again = LearnerActor(tmp_path / "d.db")  # as Ray restarts it: nobody configures it

    assert await believed(again) == before
    assert (await again.learning()).version == 6
    assert await again.judge(said(3)) == Judged(1.0, 5)


async def test_rolling_back_brings_every_version_back_to_the_last_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "_SNAPSHOT_EVERY", 3)
    one = await learner(tmp_path)
    past = {1: await believed(one)}
    for n in range(8):
        await teach(one, n)
        past[n + 2] = await believed(one)

    for n, version in enumerate((4, 9, 1, 7)):
        done = await one.operate(Order(ROLL_BACK, version))

        assert done.version == 10 + n
        assert await believed(one) == past[version]
    assert await believed(LearnerActor(tmp_path / "d.db")) == past[7]


async def test_after_a_roll_back_it_learns_on_and_the_undone_can_be_restored(tmp_path):
    one = await learner(tmp_path)
    await teach(one, 1, 2)
    best = await believed(one)
    await one.operate(Order(ROLL_BACK, 2))
    (verdict,) = await teach(one, 3)

    restored = await one.operate(Order(ROLL_BACK, 3))

    assert verdict == Judged(1.0, 5)
    assert restored.version == 6
    assert await believed(one) == best


@pytest.mark.parametrize("version", [0, 2, 99])
async def test_there_is_no_way_back_to_what_never_was(tmp_path, version):
    one = await learner(tmp_path)

    assert await one.operate(Order(ROLL_BACK, version)) is None
    assert (await one.learning()).version == 1


async def test_the_oldest_versions_are_forgotten_and_the_rest_stays_exact(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "_SNAPSHOT_EVERY", 2)
    monkeypatch.setattr(storage, "_MOST_LESSONS", 4)
    one = await learner(tmp_path)
    past = {}
    for n in range(12):
        await teach(one, n)
        past[n + 2] = await believed(one)
    again = LearnerActor(tmp_path / "d.db")
    oldest = (await again.learning()).oldest

    assert oldest == 9
    assert await again.operate(Order(ROLL_BACK, oldest - 1)) is None
    await again.operate(Order(ROLL_BACK, oldest))
    assert await believed(again) == past[oldest]


async def test_frozen_it_keeps_what_it_knows_and_learns_no_more_until_it_resumes(tmp_path):
    one = await learner(tmp_path)
    await teach(one, 1)
    before = await believed(one)

    frozen = await one.operate(Order("freeze"))
    verdicts = await teach(one, 2)
    again = LearnerActor(tmp_path / "d.db")

    assert (frozen.mode, frozen.version) == ("frozen", 2)
    assert verdicts == [Judged(1.0, None)]
    assert await believed(one) == before == await believed(again)
    assert (await again.learning()).mode == "frozen"
    assert (await again.operate(Order("resume"))).mode == "on"
    assert await teach(again, 3) == [Judged(1.0, 3)]


async def test_an_operator_s_freeze_outlives_a_new_configuration(tmp_path):
    one = await learner(tmp_path)
    await one.operate(Order("freeze"))

    await one.configure(replace(SETTINGS, keep=5))

    assert (await one.learning()).mode == "frozen"


async def test_switched_off_it_tells_replicas_nothing_and_forgets_nothing(tmp_path):
    one = await learner(tmp_path)
    await teach(one, 1)
    before = await believed(one)

    await one.configure(replace(SETTINGS, mode="off"))
    off = await believed(one)
    verdicts = await teach(one, 2)
    await one.configure(SETTINGS)

    assert off == {}
    assert verdicts == [Judged(1.0, None)]
    assert await believed(one) == before


async def test_of_another_quality_model_nothing_is_known_and_no_way_leads_back(tmp_path):
    one = await learner(tmp_path)
    await teach(one, 1)

    await one.configure(replace(SETTINGS, basis="other", size=2))
    told = await one.learning()

    assert told.version == 3
    assert set(told.seen.values()) == {0}
    assert await one.operate(Order(ROLL_BACK, 2)) is None
    await one.note((note(5),))  # of a replica that has not been replaced yet
    assert await one.judge(said(5)) == Judged(1.0, None)


async def test_an_actor_that_was_replaced_acknowledges_nothing_and_ends(tmp_path):
    ends = []
    old = await learner(tmp_path, fail=ends.append)
    await teach(old, 1)
    await learner(tmp_path)

    telling = asyncio.create_task(old.note((note(2),)))
    writing = old._group._writing
    while writing is None:
        await asyncio.sleep(0)
        writing = old._group._writing
    await asyncio.wait([writing])

    assert ends == [1]
    assert writing.exception() is not None
    assert not telling.done()
    telling.cancel()


def answered(n, seconds):
    outcome = Outcome(
        "code", "a/m", 200, 20, seconds, 5, (Called("a/m", ok=True, seconds=seconds),)
    )
    return replace(note(n), outcome=outcome)


async def drifted(one):
    """Let answers take four times as long as they used to."""
    await one.note(tuple(answered(n, 1.0) for n in range(400)))
    await one.note(tuple(answered(n, 4.0) for n in range(400, 500)))


async def test_drift_is_found_told_once_and_still_known_after_a_restart(tmp_path, caplog):
    one = await learner(tmp_path, replace(SETTINGS, keep=1_000, drift="alert"))
    await drifted(one)
    await drifted(one)  # what is said again is no news
    while await one.undelivered():
        pass
    (shift,) = await one.shifts()
    again = LearnerActor(tmp_path / "d.db")

    assert shift.stream == ("code", "a/m", "latency")
    assert (shift.was, shift.now) == (pytest.approx(1.0), pytest.approx(4.0))
    assert await again.shifts() == [shift]
    assert await again.undelivered() == []
    told = [r.getMessage() for r in caplog.records if "has drifted" in r.getMessage()]
    assert told == [f"latency of a/m in code has drifted: 4 in the last {shift.values}, 1 before"]
    assert (await one.learning()).mode == "on"


async def test_what_is_usual_is_known_over_a_restart(tmp_path):
    settings = replace(SETTINGS, keep=1_000, drift="alert")
    one = await learner(tmp_path, settings)
    await one.note(tuple(answered(n, 1.0) for n in range(400)))
    again = LearnerActor(tmp_path / "d.db")
    await again.note(tuple(answered(n, 4.0) for n in range(400, 500)))

    assert [shift.stream.trait for shift in await again.shifts()] == ["latency"]


async def test_scores_can_drift_and_learning_is_frozen_where_that_is_wished(tmp_path):
    one = await learner(tmp_path, replace(SETTINGS, keep=1_000, drift="freeze"))
    await one.note(tuple(answered(n, 1.0) for n in range(500)))
    for n in range(400):
        await one.judge(said(n, 0.9))
    before = await one.learning()
    await asyncio.gather(*(one.judge(said(n, 0.1)) for n in range(400, 500)))
    after = await one.learning()
    (shift,) = await one.shifts()
    again = LearnerActor(tmp_path / "d.db")
    restarted = await again.learning()
    resumed = await again.operate(Order("resume"))

    assert shift.stream == ("code", "a/m", "quality")
    assert (before.mode, after.mode, restarted.mode) == ("on", "frozen", "frozen")
    assert resumed.mode == "on"


async def test_where_drift_is_of_no_interest_nothing_is_watched(tmp_path):
    one = await learner(tmp_path, replace(SETTINGS, keep=1_000, drift="off"))
    await drifted(one)

    assert await one.shifts() == []
    assert one._store._shifts._levels == {}


def long(n, tokens=300):
    """Return a note of an answer of so many tokens, where the rules expect 100."""
    called = Called("a/m", ok=True, seconds=1.0)
    return replace(note(n), outcome=Outcome("code", "a/m", 200, 20, 1.0, tokens, (called,), 100))


async def test_how_long_answers_are_is_told_once_it_has_changed_and_over_a_restart(tmp_path):
    one = await learner(tmp_path, replace(SETTINGS, keep=1_000))
    version, _ = await one.watch(-1, 0)
    await one.note(tuple(long(n) for n in range(200)))
    followed, taught = await one.watch(version, 0)
    await one.note((long(200),))
    unchanged, _ = await one.watch(followed, 0)
    again = LearnerActor(tmp_path / "d.db")

    assert taught.lengths["code"] == pytest.approx(2.8, abs=0.1)
    assert unchanged == followed
    assert (await again.watch(-1, 0))[1].lengths["code"] == pytest.approx(2.8, abs=0.1)


@pytest.mark.parametrize("mode", ["frozen", "off"])
async def test_how_long_answers_are_is_not_learned_where_nothing_is(tmp_path, mode):
    one = await learner(tmp_path, replace(SETTINGS, keep=1_000, mode=mode))
    await one.note(tuple(long(n) for n in range(200)))

    assert (await one.watch(-1, 0))[1].lengths == {}


PHASES = {
    "before the score is on disk": (None, 1),
    "before the score is acknowledged": (2, 2),
    "after all": (2, 2),
}


@pytest.mark.parametrize("phase", PHASES)
async def test_after_a_kill_in_each_phase_a_score_counts_once(tmp_path, phase):
    die(tmp_path, phase)

    one = LearnerActor(tmp_path / "d.db")
    found, version = await one.decision("req_1"), (await one.learning()).version
    again = await one.judge(said(1))

    assert (found.learned_in, version) == PHASES[phase]
    assert again == Judged(1.0, 2)
    assert (await one.learning()).seen[Tier.FAST] == 1


def die(folder, phase):
    """Have one answer judged in a process of its own that kills itself in that phase."""
    program = textwrap.dedent(f"""
        import asyncio, os, pathlib, signal, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_learner import learner, note, said
        phase = {phase!r}
        def reached(where):
            if where == phase:
                os.kill(os.getpid(), signal.SIGKILL)
        async def main():
            one = await learner(pathlib.Path({str(folder)!r}))
            await one.note((note(1),))
            take = one._store.take
            def deadly(*taken):
                reached("before the score is on disk")
                found = take(*taken)
                reached("before the score is acknowledged")
                return found
            one._store.take = deadly
            await one.judge(said(1))
            reached("after all")
        asyncio.run(main())
    """)
    done = subprocess.run(
        [sys.executable, "-c", program],
        timeout=60,
        check=False,
        capture_output=True,
        env=dict(os.environ),
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


async def test_a_roll_back_brings_the_lengths_of_its_version_back_too(tmp_path):
    one = await learner(tmp_path, replace(SETTINGS, keep=1_000))
    begun = (await one.learning()).version
    await one.note(tuple(long(n) for n in range(200)))
    taught = await one.judge(said(0, 0.5))
    known = one._lengths
    await one.note(tuple(long(n, 30) for n in range(200, 900)))
    after = one._lengths

    await one.operate(Order(ROLL_BACK, taught.learned_in))
    rolled_back = one._lengths, (await one.watch(-1, 0))[1].lengths
    await one.operate(Order(ROLL_BACK, begun))
    at_first = one._lengths
    await one.operate(Order(ROLL_BACK, taught.learned_in))
    again = LearnerActor(tmp_path / "d.db")

    assert after["code"] < 1 < known["code"]
    assert rolled_back == (known, known)
    assert at_first == {}
    assert again._lengths == known
