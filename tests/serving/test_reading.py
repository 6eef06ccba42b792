"""Callers who read slowly or not at all, over real connections; case 28 of the fault list."""

import asyncio
import contextlib
import json
import socket

import httpx
import pytest
import uvicorn

from compass_ray.serving.reading import Reading
from compass_ray.types.chat import Chunk
from tests.gateway.conftest import Provider, answer, chunk

from .conftest import CHAT, HELLO, KEY

CALLERS = 200
PIECE = "x" * 4_000


class Endless(Provider):
    """Streams for ever, as fast as it is read."""

    def __init__(self, *script):
        super().__init__(*script)
        self.sent = 0

    async def stream(self, _request, _endpoint, _state, _deadline):
        self.calls += 1
        try:
            while True:
                self.sent += 1
                delta = {"index": 0, "delta": {"content": PIECE}, "finish_reason": None}
                yield Chunk({"choices": [delta]}, len(PIECE))
                await asyncio.sleep(0)
        finally:
            self.closed += 1


@contextlib.asynccontextmanager
async def served(app):
    """Serve `app` on a free port of loopback, and return it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(CALLERS)
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = server.force_exit = True
            await serving


async def call(port):
    """Ask for a stream on a connection with a small window."""
    caller = socket.socket()
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    caller.setblocking(False)  # noqa: FBT003  # the system's signature
    loop = asyncio.get_running_loop()
    await loop.sock_connect(caller, ("127.0.0.1", port))
    body = json.dumps(HELLO | {"stream": True, "max_tokens": 100}).encode()
    head = (
        f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    await loop.sock_sendall(caller, head.encode() + body)
    return caller


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # of real sockets
            await asyncio.sleep(0.02)


@pytest.mark.server
async def test_28_callers_who_do_not_read_pile_nothing_up_and_are_let_go(rim):
    endless = Endless(answer("to somebody else"))
    r = rim(a=endless)
    r.replica.reader_patience = 1.0

    async with served(r.app) as port:
        callers = [await call(port) for _ in range(CALLERS)]
        await until(lambda: endless.calls == CALLERS)
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            other = await client.post(
                f"http://127.0.0.1:{port}{CHAT}",
                json=HELLO,
                headers={"authorization": f"Bearer {KEY}"},
            )
        await until(lambda: endless.closed == CALLERS)
        await until(lambda: len(r.world.records) == CALLERS + 1)
        for caller in callers:
            caller.close()

    assert other.status_code == 200
    # A window, uvicorn's buffer and the kernel's hold some megabytes at the most.
    assert endless.sent * len(PIECE) < CALLERS * 8 * 2**20
    assert len(r.world.purse.ends) == CALLERS + 1
    assert sorted(record.status for record in r.world.records) == [200] + [499] * CALLERS


@pytest.mark.server
async def test_28_a_caller_who_reads_slowly_gets_everything(rim):
    r = rim(a=Provider([*(chunk("y" * 1_000) for _ in range(300)), chunk(finish_reason="stop")]))
    r.replica.reader_patience = 0.2

    async with served(r.app) as port:
        caller = await call(port)
        loop = asyncio.get_running_loop()
        received = b""
        while not received.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"):
            received += await loop.sock_recv(caller, 4_096)
            await asyncio.sleep(0.005)
        caller.close()

    assert received.count(b"y" * 1_000) == 300
    assert r.world.records[0].status == 200


async def test_who_sends_is_not_timed_while_nothing_is_being_sent():
    async with Reading(0.01) as reading:
        for _ in range(5):
            reading.sending = True
            reading.sending = False
            reading.sent += 1
            await asyncio.sleep(0.03)


async def send_for_ever(patience):
    async with Reading(patience) as reading:
        reading.sending = True
        await asyncio.Event().wait()


async def test_a_send_that_takes_too_long_ends_the_block():
    with pytest.raises(TimeoutError):
        await send_for_ever(0.01)


async def test_a_caller_who_is_cancelled_is_not_late():
    sending = asyncio.create_task(send_for_ever(10))
    await asyncio.sleep(0)
    sending.cancel()

    with pytest.raises(asyncio.CancelledError):
        await sending
