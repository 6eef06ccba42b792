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


class Tokenizer:
    """Finds a token in every text, or breaks down."""

    def __init__(self, outcome):
        self.outcome = outcome

    async def count(self, _model, texts):
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome and len(texts)


@pytest.fixture
def count(world):
    """Count the tokens of a greeting with a provider that says so."""

    async def ask(outcome, model="auto", tokenizer=None, **fields):
        gateway = world(a=None).gateway
        tokenizers = {"a": Tokenizer(tokenizer)}
        counter = TokenCounter(gateway, {"a": Counter(outcome)}, tokenizers, Limits())
        body = json.dumps({"model": model, "messages": HELLO} | fields).encode()
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


async def test_a_tokenizer_is_as_good_where_the_provider_counts_for_nobody(count):
    assert await count(None, tokenizer=True) == Count(2 + 3 + 3, estimated=False)


@pytest.mark.parametrize("tokenizer", [None, ConnectionError()])
async def test_a_tokenizer_that_does_not_know_or_is_away_leaves_an_estimate(count, tokenizer):
    assert (await count(None, tokenizer=tokenizer)).estimated


async def test_what_is_more_than_text_is_estimated(count):
    json_please = {"response_format": {"type": "json_object"}}

    assert (await count(None, tokenizer=True, **json_please)).estimated
