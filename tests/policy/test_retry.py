import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.retry import RetryPolicy, after, may_have_produced, may_try_again
from compass_ray.types.errors import (
    BadAnswer,
    BrokenStream,
    DeadlineExceeded,
    InvalidRequest,
    Overloaded,
    ProviderAuthFailed,
    ProviderFault,
    ProviderTimeout,
    ProviderUnreachable,
    QuotaExhausted,
    RateLimited,
    Rejected,
)

POLICY = RetryPolicy()


def test_what_the_provider_rejects_is_tried_nowhere_else():
    assert not after(Rejected("no"), 1, POLICY, 0.5).elsewhere


def test_what_one_wire_cannot_express_may_go_elsewhere_but_not_again():
    verdict = after(InvalidRequest("no logprobs"), 1, POLICY, 0.5)

    assert verdict.elsewhere
    assert verdict.again_after is None


@pytest.mark.parametrize("error", [ProviderAuthFailed("key"), QuotaExhausted("money")])
def test_what_cannot_mend_itself_is_not_tried_again(error):
    assert after(error, 1, POLICY, 0.5).again_after is None


@given(st.integers(1, 20), st.floats(0, 1, exclude_max=True))
def test_backoff_has_full_jitter_below_a_growing_ceiling(failures, u):
    wait = after(ProviderFault("500"), failures, POLICY, u).again_after

    assert wait == u * min(POLICY.backoff_max, POLICY.backoff_base * 2 ** (failures - 1))


@given(st.floats(0, 1, exclude_max=True))
def test_a_rate_limit_is_never_tried_again_at_once(u):
    assert after(RateLimited("429"), 1, POLICY, u).again_after >= POLICY.backoff_base


def test_retry_after_is_honoured():
    assert after(Overloaded("503", retry_after=3.0), 1, POLICY, 0.0).again_after == 3.0


def test_a_long_retry_after_ends_the_request_here():
    assert after(RateLimited("429", retry_after=60.0), 1, POLICY, 0.0).again_after is None


@pytest.mark.parametrize(
    ("error", "produced"),
    [
        (ProviderTimeout("t", phase="connect"), False),
        (ProviderTimeout("t", phase="first byte"), True),
        (ProviderUnreachable("u"), False),
        (ProviderFault("500"), False),
        (RateLimited("429"), False),
        (BrokenStream("cut"), True),
        (BadAnswer("html"), True),
        (DeadlineExceeded("late"), True),
    ],
)
def test_only_a_call_that_got_through_may_have_produced(error, produced):
    assert may_have_produced(error) is produced


@pytest.mark.parametrize(
    ("retrying", "in_progress", "may"),
    [(2, 1, True), (3, 3, False), (3, 15, False), (3, 16, True), (19, 100, True), (20, 100, False)],
)
def test_retries_in_progress_are_a_fifth_of_the_requests_and_three_in_any_case(
    retrying, in_progress, may
):
    assert may_try_again(retrying, in_progress, POLICY) is may
