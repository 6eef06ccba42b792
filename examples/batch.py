"""Answer a file of questions in the background, with OpenAI's own client.

Start Compass first (`make run` needs no key), then

    python examples/batch.py

COMPASS_URL says where it answers; set COMPASS_API_KEY where the gateway has callers' keys.
"""

import json
import os
import time

import openai

URL = os.environ.get("COMPASS_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("COMPASS_API_KEY", "none")

QUESTIONS = {
    "capital": "What is the capital of France?",
    "colours": "Name three primary colours.",
    "hello": "Say hello in Italian.",
}
ENDPOINT = "/v1/chat/completions"


def line(custom_id: str, question: str) -> str:
    """Return one request of the file."""
    messages = [{"role": "user", "content": question}]
    body = {"model": "auto", "max_tokens": 32, "messages": messages}
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": body})


def main() -> None:
    """Upload the questions, wait, and print the answers and what they cost."""
    client = openai.OpenAI(api_key=KEY, base_url=f"{URL}/v1")
    questions = "\n".join(line(*one) for one in QUESTIONS.items()).encode()
    file = client.files.create(file=("questions.jsonl", questions), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint=ENDPOINT, completion_window="24h")
    while batch.status in {"validating", "in_progress", "finalizing"}:
        time.sleep(0.5)
        batch = client.batches.retrieve(batch.id)
    print(f"{batch.id}: {batch.status}, {batch.model_extra['compass']['cost_micro_usd']} µ$")
    for result in filter(None, (batch.output_file_id, batch.error_file_id)):
        for told in map(json.loads, client.files.content(result).text.splitlines()):
            body = told["response"]["body"]
            answer = body["choices"][0]["message"]["content"] if "choices" in body else body
            print(f"{QUESTIONS[told['custom_id']]}\n  {answer!r}")


if __name__ == "__main__":
    main()
