import pytest

from compass_ray.doors.chat import error_body
from compass_ray.serving.http import error_headers
from compass_ray.types.errors import BudgetExceeded, RateLimited


def test_an_exceeded_budget_tells_when_it_is_renewed():
    error = BudgetExceeded("nothing left", account="acme", resets_at=100.0)

    body = error_body(error, "req_1")["error"]

    assert (body["account"], body["resets_at"]) == ("acme", 100.0)


@pytest.mark.parametrize(("seconds", "told"), [(0.0, b"1"), (0.4, b"1"), (2.2, b"3")])
def test_retry_after_is_whole_seconds_never_at_once_and_never_too_soon(seconds, told):
    assert error_headers(RateLimited("slow", retry_after=seconds)) == [(b"retry-after", told)]
