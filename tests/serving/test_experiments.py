"""An experiment from its configuration to its end, over HTTP."""

from dataclasses import replace

import pytest

from compass_ray.actors.learner import LearnerActor
from compass_ray.config import load
from compass_ray.gateway.experiments import Experiments
from compass_ray.serving.replica import learner_settings
from compass_ray.types.errors import Overloaded
from tests.gateway.conftest import USAGE, Provider, answer

from .conftest import ADMIN_KEY, KEY, error_of

PATH = "/api/v1/experiments"
ENTRY = {
    "name": "cheaper",
    "share": 0.5,
    "unit": "request",
    "metric": "quality",
    "variant": {"weights": {"complexity": 0.1, "cost": 0.35}},
}


@pytest.fixture
async def running(rim, tmp_path):
    """Build the application with one experiment, which the Learner has begun."""

    async def build(*script, **changed):
        r = rim(a=Provider(*(script or [answer("hello", USAGE)] * 200)))
        configured = load({"routing": {"experiments": [ENTRY | changed]}}, {}, tmp_path)
        r.settings = replace(r.settings, experiments=configured.experiments)
        r.experiments = Experiments(configured.experiments)
        r.world.gateway._experiments = r.experiments
        await r.learner.configure(learner_settings(r.settings))
        await heard(r)
        return r

    return build


async def heard(r):
    """Let the gateway know what the Learner says now."""
    _, taught = await r.learner.watch(-1, 0)
    r.experiments.hear(taught)


async def asked(r):
    """Ask once; return the request's id and its arm, None where it is in none."""
    response = await r.chat()
    request_id = response.headers["x-compass-request-id"]
    decision = (await r.ask("GET", f"/api/v1/decisions/{request_id}")).json()
    experiment = decision["experiment"]
    return request_id, None if experiment is None else experiment["arm"]


async def judge(r, request_id, score):
    body = {"request_id": request_id, "score": score}
    return await r.ask("POST", "/api/v1/feedback", json=body)


async def experiment(r):
    (one,) = (await r.ask("GET", PATH, ADMIN_KEY)).json()["data"]
    return one


async def order(r, **said):
    return await r.ask("POST", PATH, ADMIN_KEY, json=said)


async def test_outcomes_and_feedback_are_added_up_by_arm(running):
    r = await running()
    arms = [await asked(r) for _ in range(4)]
    while len({arm for _, arm in arms}) == 1:  # request ids are chance, and so are the arms
        arms.append(await asked(r))
    for request_id, arm in arms:
        for _ in range(2):  # said again, it counts once
            await judge(r, request_id, {"variant": 0.75, "control": 0.25}[arm])
    told = await experiment(r)

    names = [arm for _, arm in arms]
    for arm, score in (("variant", 0.75), ("control", 0.25)):
        count = names.count(arm)
        figures = told["arms"][arm]
        assert figures["quality"] == {"values": count, "units": count, "mean": score}
        assert figures["cost_micro_usd"] == {"values": count, "units": count, "mean": 20.0}
        assert figures["error_rate"]["mean"] == 0.0
        assert figures["seconds"]["values"] == count
    assert (told["state"], told["verdict"]) == ("running", None)
    assert told["difference"] == {"estimate": 0.5, "low": None, "high": None}


async def test_what_differs_for_sure_ends_it_and_nobody_takes_part_any_more(running):
    r = await running()
    told = await experiment(r)
    for _ in range(200):
        if told["state"] != "running":
            break
        request_id, arm = await asked(r)
        await judge(r, request_id, float(arm == "variant"))
        told = await experiment(r)
    await heard(r)

    assert (told["verdict"], told["ended"] >= told["began"]) == ("better", True)
    assert told["difference"]["low"] > 0
    assert told["reason"].startswith("quality differs by 1")
    assert (await asked(r))[1] is None


async def test_a_guard_rail_ends_it_without_any_feedback(running):
    failing = [Overloaded("busy")] * 200
    r = await running(*failing, guard={"max_error_rate": 0.2})
    r.world.gateway._attempts._policy = replace(r.world.gateway._attempts._policy, max_attempts=1)
    r.world.gateway._circuits = NoCircuits()
    for _ in range(150):
        await r.chat()
    await r.replica.decisions._log.flush()
    told = await experiment(r)

    assert told["verdict"] == "guarded"
    assert told["reason"] == "more than 20.00% of the requests fail"


class NoCircuits:
    def excluded(self, now):
        return {}


async def test_an_operator_stops_it_and_starts_it_anew(running):
    r = await running()
    await judge(r, (await asked(r))[0], 1.0)
    stopped = (await order(r, name="cheaper", action="stop")).json()
    await heard(r)
    alone = (await asked(r))[1]
    started = (await order(r, name="cheaper", action="start")).json()
    await heard(r)

    assert (stopped["verdict"], stopped["reason"]) == ("stopped", "by an operator")
    assert sum("quality" in figures for figures in stopped["arms"].values()) == 1
    assert alone is None
    assert (started["state"], started["arms"]) == ("running", {"control": {}, "variant": {}})
    assert (await asked(r))[1] is not None


async def test_what_is_said_after_its_end_changes_nothing(running):
    r = await running()
    request_id, arm = await asked(r)
    await order(r, name="cheaper", action="stop")
    answer = await judge(r, request_id, 1.0)

    assert answer.status_code == 200
    assert set((await experiment(r))["arms"][arm]) == {"cost_micro_usd", "seconds", "error_rate"}


async def test_what_was_added_up_survives_a_restart(running, tmp_path):
    r = await running()
    await judge(r, (await asked(r))[0], 1.0)
    await order(r, name="cheaper", action="stop")
    again = LearnerActor(tmp_path / "decisions.db")
    (run,) = await again.experiments()
    _, taught = await again.watch(-1, 0)

    assert [figures["quality"].mean for figures in run.arms.values()] == [1.0]
    assert run.ending.verdict == "stopped"
    assert taught.running == frozenset()


async def test_the_configuration_switches_it_off_and_what_was_found_stays(running):
    r = await running()
    await judge(r, (await asked(r))[0], 1.0)
    (pair,) = r.settings.experiments
    off = replace(pair[0], running=False)
    settings = learner_settings(replace(r.settings, experiments=((off, pair[1]),)))
    await r.learner.configure(settings)
    told = await experiment(r)
    refused = await order(r, name="cheaper", action="start")

    assert (told["verdict"], told["reason"]) == ("off", "by the configuration")
    assert sum("quality" in figures for figures in told["arms"].values()) == 1
    assert (refused.status_code, error_of(refused)["code"]) == (400, "experiment_off")


@pytest.mark.parametrize(
    ("said", "status", "param"),
    [
        ({"name": "cheaper"}, 400, "action"),
        ({"name": "cheaper", "action": "win"}, 400, "action"),
        ({"name": 7, "action": "stop"}, 400, "name"),
        ({"name": "dearer", "action": "stop"}, 404, "name"),
    ],
)
async def test_an_order_that_means_nothing_names_its_field(running, said, status, param):
    r = await running()

    response = await order(r, **said)

    assert (response.status_code, error_of(response)["param"]) == (status, param)


async def test_experiments_are_an_admin_s(running):
    r = await running()

    assert (await r.ask("GET", PATH, KEY)).status_code == 403
    body = {"name": "cheaper", "action": "stop"}
    assert (await r.ask("POST", PATH, KEY, json=body)).status_code == 403
