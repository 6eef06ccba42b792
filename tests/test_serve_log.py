import pytest

from compass_ray import serve_log

STARTED = "05:17:31 INFO worker.py:2038 -- Started a local Ray instance.\n"
SUBMITTED = (
    "05:17:33 SUCC scripts.py:546 -- \x1b[32mSubmitted deploy config successfully.\x1b[39m\n"
)

RETRYING = """\
INFO 2026-11-23 05:09:12,952 controller 13796 -- Starting Replica(id='n8vfin1r').
ERROR 2026-11-23 05:09:16,948 controller 13796 -- Exception in Replica(id='n8vfin1r').
Traceback (most recent call last):
  File "bad.py", line 4, in __init__
    def __init__(self): raise ValueError("cannot start: disk full")
\x1b[36mValueError: cannot start: disk full\x1b[39m
INFO 2026-11-23 05:09:16,952 controller 13796 -- Stopping Replica(id='n8vfin1r').
"""
GIVEN_UP = "ERROR 2026-11-23 05:09:30,1 controller 1 -- Failed to update the deployments ['Bad'].\n"


@pytest.mark.parametrize(
    ("output", "waiting_for"),
    [
        ("", "starting Ray"),
        (STARTED, "starting Ray Serve"),
        (STARTED + SUBMITTED, "starting the gateway"),
    ],
)
def test_the_log_tells_what_is_waited_for(output, waiting_for):
    assert serve_log.step(output) == waiting_for


def test_a_failure_that_serve_will_retry_is_none_yet():
    assert serve_log.failure(RETRYING) is None


def test_a_deployment_given_up_is_explained_by_its_exception():
    assert serve_log.failure(RETRYING + GIVEN_UP) == "ValueError: cannot start: disk full"


def test_an_exception_with_a_module_and_no_error_in_its_name_is_found():
    log = f"{GIVEN_UP}Traceback (most recent call last):\nacme.errors.DiskFull: no room\n"

    assert serve_log.failure(log) == "acme.errors.DiskFull: no room"


def test_without_an_exception_the_last_lines_have_to_do():
    assert serve_log.failure(GIVEN_UP) == GIVEN_UP.strip()


def test_the_tail_has_no_colours_and_no_empty_lines():
    assert serve_log.tail("one\n\n\x1b[32mtwo\x1b[39m\nthree\n\n", 2) == "two\nthree"
