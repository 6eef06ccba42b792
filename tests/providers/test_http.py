"""The HTTP client against a real server that misbehaves in every way it can."""

import asyncio

import pytest

from compass_ray.providers import _http
from compass_ray.providers._http import HttpClient
from compass_ray.providers.base import HttpCall, StreamState
from compass_ray.types.errors import (
    BadAnswer,
    BrokenStream,
    ProviderTimeout,
    ProviderUnreachable,
)
from compass_ray.types.settings import TimeoutSettings

pytestmark = pytest.mark.server

QUICK = TimeoutSettings(connect=1.0, first_byte=0.2, idle=0.2, total=2.0)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"


@pytest.fixture
async def answering():
    """Start a server that answers every connection with the given pieces; None waits."""
    servers = []

    async def start(*pieces, close=True):
        done = asyncio.Event()

        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            for piece in pieces:
                if piece is None:
                    await reader.read()  # until the client leaves
                    done.set()
                    break
                writer.write(piece)
                await writer.drain()
            if not close:
                await reader.read()
                done.set()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        servers.append(server)
        port = server.sockets[0].getsockname()[1]
        return HttpCall(f"http://127.0.0.1:{port}/x", {}, b"{}"), done

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


@pytest.fixture
async def client():
    client = HttpClient(QUICK, max_parallel=4)
    yield client
    await client.close()


STATE = StreamState("r", 0, "m")


def soon():
    return asyncio.get_running_loop().time() + 5


async def read(client, call):
    exchange = await client.send(call, soon(), STATE)
    try:
        return await exchange.read()
    finally:
        exchange.close()


async def test_a_whole_body_is_read(client, answering):
    call, _ = await answering(HEAD + b"content-length: 2\r\n\r\nok")

    assert await read(client, call) == b"ok"


async def test_pieces_arrive_one_by_one(client, answering):
    call, _ = await answering(CHUNKED, b"1\r\na\r\n", b"1\r\nb\r\n", b"0\r\n\r\n")
    exchange = await client.send(call, soon(), STATE)

    pieces = [piece async for piece in exchange.pieces()]

    assert b"".join(pieces) == b"ab"


async def test_a_call_is_noted_as_sent_once_a_connection_takes_it(client, answering):
    call, _ = await answering(HEAD + b"content-length: 2\r\n\r\nok")
    sent = StreamState("r", 0, "m")

    (await client.send(call, soon(), sent)).close()

    assert sent.sent


async def test_a_refused_connection_is_unreachable(client):
    with pytest.raises(ProviderUnreachable, match=r"http://127\.0\.0\.1:1\b"):
        await read(client, HttpCall("http://127.0.0.1:1/x", {}, b""))


async def test_an_unknown_host_is_unreachable(client):
    with pytest.raises(ProviderUnreachable):
        await read(client, HttpCall("http://no-such-host.invalid/x", {}, b""))


@pytest.mark.parametrize(
    ("pieces", "phase"),
    [
        ((None,), "first byte"),
        ((CHUNKED, b"1\r\na\r\n", None), "idle"),
    ],
)
async def test_silence_is_a_timeout_that_names_its_phase(client, answering, pieces, phase):
    call, left = await answering(*pieces)

    with pytest.raises(ProviderTimeout) as timeout:
        await read(client, call)

    assert timeout.value.phase == phase
    await asyncio.wait_for(left.wait(), 2)


async def test_the_deadline_bounds_every_phase(client, answering):
    call, _ = await answering(None)

    with pytest.raises(ProviderTimeout) as timeout:
        await client.send(call, asyncio.get_running_loop().time() + 0.05, STATE)

    assert timeout.value.phase == "total"


@pytest.mark.parametrize(
    "pieces",
    [
        (b"",),
        (HEAD + b"content-length: 10\r\n\r\nshort",),
        (CHUNKED, b"5\r\nab"),
    ],
)
async def test_a_broken_connection_is_a_broken_stream(client, answering, pieces):
    call, _ = await answering(*pieces)

    with pytest.raises(BrokenStream):
        await read(client, call)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        HEAD + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\nxx",
    ],
)
async def test_what_is_not_plain_http_is_a_bad_answer(client, answering, answer):
    call, _ = await answering(answer)

    with pytest.raises(BadAnswer):
        await read(client, call)


async def test_an_endless_body_is_cut_off(client, answering, monkeypatch):
    monkeypatch.setattr(_http, "MAX_BODY_BYTES", 1000)
    call, _ = await answering(CHUNKED, *[b"64\r\n" + b"x" * 100 + b"\r\n"] * 20, b"0\r\n\r\n")

    with pytest.raises(BadAnswer):
        await read(client, call)


async def test_closing_early_tells_the_server(client, answering):
    call, left = await answering(CHUNKED, b"1\r\na\r\n", close=False)
    exchange = await client.send(call, soon(), STATE)

    exchange.close()

    await asyncio.wait_for(left.wait(), 2)


async def test_a_redirect_is_not_followed(client, answering):
    call, _ = await answering(
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
    )

    exchange = await client.send(call, soon(), STATE)
    status = exchange.status
    exchange.close()

    assert status == 302
