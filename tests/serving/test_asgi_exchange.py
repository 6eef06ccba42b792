import asyncio

import pytest

from compass_ray.serving.asgi_exchange import Asked, Head, exchange

ASKED = Asked("/v1/chat/completions", b'{"model": "m"}')


def start(status=200, content_type=b"application/json"):
    headers = [(b"content-type", content_type)]
    return {"type": "http.response.start", "status": status, "headers": headers}


def piece(body, *, more=True):
    return {"type": "http.response.body", "body": body, "more_body": more}


async def all_of(app):
    return [one async for one in exchange(app, ASKED)]


async def test_the_application_gets_the_request_as_a_server_would_give_it():
    seen = []

    async def app(scope, receive, send):
        seen.append((scope["method"], scope["path"], await receive()))
        await send(start())
        await send(piece(b"ok", more=False))

    assert await all_of(app) == [Head(200, b"application/json"), b"ok"]
    assert seen == [
        (
            "POST",
            "/v1/chat/completions",
            {"type": "http.request", "body": ASKED.body, "more_body": False},
        )
    ]


async def test_pieces_are_told_as_soon_as_they_are_there():
    go_on = asyncio.Event()

    async def app(_scope, _receive, send):
        await send(start(content_type=b"text/event-stream"))
        await send(piece(b"one"))
        await go_on.wait()
        await send(piece(b"two"))
        await send(piece(b"three", more=False))

    answer = exchange(app, ASKED)
    assert await anext(answer) == Head(200, b"text/event-stream")
    assert await anext(answer) == b"one"
    go_on.set()

    assert [one async for one in answer] == [b"twothree"]


async def test_closing_ends_the_work():
    ended = asyncio.Event()

    async def app(_scope, _receive, send):
        try:
            await send(start())
            await asyncio.Event().wait()
        finally:
            ended.set()

    answer = exchange(app, ASKED)
    await anext(answer)
    await answer.aclose()

    assert ended.is_set()


async def test_who_waits_for_the_caller_to_leave_waits_until_the_end():
    async def app(_scope, receive, send):
        await receive()
        leaving = asyncio.create_task(receive())
        await send(start())
        await send(piece(b"ok", more=False))
        assert not leaving.done()
        leaving.cancel()

    assert (await all_of(app))[1:] == [b"ok"]


async def test_what_the_application_raises_is_raised():
    async def app(_scope, _receive, send):
        await send(start())
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await all_of(app)
