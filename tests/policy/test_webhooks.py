"""Where webhooks may go, how they are signed, and when one is sent again."""

import json
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.webhooks import (
    Redelivery,
    again_after,
    end_of_run,
    flaw_of_url,
    key_of,
    signed,
)
from compass_ray.types.workflows import Delivery, Ended, Summary

ALLOWED = ("https://hooks.example.com/compass", "https://open.example.com", "http://10.0.0.1:8080")
END = Ended("completed", 1_795_000_000.5, "done")
SUMMARY = Summary(
    "task_1", "task", "", "acme", 1.0, 9.0, 70, "completed", 10, 1, END, Delivery("pending", 2)
)


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/compass",
        "https://hooks.example.com/compass/",
        "https://hooks.example.com/compass/run?token=a%20b",
        "https://HOOKS.example.com:443/compass/run",
        "HTTPS://open.example.com",
        "https://open.example.com/any/path",
        "http://10.0.0.1:8080/x",
    ],
)
def test_what_begins_as_the_configuration_says_is_allowed(url):
    assert flaw_of_url(url, ALLOWED) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/compass",
        "https://hooks.example.com",
        "https://hooks.example.com/compassion",
        "https://hooks.example.com:8443/compass",
        "https://hooks.example.com/compass/../admin",
        "https://hooks.example.com/compass/..",
        "https://hooks.example.com/compass/%2e%2e/admin",
        "https://hooks.example.com/compass/%252e%252e/admin",
        "https://hooks.example.com/compass/..%2fadmin",
        "https://hooks.example.com/compass/..\\admin",
        "https://open.example.com.evil.com/",
        "https://open.example.com@evil.com/",
        "https://evil.com/#https://open.example.com/",
        "https://evil.com?https://open.example.com/",
        "https://open.example.com./",
        "https://open.example.com:99999/",
        "https://open.example.com:/",
        "https://open.example.com/\r\nhost: evil",
        "https://open.example.com/a b",
        "https://open.ex\u0430mple.com/",
        "http://10.0.0.1/x",
        "http://[::1]/",
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "//open.example.com/",
        "",
        7,
        None,
        "https://open.example.com/" + "a" * 3_000,
    ],
)
def test_all_else_is_not(url):
    assert flaw_of_url(url, ALLOWED) is not None


def test_nothing_is_allowed_by_default_and_it_is_said_where():
    assert "workflows.webhooks.allow" in flaw_of_url("https://open.example.com/", ())


def test_a_signature_is_the_one_that_the_specification_s_libraries_expect():
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

    headers = signed(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')

    assert headers == {
        "content-type": "application/json",
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "whsec_not base64", "short", b64encode(b"x" * 23).decode(), "\u00e9" * 40],
)
def test_what_is_no_secret_is_refused_without_repeating_it(secret):
    with pytest.raises(ValueError, match="is no webhook secret") as refused:
        key_of(secret)

    assert not secret or secret == "whsec_" or secret not in str(refused.value)


def test_an_end_is_told_as_the_specification_says_and_without_its_own_delivery():
    told = json.loads(end_of_run(SUMMARY))

    assert (told["type"], told["timestamp"]) == (
        "task.completed",
        "2026-11-18T11:06:40.500000+00:00",
    )
    assert (told["data"]["task_id"], told["data"]["result"]) == ("task_1", "done")
    assert "webhook" not in told["data"]


@given(
    first=st.floats(0.1, 10),
    attempts=st.integers(1, 200),
    u=st.floats(0, 1, exclude_max=True),
    said=st.none() | st.floats(0, 1e6),
)
def test_a_wait_is_never_longer_than_the_longest_nor_less_than_half_of_what_is_due(
    first, attempts, u, said
):
    policy = Redelivery(first, 60.0)

    wait = again_after(policy, attempts, 0.0, u, said)

    assert min(60.0, first * 2.0 ** min(attempts - 1, 64)) / 2 <= wait <= 60.0
    assert said is None or wait >= min(said, 60.0)


def test_it_is_given_up_after_so_many_attempts_or_so_much_time():
    policy = Redelivery(5.0, 60.0, attempts=3, age=100.0)

    assert again_after(policy, 2, 0.0, 0.0) == 10.0
    assert again_after(policy, 3, 0.0, 0.0) is None
    assert again_after(policy, 1, 96.0, 0.0) is None
