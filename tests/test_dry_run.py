import json
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from typer.testing import CliRunner

from compass_ray import dry_run
from compass_ray.actors.learner import LearnerActor
from compass_ray.cli import app
from compass_ray.config import load
from compass_ray.gateway.decisions import DecisionLog
from compass_ray.policy.select import Catalogue
from compass_ray.serving.replica import learner_settings
from compass_ray.types.errors import ConfigError, UnknownModel
from compass_ray.types.routing import Tier
from compass_ray.types.usage import Price
from tests.gateway.conftest import Provider, answer, endpoint, world

__all__ = ["world"]  # a fixture

BODY = {"model": "auto", "messages": [{"role": "user", "content": "Write a sort in Python."}]}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Run commands in an empty folder, with one provider's key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    return tmp_path


@pytest.fixture
async def traffic(world, tmp_path):
    """Record decisions between a dear good and a cheap quick endpoint; return their file."""
    dear = endpoint("a", "big", tier=Tier.PREMIUM, price=Price(10**9, 10**9), expected_ttft=4.0)
    cheap = endpoint("b", "small", price=Price(10**6, 10**6), expected_ttft=0.5)
    w = world(endpoints=[dear, cheap], a=Provider(*[answer()] * 9), b=Provider(*[answer()] * 9))
    w.gateway._settings = replace(w.gateway._settings, catalogue=Catalogue([dear, cheap]))
    learner = LearnerActor(tmp_path / "decisions.db")
    await learner.configure(learner_settings(load({}, {}, tmp_path)))
    w.gateway._decisions = DecisionLog(learner, None)
    for text in ("analyze this contract in depth", "Prove it step by step.", "hi"):
        await w.chat(messages=[{"role": "user", "content": text}])
    await w.gateway._decisions.flush()
    return tmp_path / "decisions.db"


@pytest.fixture
def gateway():
    """Serve one answer; yield its URL and what it was asked."""

    def serve(status, body):
        seen = {}

        class Gateway(BaseHTTPRequestHandler):
            def do_POST(self):
                size = int(self.headers["content-length"])
                seen.update(
                    path=self.path,
                    key=self.headers.get("authorization"),
                    body=json.loads(self.rfile.read(size)),
                )
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Gateway)
        servers.append(server)
        Thread(target=server.handle_request).start()
        return f"http://127.0.0.1:{server.server_port}", seen

    servers = []
    yield serve
    for server in servers:
        server.server_close()


def compass(*arguments):
    return CliRunner().invoke(app, arguments)


def test_a_local_decision_knows_who_has_a_key_and_nothing_else(home):
    told = dry_run.decide(load(), {"OPENAI_API_KEY": "sk-x"}, BODY)

    providers = {one["endpoint"].partition("/")[0] for one in told["candidates"]}
    assert providers == {"openai", "local"}
    assert told["task_type"] == "code"
    assert "provider not configured: set ANTHROPIC_API_KEY" in {
        one["reason"] for one in told["excluded"]
    }


def test_an_unknown_model_is_refused_here_as_well(home):
    with pytest.raises(UnknownModel):
        dry_run.decide(load(), {}, BODY | {"model": "gpt-99"})


def test_the_command_shows_candidates_reasons_and_who_is_out(home):
    result = compass("route", "--local", "Write a sort in Python.")

    lines = result.stdout.splitlines()
    assert result.exit_code == 0, result.stderr
    assert lines[0].startswith("code, tier 2 (balanced)")
    assert any(line.startswith("1  openai/") for line in lines)
    assert any("task code: 'python'" in line for line in lines)
    assert any(line.startswith("out: provider not configured") for line in lines)


@pytest.mark.parametrize(("frugality", "tier"), [(0, "tier 1 (premium)"), (10, "tier 3 (fast)")])
def test_the_command_shows_what_a_learned_model_expects_and_what_it_finds_worth_its_price(
    home, frugality, tier
):
    (home / "compass.yaml").write_text(f"routing: {{learned: true, frugality: {frugality}}}")

    result = compass("route", "--local", "Write a sort in Python.")

    lines = result.stdout.splitlines()
    assert result.exit_code == 0, result.stderr
    assert lines[0].startswith(f"code, {tier}")
    assert any("quality to expect: premium 0." in line for line in lines)
    assert any(f"{tier}, worth its price" in line for line in lines)


@pytest.mark.server
def test_the_command_asks_a_gateway_with_the_caller_s_key(home, gateway, monkeypatch):
    monkeypatch.setenv("COMPASS_API_KEY", "ck-alice")
    url, seen = gateway(200, dry_run.decide(load(), {"OPENAI_API_KEY": "sk-x"}, BODY))

    result = compass("route", "Write a sort in Python.", "--url", url, "--model", "gpt-4o")

    assert result.exit_code == 0, result.stderr
    assert "openai/" in result.stdout
    assert (seen["path"], seen["key"]) == ("/api/v1/route", "Bearer ck-alice")
    assert seen["body"] == BODY | {"model": "gpt-4o"}


@pytest.mark.server
@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (404, {"error": {"message": "no endpoint serves the model 'x'"}}, "no endpoint serves"),
        (401, {"error": {"message": "which key?"}}, "refuses: which key?"),
        (502, {}, "refuses: 502"),
        (200, {"hello": "world"}, "refuses: 200"),
        (200, b"<html>", "no gateway at"),
        (500, [], "refuses: 500"),
    ],
)
def test_what_a_gateway_refuses_is_said_in_a_line(gateway, status, body, message):
    url, _ = gateway(status, body)

    with pytest.raises(ConfigError, match=message):
        dry_run.ask(url, None, BODY)


@pytest.mark.server
def test_without_a_gateway_the_other_way_is_named(home):
    result = compass("route", "hi", "--url", "http://127.0.0.1:9")

    assert result.exit_code == 2
    assert "--local" in result.stderr


async def test_recorded_traffic_is_decided_again_under_other_weights(home, traffic):
    found = dry_run.simulate(load(), "cost=1", traffic)
    same = dry_run.simulate(load(), "cost=0.15", traffic)

    assert (found.decisions, found.changed) == (3, 2)
    assert found.moves == {("a/big", "b/small"): 2}
    assert found.after.micro_usd < found.before.micro_usd
    assert found.after.seconds < found.before.seconds
    assert found.after.quality < found.before.quality
    assert same.changed == 0


async def test_the_command_shows_the_deltas(home, traffic):
    result = compass("simulate-routing", "--weights", "cost=1", "--file", str(traffic))

    assert result.exit_code == 0, result.stderr
    assert "2 of 3 choices change (66.7%); 3 had more than one candidate" in result.stdout
    assert "2  a/big -> b/small" in result.stdout
    for line in ("cost, $ per 1,000 of 3", "latency, seconds", "quality, 0 to 1"):
        assert line in result.stdout


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("cost", "'cost' is not like cost=0.4"),
        ("price=0.4", "no column 'price'"),
        ("cost=0.4,cost=0.5", "cost is given twice"),
        ("cost=2", "must be from 0 to 1"),
    ],
)
async def test_weights_that_are_none_are_refused_in_a_line(home, traffic, weights, message):
    result = compass("simulate-routing", "--weights", weights, "--file", str(traffic))

    assert result.exit_code == 2
    assert message in result.stderr


def test_what_holds_no_decisions_is_refused_in_a_line(home):
    (home / "other.db").write_bytes(b"no database at all, but long enough to be looked at" * 50)

    nothing = compass("simulate-routing", "--weights", "cost=1")
    other = compass("simulate-routing", "--weights", "cost=1", "--file", str(home / "other.db"))

    assert (nothing.exit_code, other.exit_code) == (2, 2)
    assert "there are no decisions at" in nothing.stderr
    assert "holds no decisions" in other.stderr


def test_the_shipped_model_has_its_say_where_it_is_wanted(home):
    by_rules = dry_run.decide(load(), {"OPENAI_API_KEY": "sk-x"}, BODY)
    (home / "compass.yaml").write_text("routing: {learned: true}")

    learned = dry_run.decide(load(), {"OPENAI_API_KEY": "sk-x"}, BODY)

    assert by_rules["expectation"] is None
    assert learned["expectation"]["quality"]
