"""Answer a list of prompts through a Python handle, from any process on the cluster.

Start Compass first. `make run` prints the whole command; after `serve run serve_config.yaml`, in
the same environment, it is

    python examples/handle.py

Handles go straight to the replicas, past HTTP; admission, budgets and metrics are the same.
Set COMPASS_API_KEY where the gateway has callers' keys.
"""

import asyncio
import os

import ray
from ray import serve

PROMPTS = [
    "What is the capital of France?",
    "Name three primary colours.",
    "Say hello in Italian.",
]


def body(prompt: str) -> dict[str, object]:
    """Return a request, in OpenAI's form."""
    return {
        "model": "auto",
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": 32,
    }


async def main() -> None:
    """Answer all prompts at once, then stream one more."""
    ray.init(address="auto", log_to_driver=False)
    handle = serve.get_app_handle("compass")
    key = os.environ.get("COMPASS_API_KEY")

    answers = await asyncio.gather(*(handle.chat.remote(body(p), api_key=key) for p in PROMPTS))
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        cost = answer["compass"]["cost_micro_usd"]
        print(f"{prompt}\n  {answer['choices'][0]['message']['content']!r} ({cost} µ$)")

    async for chunk in handle.options(stream=True).stream.remote(body("Count to five."), key):
        if chunk["choices"]:
            print(chunk["choices"][0]["delta"].get("content") or "", end="", flush=True)
    print()


if __name__ == "__main__":
    asyncio.run(main())
