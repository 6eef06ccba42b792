"""Tasks and workflows over HTTP."""

import asyncio
import json

import pytest

from compass_ray.actors.workflows import WorkflowsActor
from compass_ray.serving.orders import Orders
from compass_ray.serving.workflows import Workflows
from compass_ray.types.errors import ProviderFault
from compass_ray.types.settings import WebhookSettings
from compass_ray.types.usage import Usage
from tests.gateway.conftest import Provider, answer
from tests.gateway.test_workflow import Pipeline

from .conftest import ADMIN_KEY, PLAIN_KEY, error_of

TASKS = "/api/v1/tasks"
RUNS = "/api/v1/workflows"
SAY = {"prompt": "hi", "max_tokens": 20}


@pytest.fixture
async def flows(rim, tmp_path):
    """Build the application with an actor whose calls go to this gateway."""
    tasks, actors = [], []

    def build(*script, left=None):
        r = rim(a=Provider(*script), left=left)
        pipeline = Pipeline(r.world)
        actor = WorkflowsActor(tmp_path / "runs.db", pipeline)
        actors.append(actor)
        orders = Orders(
            r.world.gateway,
            frozenset({"a", "b"}),
            lambda: 1_000.0,
            alerts=(50, 75, 90),
            webhooks=WebhookSettings(("https://hooks.test",), ("SECRET",), {"ops": ("OTHER",)}),
            environ={"SECRET": "whsec_" + "a" * 40},
        )
        r.replica.workflows = Workflows(actor, orders)
        actor._wall = lambda: 1_001.0
        tasks.append(asyncio.create_task(pipeline.claims.run()))
        return r

    yield build
    for actor in actors:
        tasks.extend(actor._driving.values())
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def events_of(response):
    found = []
    for block in response.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if line[0] != ":")
        if lines:
            found.append((int(lines["id"]), lines["event"], json.loads(lines["data"])))
    return found


async def ended(r, path):
    """Read a run's events to the end; return where it stands then."""
    async with asyncio.timeout(10):
        await r.ask("GET", path + "/stream")
        return (await r.ask("GET", path)).json()


async def test_a_task_is_taken_answered_and_told_with_its_cost(flows):
    r = flows(answer("hello"))

    taken = await r.ask("POST", TASKS, json=SAY | {"complexity": "low", "budget_usd": 0.01})
    told = taken.json()
    done = await ended(r, f"{TASKS}/{told['task_id']}")

    assert (taken.status_code, told["status"], told["model_selected"]) == (202, "processing", "m")
    assert told["estimated_time"] > 0
    assert told["streaming_url"] == f"{TASKS}/{told['task_id']}/stream"
    assert (done["status"], done["result"], done["cost_micro_usd"]) == ("completed", "hello", 20)
    assert done["remaining_micro_usd"] == 9_980


async def test_a_stream_of_events_goes_on_after_the_one_that_was_seen(flows):
    r = flows(answer("hello"))
    task = (await r.ask("POST", TASKS, json=SAY)).json()["task_id"]
    path = f"{TASKS}/{task}/stream"

    whole = await r.ask("GET", path)
    rest = await r.ask("GET", path, headers={"last-event-id": "0"})
    nothing = await r.ask("GET", path, headers={"last-event-id": "2"})

    assert whole.headers["content-type"].startswith("text/event-stream")
    assert [(one, kind) for one, kind, _ in events_of(whole)] == [
        (0, "started"), (1, "finished"), (2, "ended"),
    ]  # fmt: skip
    assert events_of(rest) == events_of(whole)[1:]
    assert events_of(nothing) == []


async def test_a_workflow_s_steps_share_one_budget(flows):
    r = flows(answer("a"), answer("b"), answer("both"))
    plan = {"chain": [{"parallel": [SAY, SAY]}, {"prompt": "of {{previous}}", "max_tokens": 20}]}

    taken = await r.ask("POST", RUNS, json={"plan": plan, "name": "n", "budget_usd": "0.001"})
    done = await ended(r, f"{RUNS}/{taken.json()['workflow_id']}")

    assert (done["status"], done["result"], done["calls"]) == ("completed", "both", 3)
    assert done["cost_micro_usd"] == 60
    asked = [one.preferences.max_cost for one in r.world.providers["a"].requests]
    assert asked == [500, 500, 960]


async def test_what_a_run_s_budget_has_come_to_is_among_its_events_once(flows):
    r = flows(*[answer("a", Usage(100, 50))] * 4)
    asked = {"plan": {"chain": [SAY] * 4}, "budget_usd": "0.001", "wait_s": 30}

    done = (await r.ask("POST", RUNS, json=asked)).json()
    events = events_of(await r.ask("GET", f"{RUNS}/{done['workflow_id']}/stream"))

    told = [data for _, kind, data in events if kind == "budget_reached"]
    assert [(one["share"], one["spent"]) for one in told] == [(0.5, 600), (0.75, 800)]
    asked = [one.preferences.budget_used for one in r.world.providers["a"].requests]
    assert asked == [0.0, 0.0, 0.0, 0.5]


async def test_another_account_s_run_is_not_found_by_any_verb(flows):
    r = flows(None)
    task = (await r.ask("POST", TASKS, json=SAY)).json()["task_id"]
    path = f"{TASKS}/{task}"

    refused = [
        await r.ask("GET", path, key=ADMIN_KEY),
        await r.ask("DELETE", path, key=ADMIN_KEY),
        await r.ask("GET", path + "/stream", key=ADMIN_KEY),
        await r.ask("GET", f"{RUNS}/{task}"),
        await r.ask("GET", f"{TASKS}/task_none"),
    ]

    assert [one.status_code for one in refused] == [404] * 5
    assert {error_of(one)["code"] for one in refused} == {"unknown_task", "unknown_workflow"}
    assert (await r.ask("GET", TASKS, key=ADMIN_KEY)).json() == {"data": [], "has_more": False}
    (own,) = (await r.ask("GET", TASKS, key=PLAIN_KEY)).json()["data"]
    assert own["status"] == "processing"


async def test_delete_cancels_and_stops_the_provider(flows):
    r = flows(None)
    task = (await r.ask("POST", TASKS, json=SAY)).json()["task_id"]
    await r.world.providers["a"].waiting.wait()

    gone = await r.ask("DELETE", f"{TASKS}/{task}")
    again = await r.ask("DELETE", f"{TASKS}/{task}")

    assert (gone.status_code, gone.json()["status"]) == (200, "cancelled")
    assert again.json() == gone.json()
    assert [how for how, *_ in r.world.purse.ends] == ["settled"]


async def test_an_idempotency_key_makes_one_run(flows):
    r = flows(answer("hello"))
    key = {"headers": {"idempotency-key": "k"}}

    first = await r.ask("POST", TASKS, json=SAY, **key)
    same = await r.ask("POST", TASKS, json=SAY, **key)
    other = await r.ask("POST", TASKS, json=SAY | {"prompt": "else"}, **key)

    assert same.json()["task_id"] == first.json()["task_id"]
    assert (other.status_code, error_of(other)["code"]) == (422, "idempotency_key_reused")
    await ended(r, f"{TASKS}/{first.json()['task_id']}")
    assert r.world.providers["a"].calls == 1


async def test_the_words_of_a_task_are_not_looked_through_for_names(flows):
    r = flows(answer("hello"))

    task = (await r.ask("POST", TASKS, json=SAY | {"prompt": "{{ name }}"})).json()["task_id"]
    await ended(r, f"{TASKS}/{task}")

    (asked,) = r.world.providers["a"].requests
    assert asked.body["messages"][0]["content"] == "{{ name }}"


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"prompt": ""}, 400, "prompt"),
        ({"messages": []}, 400, "prompt"),
        ({"chain": []}, 400, "plan"),
        ({"temperature": 9}, 400, "temperature"),
        ({"complexity": "huge"}, 400, "complexity"),
        ({"priority": 1}, 400, "priority"),
        ({"preferred_provider": "zzz"}, 400, "preferred_provider"),
        ({"deadline_s": 0}, 400, "deadline_s"),
        ({"wait_s": 61}, 400, "wait_s"),
        ({"wait_s": "long"}, 400, "wait_s"),
        ({"wait_s": True}, 400, "wait_s"),
        ({"deadline_s": True}, 400, "deadline_s"),
        ({"budget_usd": "much"}, 400, "budget_usd"),
        ({"budget_usd": 0}, 422, "budget_usd"),
        ({"budget_usd": 5}, 422, "budget_usd"),
        ({"webhook": "https://hooks.test"}, 400, "webhook"),
        ({"webhook": {"url": "https://hooks.test", "secret": "s"}}, 400, "webhook.secret"),
        ({"webhook": {}}, 400, "webhook.url"),
        ({"webhook": {"url": "https://evil.test"}}, 400, "webhook.url"),
        ({"stream": True}, 400, "stream"),
        ({"model": "zzz"}, 404, "model"),
    ],
)
async def test_a_task_that_cannot_be_done_is_refused_by_field(flows, fields, status, param):
    r = flows(left=1_000_000)

    refused = await r.ask("POST", TASKS, json=SAY | fields)

    assert (refused.status_code, error_of(refused)["param"]) == (status, param)
    assert (await r.ask("GET", TASKS)).json() == {"data": [], "has_more": False}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"plan": None}, "plan"),
        ({"plan": SAY, "else": 1}, "else"),
        ({"plan": {"chain": [SAY, SAY | {"agent": "x"}]}}, "plan.chain[1].agent"),
        ({"plan": {"chain": [SAY, SAY | {"model": "zzz"}]}}, "plan.chain[1].model"),
        ({"plan": {"parallel": [SAY | {"top_p": 3}]}}, "plan.parallel[0].top_p"),
        ({"plan": SAY, "budget_usd": 5}, "budget_usd"),
    ],
)
async def test_a_plan_that_cannot_be_carried_out_is_refused_by_its_path(flows, fields, param):
    r = flows(left=1_000_000)

    refused = await r.ask("POST", RUNS, json=fields)

    assert (refused.status_code, error_of(refused)["param"]) == (422, param)
    assert r.world.providers["a"].calls == 0


async def test_a_preferred_provider_that_is_out_is_replaced(flows):
    r = flows(answer("hello"))

    task = (await r.ask("POST", TASKS, json=SAY | {"preferred_provider": "b"})).json()["task_id"]
    done = await ended(r, f"{TASKS}/{task}")

    assert done["status"] == "completed"


@pytest.mark.parametrize("seen", ["x", "-1", "1.5"])
async def test_an_id_that_no_event_has_is_refused(flows, seen):
    r = flows(answer("hello"))
    task = (await r.ask("POST", TASKS, json=SAY)).json()["task_id"]

    refused = await r.ask("GET", f"{TASKS}/{task}/stream", headers={"last-event-id": seen})

    assert error_of(refused)["param"] == "Last-Event-ID"
    await ended(r, f"{TASKS}/{task}")


async def test_without_the_actor_it_is_unavailable_and_no_stream_hangs(flows):
    r = flows()

    class Gone:
        def __getattr__(self, _name):
            async def fail(*_arguments):
                raise ConnectionError

            return fail

    r.replica.workflows._authority = Gone()

    responses = [await r.ask("POST", TASKS, json=SAY), await r.ask("GET", f"{TASKS}/task_1/stream")]

    assert [one.status_code for one in responses] == [503, 503]
    assert {one.headers["retry-after"] for one in responses} == {"2"}


@pytest.mark.parametrize("over", [False, True])
async def test_a_call_whose_waiter_is_gone_goes_on_while_its_run_does(flows, over):
    r = flows(None)
    task = (await r.ask("POST", TASKS, json=SAY)).json()["task_id"]
    await r.world.providers["a"].waiting.wait()
    answered, ended_with = asyncio.Event(), []

    async def work():
        try:
            await answered.wait()
            ended_with.append("answer")
        except asyncio.CancelledError:
            ended_with.append("cancelled")
            raise

    workflows = r.replica.workflows
    waiter = asyncio.create_task(workflows.to_its_end(work(), "acme", f"{task}/plan/1"))
    await asyncio.sleep(0)
    if over:
        await r.ask("DELETE", f"{TASKS}/{task}")
    waiter.cancel()
    await asyncio.wait({waiter})
    orphans = list(workflows._orphans._orphans)
    if not over:
        answered.set()
    async with asyncio.timeout(5):
        await asyncio.gather(*orphans)

    assert ended_with == ["cancelled" if over else "answer"]


async def test_who_waits_gets_the_end_at_once_and_else_where_it_stands(flows):
    r = flows(answer("hello"), None)

    done = await r.ask("POST", TASKS, json=SAY | {"wait_s": 30})
    slow = await r.ask("POST", TASKS, json=SAY | {"wait_s": 0.01})
    path = f"{TASKS}/{slow.json()['task_id']}"
    asked = [await r.ask("GET", path + query) for query in ("?wait_s=0.01", "")]
    await r.ask("DELETE", path)
    over = await r.ask("GET", path + "?wait_s=0")

    assert (done.status_code, done.json()["result"]) == (200, "hello")
    assert (slow.status_code, slow.json()["status"]) == (202, "processing")
    assert [one.status_code for one in asked] == [202, 200]
    assert (over.status_code, over.json()["status"]) == (200, "cancelled")


async def test_who_waits_is_answered_although_the_owner_of_the_runs_is_silent_meanwhile(flows):
    r = flows(answer("hello"))
    actor, silent = r.replica.workflows._authority, [ConnectionError()] * 2

    class Flaky:
        def __getattr__(self, name):
            return getattr(actor, name)

        async def over(self, *asked):
            if silent:
                raise silent.pop()
            return await actor.over(*asked)

    r.replica.workflows._authority = Flaky()

    done = await r.ask("POST", TASKS, json=SAY | {"wait_s": 30})

    assert (done.status_code, done.json()["result"], silent) == (200, "hello", [])


async def test_a_list_is_told_by_pages_and_filters(flows):
    r = flows(answer("a"), answer("b"), answer("c"))
    for name in ("one", "two", "one"):
        await r.ask("POST", RUNS, json={"plan": SAY, "name": name, "wait_s": 30})

    async def ids(query):
        told = (await r.ask("GET", f"{RUNS}?{query}")).json()
        return [one["name"] for one in told["data"]], told["has_more"]

    first = (await r.ask("GET", f"{RUNS}?limit=2")).json()
    last = first["data"][-1]["workflow_id"]

    assert (len(first["data"]), first["has_more"]) == (2, True)
    assert (await ids(f"limit=2&after={last}"))[1] is False
    assert await ids("name=two&status=completed") == (["two"], False)
    assert await ids("status=failed") == ([], False)
    assert await ids("created_after=1000") == ([], False)


async def test_a_run_with_a_webhook_tells_how_it_fares_and_another_url_is_another_order(flows):
    r = flows(answer("hello"))
    hook = {"webhook": {"url": "https://hooks.test/x"}, "wait_s": 30}
    key = {"headers": {"idempotency-key": "k"}}

    done = await r.ask("POST", TASKS, json=SAY | hook, **key)
    other = await r.ask("POST", TASKS, json=SAY, **key)

    assert done.json()["webhook"] == {"status": "pending", "attempts": 0, "error": ""}
    assert error_of(other)["code"] == "idempotency_key_reused"


async def test_a_webhook_that_could_not_be_signed_is_refused(flows):
    r = flows()

    refused = await r.ask(
        "POST", TASKS, json=SAY | {"webhook": {"url": "https://hooks.test"}}, key=ADMIN_KEY
    )

    assert (refused.status_code, error_of(refused)["param"]) == (400, "webhook.url")
    assert "no secret" in error_of(refused)["message"]


async def test_workflows_that_are_over_are_told_all_together_by_agent_to_their_account(flows):
    r = flows(answer("a"), answer("b"), *[ProviderFault("500")] * 3)
    plan = {"chain": [SAY | {"agent": "writer"}, SAY | {"agent": "critic"}]}
    asked = {"plan": plan, "agents": {"writer": {}, "critic": {}}, "name": "n", "wait_s": 30}
    await r.ask("POST", RUNS, json=asked)
    await r.ask("POST", RUNS, json=asked)

    # The actor's clock is a second ahead of what asks.
    names = (await r.ask("GET", f"{RUNS}/analytics?to=2000")).json()
    agents = (await r.ask("GET", f"{RUNS}/analytics?by=agent&to=2000", key=ADMIN_KEY)).json()
    none = (await r.ask("GET", f"{RUNS}/analytics?account=ops&to=2000", key=ADMIN_KEY)).json()
    refused = await r.ask("GET", f"{RUNS}/analytics?account=ops")

    (one,) = names["data"]
    assert (one["name"], one["runs"], one["calls"]) == ("n", 2, 2)
    assert one["failures"] == {"AllAttemptsFailed": 1}
    assert one["cost_micro_usd"] == {"sum": 40, "mean": 20.0, "p50": 0, "p95": 40}
    assert one["seconds"] == {"sum": 2.0, "mean": 1.0, "p50": 1.0, "p95": 1.0}
    assert {one["agent"]: one["failures"] for one in agents["data"]} == {
        "writer": {"AllAttemptsFailed": 1},
        "critic": {},
    }
    assert (none["data"], none["truncated"]) == ([], False)
    assert (refused.status_code, error_of(refused)["code"]) == (403, "not_an_admin")
