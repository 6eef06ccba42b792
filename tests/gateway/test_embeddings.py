"""Embeddings go the way of chats: decided, held, called, settled, recorded."""

import pytest

from compass_ray.types.errors import (
    AllAttemptsFailed,
    BudgetExceeded,
    InvalidRequest,
    NoEndpoint,
    Overloaded,
    ProviderTimeout,
)
from compass_ray.types.usage import Usage

from .conftest import Provider, answer, embedder, endpoint, vectors

HELD = 10 + 6 + 2 * 8  # bytes of both texts, and what a model may put around each


def one(*script, **named):
    return {"a": Provider(*script), "endpoints": [embedder("a"), endpoint("a", "m")]} | named


async def test_vectors_are_charged_by_their_input_alone(world):
    w = world(**one(vectors(tokens=7)), left=1_000)

    reply = await w.embed()

    assert reply.body["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    assert reply.body["compass"]["cost_micro_usd"] == 7
    assert (w.purse.left, w.purse.ends) == (993, [("settled", "a", 7, Usage(input_tokens=7))])
    (record,) = w.records
    assert (record.model, record.status, record.usage.output_tokens) == ("e", 200, 0)


async def test_a_provider_that_counts_nothing_is_charged_by_an_estimate_that_says_so(world):
    w = world(**one(vectors(tokens=None)))

    body = (await w.embed()).body

    assert body["usage"]["prompt_tokens"] == 5  # 10 and 6 characters, a quarter of a token each
    assert body["compass"]["usage_estimated"] is True


async def test_the_most_that_it_can_cost_is_held_and_no_more(world):
    enough, short = world(**one(vectors()), left=HELD), world(**one(vectors()), left=HELD - 1)

    await enough.embed()
    with pytest.raises(BudgetExceeded):
        await short.embed()

    assert short.providers["a"].calls == 0


async def test_another_provider_of_the_same_model_answers_in_its_place(world):
    w = world(
        a=Provider(Overloaded("busy")),
        b=Provider(vectors()),
        endpoints=[embedder("a"), embedder("b"), embedder("b", "other")],
    )

    reply = await w.embed(model="e")

    assert reply.endpoint.id == "b/e"


async def test_another_model_never_does(world):
    w = world(
        a=Provider(*[Overloaded("busy")] * 3),
        b=Provider(vectors()),
        endpoints=[embedder("a"), embedder("b", "other"), endpoint("b", "m")],
    )

    with pytest.raises(AllAttemptsFailed):
        await w.embed(model="e")

    assert w.providers["b"].calls == 0


async def test_auto_waits_for_its_model_and_takes_no_other(world):
    w = world(
        a=Provider(),
        b=Provider(vectors()),
        endpoints=[embedder("a"), embedder("b", "other")],
    )
    w.directory.out = {"a": "down"}

    with pytest.raises(NoEndpoint, match="down"):
        await w.embed()

    assert w.providers["b"].calls == 0


async def test_auto_is_no_model_whose_provider_lacks_its_key(world):
    w = world(
        a=Provider(),
        b=Provider(vectors()),
        endpoints=[embedder("a"), embedder("b", "other")],
    )
    w.directory.out, w.directory.waits = {"a": "not configured"}, frozenset({"a"})

    assert (await w.embed()).endpoint.id == "b/other"


async def test_a_lost_call_is_charged_its_input(world):
    w = world(**one(ProviderTimeout("late", phase="first byte"), vectors()), left=1_000)

    reply = await w.embed()

    assert [charge.usage.output_tokens for charge in reply.job.charges] == [0, 0]
    assert w.purse.left == 1_000 - reply.job.cost


async def test_what_is_refused_costs_nothing_and_is_counted(world):
    w = world(**one(), left=1_000)

    with pytest.raises(InvalidRequest):
        await w.embed(input=[])

    assert w.purse.ends == []
    assert [record.status for record in w.records] == [400]


async def test_neither_kind_of_model_does_what_the_other_does(world):
    w = world(**one(answer(), vectors()))

    with pytest.raises(InvalidRequest, match="makes no embeddings") as refusal:
        await w.embed(model="m")
    with pytest.raises(InvalidRequest, match="only makes embeddings"):
        await w.chat(model="e")

    assert refusal.value.param == "model"
    assert (await w.chat()).endpoint.model == "m"
    assert (await w.embed()).endpoint.model == "e"


async def test_every_input_may_fill_a_window_and_that_much_is_held(world):
    texts = ["x" * 120, "y" * 120, "zz"]  # more bytes than three windows have tokens
    small = embedder("a", context_window=50)
    enough = world(a=Provider(vectors(3)), endpoints=[small], left=3 * 50)
    short = world(a=Provider(vectors(3)), endpoints=[small], left=3 * 50 - 1)

    await enough.embed(input=texts)
    with pytest.raises(BudgetExceeded):
        await short.embed(input=texts)
