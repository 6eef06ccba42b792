import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from compass_ray import model_file
from compass_ray.serving.local_engine import LocalEngine
from compass_ray.types.errors import ConfigError

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def model():
    if os.environ.get("CI") == "true":
        return model_file.fetch(print)
    if not model_file.path().is_file():
        pytest.skip("the model is not here: run `compass fetch-model`")
    return model_file.path()


@pytest.fixture(scope="module")
def engine(model):
    return LocalEngine(model, threads=None, context=512, parallel=2, alias="a-small-model")


@pytest.fixture
def client(engine):
    with httpx.Client(base_url=engine.url(), timeout=60, trust_env=False) as client:
        yield client


def ask(text="What is the capital of France?", **fields):
    message = {"role": "user", "content": text}
    return {"messages": [message], "max_tokens": 5, "temperature": 0, **fields}


def test_it_answers_under_its_alias_with_usage(client):
    answer = client.post("/chat/completions", json=ask()).json()

    assert answer["model"] == "a-small-model"
    assert answer["choices"][0]["message"]["content"]
    assert answer["usage"]["completion_tokens"] == 5
    assert answer["usage"]["prompt_tokens"] > 10


def test_a_stream_ends_with_usage_and_done(client):
    body = ask(stream=True, stream_options={"include_usage": True})

    text = client.post("/chat/completions", json=body).text

    events = [line.removeprefix("data: ") for line in text.splitlines() if line]
    assert events[-1] == "[DONE]"
    assert json.loads(events[-2])["usage"]["completion_tokens"] == 5


def test_a_streamed_answer_begun_for_it_is_gone_on_with_and_not_repeated(client):
    begun = {"role": "assistant", "content": "One, two, three,"}
    body = ask("Count from one to ten in words.", stream=True)

    text = client.post(
        "/chat/completions", json=body | {"messages": [*body["messages"], begun]}
    ).text

    events = [line.removeprefix("data: ") for line in text.splitlines() if line][:-1]
    deltas = [json.loads(event)["choices"][0]["delta"] for event in events]
    assert "".join(delta.get("content") or "" for delta in deltas).startswith(" four")


def test_a_prompt_beyond_the_context_of_one_request_is_refused(client):
    response = client.post("/chat/completions", json=ask("word " * 600))

    assert response.status_code == 400
    assert response.json()["error"]["type"] == "exceed_context_size_error"


def test_where_the_request_is_silent_sampling_is_calm(client):
    root = str(client.base_url).removesuffix("/v1/")

    sampling = client.get(f"{root}/props").json()["default_generation_settings"]["params"]

    assert sampling["temperature"] == pytest.approx(0.2)
    assert sampling["top_p"] == pytest.approx(0.9)


def test_it_is_healthy_while_it_lives(engine):
    assert engine.health()


def test_foreign_web_pages_and_other_requests_prompts_are_out_of_reach(client):
    root = str(client.base_url).removesuffix("/v1/")
    answer = client.get("/models", headers={"origin": "http://evil.example"})

    assert "access-control-allow-origin" not in answer.headers
    assert client.get(f"{root}/").status_code == 404
    assert client.get(f"{root}/slots").status_code == 501


def test_it_listens_on_loopback_only(engine):
    port = int(engine.url().removesuffix("/v1").rsplit(":", 1)[1])
    sockets = Path("/proc/self/net/tcp").read_text() + Path("/proc/self/net/tcp6").read_text()

    listening = [line.split()[1] for line in sockets.splitlines() if line.split()[3] == "0A"]

    assert [local for local in listening if int(local.rsplit(":")[-1], 16) == port] == [
        f"0100007F:{port:04X}"
    ]


def test_it_says_nothing_and_dies_with_its_process(model):
    program = (
        "import pathlib, sys; from compass_ray.serving.local_engine import LocalEngine\n"
        "file = pathlib.Path(sys.argv[1])\n"
        "engine = LocalEngine(file, threads=1, context=256, parallel=1, alias='a')\n"
        "print(engine.url(), flush=True); sys.stdin.read()"
    )
    command, pipe = [sys.executable, "-c", program, str(model)], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        url = process.stdout.readline().decode().strip()
        status = httpx.get(f"{url}/models", trust_env=False).status_code
        process.kill()
        _, complaints = process.communicate()

    assert status == 200
    assert complaints == b""
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/models", trust_env=False)


@pytest.mark.parametrize("content", [None, b"not a model"])
def test_a_file_that_is_no_model_is_named(tmp_path, content):
    file = tmp_path / "model.gguf"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(ConfigError, match=r"model\.gguf"):
        LocalEngine(file, threads=1, context=256, parallel=1, alias="a")


async def test_two_at_once_each_have_their_own_context(engine):
    async with httpx.AsyncClient(base_url=engine.url(), timeout=60, trust_env=False) as client:
        calls = (client.post("/chat/completions", json=ask("word " * 300)) for _ in range(2))

        answers = await asyncio.gather(*calls)

    assert [answer.status_code for answer in answers] == [200, 200]
