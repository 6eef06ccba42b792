"""Work that may wait costs what a batch does, where the provider offers that for single calls."""

import openai
import pytest

pytestmark = pytest.mark.server

ASKED = {"model": "sim-half", "messages": [{"role": "user", "content": "Count."}], "max_tokens": 40}
MAY_WAIT = {"x-compass-urgency": "batch"}


@pytest.fixture
def client(gateway):
    url = f"{gateway.url}/v1"
    with openai.OpenAI(base_url=url, api_key=gateway.key, max_retries=0) as client:
        yield client


def cost_of(answer):
    return answer.model_extra["compass"]["cost_micro_usd"]


def test_what_may_wait_costs_half_and_is_told_so(client):
    usual = client.chat.completions.create(**ASKED)

    waited = client.chat.completions.create(**ASKED, extra_headers=MAY_WAIT)
    asked = client.chat.completions.create(**ASKED, extra_body={"compass": {"urgency": "batch"}})

    assert usual.usage == waited.usage == asked.usage
    assert (usual.service_tier, waited.service_tier, asked.service_tier) == (
        "default", "flex", "flex",
    )  # fmt: skip
    assert cost_of(usual) == 2 * cost_of(waited) == 2 * cost_of(asked) > 0


def test_a_stream_that_may_wait_costs_half_too(client):
    def cost(headers):
        options = {"include_usage": True}
        asked = {**ASKED, "stream": True, "stream_options": options, "extra_headers": headers}
        *_, last = client.chat.completions.create(**asked)
        return cost_of(last)

    assert cost({}) == 2 * cost(MAY_WAIT) > 0
