"""Let three agents answer, a judge decide and an editor shorten: one workflow, one budget.

Start Compass first (`make run` needs no key), then

    python examples/workflow.py

COMPASS_URL says where it answers; set COMPASS_API_KEY where the gateway has callers' keys.
"""

import json
import os
import sys

import httpx

URL = os.environ.get("COMPASS_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("COMPASS_API_KEY", "")

WORKFLOW = {
    "name": "review",
    "input": "Should a small team write its own scheduler?",
    "agents": {
        "optimist": {"system": "You argue for building.", "max_tokens": 64},
        "sceptic": {"system": "You argue for buying.", "max_tokens": 64},
        "accountant": {"system": "You count hours and dollars.", "max_tokens": 64},
    },
    "plan": {
        "chain": [
            {
                "parallel": [
                    {"agent": "optimist", "prompt": "{{input}}"},
                    {"agent": "sceptic", "prompt": "{{input}}"},
                    {"agent": "accountant", "prompt": "{{input}}"},
                ],
                "aggregate": "judge",
                "judge": {
                    "prompt": "Question: {{input}}\n\n{{answers}}\n\nWhich is right, and why?",
                    "max_tokens": 64,
                },
            },
            {"prompt": "In one sentence: {{previous}}", "max_tokens": 32, "attempts": 2},
        ]
    },
    "budget_usd": "0.05",
    "deadline_s": 300,
}


def main() -> None:
    """Run the workflow, print what happens as it happens, and what it cost."""
    headers = {"authorization": f"Bearer {KEY}"} if KEY else {}
    with httpx.Client(base_url=URL, headers=headers, timeout=60, trust_env=False) as client:
        taken = client.post("/api/v1/workflows", json=WORKFLOW)
        if taken.is_error:
            sys.exit(taken.text)
        run = taken.json()
        with client.stream("GET", run["streaming_url"]) as stream:
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    event = json.loads(line.removeprefix("data: "))
                    print(event.get("step") or event["status"], event.get("text", "…"))
        done = client.get(f"/api/v1/workflows/{run['workflow_id']}").json()
        print(f"{done['status']}: {done['calls']} calls, {done['cost_micro_usd']} µ$")


if __name__ == "__main__":
    main()
