"""One POST to a real webhook."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from compass_ray.actors import webhook as module
from compass_ray.actors.webhook import Refusal, post

pytestmark = pytest.mark.server


async def test_what_is_accepted_was_posted_as_it_is(webhook):
    accepted = await post(webhook.url, b'{"a": 1}', {"webhook-id": "msg_1"})

    ((headers, body),) = webhook.raw
    assert accepted is None
    assert body == b'{"a": 1}'
    assert (headers["content-type"], headers["webhook-id"]) == ("application/json", "msg_1")


@pytest.mark.parametrize("status", [301, 307, 400, 500])
async def test_any_other_answer_is_a_refusal_and_no_redirect_is_followed(webhook, status):
    webhook.answers = [status]

    refused = await post(webhook.url, b"{}", {})

    assert refused == Refusal(f"HTTP {status}")
    assert len(webhook.got) == 1


async def test_a_receiver_says_when_it_wants_to_be_asked_again_or_that_it_never_does(webhook):
    webhook.answers, webhook.retry_after = [503, 410], "7"

    assert await post(webhook.url, b"{}", {}) == Refusal("HTTP 503", 7.0)
    assert (await post(webhook.url, b"{}", {})).gone


@asynccontextmanager
async def serving(words):
    """A server that says these words to whoever asks, and then nothing; its URL."""
    over = []

    async def serve(reader, writer):
        over.append(asyncio.current_task())
        writer.write(words)
        await reader.read()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        await asyncio.gather(*over)


async def test_an_answer_without_an_end_is_not_waited_for():
    async with serving(b"HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n") as url:
        async with asyncio.timeout(5):
            assert await post(url, b"{}", {}) is None


async def test_who_says_nothing_or_is_not_there_is_given_up(monkeypatch):
    monkeypatch.setattr(module, "_TIMEOUT", 0.05)
    async with serving(b"") as url:
        silent = await post(url, b"{}", {})
    gone = await post(url, b"{}", {})

    assert silent.reason in {"TimeoutError", "ReadTimeout"}
    assert gone.reason == "ConnectError"
