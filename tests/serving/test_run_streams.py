"""The events of runs over a real WebSocket: uvicorn, as Ray Serve runs it, and its usual client."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from compass_ray.serving.run_streams import Told, over_websocket
from compass_ray.types.workflows import Finished
from tests.gateway.conftest import answer

from .conftest import KEY
from .test_workflows import RUNS, SAY, TASKS, events_of, flows

__all__ = ["flows"]  # a fixture

pytestmark = pytest.mark.server

CHAIN = {"chain": [SAY, SAY]}


@asynccontextmanager
async def served(app):
    """Serve the application; where it listens."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([listener]))
    try:
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        await serving


def joined(url, key=KEY, **named):
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    return connect(url, additional_headers=headers, proxy=None, **named)


def telling():
    return [one for one in asyncio.all_tasks() if one.get_coro().__qualname__ == "_tell"]


async def frames(url, **named):
    """Return all frames until the connection is closed, and the code it was closed with."""
    found = []
    async with asyncio.timeout(10), joined(url, **named) as client:
        try:
            while True:
                found.append(json.loads(await client.recv()))
        except ConnectionClosed as closed:
            return found, closed.rcvd.code


async def test_a_websocket_tells_the_same_events_and_is_closed_after_the_end(flows):
    r = flows(answer("one"), answer("two"))
    run = (await r.ask("POST", RUNS, json={"plan": CHAIN})).json()["workflow_id"]
    path = f"{RUNS}/{run}/stream"

    async with served(r.app) as url:
        told, code = await frames(url + path)
        rest, _ = await frames(url + path + "?last_event_id=2")
        nothing, over = await frames(url + path + "?last_event_id=4")
    sse = events_of(await r.ask("GET", path))

    assert [(one["id"], one["event"], one["data"]) for one in told] == sse
    assert [one["event"] for one in told][-2:] == ["finished", "ended"]
    assert rest == told[3:]
    assert (code, nothing, over) == (1000, [], 1000)


@pytest.mark.parametrize(
    ("path", "key", "status", "param"),
    [
        (f"{TASKS}/task_none/stream", KEY, 404, None),
        (f"{RUNS}/TASK/stream", KEY, 404, None),
        (f"{TASKS}/TASK/stream", None, 401, None),
        (f"{TASKS}/TASK/stream", "ck-nobody", 401, None),
        (f"{TASKS}/TASK/stream?last_event_id=x", KEY, 400, "last_event_id"),
        (f"{TASKS}/TASK/stream?since=1", KEY, 400, "since"),
        ("/v1/nothing", KEY, 404, None),
    ],
)
async def test_who_may_not_listen_is_told_by_http_before_a_websocket_begins(
    flows, path, key, status, param
):
    r = flows(answer("hello"))
    done = await r.ask("POST", TASKS, json=SAY | {"wait_s": 30})

    async with served(r.app) as url:
        with pytest.raises(InvalidStatus) as refused:
            await frames(url + path.replace("TASK", done.json()["task_id"]), key=key)

    response = refused.value.response
    assert response.status_code == status
    assert json.loads(response.body)["error"]["param"] == param


async def test_a_client_that_leaves_is_no_longer_told_and_what_it_says_is_not_kept(flows):
    r = flows(None)
    task = (await r.ask("POST", TASKS, json=SAY)).json()["task_id"]
    actor = r.replica.workflows._authority

    async with served(r.app) as url:
        async with joined(f"{url}{TASKS}/{task}/stream") as client:
            first = json.loads(await client.recv())
            for _ in range(100):
                await client.send("x" * 1_000)
        async with asyncio.timeout(5):
            while telling():  # noqa: ASYNC110  # nothing says so
                await asyncio.sleep(0.01)

    assert first["event"] == "started"
    assert (await actor.summary(task, "acme")).end is None


async def test_a_silent_owner_of_the_runs_closes_it_so_that_the_client_comes_back(flows):
    r = flows(None)
    task = (await r.ask("POST", TASKS, json=SAY)).json()["task_id"]
    actor = r.replica.workflows._authority

    class Dying:
        def __getattr__(self, name):
            return getattr(actor, name)

        async def events(self, run, account, after, wait):
            if after:
                raise ConnectionError
            return await actor.events(run, account, after, wait)

    r.replica.workflows._authority = Dying()
    async with served(r.app) as url:
        told, code = await frames(f"{url}{TASKS}/{task}/stream")

    assert ([one["event"] for one in told], code) == (["started"], 1013)


async def test_a_client_that_does_not_read_holds_up_its_own_stream_and_no_memory():
    made, over = [], asyncio.Event()

    async def endless():
        while True:
            made.append(1)
            yield Told(len(made), Finished("plan", 1, "x" * 2**20, 7, "p/m", 1.0))

    async def app(scope, receive, send):
        await over_websocket(WebSocket(scope, receive, send), endless(), patience=0.2)
        over.set()

    async with served(app) as url, joined(url, max_queue=1, compression=None) as client:
        async with asyncio.timeout(10):
            await over.wait()
        client.transport.abort()

    assert len(made) < 40  # what the two sockets hold
