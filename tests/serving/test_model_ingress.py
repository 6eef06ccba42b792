import asyncio
import json

import pytest

from compass_ray.config.local_models import load_local_models
from compass_ray.serving.asgi_exchange import Head
from compass_ray.serving.model_ingress import ModelIngress

MODELS = load_local_models(
    {
        "models": [
            {"name": "llama", "source": "/llama", "start_s": 90, "adapters": {"polite": "/polite"}},
            {"name": "vectors", "source": "/vectors"},
        ]
    }
)


class Fleet:
    """Answers with a script of pieces; an exception in it is raised, None waits for ever."""

    def __init__(self, *script):
        self.script = script
        self.asked = []
        self.ended = 0
        self.begun = asyncio.Event()
        self.now = {"llama": "ready", "vectors": "ready"}

    def states(self):
        return self.now

    async def ask(self, model, asked):
        self.asked.append((model, asked.path, asked.body))
        try:
            for piece in self.script:
                if isinstance(piece, Exception):
                    raise piece
                if piece is None:
                    self.begun.set()
                    await asyncio.Event().wait()
                yield piece
        finally:
            self.ended += 1


class Caller:
    """Sends one request and remembers what came."""

    def __init__(self, fleet):
        self.ingress = ModelIngress(MODELS, fleet)
        self.sent = []

    async def ask(self, path, body=b"", method="POST"):
        messages = [{"type": "http.request", "body": body}]

        async def receive():
            return messages.pop()

        async def send(message):
            self.sent.append(message)

        scope = {"type": "http", "method": method, "path": f"/vllm{path}", "root_path": "/vllm"}
        await self.ingress(scope | {"headers": []}, receive, send)
        return self.status, self.body

    @property
    def status(self):
        return self.sent[0]["status"]

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message in self.sent)


def chat(model):
    return json.dumps({"model": model, "messages": []}).encode()


@pytest.mark.parametrize("name", ["llama", "polite"])
async def test_a_request_goes_to_its_models_replicas_as_it_is(name):
    fleet = Fleet(Head(200, b"text/event-stream"), b"data: 1\n\n", b"data: 2\n\n")

    answer = await Caller(fleet).ask("/v1/chat/completions", chat(name))

    assert answer == (200, b"data: 1\n\ndata: 2\n\n")
    assert fleet.asked == [("llama", "/v1/chat/completions", chat(name))]
    assert fleet.ended == 1


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "not valid JSON"),
        (b"[]", 400, "model must be text"),
        (b'{"model": 3}', 400, "model must be text"),
        (chat("huge"), 404, "'huge'"),
    ],
)
async def test_what_names_no_model_is_refused(body, status, words):
    fleet = Fleet()

    told, answer = await Caller(fleet).ask("/v1/embeddings", body)

    assert told == status
    assert words in json.loads(answer)["error"]["message"]
    assert fleet.asked == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/load_lora_adapter", 404), ("GET", "/v1/embeddings", 405), ("POST", "/health", 405)],
)
async def test_nothing_else_of_vllm_can_be_reached(method, path, status):
    told, _ = await Caller(Fleet()).ask(path, method=method)

    assert told == status


async def test_a_replica_that_fails_at_once_is_an_overload_without_its_words():
    fleet = Fleet(RuntimeError("a word of the prompt"))

    status, body = await Caller(fleet).ask("/v1/chat/completions", chat("llama"))

    assert status == 503
    assert json.loads(body)["error"]["message"] == "the model 'llama' cannot answer"


async def test_an_answer_that_breaks_off_is_not_ended():
    fleet = Fleet(Head(200, b"text/event-stream"), b"data: 1\n\n", RuntimeError("gone"))
    caller = Caller(fleet)

    with pytest.raises(RuntimeError):
        await caller.ask("/v1/chat/completions", chat("llama"))

    assert all(message.get("more_body", True) for message in caller.sent)


async def test_a_caller_who_leaves_ends_the_replicas_work():
    fleet = Fleet(Head(200, b"text/event-stream"), None)
    asking = asyncio.create_task(Caller(fleet).ask("/v1/chat/completions", chat("llama")))
    await fleet.begun.wait()

    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)

    assert fleet.ended == 1


async def test_a_model_that_does_not_start_is_not_waited_for():
    fleet = Fleet(None)
    fleet.now = {"llama": "failed", "vectors": "ready"}

    status, body = await Caller(fleet).ask("/v1/chat/completions", chat("llama"))

    assert (status, json.loads(body)["error"]["message"]) == (
        503,
        "the model 'llama' does not start",
    )


async def test_the_list_says_when_each_model_answers():
    fleet = Fleet()
    fleet.now = {"llama": "asleep", "vectors": "failed"}

    _, body = await Caller(fleet).ask("/v1/models", method="GET")

    told = {one["id"]: (one["state"], one["starts_in_s"]) for one in json.loads(body)["data"]}
    assert told == {
        "llama": ("asleep", 90),
        "polite": ("asleep", 90),
        "vectors": ("failed", None),
    }
