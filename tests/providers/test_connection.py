"""Connections to a real server: kept, bounded, given up."""

import asyncio
import contextlib

import pytest

from compass_ray.providers import _connection, _pool
from compass_ray.providers._http import HttpClient
from compass_ray.providers.base import HttpCall
from compass_ray.types.errors import BadAnswer, BrokenStream, ProviderTimeout, ProviderUnreachable
from compass_ray.types.settings import TimeoutSettings

pytestmark = pytest.mark.server

TIMEOUTS = TimeoutSettings(connect=1.0, first_byte=2.0, idle=2.0, total=5.0)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Server:
    """Answers every request with `answer`, and counts connections; `gate` holds answers back."""

    def __init__(self):
        self.answer = OK
        self.accepted = 0
        self.open = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.closes = False
        self._changed = asyncio.Condition()
        self._listening = contextlib.AsyncExitStack()

    async def start(self, tls=None):
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self._listening.callback(server.close)
        port = server.sockets[0].getsockname()[1]
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{port}/x"

    async def _serve(self, reader, writer):
        await self._note(1)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await self._answer(reader, writer)
            while not self.closes:
                await self._answer(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        await self._note(-1)

    async def _answer(self, reader, writer):
        await reader.readuntil(b"\r\n\r\n{}")
        await self.gate.wait()
        writer.write(self.answer)
        await writer.drain()

    async def _note(self, change):
        async with self._changed:
            self.accepted += change == 1
            self.open += change
            self._changed.notify_all()

    async def until(self, true):
        """Wait until something holds of this server."""
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(lambda: true(self)), 5)

    async def close(self):
        self.gate.set()
        await self._listening.aclose()
        await self.until(lambda it: it.open == 0)


@pytest.fixture
async def server():
    server = Server()
    await server.start()
    yield server
    await server.close()


@pytest.fixture
async def client(server):  # closed before the server, whose connections it holds
    client = HttpClient(TIMEOUTS, max_parallel=2)
    yield client
    await client.close()


async def ask(client, server):
    deadline = asyncio.get_running_loop().time() + 5
    exchange = await client.send(HttpCall(server.url, {}, b"{}"), deadline)
    try:
        return await exchange.read()
    finally:
        exchange.close()


async def test_one_connection_serves_call_after_call(client, server):
    answers = [await ask(client, server) for _ in range(3)]

    assert answers == [b"ok"] * 3
    assert server.accepted == 1


async def test_a_connection_that_the_server_closes_is_not_used_again(client, server):
    server.answer = OK.replace(b"OK\r\n", b"OK\r\nconnection: close\r\n")

    answers = [await ask(client, server) for _ in range(2)]

    assert answers == [b"ok"] * 2
    assert server.accepted == 2


async def test_a_body_without_a_length_ends_with_its_connection(client, server):
    server.answer = b"HTTP/1.1 200 OK\r\n\r\nall of it"
    server.closes = True

    assert await ask(client, server) == b"all of it"


async def test_a_head_that_announces_another_is_passed_over(client, server):
    server.answer = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK

    assert await ask(client, server) == b"ok"


async def test_an_answer_nobody_asked_for_is_never_taken_for_the_next(client, server):
    server.answer = OK + OK.replace(b"ok", b"no")

    answers = [await ask(client, server) for _ in range(2)]

    assert answers == [b"ok"] * 2
    assert server.accepted == 2


async def test_a_switch_to_another_protocol_is_a_bad_answer(client, server):
    server.answer = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"

    with pytest.raises(BadAnswer):
        await ask(client, server)


@pytest.mark.parametrize("line", [b"x-pad: %b\r\n" % (b"x" * 1000), b"x" * 1000])
async def test_a_head_without_end_is_a_bad_answer(client, server, line):
    server.answer = b"HTTP/1.1 200 OK\r\n" + line * 500

    with pytest.raises(BadAnswer):
        await ask(client, server)


async def test_who_reads_slowly_makes_the_server_wait(client, server, monkeypatch):
    monkeypatch.setattr(_connection, "_HELD", 1000)
    size = 50_000_000
    server.answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(size)
    deadline = asyncio.get_running_loop().time() + 5
    exchange = await client.send(HttpCall(server.url, {}, b"{}"), deadline)
    connection = exchange._connection
    for _ in range(100_000):
        if connection._is_paused:
            break
        await asyncio.sleep(0)
    held = connection._held_bytes

    read = sum([len(piece) async for piece in exchange.pieces()])
    exchange.close()

    assert 1000 < held < 1_000_000
    assert read == size


async def test_no_more_connections_are_in_use_than_allowed(client, server):
    server.gate.clear()
    calls = [asyncio.ensure_future(ask(client, server)) for _ in range(4)]
    await server.until(lambda it: it.open == 2)

    server.gate.set()

    assert await asyncio.gather(*calls) == [b"ok"] * 4
    assert server.accepted == 2


async def test_waiting_for_a_connection_counts_as_waiting_for_the_answer(server):
    quick = TimeoutSettings(connect=1.0, first_byte=0.1, idle=2.0, total=5.0)
    client = HttpClient(quick, max_parallel=1)
    server.gate.clear()

    calls = [asyncio.ensure_future(ask(client, server)) for _ in range(2)]
    errors = await asyncio.gather(*calls, return_exceptions=True)
    await client.close()

    assert [type(error) for error in errors] == [ProviderTimeout] * 2
    assert [error.phase for error in errors] == ["first byte"] * 2


async def test_a_caller_who_leaves_closes_the_connection_and_frees_its_place(client, server):
    server.gate.clear()
    calls = [asyncio.ensure_future(ask(client, server)) for _ in range(3)]
    await server.until(lambda it: it.open == 2)

    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    server.gate.set()
    await server.until(lambda it: it.open == 0)

    assert await ask(client, server) == b"ok"


async def test_a_connection_that_broke_while_unused_is_replaced(client, server):
    assert await ask(client, server) == b"ok"
    (kept,) = client._pool._unused.values()
    kept[0]._transport.abort()

    assert await ask(client, server) == b"ok"
    assert server.accepted == 2


async def test_an_unused_connection_is_closed_after_a_while(client, server, monkeypatch):
    monkeypatch.setattr(_pool, "_KEPT", 0.05)
    assert await ask(client, server) == b"ok"

    await server.until(lambda it: it.open == 0)

    assert not client._pool._unused


async def test_closing_the_client_breaks_off_what_is_under_way(client, server):
    server.gate.clear()
    call = asyncio.ensure_future(ask(client, server))
    await server.until(lambda it: it.open == 1)

    await client.close()

    with pytest.raises(BrokenStream):
        await call


async def test_a_certificate_that_is_trusted_is_accepted(client, server, certificates):
    await server.start(certificates.server)

    assert await ask(client, server) == b"ok"


async def test_a_certificate_that_nobody_trusts_is_refused(client, server, certificates):
    await server.start(certificates.stranger)

    with pytest.raises(ProviderUnreachable, match="cannot connect to https://"):
        await ask(client, server)


async def test_a_certificate_for_another_host_is_refused(client, server, certificates):
    await server.start(certificates.elsewhere)

    with pytest.raises(ProviderUnreachable, match="cannot connect to https://"):
        await ask(client, server)
