"""How long endpoints have been taking decides where time counts."""

from dataclasses import replace

from compass_ray.policy.plan import Plan
from compass_ray.policy.select import Weights, explain

from .conftest import Provider, answer, endpoint

ONLY_TIME = Plan(Weights(0, 0, 1, 0, 0))


class Slow(Provider):
    """Takes so many seconds for each answer, on the world's clock."""

    def __init__(self, seconds):
        super().__init__(*[answer()] * 50)
        self.seconds = seconds
        self.world = None

    async def complete(self, *asked):
        await self.world.gateway._clock.sleep(self.seconds)
        return await super().complete(*asked)


def ready(world, **providers):
    listed = [endpoint("a", expected_ttft=1.0), endpoint("b", "other", expected_ttft=1.5)]
    w = world(endpoints=listed, **providers)
    w.gateway._settings = replace(w.gateway._settings, plan=ONLY_TIME)
    for provider in providers.values():
        provider.world = w
    return w


async def test_an_endpoint_that_is_slower_than_expected_loses_to_one_that_is_not(world):
    w = ready(world, a=Slow(9.0), b=Slow(1.5))

    chosen = [(await w.chat()).endpoint.provider for _ in range(10)]

    assert chosen[0] == "a"
    assert chosen[-1] == "b"


async def test_a_dry_run_tells_the_time_that_was_observed(world):
    w = ready(world, a=Slow(9.0), b=Slow(1.5))
    for _ in range(3):
        await w.chat(model="a/m")

    caller = w.gateway.authenticate(None)
    asked = b'{"model": "a/m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 20}'
    decision = w.gateway.dry_run(asked, caller)

    (candidate,) = explain(decision)["candidates"]
    assert candidate["expected_seconds"] > 1.5
