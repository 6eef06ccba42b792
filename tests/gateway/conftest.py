"""A gateway on in-memory ports: scripted providers, a purse of known size, a clock of its own."""

import asyncio
import json
from dataclasses import dataclass, field

import pytest

from compass_ray.gateway.admission import Admission
from compass_ray.gateway.attempts import Attempts
from compass_ray.gateway.authenticate import Callers
from compass_ray.gateway.circuits import Circuits
from compass_ray.gateway.escalate import Ladder
from compass_ray.gateway.fields import Limits
from compass_ray.gateway.job import Clock
from compass_ray.gateway.pipeline import Gateway, Settings
from compass_ray.policy.breaker import BreakerConfig
from compass_ray.policy.plan import Plan
from compass_ray.policy.retry import RetryPolicy
from compass_ray.policy.select import Catalogue, Weights
from compass_ray.rules import shipped_rules
from compass_ray.types.accounts import Caller
from compass_ray.types.chat import Answer, Chunk
from compass_ray.types.errors import BudgetExceeded
from compass_ray.types.routing import Embedding, Endpoint, Tier
from compass_ray.types.usage import Price, Usage

USAGE = Usage(input_tokens=10, output_tokens=5)
PRICE = Price(input=1_000_000, output=2_000_000)  # 1 and 2 micro-dollars a token


def endpoint(provider, model="m", **fields):
    card = {"context_window": 10_000, "max_output_tokens": 100, "price": PRICE} | fields
    return Endpoint(provider, model, model, card.pop("tier", Tier.FAST), **card)


def answer(text="hello", usage=USAGE, finish="stop", **message):
    message = {"role": "assistant", "content": text, **message}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return Answer({"object": "chat.completion", "choices": [choice]}, usage, finish)


def embedder(provider, model="e", dimensions=2, *, shortens=False, **fields):
    """Return an endpoint that makes embeddings, for a micro-dollar a token."""
    card = {"max_output_tokens": 0, "price": Price(1_000_000, 0), "tier": Tier.SPECIALIZED}
    embedding = Embedding(dimensions, shortens)
    return endpoint(provider, model, **card | {"embedding": embedding} | fields)


def vectors(count=2, tokens=7):
    data = [{"object": "embedding", "index": n, "embedding": [1.0, 0.0]} for n in range(count)]
    usage = None if tokens is None else Usage(input_tokens=tokens)
    return Answer({"object": "list", "data": data, "model": "e"}, usage)


def chunk(text="", **fields):
    choices = [{"index": 0, "delta": {"content": text}}] if text else []
    return Chunk({"choices": choices}, output_chars=len(text), **fields)


class Provider:
    """Does what the script says, call by call: answers, raises, or on None waits for `goes_on`."""

    def __init__(self, *script, prefills=False):
        self.script = list(script)
        self.takes_prefill = prefills
        self.json_mode = True
        self.requests = []
        self.calls = 0
        self.closed = 0
        self.waiting = asyncio.Event()
        self.goes_on = asyncio.Future()
        self.rests_for = 0.0

    def prefills(self, _endpoint):
        return self.takes_prefill

    async def complete(self, request, _endpoint, state, _deadline):
        self.calls += 1
        state.sent = True
        self.requests.append(request)
        state.rests_for = self.rests_for
        return await self._play(self.script.pop(0))

    async def embed(self, request, endpoint, state, deadline):
        return await self.complete(request, endpoint, state, deadline)

    async def stream(self, request, _endpoint, state, _deadline):
        self.calls += 1
        state.sent = True
        self.requests.append(request)
        state.rests_for = self.rests_for
        try:
            for step in self.script.pop(0):
                yield await self._play(step)
        finally:
            self.closed += 1

    async def _play(self, step):
        if step is None:
            self.waiting.set()
            await asyncio.shield(self.goes_on)
        if isinstance(step, Exception):
            raise step
        return step


@dataclass
class Purse:
    """One account's money, without leases; remembers how each hold ended."""

    left: int | None = None
    ends: list = field(default_factory=list)
    share: float = 0.0

    async def hold(self, reservation_id, account, provider, amounts, now):
        amount = amounts.usd
        if self.left is not None:
            if amount > self.left:
                raise BudgetExceeded("nothing left", account=account)
            self.left -= amount
        return PurseHold(self, reservation_id, amount)

    def remaining(self, account, now):
        return self.left

    def used(self, account, now):
        return self.share


@dataclass
class PurseHold:
    purse: Purse
    id: str
    amount: int

    def settle(self, cost, usage, provider, model, now):
        self._end(cost, ("settled", provider, cost, usage))

    def void(self, now):
        self._end(0, ("voided", self.id))

    def _end(self, cost, how):
        assert self.id not in [end[-1] for end in self.purse.ends]
        if self.purse.left is not None:
            self.purse.left += self.amount - cost
        self.purse.ends.append(how)


class Directory:
    def __init__(self):
        self.out = {}
        self.waits = frozenset()
        self.starting = {}

    def unavailable(self):
        return self.out

    def keyless(self):
        return self.waits

    def starts(self):
        return self.starting


class Recorder:
    def __init__(self):
        self.records = []
        self.in_progress = 0

    def record(self, record):
        self.records.append(record)

    def active(self, change):
        self.in_progress += change


@dataclass
class World:
    gateway: Gateway
    providers: dict
    purse: Purse
    circuits: Circuits
    directory: Directory
    records: list
    slept: list
    asked: int = 0

    def cooldown(self, said):
        """Return for how long a circuit keeps off an endpoint that said so."""
        config = BreakerConfig()
        return config.pause if said is None else max(said, config.min_pause)

    async def embed(self, **fields):
        self.asked += 1
        body = {"model": "auto", "input": ["some words", "others"]} | fields
        return await self.gateway.answer(
            json.dumps(body).encode(),
            self.gateway.authenticate(None),
            f"req_{self.asked}",
            kind="embeddings",
        )

    async def chat(self, **fields):
        self.asked += 1
        messages = [{"role": "user", "content": "hi"}]
        body = {"model": "auto", "messages": messages, "max_tokens": 20} | fields
        caller = self.gateway.authenticate(None)
        return await self.gateway.answer(json.dumps(body).encode(), caller, f"req_{self.asked}")


def build_world(
    *,
    left=None,
    clock=None,
    throttle=None,
    endpoints=None,
    attempts=3,
    weights=None,
    thrift=(),
    monotonic=None,
    escalation=None,
    verifier=None,
    **providers,
):
    now = [1_000.0]
    slept = []

    async def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds

    def tell():
        return now[0]

    clock = clock or Clock(tell, monotonic or tell, sleep, lambda: 0.5)
    circuits = Circuits(clock=clock.wall)
    purse, directory, recorder = Purse(left), Directory(), Recorder()
    listed = endpoints or [endpoint(name) for name in providers]
    settings = Settings(
        limits=Limits(),
        callers=Callers({}, Caller("anonymous", "open")),
        rules=shipped_rules(),
        catalogue=Catalogue(listed),
        embedders=Catalogue(listed, embeddings=True),
        plan=Plan(weights or Weights(), thrift=thrift),
        timeout=30.0,
    )
    calls = Attempts(
        providers, Admission(purse, circuits, clock.wall, throttle), RetryPolicy(attempts), clock
    )
    gateway = Gateway(
        settings=settings,
        attempts=calls,
        directory=directory,
        circuits=circuits,
        wallet=purse,
        recorder=recorder,
        clock=clock,
        ladder=None if escalation is None else Ladder(escalation, calls, verifier),
    )
    return World(gateway, providers, purse, circuits, directory, recorder.records, slept)


@pytest.fixture
def world():
    return build_world
