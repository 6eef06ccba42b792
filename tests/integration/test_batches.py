"""A batch on a real Ray: its owner killed in its middle, and every request made once."""

import json
import os
import signal
import subprocess
import sys

import openai
import pytest

from .conftest import ROOT

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

CHAT = "/v1/chat/completions"
REQUESTS = 40
OVER = {"failed", "completed", "expired", "cancelled"}


def line(number):
    body = {
        "model": "sim-openai",
        "max_tokens": 20,
        "messages": [{"role": "user", "content": f"number {number}."}],
    }
    return json.dumps({"custom_id": f"c{number}", "method": "POST", "url": CHAT, "body": body})


def test_after_kills_of_its_owner_a_batch_ends_with_every_request_made_once(compass):
    compass.simulator.script([{"then": {"ttft_s": 0.6, "text": "So it is."}}])
    client = openai.OpenAI(api_key=compass.key, base_url=f"{compass.url}/v1", max_retries=5)
    lines = "\n".join(line(number) for number in range(REQUESTS)).encode()
    file = client.files.create(file=("in.jsonl", lines), purpose="batch")

    batch = client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    for seen in (8, 24):
        compass.wait(lambda seen=seen: len(compass.simulator.log()) >= seen, seconds=60)
        dead = compass.process("BatchesActor")
        os.kill(dead, signal.SIGKILL)
        compass.wait(lambda dead=dead: compass.process("BatchesActor") != dead, seconds=60)
    done = compass.wait(lambda: over(client, batch), seconds=90)

    told = [json.loads(one) for one in client.files.content(done.output_file_id).text.splitlines()]
    assert (done.status, done.request_counts.completed) == ("completed", REQUESTS)
    assert [one["custom_id"] for one in told] == [f"c{number}" for number in range(REQUESTS)]
    assert len(compass.simulator.log()) == REQUESTS
    cost = sum(one["response"]["body"]["compass"]["cost_micro_usd"] for one in told)
    assert done.model_extra["compass"]["cost_micro_usd"] == cost > 0


def test_the_example_runs_without_a_key_of_any_provider(compass):
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "batch.py"],
        env=os.environ | {"COMPASS_URL": compass.url, "COMPASS_API_KEY": compass.key},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "completed" in done.stdout
    assert done.stdout.count("\n  '") == 3


def over(client, batch):
    try:
        found = client.batches.retrieve(batch.id)
    except openai.APIStatusError:
        return None  # while its owner restarts
    return found if found.status in OVER else None
