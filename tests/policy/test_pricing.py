import dataclasses
from fractions import Fraction

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.gateway.fields import Limits
from compass_ray.gateway.parse import parse
from compass_ray.policy.pricing import cost, to_micro, worst_case
from compass_ray.types.routing import Endpoint, Tier
from compass_ray.types.usage import MAX_TOKENS, Price, Usage, dollars

GPT_4O_MINI = Price(input=150_000, output=600_000, cached_input=75_000)

tokens = st.integers(0, 100_000)


def endpoint(price=GPT_4O_MINI, **fields):
    card = {"context_window": 128_000, "max_output_tokens": 16_384} | fields
    return Endpoint("openai", "m", "m", Tier.FAST, price=price, **card)


def request(content, **fields):
    body = {"model": "m", "messages": [{"role": "user", "content": content}]} | fields
    return parse(orjson.dumps(body), Limits())


def test_a_price_per_million_tokens_is_exact():
    usage = Usage(input_tokens=1_000_000, output_tokens=1_000_000, cached_input_tokens=400_000)

    assert cost(GPT_4O_MINI, usage) == 90_000 + 30_000 + 600_000


def test_a_fraction_of_a_micro_dollar_is_rounded_up_once():
    assert cost(GPT_4O_MINI, Usage(input_tokens=1)) == 1
    assert cost(GPT_4O_MINI, Usage(input_tokens=7, output_tokens=1)) == 2


def test_the_fixed_part_is_added():
    assert cost(Price(input=0, output=0, per_request=5), Usage()) == 5


def test_cached_and_written_tokens_cost_the_input_price_unless_priced():
    usage = Usage(input_tokens=10_000_000, cached_input_tokens=4_000_000, cache_write_tokens=10**6)

    assert cost(Price(input=100, output=0), usage) == 1000
    assert cost(Price(input=100, output=0, cache_write=200), usage) == 1100


# Neither NUL nor half a surrogate pair gets past the reading of a request.
TEXTS = st.text(st.characters(min_codepoint=1, exclude_categories=("Cs",)), max_size=300)


@given(TEXTS, st.integers(1, 16_384), st.integers(1, 8), st.data())
def test_no_honest_usage_costs_more_than_the_worst_case(text, limit, n, data):
    asked = request(text, max_tokens=limit, n=n)
    spent_input = data.draw(st.integers(0, len(text.encode()) + 16))
    usage = Usage(
        input_tokens=spent_input,
        output_tokens=data.draw(st.integers(0, limit * n)),
        cached_input_tokens=data.draw(st.integers(0, spent_input)),
    )

    assert cost(GPT_4O_MINI, usage) <= worst_case(asked, endpoint())


def test_without_a_limit_the_model_s_own_is_reserved():
    unlimited = worst_case(request("hi"), endpoint())
    limited = worst_case(request("hi", max_tokens=16_384), endpoint())

    # The longer body of the second alone makes the difference.
    assert 0 < limited - unlimited < 10


def test_an_unknown_price_has_no_worst_case():
    assert worst_case(request("hi"), endpoint(price=None)) is None


@pytest.mark.parametrize(
    "usage",
    [
        Usage(input_tokens=-1),
        Usage(output_tokens=MAX_TOKENS + 1),
        Usage(input_tokens=1, cached_input_tokens=2),
        Usage(output_tokens=1, reasoning_tokens=2),
    ],
)
def test_an_absurd_usage_is_not_credible(usage):
    assert not usage.is_credible()


@given(tokens, tokens)
def test_an_ordinary_usage_is_credible(input_tokens, output_tokens):
    assert Usage(input_tokens, output_tokens).is_credible()


@pytest.mark.parametrize(
    ("dollars", "micro"), [("0.0000019", 1), (1, 1_000_000), (0.1, 100_000), ("1e-7", 0)]
)
def test_dollars_become_micro_dollars_rounded_down(dollars, micro):
    assert to_micro(dollars) == micro


@pytest.mark.parametrize("dollars", ["", "x", "-1", float("nan"), float("inf"), "-0.0000001"])
def test_what_is_not_an_amount_is_refused(dollars):
    with pytest.raises(ValueError, match="not an amount"):
        to_micro(dollars)


@pytest.mark.parametrize(
    ("micro", "told"),
    [(0, "0.000000"), (1, "0.000001"), (1_234_567, "1.234567"), (-20, "-0.000020")],
)
def test_money_is_told_exactly(micro, told):
    assert dollars(micro) == told


def test_what_the_provider_works_off_when_it_suits_costs_what_a_batch_does():
    usual = Price(4_000_001, 20_000_000, 400_000, per_request=5)
    price = dataclasses.replace(usual, batch=usual.times(Fraction("0.5")))
    usage = Usage(1_000, 100, 200)

    assert price.batch == Price(2_000_001, 10_000_000, 200_000, per_request=5)
    assert cost(price, usage) == cost(usual, usage)
    assert cost(price, dataclasses.replace(usage, batch=True)) == cost(price.batch, usage)
    assert cost(usual, dataclasses.replace(usage, batch=True)) == cost(usual, usage)
