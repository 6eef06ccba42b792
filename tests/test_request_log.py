import io
import json
import logging
import threading

import pytest

from compass_ray import request_log
from compass_ray.types.events import Attempt, Record
from compass_ray.types.usage import Usage

RECORD = Record(
    request_id="r1",
    account="org/team",
    key_name="alice",
    provider="openai",
    model="gpt\r\n\x1b[31mroot\x9b",
    tier=1,
    status=200,
    stream=True,
    attempts=(Attempt("openai/gpt", ok=False, seconds=0.1, error="Overloaded", message="canary"),),
    usage=Usage(100, 20),
    cost=1500,
    seconds=0.7,
    ttft=0.2,
    at=0.0,
)


@pytest.fixture
def stream():
    return io.StringIO()


@pytest.fixture
def stop(stream):
    return request_log.start(stream)


def test_a_request_is_one_line_of_json_without_a_providers_words(stream, stop):
    request_log.log_request(RECORD)
    stop()

    (line,) = stream.getvalue().splitlines()
    fields = json.loads(line)
    assert (fields["event"], fields["request_id"], fields["status"]) == ("request", "r1", 200)
    assert fields["attempts"] == [{"endpoint": "openai/gpt", "error": "Overloaded", "seconds": 0.1}]
    assert fields["cost_micro_usd"] == 1500
    assert "canary" not in line


def test_nothing_in_a_line_breaks_it_or_drives_a_terminal(stream, stop):
    request_log.log_request(RECORD)
    stop()

    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text.isascii()
    assert "\x1b" not in text
    assert json.loads(text)["model"] == RECORD.model


def test_other_messages_of_compass_are_lines_too(stream, stop):
    log = logging.getLogger("compass.breaker")
    log.warning("circuit %r opened", "a/m")
    log.error("it failed", exc_info=ValueError("why"))
    stop()

    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["level"], first["logger"]) == ("warning", "compass.breaker")
    assert first["message"] == "circuit 'a/m' opened"
    assert "ValueError: why" in second["exception"]


def test_a_reader_that_stops_reading_stops_no_request(monkeypatch):
    monkeypatch.setattr(request_log, "_MAX_WAITING", 5)
    reading = threading.Event()

    class Pipe(io.StringIO):
        def write(self, text):
            reading.wait()
            return super().write(text)

    pipe = Pipe()
    stop = request_log.start(pipe)
    for _ in range(100):
        request_log.log_request(RECORD)
    reading.set()
    stop()

    assert 1 <= pipe.getvalue().count('"r1"') <= 7


def test_after_stopping_nothing_is_written_and_the_logger_is_as_it_was(stream, stop):
    stop()

    request_log.log_request(RECORD)

    assert stream.getvalue() == ""
    assert logging.getLogger("compass").propagate
