"""The ASGI application over a real pipeline, with scripted providers and no socket."""

import asyncio
import hashlib
from dataclasses import dataclass, replace
from types import SimpleNamespace

import httpx
import pytest

from compass_ray.actors.breaker import BreakerActor
from compass_ray.actors.idempotency import IdempotencyActor
from compass_ray.actors.learner import LearnerActor
from compass_ray.actors.ledger import LedgerActor
from compass_ray.config import load
from compass_ray.gateway.authenticate import Callers
from compass_ray.gateway.decisions import DecisionLog
from compass_ray.gateway.directory import Directory
from compass_ray.gateway.idempotency import Claims
from compass_ray.gateway.once import Once
from compass_ray.gateway.pipeline import Gateway
from compass_ray.serving.admin import Admin
from compass_ray.serving.decisions import Decisions
from compass_ray.serving.ingress import Ingress
from compass_ray.serving.rules_watch import RulesWatch
from compass_ray.types.accounts import Account, Caller, Limit
from compass_ray.types.status import ProviderStatus
from tests.gateway.conftest import Provider, answer, endpoint, world

__all__ = ["world"]  # a fixture

KEY = "ck-alice"
ADMIN_KEY = "ck-ops"
PLAIN_KEY = "ck-bob"
CHAT = "/v1/chat/completions"
LIMIT = 2_000
HELLO = {
    "model": "auto",
    "messages": [{"role": "user", "content": "hi"}],
    "max_tokens": 20,
}
SECRETIVE = ProviderStatus(
    name="a", kind="openai", configured=True, base_url="https://a.test/v1", key="sk-secret"
)


@dataclass
class Replica:
    """What the routes ask for besides the gateway."""

    gateway: Gateway
    admin: Admin
    once: Once
    decisions: Decisions
    rules: RulesWatch
    max_body_bytes: int = LIMIT
    reader_patience: float = 60.0
    status: str = "ok"
    began: bool = False
    ended: bool = False

    async def start(self):
        self.began = True

    async def stop(self):
        self.ended = True

    def health(self):
        return {"status": self.status}

    async def exposition(self):
        return b"compass_requests_total 1\n"

    async def summary(self):
        return {"replicas": 1}


class Rim:
    """The application, and what lies behind it."""

    def __init__(self, world, folder):
        self.world = world
        settings = replace(
            load({}, {}, folder),
            endpoints=(endpoint("a", "org/m"),),
            accounts={"acme": Account("acme", None, (Limit(5_000_000),))},
        )
        self.settings = settings
        self.breaker = BreakerActor()
        self.ledger = LedgerActor(folder / "ledger.db", settings.accounts)
        directory = Directory({"a": SimpleNamespace()})
        directory.hear(SECRETIVE)
        admin = Admin(settings, directory, self.ledger, self.breaker, created=1_000.0)
        self.keys = IdempotencyActor(folder / "idempotency.db", settings.idempotency)
        self.claims = Claims(self.keys)
        gateway = world.gateway
        once = Once(gateway, self.claims, gateway._recorder, gateway._clock)
        self.learner = LearnerActor(folder / "decisions.db")
        log = DecisionLog(self.learner, gateway._settings.model)
        gateway._decisions = log
        rules = RulesWatch(settings.rules, gateway._settings.rules, gateway.adopt)
        decisions = Decisions(self.learner, log)
        self.replica = Replica(gateway, admin, once, decisions, rules)
        self.app = Ingress(self.replica)

    async def ask(self, method, path, key=KEY, **named):
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app), base_url="http://compass.test"
        ) as client:
            return await client.request(
                method, path, headers=headers | named.pop("headers", {}), **named
            )

    async def chat(self, **fields):
        return await self.ask("POST", CHAT, json=HELLO | fields)


@pytest.fixture
def rim(world, tmp_path):
    """Build the application for three keys: one that reads metrics, a plain one, an admin's."""

    def build(**named):
        w = world(**(named or {"a": Provider(answer("hello"))}))
        callers = Callers(
            {
                hashlib.sha256(KEY.encode()).digest(): Caller("alice", "acme", metrics=True),
                hashlib.sha256(PLAIN_KEY.encode()).digest(): Caller("bob", "acme"),
                hashlib.sha256(ADMIN_KEY.encode()).digest(): Caller("ops", "ops", admin=True),
            },
            None,
        )
        w.gateway._settings = replace(w.gateway._settings, callers=callers)
        return Rim(w, tmp_path)

    return build


def error_of(response):
    """Return the error of a response, once its shape is seen to be OpenAI's."""
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert list(body) == ["error"]
    error = body["error"]
    assert {"message", "type", "param", "code"} <= error.keys()
    assert error["request_id"] == response.headers["x-compass-request-id"]
    return error


def events_of(response):
    lines = response.text.split("\n\n")
    assert lines.pop() == ""
    assert all(line.startswith("data: ") for line in lines)
    return [line.removeprefix("data: ") for line in lines]


async def play(app, messages, **scope):
    """Send these ASGI messages, then nothing more; return what the application sends; bounded."""
    waiting, sent = list(messages), []

    async def receive():
        if waiting:
            return waiting.pop(0)
        return await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    async with asyncio.timeout(5):
        await app({"type": "http", "headers": [], **scope}, receive, send)
    return sent
