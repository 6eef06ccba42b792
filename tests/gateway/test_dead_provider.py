"""A provider of many models is down: a request meets it once, and goes elsewhere."""

from compass_ray.types.errors import ProviderUnreachable, RateLimited

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
