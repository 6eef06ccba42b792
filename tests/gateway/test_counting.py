"""Tokens are counted by who would answer, else estimated, and an estimate says that it is one."""

import json

import pytest

from compass_ray.gateway.counting import Count, TokenCounter
from compass_ray.gateway.fields import Limits
from compass_ray.types.errors import Overloaded, UnknownModel

HELLO = [{"role": "user", "content": "hi"}]


class Counter:
    """Counts what it is told to, or fails."""

    def __init__(self, outcome):
        self.outcome = outcome

    async def count(self, _request, _endpoint, _deadline):
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.fixture
def count(world):
    """Count the tokens of a greeting with a provider that says so."""

    async def ask(outcome, model="auto"):
        gateway = world(a=None).gateway
        counter = TokenCounter(gateway, {"a": Counter(outcome)}, Limits())
        body = json.dumps({"model": model, "messages": HELLO}).encode()
        return await counter.count(body, gateway.authenticate(None))

    return ask


async def test_the_provider_s_word_is_exact(count):
    assert await count(42) == Count(42, estimated=False)


@pytest.mark.parametrize("outcome", [None, Overloaded("later")])
async def test_without_it_there_is_an_estimate(count, outcome):
    counted = await count(outcome)

    assert counted.estimated
    assert counted.tokens > 0


async def test_an_unknown_model_counts_nothing(count):
    with pytest.raises(UnknownModel):
        await count(42, model="no-such")
