"""What a replica tells of its decisions: everything but the prompt, in batches, within bounds."""

import asyncio

import numpy as np
import orjson
import pytest

from compass_ray.gateway import decisions
from compass_ray.gateway.decisions import DecisionLog
from compass_ray.gateway.taught import Pupil
from compass_ray.learned import shipped_model
from compass_ray.policy.belief import Taught, belief
from compass_ray.policy.learn import Feedback, fresh, observe
from compass_ray.policy.retell import retold
from compass_ray.policy.select import explain
from compass_ray.types.errors import CompassError, NoEndpoint, Overloaded, Rejected
from compass_ray.types.routing import Tier

from .conftest import USAGE, Provider, answer, chunk, endpoint

MODEL = shipped_model()


class Store:
    """Remembers what it is told; silent while `silent`."""

    def __init__(self):
        self.batches = []
        self.silent = False

    async def note(self, notes):
        await asyncio.sleep(0)
        if self.silent:
            raise OSError("gone")
        self.batches.append(notes)

    @property
    def notes(self):
        return [note for batch in self.batches for note in batch]


@pytest.fixture
def logged(world):
    """Build a gateway that keeps its decisions."""

    def build(model=MODEL, **named):
        w = world(**named)
        store = Store()
        log = DecisionLog(store, model)
        w.gateway._decisions = log
        w.gateway._settings = w.gateway._settings.__class__(
            **{
                name: getattr(w.gateway._settings, name)
                for name in w.gateway._settings.__slots__
                if name != "model"
            },
            model=model,
        )
        return w, log, store

    return build


async def test_a_decision_is_told_with_its_outcome_and_without_a_word_of_the_prompt(logged):
    w, log, store = logged(a=Provider(Overloaded("busy")), b=Provider(answer("hello", USAGE)))
    await w.chat(messages=[{"role": "user", "content": "my zebra secret"}])
    await log.flush()

    (note,) = store.notes
    told = orjson.loads(note.told)
    assert (note.request_id, note.account, note.tier) == ("req_1", "open", Tier.FAST)
    assert told["outcome"]["endpoint"] == "b/m"
    assert [one["error"] for one in told["outcome"]["attempts"]] == ["Overloaded", ""]
    assert (told["outcome"]["status"], told["outcome"]["cost_micro_usd"]) == (200, 20)
    assert told["reasons"]
    assert b"zebra" not in note.told + note.features + note.scores


async def test_how_everybody_did_who_was_called_is_told_but_for_their_caller_s_mistakes(logged):
    w, log, store = logged(a=Provider(Overloaded("busy")), b=Provider(answer("hello", USAGE)))
    await w.chat()
    w.providers["a"].script = [Rejected("no such parameter")]
    with pytest.raises(CompassError):
        await w.chat(model="a/m")
    await log.flush()

    both, none = (note.outcome for note in store.notes)
    assert [(one.endpoint, one.ok) for one in both.calls] == [("a/m", False), ("b/m", True)]
    assert (both.task, both.endpoint, both.output_tokens) == ("simple_qa", "b/m", 5)
    assert both.ruled_tokens == 20  # the caller's limit
    assert (none.endpoint, none.calls, none.status) == ("", (), 400)


async def test_what_is_told_reads_like_the_explanation_of_the_decision(logged):
    w, log, store = logged(
        endpoints=[endpoint("a"), endpoint("b", "big", tier=Tier.PREMIUM), endpoint("c")],
        a=Provider(answer()),
    )
    w.directory.out = {"c": "not configured"}
    reply = await w.chat(model="a/m")
    await log.flush()

    (note,) = store.notes
    again = retold(orjson.loads(note.told), note.scores)
    explained = explain(reply.job.decision)
    assert explained.items() <= again.items()
    assert again["model"] == "a/m"
    assert {one["endpoint"] for one in again["excluded"]} == {"b/big", "c/m"}


async def test_the_features_and_the_expectation_before_any_feedback_are_told(logged):
    w, log, store = logged(a=Provider(answer()))
    reply = await w.chat()
    await log.flush()

    (note,) = store.notes
    expected = reply.job.decision.classification.expectation
    assert len(np.frombuffer(note.features, np.float32)) == 1 + len(MODEL.means)
    assert note.expected == expected.quality[Tier.FAST]
    assert note.basis == MODEL.basis


async def test_what_was_learned_already_is_not_in_what_was_expected(logged):
    w, log, store = logged(a=Provider(answer()))
    size = 1 + len(MODEL.means)
    x = np.eye(size)[0]
    taught = observe(fresh(tuple(Tier), size, 1.0), Feedback(Tier.FAST, x, -0.5))
    w.gateway._pupil = Pupil(MODEL, 0.0, float)
    beliefs = {tier: belief(posterior) for tier, posterior in taught.items()}
    w.gateway._pupil.hear(Taught(2, "on", MODEL.basis, beliefs))
    reply = await w.chat()
    await log.flush()

    (note,) = store.notes
    expected = reply.job.decision.classification.expectation
    assert expected.foreseen[Tier.FAST] < expected.quality[Tier.FAST]
    assert note.expected == expected.quality[Tier.FAST]


async def test_without_a_quality_model_there_is_nothing_to_learn_from(logged):
    w, log, store = logged(model=None, a=Provider(answer()))
    await w.chat()
    await log.flush()

    (note,) = store.notes
    assert (note.features, note.expected, note.basis) == (b"", None, "")


async def test_what_failed_is_told_too_and_nobody_answered_it(logged):
    w, log, store = logged(attempts=1, a=Provider(Overloaded("busy")))
    with pytest.raises(CompassError):
        await w.chat()
    await log.flush()

    (note,) = store.notes
    assert (note.tier, note.expected) == (0, None)
    assert orjson.loads(note.told)["outcome"]["status"] == 503


async def test_a_refused_request_can_be_explained_too(logged):
    w, log, store = logged(a=Provider())
    w.directory.out = {"a": "not configured"}
    with pytest.raises(NoEndpoint):
        await w.chat()
    await log.flush()

    (note,) = store.notes
    told = retold(orjson.loads(note.told), note.scores)
    assert told["candidates"] == []
    assert told["excluded"] == [{"endpoint": "a/m", "reason": "not configured"}]
    assert (told["outcome"]["status"], note.tier) == (503, 0)


async def test_a_stream_is_told_when_it_has_ended(logged):
    w, log, store = logged(a=Provider([chunk("he"), chunk("llo", usage=USAGE)]))
    reply = await w.chat(stream=True)
    await log.flush()
    during = list(store.notes)
    async for _ in reply.chunks():
        pass
    await reply.close()
    await log.flush()

    assert during == []
    assert [note.tier for note in store.notes] == [Tier.FAST]


async def test_what_is_not_acknowledged_is_told_again_and_in_order(logged):
    w, log, store = logged(a=Provider(*[answer()] * 3))
    store.silent = True
    for _ in range(2):
        await w.chat()
        with pytest.raises(OSError, match="gone"):
            await log.flush()
    store.silent = False
    await w.chat()
    await log.flush()

    assert [note.request_id for note in store.notes] == ["req_1", "req_2", "req_3"]


async def test_what_waits_is_bounded_in_number_and_bytes_and_what_is_too_much_is_forgotten(
    logged, monkeypatch, caplog
):
    monkeypatch.setattr(decisions, "_MOST", 3)
    w, log, store = logged(a=Provider(*[answer()] * 9))
    for _ in range(5):
        await w.chat()
    await log.flush()
    monkeypatch.setattr(decisions, "_MOST_BYTES", 1_000)
    for _ in range(2):
        await w.chat(messages=[{"role": "user", "content": "x" * 600}])
    await log.flush()

    assert [note.request_id for note in store.notes] == ["req_1", "req_2", "req_3", "req_6"]
    assert log._bytes == 0
    assert "2 decisions were forgotten: there were too many to keep" in caplog.text


async def test_a_message_has_its_limit(logged, monkeypatch):
    monkeypatch.setattr(decisions, "_AT_ONCE", 2)
    w, log, store = logged(a=Provider(*[answer()] * 5))
    for _ in range(5):
        await w.chat()
    await log.flush()

    assert [len(batch) for batch in store.batches] == [2, 2, 1]


async def test_closing_tells_what_is_left_or_lets_it_go(logged, caplog):
    w, log, store = logged(a=Provider(*[answer()] * 2))
    await w.chat()
    await log.close()
    store.silent = True
    await w.chat()
    await log.close()

    assert [note.request_id for note in store.notes] == ["req_1"]
    assert "the last decisions were not told: OSError" in caplog.text
