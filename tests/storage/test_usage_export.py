import json

import pytest

from compass_ray.policy.drift import DayUsage
from compass_ray.storage.usage_export import read
from compass_ray.types.errors import ConfigError

OPENAI_USAGE = {
    "object": "page",
    "data": [
        {
            "object": "bucket",
            "start_time": 1730419200,
            "end_time": 1730505600,
            "results": [
                {
                    "object": "organization.usage.completions.result",
                    "input_tokens": 1000,
                    "output_tokens": 500,
                    "input_cached_tokens": 800,
                    "num_model_requests": 5,
                    "model": "gpt-4o-2024-08-06",
                    "batch": None,
                }
            ],
        }
    ],
    "has_more": False,
    "next_page": None,
}
OPENAI_COSTS = {
    "object": "page",
    "data": [
        {
            "object": "bucket",
            "start_time": 1730419200,
            "end_time": 1730505600,
            "results": [
                {
                    "object": "organization.costs.result",
                    "amount": {"value": 0.06, "currency": "usd"},
                    "line_item": None,
                    "project_id": None,
                }
            ],
        }
    ],
    "has_more": False,
}
ANTHROPIC_USAGE = {
    "data": [
        {
            "starting_at": "2025-08-01T00:00:00Z",
            "ending_at": "2025-08-02T00:00:00Z",
            "results": [
                {
                    "uncached_input_tokens": 1500,
                    "cache_creation": {
                        "ephemeral_1h_input_tokens": 1000,
                        "ephemeral_5m_input_tokens": 500,
                    },
                    "cache_read_input_tokens": 200,
                    "output_tokens": 500,
                    "model": "claude-sonnet-4-5",
                }
            ],
        }
    ],
    "has_more": False,
}
ANTHROPIC_COST = {
    "data": [
        {
            "starting_at": "2025-08-01T00:00:00Z",
            "ending_at": "2025-08-02T00:00:00Z",
            "results": [{"currency": "USD", "amount": "123.78912", "model": None}],
        }
    ],
    "has_more": False,
}


@pytest.fixture
def export(tmp_path):
    def write(content):
        file = tmp_path / "export"
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        return file

    return write


@pytest.mark.parametrize(
    ("content", "row"),
    [
        (OPENAI_USAGE, DayUsage("2024-11-01", "gpt-4o-2024-08-06", 1000, 500)),
        (OPENAI_COSTS, DayUsage("2024-11-01", "", cost=60_000)),
        (ANTHROPIC_USAGE, DayUsage("2025-08-01", "claude-sonnet-4-5", 3200, 500)),
        (ANTHROPIC_COST, DayUsage("2025-08-01", "", cost=1_237_891)),
        ("day,model,cost_usd\n2026-11-01,m,0.5\n", DayUsage("2026-11-01", "m", cost=500_000)),
        ("day,input_tokens,output_tokens\n2026-11-01,3,\n", DayUsage("2026-11-01", "", 3)),
    ],
)
def test_what_providers_export_is_read(export, content, row):
    assert read(export(content)) == [row]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"data": [{"start_time": 1, "results": [{}]}]}, "KeyError\\('amount'\\)"),
        (OPENAI_USAGE | {"has_more": True}, "one page of several"),
        ({"data": []}, "tells of no usage"),
        ({"error": "no"}, "KeyError\\('data'\\)"),
        ("{", "no usage export"),
        ("day,cost_usd\nyesterday,1\n", "yesterday"),
        ("day,cost_usd\n2026-11-01,much\n", "no usage export"),
        ("model,cost_usd\nm,1\n", "KeyError\\('day'\\)"),
        ("", "tells of no usage"),
        ("\x00\xff", "no usage export|tells of no usage"),
        (
            {
                "data": [
                    {
                        "start_time": 1,
                        "results": [{"amount": {"value": 1, "currency": "eur"}}],
                    }
                ]
            },
            "eur is not US dollars",
        ),
    ],
)
def test_what_is_no_export_is_refused_with_the_reason(export, content, said):
    with pytest.raises(ConfigError, match=said):
        read(export(content))


def test_a_file_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read(tmp_path / "none")
