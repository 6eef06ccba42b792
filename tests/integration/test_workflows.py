"""Workflows on a real Ray: their owner's process killed in mid-run, and every call made once."""

import os
import signal
import subprocess
import sys

import pytest

from .conftest import ROOT

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

RUNS = "/api/v1/workflows"
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
