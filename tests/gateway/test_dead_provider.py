"""A provider of many models is down: a request meets it once, and goes elsewhere."""

import pytest

from compass_ray.types.errors import (
    NoEndpoint,
    ProviderFault,
    ProviderTimeout,
    ProviderUnreachable,
    RateLimited,
)

from .conftest import Provider, answer, endpoint

GONE = ProviderUnreachable("connection refused")
ENDPOINTS = [endpoint("big", f"m{n}") for n in range(5)] + [endpoint("small", "z")]


async def test_a_dead_provider_of_many_models_costs_no_request(world):
    running = world(
        endpoints=ENDPOINTS, big=Provider(*[GONE] * 100), small=Provider(*[answer()] * 40)
    )

    replies = [await running.chat() for _ in range(40)]

    assert {reply.endpoint.provider for reply in replies} == {"small"}
    assert max(len(reply.job.attempts) for reply in replies) == 2
    assert running.providers["big"].calls == 5


@pytest.mark.parametrize("failure", [GONE, ProviderTimeout("nobody", phase="connect")])
async def test_a_provider_where_nobody_is_rests_as_a_whole(world, failure):
    running = world(
        endpoints=ENDPOINTS, big=Provider(*[failure] * 100), small=Provider(*[answer()] * 40)
    )

    for _ in range(6):
        await running.chat()
    with pytest.raises(NoEndpoint):
        await running.chat(model="m3")

    assert running.circuits.excluded(1_000.0).keys() == {"big"}


async def test_a_model_that_fails_leaves_the_others_of_its_provider_alone(world):
    fault = ProviderFault("HTTP 500")
    running = world(
        endpoints=ENDPOINTS, big=Provider(*[fault] * 5, answer()), small=Provider(*[answer()] * 40)
    )
    for _ in range(5):
        await running.chat(model="m0", compass={"fallbacks": ["z"]})

    reply = await running.chat(model="m1")

    assert reply.endpoint.id == "big/m1"


async def test_a_rate_limit_is_of_one_model_and_the_provider_s_next_is_tried(world):
    running = world(
        endpoints=ENDPOINTS, big=Provider(RateLimited("busy"), answer()), small=Provider()
    )

    reply = await running.chat()

    assert reply.endpoint.id == "big/m1"


async def test_a_provider_that_has_no_rival_is_tried_with_its_other_models(world):
    running = world(endpoints=ENDPOINTS[:5], big=Provider(GONE, GONE, answer()))

    reply = await running.chat()

    assert [attempt.endpoint for attempt in reply.job.attempts] == ["big/m0", "big/m1", "big/m2"]
