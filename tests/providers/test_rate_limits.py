import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.providers._rate_limits import ANTHROPIC, OPENAI, rests_for

DATE = {"date": "Mon, 23 Nov 2026 10:00:00 GMT"}


def openai(**told):
    return {f"x-ratelimit-{name.replace('_', '-')}": value for name, value in told.items()}


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("20ms", 0.02),
        ("1s", 1.0),
        ("7.66s", 7.66),
        ("6m0s", 360.0),
        ("1h2m3s", 3600.0),
        ("59m59.5s", 3599.5),
        ("12", 12.0),
        ("", 0.0),
        ("soon", 0.0),
        ("-3s", 0.0),
        ("9" * 400, 0.0),
    ],
)
def test_openai_tells_a_duration(reset, seconds):
    headers = openai(remaining_requests="0", reset_requests=reset)

    assert rests_for(headers, OPENAI) == pytest.approx(seconds)


def test_the_longest_of_all_limits_counts_and_what_is_left_does_not():
    headers = openai(
        remaining_requests="0", reset_requests="2s", remaining_tokens="0", reset_tokens="5s"
    )

    assert rests_for(headers, OPENAI) == 5.0
    assert rests_for(headers | openai(remaining_tokens="1"), OPENAI) == 2.0
    assert rests_for({}, OPENAI) == 0.0
    assert rests_for(headers, ()) == 0.0


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("2026-11-23T10:00:07Z", 7.0),
        ("2026-11-23T11:00:07+01:00", 7.0),
        ("2026-11-23T10:00:07", 7.0),
        ("2026-11-23T09:00:00Z", 0.0),
        ("2030-01-01T00:00:00Z", 3600.0),
        ("tomorrow", 0.0),
    ],
)
def test_anthropic_tells_a_time_that_is_measured_by_its_own_date(reset, seconds):
    headers = {
        "anthropic-ratelimit-input-tokens-remaining": "0",
        "anthropic-ratelimit-input-tokens-reset": reset,
    }

    assert rests_for(headers | DATE, ANTHROPIC) == seconds
    assert rests_for(headers, ANTHROPIC) == 0.0


@given(st.text(max_size=30), st.text(max_size=30))
def test_whatever_a_header_says_the_wait_is_bounded(reset, date):
    headers = {
        "anthropic-ratelimit-tokens-remaining": "0",
        "anthropic-ratelimit-tokens-reset": reset,
        "date": date,
    }

    assert 0.0 <= rests_for(headers, ANTHROPIC) <= 3600.0
