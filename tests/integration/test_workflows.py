"""Workflows on a real Ray: their owner's process killed in mid-run, and every call made once."""

import json
import os
import signal
import subprocess
import sys

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from compass_ray.policy.webhooks import key_of, signed

from .conftest import HOOK_SECRET, ROOT

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

RUNS, TASKS = "/api/v1/workflows", "/api/v1/tasks"
STEPS = 6


def ended(compass, client, run):
    def look():
        told = client.get(f"{RUNS}/{run}").json()
        return told if told.get("status") not in {None, "processing"} else None

    return compass.wait(look, seconds=90)


def order(client, word):
    """Begin a chain in which every step is told what the one before has answered."""
    call = {"model": "sim-openai", "max_tokens": 20}
    steps = [
        call | {"prompt": f"{word} {number} {{{{previous}}}}", "id": f"s{number}"}
        for number in range(STEPS)
    ]
    asked = {"plan": {"chain": steps}, "input": word, "budget_usd": "0.5"}
    taken = client.post(RUNS, json=asked)
    assert taken.status_code == 202, taken.text
    return taken.json()["workflow_id"]


def test_after_kills_of_its_owner_a_run_ends_the_same_and_every_call_was_made_once(compass):
    says = [
        {
            "match": {"contains": f"steady {number}"},
            "then": {"ttft_s": 1.0, "text": f"answer {number}"},
        }
        for number in range(STEPS)
    ]
    compass.simulator.script({"rules": says})
    with compass.client() as client:
        undisturbed = ended(compass, client, order(client, "steady"))
        calls = len(compass.simulator.log())

        run = order(client, "steady")
        for seen in (1, 3):
            compass.wait(lambda seen=seen: len(compass.simulator.log()) > calls + seen)
            dead = compass.process("WorkflowsActor")
            os.kill(dead, signal.SIGKILL)
            compass.wait(lambda dead=dead: compass.process("WorkflowsActor") != dead, seconds=60)
        killed = ended(compass, client, run)

    assert (calls, len(compass.simulator.log())) == (STEPS, 2 * STEPS)
    same = ("status", "result", "calls", "cost_micro_usd")
    assert [killed[name] for name in same] == [undisturbed[name] for name in same]
    assert (killed["status"], killed["result"]) == ("completed", f"answer {STEPS - 1}")


def frames(compass, path, key):
    """Return all frames that a WebSocket tells through the whole ingress, and its close code."""
    found = []
    url = compass.url.replace("http://", "ws://") + path
    with connect(url, additional_headers={"authorization": f"Bearer {key}"}, proxy=None) as socket:
        try:
            while True:
                found.append(json.loads(socket.recv(timeout=30)))
        except ConnectionClosed as closed:
            return found, closed.rcvd.code


def test_a_run_is_followed_by_websocket_through_the_whole_ingress_then_listed_and_counted(compass):
    compass.simulator.script({"rules": [{"match": {}, "then": {"ttft_s": 0.3, "text": "said"}}]})
    with compass.client() as client:
        run = order(client, "listened to")
        told, code = frames(compass, f"{RUNS}/{run}/stream", compass.key)
        rest, _ = frames(compass, f"{RUNS}/{run}/stream?last_event_id=3", compass.key)
        sse = client.get(f"{RUNS}/{run}/stream").text
        (listed,) = client.get(RUNS, params={"limit": 1, "status": "completed"}).json()["data"]
        by_model = client.get(f"{RUNS}/analytics", params={"by": "model"}).json()
    refusals = []
    for path, key in ((f"{RUNS}/{run}/stream", "ck-nobody"), (f"{RUNS}/none/stream", compass.key)):
        with pytest.raises(InvalidStatus) as refused:
            frames(compass, path, key)
        refusals.append(refused.value.response.status_code)

    assert [one["event"] for one in told] == ["started", "finished"] * STEPS + ["ended"]
    assert f"id: {told[-1]['id']}\nevent: ended" in sse
    assert (listed["workflow_id"], listed["calls"]) == (run, STEPS)
    calls = {one["model"]: one["calls"] for one in by_model["data"]}
    assert calls["openai/sim-openai"] >= STEPS
    assert (code, rest, refusals) == (1000, told[4:], [401, 404])


def test_an_end_is_posted_signed_also_where_its_owner_is_killed_before_it_is_accepted(compass):
    compass.hook.answers, compass.hook.got[:] = [500], []
    asked = {"prompt": "x", "model": "sim-openai", "max_tokens": 5, "wait_s": 30}
    with compass.client() as client:
        done = client.post(TASKS, json=asked | {"webhook": {"url": compass.hook.url}})
        compass.wait(lambda: compass.hook.got)
        path = f"{TASKS}/{done.json()['task_id']}"
        compass.wait(lambda: client.get(path).json()["webhook"]["attempts"] == 1)
        os.kill(compass.process("WorkflowsActor"), signal.SIGKILL)
        compass.wait(lambda: len(compass.hook.got) == 2, seconds=60)
        told = compass.wait(lambda: delivered(client.get(path).json()))
        elsewhere = client.post(TASKS, json=asked | {"webhook": {"url": compass.url}})

    (first, _), (headers, body) = compass.hook.got
    at = int(headers["webhook-timestamp"])
    expected = signed(key_of(HOOK_SECRET), f"msg_{told['task_id']}", at, body)
    assert done.status_code == 200
    assert first["webhook-id"] == headers["webhook-id"]
    assert {name: headers[name] for name in expected} == expected
    assert json.loads(body)["data"]["result"] == done.json()["result"] == told["result"]
    assert (elsewhere.status_code, elsewhere.json()["error"]["param"]) == (400, "webhook.url")


def delivered(told):
    return told if told["webhook"]["status"] == "delivered" else None


def test_the_example_runs_without_a_key_of_any_provider(compass):
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "workflow.py"],
        env=os.environ | {"COMPASS_URL": compass.url, "COMPASS_API_KEY": compass.key},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "completed: 5 calls" in done.stdout
