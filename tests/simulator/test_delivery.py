"""Every fault as a client meets it, and what the log says of it."""

import asyncio
import json
import socket
import time
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.simulator.conftest import (
    ANTHROPIC,
    AZURE,
    BODIES,
    GOOGLE,
    GOOGLE_STREAM,
    HUGGINGFACE,
    OPENAI,
)

pytestmark = pytest.mark.server

STREAM = {**BODIES[OPENAI], "stream": True}
EVERY = [(path, BODIES[path]) for path in BODIES]
EVERY_STREAM = [
    (OPENAI, STREAM),
    (AZURE, STREAM),
    (HUGGINGFACE, STREAM),
    (ANTHROPIC, {**BODIES[ANTHROPIC], "stream": True}),
    (GOOGLE_STREAM, BODIES[GOOGLE]),
]


async def post(http, path, body):
    """Return status, headers and as much of the body as came, and whether it came whole."""
    got = b""
    async with http.post(path, json=body) as answer:
        try:
            async for piece in answer.content.iter_any():
                got += piece
        except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError):
            return answer, got, False
    return answer, got, True


async def last_entry(simulator):
    """Return the log's only entry, once the request has ended."""
    for _ in range(300):
        if entries := await asyncio.to_thread(simulator.log):
            return entries[-1]
        await asyncio.sleep(0.01)
    raise AssertionError("the request did not end")


@pytest.mark.parametrize(("path", "body"), EVERY + EVERY_STREAM)
async def test_a_reset_closes_without_an_answer(http, behave, simulator, path, body):
    behave(fault="reset")

    with pytest.raises(aiohttp.ClientConnectionError):
        await post(http, path, body)
    entry = await last_entry(simulator)
    assert (entry["status"], entry["output_tokens"], entry["aborted"]) == (None, 0, False)


def test_a_reset_is_one_on_the_wire(behave, simulator):
    behave(fault="reset")
    address = urlsplit(simulator.url)
    head = f"POST {OPENAI} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\nContent-Length: "
    body = json.dumps(STREAM)
    with socket.create_connection((address.hostname, address.port), 5) as connection:
        connection.sendall(f"{head}{len(body)}\r\n\r\n{body}".encode())

        with pytest.raises(ConnectionResetError):
            connection.recv(1)


@pytest.mark.parametrize(("path", "body"), EVERY_STREAM)
async def test_a_stream_is_cut_after_bytes(http, behave, simulator, path, body):
    behave(fault={"cut_after_bytes": 700})
    _, got, whole = await post(http, path, body)
    entry = await last_entry(simulator)

    assert (len(got), whole) == (700, False)
    assert (entry["status"], entry["fault"], entry["aborted"]) == (200, "cut_after_bytes", False)


async def test_a_cut_can_tear_a_character(http, behave):
    behave(text="日本語")
    _, whole, _ = await post(http, OPENAI, STREAM)
    at = whole.index("日".encode()) + 1
    behave(text="日本語", fault={"cut_after_bytes": at})
    _, got, _ = await post(http, OPENAI, STREAM)

    assert len(got) == at
    with pytest.raises(UnicodeDecodeError):
        got.decode()


async def test_the_log_knows_the_tokens_that_were_made_before_a_cut(http, behave, simulator):
    behave(fault={"cut_after_chunks": 4})
    _, got, whole = await post(http, OPENAI, STREAM)
    entry = await last_entry(simulator)

    assert (got.count(b"data: "), whole) == (4, False)  # the role, then three tokens
    assert entry["output_tokens"] == 3


@pytest.mark.parametrize(("path", "body"), EVERY)
async def test_a_whole_answer_is_cut_in_its_middle(http, behave, path, body):
    behave(fault={"cut_after_chunks": 1})
    answer, got, whole = await post(http, path, body)

    assert (len(got), whole) == (int(answer.headers["content-length"]) // 2, False)


async def test_a_stall_lasts_as_told_and_then_goes_on(http, behave):
    behave(fault={"stall_after_chunks": 2, "seconds": 0.3})
    began = time.monotonic()
    _, got, whole = await post(http, OPENAI, STREAM)

    assert 0.3 <= time.monotonic() - began < 2
    assert whole
    assert got.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(("path", "body"), EVERY + EVERY_STREAM)
async def test_html_empty_and_not_json_are_no_answers(http, behave, path, body):
    behave(fault="html")
    html, page, _ = await post(http, path, body)
    behave(fault="empty")
    empty, nothing, _ = await post(http, path, body)
    behave(fault="not_json")
    broken, text, _ = await post(http, path, body)

    assert (html.status, html.content_type, page[:6]) == (200, "text/html", b"<html>")
    assert (empty.status, nothing) == (200, b"")
    assert (broken.status, b"not json" in text) == (200, True)


async def test_an_error_can_be_a_page(http, behave):
    behave(fault="html", error=502)
    answer, _, _ = await post(http, OPENAI, STREAM)

    assert (answer.status, answer.content_type) == (502, "text/html")


@pytest.mark.parametrize(("path", "body"), EVERY + EVERY_STREAM)
async def test_an_error_can_come_with_status_200(http, behave, path, body):
    behave(fault="error_in_200", error={"status": 503, "message": "busy"})
    answer, got, _ = await post(http, path, body)
    line = next(line for line in got.splitlines() if b"{" in line)

    assert answer.status == 200
    told = json.loads(line.removeprefix(b"data: "))["error"]
    assert (told if path == HUGGINGFACE else told["message"]) == "busy"


@pytest.mark.parametrize(("path", "body"), EVERY + EVERY_STREAM)
async def test_usage_can_be_missing_or_absurd(http, behave, simulator, path, body):
    if path in (OPENAI, AZURE, HUGGINGFACE) and body.get("stream"):
        body = {**body, "stream_options": {"include_usage": True}}
    behave(fault="no_usage")
    _, without, _ = await post(http, path, body)
    behave(fault="absurd_usage")
    _, absurd, _ = await post(http, path, body)

    assert b'_tokens":' not in without
    assert b"TokenCount" not in without
    assert str(2**63).encode() in absurd
    assert [entry["output_tokens"] for entry in simulator.log()] == [20, 20]


@pytest.mark.parametrize(("path", "body"), EVERY + EVERY_STREAM)
async def test_the_finish_reason_can_be_missing(http, behave, path, body):
    behave(fault="no_finish_reason")
    _, got, whole = await post(http, path, body)

    assert whole
    assert not any(reason in got for reason in (b'"stop"', b'"end_turn"', b'"STOP"'))


async def test_the_last_event_can_be_missing(http, behave):
    behave(fault="no_done")
    _, openai, _ = await post(http, OPENAI, STREAM)
    _, anthropic, _ = await post(http, ANTHROPIC, {**BODIES[ANTHROPIC], "stream": True})

    assert b"[DONE]" not in openai
    assert b"message_delta" in anthropic
    assert b"message_stop" not in anthropic


@pytest.mark.parametrize("body", [BODIES[OPENAI], STREAM])
async def test_a_line_can_be_huge(http, behave, body):
    behave(fault={"huge_line": 3_000_000})
    _, got, whole = await post(http, OPENAI, body)

    assert whole
    assert max(map(len, got.split(b"\n"))) > 3_000_000


async def test_a_blackhole_never_answers_and_notices_that_the_client_left(http, behave, simulator):
    behave(fault="blackhole")

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(post(http, OPENAI, STREAM), 0.1)
    left_at = time.time()
    entry = await last_entry(simulator)
    assert (entry["status"], entry["aborted"]) == (None, True)
    assert entry["ended_at"] - left_at < 0.1


async def test_an_abort_in_a_stream_is_noticed_while_waiting(http, behave, simulator):
    behave(tpot_s=30)
    async with http.post(OPENAI, json=STREAM) as answer:
        await answer.content.readuntil(b'"finish_reason":null}]}\n\n')
        await answer.content.readuntil(b'"finish_reason":null}]}\n\n')
        answer.close()
        left_at = time.time()
    entry = await last_entry(simulator)

    assert (entry["status"], entry["aborted"], entry["output_tokens"]) == (200, True, 1)
    assert entry["ended_at"] - left_at < 0.1


async def test_an_aborted_whole_answer_counts_what_was_made_meanwhile(http, behave, simulator):
    behave(tpot_s=0.05)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(post(http, OPENAI, BODIES[OPENAI]), 0.28)
    entry = await last_entry(simulator)
    assert entry["aborted"]
    assert 1 < entry["output_tokens"] < 10


async def test_times_to_the_first_and_between_tokens_are_kept(http, behave):
    behave(ttft_s=0.2, tpot_s=0.02, tokens=11)
    began = time.monotonic()
    async with http.post(OPENAI, json=STREAM) as answer:
        first = time.monotonic() - began
        await answer.read()
    total = time.monotonic() - began

    assert 0.2 <= first < 0.35
    assert 0.4 <= total < 0.7


@pytest.mark.parametrize(
    ("told", "header", "value"),
    [(3, "retry-after", "3"), ("-1", "retry-after", "-1"), ({"ms": 250}, "retry-after-ms", "250")],
)
async def test_retry_after_is_told_as_the_script_has_it(http, behave, told, header, value):
    behave(error={"status": 429, "retry_after": told})
    answer, _, _ = await post(http, OPENAI, STREAM)

    assert (answer.status, answer.headers[header]) == (429, value)


async def test_retry_after_can_be_a_date(http, behave):
    behave(error={"status": 503, "retry_after": {"date": 60}})
    answer, _, _ = await post(http, OPENAI, STREAM)

    assert 55 < parsedate_to_datetime(answer.headers["retry-after"]).timestamp() - time.time() < 61
