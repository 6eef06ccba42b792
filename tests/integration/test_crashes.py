"""`kill -9` of every kind of process under load: no wrong bill, and back without help."""

import asyncio
import itertools
import math
import os
import signal
from collections import Counter

import httpx
import pytest

from compass_ray.storage.audit import audit

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

BODY = {
    "model": "sim-openai",
    "messages": [{"role": "user", "content": "Count."}],
    "max_tokens": 40,
}


async def one(client, answers):
    try:
        answer = await client.post("/v1/chat/completions", json=BODY)
    except httpx.HTTPError as error:
        answers.append((type(error).__name__, 0))
        return
    cost = round(float(answer.headers.get("x-compass-cost-usd", 0)) * 1e6)
    answers.append((answer.status_code, cost))


async def load(compass, stop, answers):
    """Keep 8 requests under way until `stop` is set."""

    async def caller(client):
        while not stop.is_set():
            await one(client, answers)
            await asyncio.sleep(0.01)

    async with compass.async_client() as client:
        await asyncio.gather(*(caller(client) for _ in range(8)))


async def spent(compass, key=None):
    """Return what the account above all others has spent, as the books say after all is posted."""
    async with compass.async_client(key) as client:
        before = None
        for _ in range(100):
            balances = (await client.get("/api/v1/budgets")).json()["data"]
            now = {b["account"]: (b["spent"], b["leased"]) for b in balances}
            if now == before:
                return now
            before = now
            await asyncio.sleep(0.3)
    raise AssertionError("the books do not come to rest")


def upstream_cost(compass):
    """Return what the provider's own log says was produced, at our price, call by call."""
    return sum(
        math.ceil(2 * entry["input_tokens"] + 10 * entry["output_tokens"])
        for entry in compass.simulator.log()
        if entry["status"] == 200
    )


async def every_slice_is_back(compass):
    async with asyncio.timeout(30):
        while (await spent(compass))["org"][1]:  # noqa: ASYNC110  # another process
            await asyncio.sleep(0.1)


async def under_load(compass, disturb, *, before=1.0, after=6.0):
    """Return the answers' statuses and costs around `disturb`, and what the books grew by."""
    compass.simulator.script({"rules": [{"then": {"ttft_s": 0.02}}]})
    at_first = (await spent(compass))["org"][0]
    stop, answers = asyncio.Event(), []
    loading = asyncio.create_task(load(compass, stop, answers))
    await asyncio.sleep(before)
    disturb()
    await asyncio.sleep(after)
    late = len(answers)
    while sum(status == 200 for status, _ in answers[late:]) < 40:
        assert len(answers) < late + 5_000, Counter(status for status, _ in answers[late:])
        await asyncio.sleep(0.1)
    stop.set()
    await loading
    return answers, (await spent(compass))["org"][0] - at_first


async def test_a_killed_ledger_costs_no_request_and_no_cent(compass):
    answers, booked = await under_load(
        compass, lambda: os.kill(compass.process("LedgerActor"), signal.SIGKILL)
    )

    assert Counter(status for status, _ in answers).keys() == {200}
    assert booked == sum(cost for _, cost in answers) == upstream_cost(compass)


async def test_a_killed_breaker_costs_no_request_and_no_cent(compass):
    answers, booked = await under_load(
        compass, lambda: os.kill(compass.process("BreakerActor"), signal.SIGKILL)
    )

    assert Counter(status for status, _ in answers).keys() == {200}
    assert booked == sum(cost for _, cost in answers) == upstream_cost(compass)


async def test_a_killed_replica_loses_only_what_it_held_and_bills_it(compass):
    title = "ServeReplica:compass:Gateway"
    before = set(compass.processes(title))

    answers, booked = await under_load(
        compass, lambda: os.kill(compass.process(title), signal.SIGKILL), after=10.0
    )

    acknowledged = sum(cost for _, cost in answers)
    lost = sum(status != 200 for status, _ in answers)
    worst = 2 * 200 + 10 * 40 + 100
    assert lost <= 8 + 8
    # What was in flight is charged its reserve: never less than the provider produced.
    assert acknowledged <= booked
    assert upstream_cost(compass) <= booked <= upstream_cost(compass) + lost * worst
    assert len(set(compass.processes(title)) - before) >= 1
    await every_slice_is_back(compass)


async def test_a_dead_primary_costs_no_request_and_is_asked_five_times(compass):
    body = BODY | {"model": "sim-pair"}
    async with compass.async_client() as client:
        calm = await client.post("/v1/chat/completions", json=body)
        dead = {"match": {"provider": calm.headers["x-compass-provider"]}, "then": {"error": 500}}
        compass.simulator.script([dead])

        answers = [await client.post("/v1/chat/completions", json=body) for _ in range(40)]

    hits = [entry for entry in compass.simulator.log() if entry["status"] == 500]
    assert Counter(answer.status_code for answer in answers) == {200: 40}
    assert len(hits) <= 5
    assert all(
        first["ended_at"] <= second["started_at"] for first, second in itertools.pairwise(hits)
    )


async def test_a_budget_is_used_up_and_never_exceeded(compass):
    async with compass.async_client(compass.poor_key) as client:
        answers = []
        await asyncio.gather(*(one(client, answers) for _ in range(150)))
        refused = await client.post("/v1/chat/completions", json=BODY)

    statuses = Counter(status for status, _ in answers)
    books = await spent(compass, compass.poor_key)
    assert statuses.keys() == {200, 402}
    assert books["poor"][0] == sum(cost for _, cost in answers) == upstream_cost(compass)
    assert books["poor"][0] <= 10_000
    error = refused.json()["error"]
    assert refused.status_code == 402
    assert error["account"] == "poor"


async def test_each_threshold_of_a_used_up_budget_was_told_once(compass):
    async with compass.async_client(compass.poor_key) as client:
        told = (await client.get("/api/v1/alerts")).json()["data"]
    async with compass.async_client() as client:
        metrics = (await client.get("/metrics")).text

    assert [(one["account"], one["percent"]) for one in told] == [
        ("poor", 50),
        ("poor", 75),
        ("poor", 90),
    ]
    labels = 'account="poor",threshold="90",unit="usd"'
    assert f"compass_budget_alerts_total{{{labels}}} 1.0" in metrics


async def test_of_a_burst_as_many_are_answered_as_the_minute_has_over_all_replicas(compass):
    async with compass.async_client(compass.slow_key) as client:
        posts = (
            client.post(
                "/v1/chat/completions", json=BODY, headers={"x-forwarded-for": f"10.0.0.{n}"}
            )
            for n in range(60)
        )
        answers = await asyncio.gather(*posts)

    assert Counter(answer.status_code for answer in answers) == {200: 20, 429: 40}
    waits = [int(a.headers["retry-after"]) for a in answers if a.status_code == 429]
    assert all(50 <= wait <= 61 for wait in waits)
    assert len(compass.simulator.log()) == 20


async def test_after_all_that_every_sum_agrees_with_its_postings(compass):
    found = audit(compass.ledger_file)

    assert found.mistakes == ()
    assert sum(one.postings for one in found.buckets) > 500
