"""The simulator as a program: start, script, seed, reset, end."""

import io
import json
import subprocess
import sys
import urllib.request
from hashlib import sha256

import aiohttp
import pytest

from compass_ray.simulator import SimulatorProcess
from compass_ray.simulator.log import Entry, Log
from compass_ray.simulator.process import environment
from compass_ray.simulator.server import MAX_BODY_BYTES
from tests.simulator.conftest import BODIES, HEADERS, OPENAI

pytestmark = pytest.mark.server

PROGRAMS = (
    pytest.param(["compass_ray.simulator"], id="module"),
    pytest.param(["compass_ray", "simulate"], id="compass"),
)


async def say(http, **change):
    async with http.post(OPENAI, json={**BODIES[OPENAI], **change}) as answer:
        return await answer.read()


async def test_the_same_seed_and_sequence_give_the_same_bytes(http, simulator):
    first = [await say(http) for _ in range(3)]
    simulator.reset()
    again = [await say(http) for _ in range(3)]

    assert first == again
    assert len(set(first)) == 3


async def test_another_seed_gives_another_answer(http):
    with SimulatorProcess(seed=2) as other:
        async with aiohttp.ClientSession(other.url, headers=HEADERS) as session:
            assert await say(session) != await say(http)


async def test_a_script_is_followed_until_the_reset(http, simulator):
    simulator.script({"rules": [{"match": {"contains": "hello"}, "then": {"text": "scripted"}}]})
    scripted = await say(http)
    simulator.reset()

    assert b"scripted" in scripted
    assert b"scripted" not in await say(http)


async def test_chance_follows_the_seed(http, simulator):
    rule = {"match": {"probability": 0.5}, "then": {"text": "heads"}}
    simulator.script([rule])
    first = [b"heads" in await say(http) for _ in range(20)]
    simulator.reset()
    simulator.script([rule])

    assert first == [b"heads" in await say(http) for _ in range(20)]
    assert 0 < sum(first) < 20


def test_a_script_that_cannot_be_followed_is_refused_by_its_key(simulator):
    with pytest.raises(ValueError, match=r"rules\[0\]\.then\.speed: is unknown"):
        simulator.script([{"then": {"speed": 1}}])


async def test_the_log_is_in_the_order_of_the_requests(http, simulator):
    for model in ("a", "b"):
        await say(http, model=model)
    await say(http, messages=[])
    entries = simulator.log()

    assert [entry["number"] for entry in entries] == [1, 2, 3]
    assert [entry["model"] for entry in entries] == ["a", "b", ""]
    assert [entry["status"] for entry in entries] == [200, 200, 400]
    assert all(entry["started_at"] <= entry["ended_at"] for entry in entries)


@pytest.mark.parametrize("path", BODIES)
async def test_a_request_is_found_in_the_log_by_the_digest_of_its_text(http, simulator, path):
    async with http.post(path, json=BODIES[path]) as answer:
        assert answer.status == 200

    assert [entry["asked"] for entry in simulator.log()] == [sha256(b"hello").hexdigest()]


async def test_a_body_nested_beyond_reason_is_a_bad_request(http):
    deep = b'{"model": "m", "messages": [{"role": "user", "content": %s}]}'
    async with http.post(OPENAI, data=deep % (b"[" * 900 + b"]" * 900)) as answer:
        assert answer.status == 400


async def test_a_body_that_is_too_large_is_refused_in_the_providers_shape(http):
    async with http.post(OPENAI, data=io.BytesIO(b" " * (MAX_BODY_BYTES + 1))) as answer:
        assert (answer.status, list(await answer.json())) == (413, ["error"])


def test_the_log_forgets_the_oldest_first():
    log = Log(limit=2)
    for number in (3, 1, 2):
        log.add(Entry(number, "openai", 0.0))

    assert [entry.number for entry in log.entries()] == [1, 2]


async def test_it_says_that_it_is_well(http):
    async with http.get("/_simulator/health") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_program_says_what_to_paste_and_ends_when_asked(program, tmp_path):
    script = tmp_path / "script.yaml"
    script.write_text("- then: {text: from a file}")
    command = [sys.executable, "-m", *program, "--port", "0", "--seed", "3", "--script", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        ready = child.stdout.readline().strip()
        exports = [child.stdout.readline().strip() for _ in environment("")]
        url = ready.removeprefix("simulator ready on ")
        request = urllib.request.Request(
            f"{url}{OPENAI}", json.dumps(BODIES[OPENAI]).encode(), HEADERS
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            text = json.load(answer)["choices"][0]["message"]["content"]
        child.terminate()

        assert child.wait(5) == 0
    assert text == "from a file"
    assert url.startswith("http://127.0.0.1:")
    assert exports == [f"export {name}={value}" for name, value in environment(url).items()]
    assert f"export OPENAI_BASE_URL={url}/openai/v1" in exports
    assert f"export ANTHROPIC_BASE_URL={url}/anthropic" in exports
    assert f"export GOOGLE_GEMINI_BASE_URL={url}/google" in exports
    assert "export OPENAI_API_KEY=sk-simulated" in exports


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_bad_script_file_ends_the_program_with_the_key(program, tmp_path):
    script = tmp_path / "script.json"
    script.write_text(json.dumps([{"then": {"tokens": "many"}}]))
    command = [sys.executable, "-m", *program, "--script", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)

    assert done.returncode == 2
    assert "rules[0].then.tokens" in done.stderr


def test_a_taken_port_ends_the_program_with_the_address(process):
    port = process.url.rpartition(":")[2]
    command = [sys.executable, "-m", "compass_ray.simulator", "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)

    assert done.returncode == 2
    assert port in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stopped_process_is_gone_and_may_be_stopped_again():
    with SimulatorProcess() as process:
        assert process.pid is not None
        process.stop()

    assert process.pid is None
