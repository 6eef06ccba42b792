"""The gateway as strangers meet it: official clients, plain HTTP, and Python handles."""

import json
import os
import socket
import subprocess
import sys
import time

import anthropic
import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from compass_ray.policy.experiment import assigned
from compass_ray.types.experiments import Experiment

from .conftest import EXPERIMENT, POOL, ROOT, WIRE_MODELS

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

HELLO = [{"role": "user", "content": "Say hello."}]


def ask(client, **fields):
    body = {"model": "sim-openai", "messages": HELLO, "max_tokens": 50} | fields
    return client.post("/v1/chat/completions", json=body)


@pytest.fixture
def official(compass):
    with openai.OpenAI(base_url=f"{compass.url}/v1", api_key=compass.key, max_retries=0) as client:
        yield client


@pytest.mark.parametrize("provider", WIRE_MODELS)
def test_the_official_client_chats_with_every_provider(official, provider):
    answer = official.chat.completions.create(
        model=f"sim-{provider}", messages=HELLO, max_tokens=20
    )

    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in {"stop", "length"}
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


@pytest.mark.parametrize("provider", WIRE_MODELS)
def test_the_official_client_streams_from_every_provider(official, provider):
    chunks = list(
        official.chat.completions.create(
            model=f"{provider}/sim-{provider}",
            messages=HELLO,
            max_tokens=20,
            stream=True,
            stream_options={"include_usage": True},
        )
    )

    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] in {"stop", "length"}
    assert chunks[-1].usage.completion_tokens > 0


@pytest.mark.parametrize("provider", [name for name in WIRE_MODELS if name != "replicate"])
def test_tools_are_called_through_every_provider_that_has_them(official, provider):
    tool = {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }

    answer = official.chat.completions.create(
        model=f"sim-{provider}", messages=HELLO, tools=[tool], tool_choice="required"
    )

    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "weather"
    assert "city" in json.loads(call.function.arguments)
    assert answer.choices[0].finish_reason == "tool_calls"


def test_the_local_model_answers_without_a_key_of_any_provider(official):
    answer = official.chat.completions.create(
        model="local/smollm2-135m-instruct", messages=HELLO, max_tokens=5
    )

    assert answer.usage.completion_tokens <= 5


@pytest.mark.parametrize("provider", WIRE_MODELS)
def test_anthropic_s_official_client_gets_its_dialect_from_every_provider(compass, provider):
    asked = {"model": f"sim-{provider}", "messages": HELLO, "max_tokens": 20}
    with anthropic.Anthropic(base_url=compass.url, api_key=compass.key, max_retries=0) as client:
        whole = client.messages.create(**asked)
        with client.messages.stream(**asked) as stream:
            streamed = stream.get_final_message()
        count = client.messages.count_tokens(model=f"sim-{provider}", messages=HELLO)

    for message in (whole, streamed):
        assert message.content[0].text
        assert message.stop_reason in {"end_turn", "max_tokens"}
        assert message.usage.output_tokens > 0
    assert count.input_tokens > 0


def test_the_official_client_gets_responses_whole_and_streamed(official):
    asked = {"model": "sim-anthropic", "input": "Say hello.", "max_output_tokens": 20}
    whole = official.responses.create(**asked)
    with official.responses.stream(**asked) as stream:
        streamed = stream.until_done().get_final_response()

    assert whole.output_text
    assert streamed.output_text
    assert streamed.usage.output_tokens > 0


def test_a_decision_is_kept_told_and_judged(compass):
    with compass.client() as client:
        request_id = ask(client, model="auto").headers["x-compass-request-id"]
        told = compass.wait(lambda: decision(client, request_id))
        answer = client.post("/api/v1/feedback", json={"request_id": request_id, "score": 0.5})

    assert told["candidates"]
    assert told["outcome"]["status"] == 200
    assert answer.json() == {"request_id": request_id, "score": 0.5, "learned_in": None}


def test_a_user_takes_part_in_an_experiment_until_an_operator_ends_it(compass):
    share = Experiment("one", "", EXPERIMENT["share"], "user", "quality", 0.05)
    users = (f"u{n}" for n in range(10_000))
    user = next(one for one in users if assigned(share, f"rich\0{one}"))
    arm = assigned(share, f"rich\0{user}").name
    with compass.client() as client, compass.client(compass.admin_key) as operator:

        def taken_part():
            request_id = ask(client, model="auto", user=user).headers["x-compass-request-id"]
            return compass.wait(lambda: decision(client, request_id))["experiment"]

        told = compass.wait(taken_part)  # once the replica has heard the Learner
        (before,) = operator.get("/api/v1/experiments").json()["data"]
        order = {"name": "one", "action": "stop"}
        after = operator.post("/api/v1/experiments", json=order).json()
        compass.wait(lambda: taken_part() is None)

    assert told == {"name": "one", "arm": arm}
    assert before["arms"][arm]["error_rate"]["values"] >= 1
    assert (before["state"], after["state"], after["verdict"]) == ("running", "ended", "stopped")


def test_the_rules_file_is_followed_and_a_mistake_is_refused_with_its_line(compass):
    text = compass.rules.read_text()
    with compass.client(compass.admin_key) as client:
        before = client.get("/api/v1/rules").json()
        compass.rules.write_text(text.replace("fast_below: 500", "fast_below: 400"))
        followed = compass.wait(lambda: other_rules(client, before["version"]))
        compass.rules.write_text(text.replace("fast_below: 500", "fast_below: 5000"))
        refused = client.post("/api/v1/rules/reload")
        compass.rules.write_text(text)
        again = client.post("/api/v1/rules/reload").json()

    assert before["problem"] is followed["problem"] is None
    assert refused.status_code == 400
    assert "must rise" in refused.json()["error"]["message"]
    assert again["version"] == before["version"]


def other_rules(client, version):
    told = client.get("/api/v1/rules").json()
    return told if told["version"] != version else None


def test_alerts_of_budgets_and_of_drift_come_by_one_door(compass):
    with compass.client(compass.admin_key) as client:
        answer = client.get("/api/v1/alerts")

    assert answer.status_code == 200
    assert {one["kind"] for one in answer.json()["data"]} <= {"budget", "drift"}


def decision(client, request_id):
    answer = client.get(f"/api/v1/decisions/{request_id}")
    return answer.json() if answer.is_success else None


def test_models_are_listed(official):
    names = {model.id for model in official.models.list()}

    assert {"auto", "smollm2-135m-instruct", "sim-openai"} <= names
    assert official.models.retrieve("sim-google").owned_by == "google"


def test_auto_chooses_and_the_headers_say_what(compass):
    with compass.client() as client:
        answer = ask(client, model="auto", compass={"tier": "fast", "providers": ["openai"]})

    assert answer.status_code == 200
    assert answer.headers["x-compass-provider"] == "openai"
    assert answer.headers["x-compass-tier"] == "3"
    assert float(answer.headers["x-compass-cost-usd"]) > 0
    assert 0 < float(answer.headers["x-compass-remaining-budget-usd"]) < 1000
    assert answer.headers["x-compass-request-id"].startswith("req_")
    assert answer.headers["x-request-id"] == answer.headers["x-compass-request-id"]


def test_the_choice_is_explained_without_acting_on_it(compass):
    with compass.client() as client:
        body = {"model": "auto", "messages": HELLO}
        decision = client.post("/api/v1/route", json=body).json()

    assert decision["reasons"]
    assert decision["candidates"]
    assert compass.simulator.log() == []


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"messages": []}, 400, "messages"),
        ({"max_tokens": 10**9}, 400, "max_tokens"),
        ({"n": 10_000}, 400, "n"),
        ({"temperature": "hot"}, 400, "temperature"),
        ({"messages": [{"role": "user", "content": "a\0b"}]}, 400, "messages[0].content"),
        ({"model": "gpt-99"}, 404, "model"),
        ({"model": "local/smollm2-135m-instruct", "tools": [
            {"type": "function", "function": {"name": "f"}}]}, 400, "model"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_by_name_and_nothing_is_called(compass, fields, status, param):
    with compass.client() as client:
        answer = ask(client, **fields)

    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
    assert compass.simulator.log() == []


@pytest.mark.parametrize("raw", [b"{", b"\xff\xfe\x00", b'{"model": NaN}'])
def test_what_is_not_json_is_refused(compass, raw):
    with compass.client() as client:
        answer = client.post("/v1/chat/completions", content=raw)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_json"


def test_an_oversized_body_is_refused(compass):
    with compass.client() as client:
        answer = client.post("/v1/chat/completions", content=b" " * (21 * 1024 * 1024))

    assert answer.status_code == 413


@pytest.mark.parametrize("header", [{}, {"authorization": "Bearer ck-wrong"}])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/chat/completions"),
        ("GET", "/v1/models"),
        ("GET", "/api/v1/providers"),
        ("GET", "/api/v1/metrics"),
        ("POST", "/api/v1/route"),
    ],
)
def test_without_a_known_key_there_is_no_answer(compass, header, method, path):
    answer = httpx.request(
        method, compass.url + path, headers=header, json={"model": "auto"}, trust_env=False
    )

    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "authentication_error"


def test_health_needs_no_key(compass):
    answer = httpx.get(f"{compass.url}/api/v1/health", trust_env=False)

    assert answer.json()["status"] == "ok"


def test_an_unknown_route_has_openai_s_error_shape(compass):
    with compass.client() as client:
        answer = client.get("/v1/nothing")

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_route")


def test_the_provider_s_trouble_is_a_typed_error_with_its_attempts(compass):
    compass.simulator.script({"rules": [{"then": {"error": {"status": 500}}}]})
    with compass.client() as client:
        answer = ask(client)

    error = answer.json()["error"]
    assert answer.status_code == 502
    assert error["blame"] == "provider"
    assert {attempt["error"] for attempt in error["attempts"]} == {"ProviderFault"}


def test_metrics_of_all_replicas_come_in_one_scrape(compass):
    with compass.client() as client:
        ask(client)
        text = client.get("/metrics").text
        summary = client.get("/api/v1/metrics").json()

    families = {family.name for family in text_string_to_metric_families(text)}
    assert {
        "compass_requests",
        "compass_requests_duration_seconds",
        "compass_tokens",
        "compass_cost_dollars",
        "compass_circuit_breaker_state",
        "compass_active_tasks",
    } <= families
    assert summary["requests"]["total"] > 0


def test_a_caller_who_leaves_stops_the_provider(compass):
    compass.simulator.script({"rules": [{"then": {"ttft_s": 20.0}}]})
    url = httpx.URL(compass.url)
    body = json.dumps({"model": "sim-openai", "messages": HELLO}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {compass.key}"
        f"\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((url.host, url.port)) as caller:
        caller.sendall(head.encode() + body)
        compass.wait(lambda: under_way(compass) == 1)
    left_at = time.time()

    (entry,) = compass.wait(lambda: [e for e in compass.simulator.log() if e["aborted"]], seconds=5)

    assert entry["ended_at"] - left_at < 1.0


def under_way(compass):
    """Return the gauge of requests in progress."""
    with compass.client() as client:
        text = client.get("/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    return families["compass_active_tasks"].samples[0].value


def test_a_request_is_logged_and_no_log_holds_a_key_or_a_prompt(compass):
    prompt = "a canary sings in the mine"
    with compass.client() as client:
        answer = ask(client, messages=[{"role": "user", "content": prompt}])
        refused = ask(client, model=prompt)
    seen = compass.wait(
        lambda: (
            answer.headers["x-compass-request-id"] in (everything := logged(compass)) and everything
        )
    )

    assert answer.status_code == 200
    assert refused.status_code == 404
    assert prompt not in seen
    for secret in (compass.key, compass.poor_key, *compass.simulator.environment().values()):
        if not secret.startswith("http"):
            assert secret not in seen


def logged(compass):
    """Return all that any process of the cluster has written to a log."""
    files = (path for path in compass.cluster.folder.rglob("*") if path.is_file())
    logs = (path for path in files if path.suffix in {".log", ".err", ".out"})
    return "\n".join(path.read_text(errors="replace") for path in logs)


def test_python_handles_answer_and_stream(compass):
    environment = os.environ | {
        **compass.cluster.joining,
        "COMPASS_API_KEY": compass.key,
        "PYTHONPATH": str(ROOT),
    }

    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "handle.py"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-2000:]
    assert "capital of France" in done.stdout


def test_embeddings_are_the_same_over_http_and_from_python(compass):
    body = {"model": "sim-embed", "input": ["hello", "world"]}
    script = (
        "import json, os, ray; from ray import serve; "
        "ray.init(address='auto', log_to_driver=False); "
        "asked = serve.get_app_handle('compass').embed.remote; "
        f"print(json.dumps(asked({body!r}, os.environ['COMPASS_API_KEY']).result()))"
    )
    environment = os.environ | {
        **compass.cluster.joining,
        "COMPASS_API_KEY": compass.key,
        "PYTHONPATH": str(ROOT),
    }

    with compass.client() as client:
        over_http = client.post("/v1/embeddings", json=body)
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)["data"] == over_http.json()["data"]
    assert over_http.headers["x-compass-cost-usd"] == "0.000008"


def test_a_dead_key_of_several_is_seen_by_the_operator_alone(compass):
    asked = {"model": "sim-pooled", "messages": [{"role": "user", "content": "hi"}]}

    with compass.client() as client:
        answers = [client.post("/v1/chat/completions", json=asked) for _ in range(3)]
        listed = client.get("/api/v1/providers").json()["data"]
        metrics = client.get("/metrics").text

    assert [answer.headers["x-compass-attempts"] for answer in answers] == ["1"] * 3
    assert {one["name"]: one["keys"] for one in listed}["pooled"] == list(POOL)
    assert 'compass_keys_refused_total{key="POOLED_KEY",provider="pooled"} 1.0' in metrics
    assert not any(secret in metrics + str(listed) for secret in POOL.values())
