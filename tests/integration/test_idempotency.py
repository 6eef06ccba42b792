"""One run per key over two replicas, through `kill -9` of all that has to do with it."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter

import httpx
import pytest

from compass_ray.storage.audit import audit

from .conftest import ROOT, running

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

BODY = {
    "model": "sim-openai",
    "messages": [{"role": "user", "content": "Count."}],
    "max_tokens": 40,
}
REPLICA = "ServeReplica:compass:Gateway"


@pytest.fixture(scope="module")
def compass(tmp_path_factory):
    """Two replicas, in place of the session's one."""
    with running(tmp_path_factory.mktemp("state"), replicas=2) as compass:
        yield compass


async def ask(compass, key, **fields):
    """Ask over a connection of its own, so that any replica may get it."""
    async with compass.async_client() as client:
        return await client.post(
            "/v1/chat/completions", json=BODY | fields, headers={"idempotency-key": key}
        )


async def answered(compass, key, seconds=60):
    """Ask until there is an answer, as a client that retries does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            response = await ask(compass, key)
        except httpx.HTTPError:
            response = None
        if response is not None and response.status_code == 200:
            return response
        await asyncio.sleep(0.3)
    raise AssertionError(f"no answer: {response and response.text}")


def kill(compass, title):
    """End all processes of that title, as a crash would; return when others are there."""
    dead = set(compass.processes(title))
    for pid in dead:
        os.kill(pid, signal.SIGKILL)
    compass.wait(lambda: len(set(compass.processes(title)) - dead) == len(dead), seconds=60)


def request_id_of(response):
    return response.headers["x-compass-request-id"]


def postings(compass, request_id):
    with compass.client() as client:
        told = client.get(f"/api/v1/postings/{request_id}")
    return told.json().get("data", [])


def is_journaled(compass, request_id):
    """Return whether a replica has noted what it reserved for that request."""
    folder = compass.ledger_file.parent / "journal"
    return any(request_id.encode() in path.read_bytes() for path in folder.glob("*.journal"))


def replicas_that_answered(compass, responses):
    """Return in how many processes' logs these requests are."""
    ids = {request_id_of(response) for response in responses}
    logs = [
        path.read_text(errors="replace") for path in compass.cluster.folder.rglob("worker-*.err")
    ]
    return sum(any(one in log for one in ids) for log in logs)


async def test_many_at_once_over_two_replicas_make_one_run(compass):
    compass.simulator.script({"rules": [{"then": {"ttft_s": 2.0}}]})

    responses = await asyncio.gather(*(ask(compass, "at once") for _ in range(12)))
    again = await ask(compass, "at once")

    (first,) = [response for response in responses if response.status_code == 200]
    assert Counter(response.status_code for response in responses) == {200: 1, 409: 11}
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    assert len(compass.simulator.log()) == 1
    compass.wait(lambda: len(postings(compass, request_id_of(first))) == 1)
    compass.wait(lambda: replicas_that_answered(compass, responses) == 2)


async def test_a_stream_is_told_again_by_whichever_replica(compass):
    streams = [await ask(compass, "story", stream=True) for _ in range(6)]

    assert len({stream.content for stream in streams}) == 1
    assert streams[0].text.endswith("data: [DONE]\n\n")
    assert len(compass.simulator.log()) == 1


async def test_after_a_kill_of_the_replica_that_runs_it_the_retry_is_answered(compass):
    compass.simulator.script({"rules": [{"then": {"ttft_s": 60.0}}]})
    lost, dead_run = await under_way(compass, "killed")
    await asyncio.to_thread(compass.wait, lambda: is_journaled(compass, dead_run))

    await asyncio.to_thread(kill, compass, REPLICA)
    compass.simulator.script({"rules": []})
    answer = await answered(compass, "killed")
    again = await answered(compass, "killed")

    await asyncio.gather(lost, return_exceptions=True)
    assert "idempotent-replayed" not in answer.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.content == answer.content
    outcomes = [
        posting["outcome"]
        for request_id in (dead_run, request_id_of(answer))
        for posting in compass.wait(lambda one=request_id: postings(compass, one))
    ]
    assert outcomes == ["expired", "settled"]


async def under_way(compass, key):
    """Return the task of a request that runs, and its id, which the same request is refused by."""
    both = [asyncio.create_task(ask(compass, key)) for _ in range(2)]
    (refused,), (running,) = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    assert refused.result().status_code == 409
    (run,) = re.findall(r"req_\w+", refused.result().json()["error"]["message"])
    return running, run


async def test_after_a_kill_of_the_keys_owner_answers_are_there_and_runs_go_on(compass):
    first = await ask(compass, "kept")
    compass.simulator.script({"rules": [{"then": {"ttft_s": 5.0}}]})
    slow, run = await under_way(compass, "running")

    await asyncio.to_thread(kill, compass, "IdempotencyActor")
    again, second = await asyncio.gather(ask(compass, "kept"), ask(compass, "running"))
    finished = await slow

    assert again.content == first.content
    assert second.status_code in {409, 200}
    assert finished.status_code == 200
    assert request_id_of(finished) == run
    assert (await answered(compass, "running")).content == finished.content
    assert len(compass.simulator.log()) == 2


def test_a_python_handle_is_told_again_too(compass):
    program = textwrap.dedent(f"""
        import asyncio, json, os
        import ray
        from ray import serve

        async def main():
            ray.init(address="auto", log_to_driver=False)
            handle, key = serve.get_app_handle("compass"), os.environ["COMPASS_API_KEY"]
            body = {BODY!r}
            both = [await handle.chat.remote(body, key, idempotency_key="h") for _ in range(2)]
            stream = handle.options(stream=True).stream
            streams = [[one async for one in stream.remote(body, key, "s")] for _ in range(2)]
            print(json.dumps([both, streams]))
        asyncio.run(main())
    """)
    environment = os.environ | {**compass.cluster.joining, "COMPASS_API_KEY": compass.key}

    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-2000:]
    (first, again), (stream, stream_again) = json.loads(done.stdout.splitlines()[-1])
    assert [one.pop("compass")["cost_micro_usd"] > 0 for one in (first, again)] == [True, False]
    assert again == first
    assert stream_again == stream
    assert len(compass.simulator.log()) == 2


def test_after_all_that_every_sum_agrees_with_its_postings(compass):
    found = audit(compass.ledger_file)

    assert found.mistakes == ()
    assert sum(one.postings for one in found.buckets) > 0
