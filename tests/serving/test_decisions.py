"""Decisions, feedback and learning over HTTP."""

from dataclasses import replace

import pytest

from compass_ray.gateway.decisions import DecisionLog
from compass_ray.gateway.taught import Pupil
from compass_ray.learned import shipped_model
from compass_ray.serving.decisions import Decisions
from compass_ray.serving.replica import learner_settings
from compass_ray.types.decisions import Called, Note, Outcome
from compass_ray.types.errors import Overloaded
from tests.gateway.conftest import USAGE, Provider, answer, embedder, endpoint, vectors

from .conftest import ADMIN_KEY, CHAT, HELLO, KEY, error_of

FEEDBACK = "/api/v1/feedback"
LEARNING = "/api/v1/learning"
MODEL = shipped_model()


@pytest.fixture
async def learning(rim):
    """Build the application with the quality model and a Learner; it explores nothing."""

    async def build(*script, **named):
        r = rim(a=Provider(*(script or [answer("hello", USAGE)] * 9)), **named)
        gateway = r.world.gateway
        gateway._settings = replace(gateway._settings, model=MODEL)
        gateway._decisions = DecisionLog(r.learner, MODEL)
        gateway._pupil = r.pupil = Pupil(MODEL, 0.0, float)
        r.replica.decisions = Decisions(r.learner, gateway._decisions)
        await r.learner.configure(learner_settings(replace(r.settings, learned=True)))
        return r

    return build


async def asked(r, key=KEY):
    response = await r.ask("POST", CHAT, key=key, json=HELLO)
    return response.headers["x-compass-request-id"]


async def judge(r, request_id, score=1.0, key=KEY):
    body = {"request_id": request_id, "score": score}
    return await r.ask("POST", FEEDBACK, key=key, json=body)


async def decision(r, request_id, key=KEY):
    return await r.ask("GET", f"/api/v1/decisions/{request_id}", key=key)


async def operate(r, key=ADMIN_KEY, **order):
    return await r.ask("POST", LEARNING, key=key, json=order)


async def test_a_decision_can_be_asked_for_at_once_and_says_why_and_what_came_of_it(learning):
    r = await learning()
    request_id = await asked(r)

    told = (await decision(r, request_id)).json()

    assert (told["request_id"], told["account"], told["model"]) == (request_id, "acme", "auto")
    (candidate,) = told["candidates"]
    assert candidate["endpoint"] == told["outcome"]["endpoint"] == "a/m"
    assert set(candidate["columns"]) == {"complexity", "tokens", "latency", "cost", "accuracy"}
    assert told["reasons"]
    assert told["excluded"] == []
    assert told["expectation"]["quality"]["fast"] == candidate["expected_quality"]
    assert (told["outcome"]["status"], told["outcome"]["cost_micro_usd"]) == (200, 20)
    assert told["feedback"] is None


async def test_a_decision_about_embeddings_is_kept_and_nothing_is_learned_of_it(learning):
    r = await learning(vectors(), endpoints=[embedder("a"), endpoint("a")])
    body = {"model": "auto", "input": "hello"}
    response = await r.ask("POST", "/v1/embeddings", json=body)
    request_id = response.json()["compass"]["request_id"]

    told = (await decision(r, request_id)).json()
    judged = (await judge(r, request_id)).json()

    assert (told["task_type"], told["expectation"]) == ("embedding", None)
    assert [one["endpoint"] for one in told["candidates"]] == ["a/e"]
    assert told["outcome"]["cost_micro_usd"] == 7
    assert judged["learned_in"] is None


async def test_only_its_own_account_and_an_admin_may_see_a_decision(learning):
    r = await learning()
    hers, theirs = await asked(r), await asked(r, ADMIN_KEY)

    assert (await decision(r, hers, ADMIN_KEY)).status_code == 200
    for response in (await decision(r, theirs), await decision(r, "req_unknown")):
        assert (response.status_code, error_of(response)["code"]) == (404, "unknown_request")
    assert (await decision(r, hers, key=None)).status_code == 401


async def test_feedback_is_learned_and_stands_with_the_decision(learning):
    r = await learning()
    request_id = await asked(r)

    response = await judge(r, request_id, 0.25)
    feedback = (await decision(r, request_id)).json()["feedback"]

    assert response.status_code == 200
    assert response.json() == {"request_id": request_id, "score": 0.25, "learned_in": 2}
    assert (feedback["score"], feedback["learned_in"]) == (0.25, 2)


@pytest.mark.parametrize(("said", "score"), [(True, 1.0), (False, 0.0), (1, 1.0), (0, 0.0)])
async def test_a_thumb_is_a_score(learning, said, score):
    r = await learning()

    assert (await judge(r, await asked(r), said)).json()["score"] == score


async def test_the_first_word_counts(learning):
    r = await learning()
    request_id = await asked(r)

    first, again = await judge(r, request_id, 1), await judge(r, request_id, 1.0)
    other = await judge(r, request_id, 0.5)

    assert first.json() == again.json()
    error = error_of(other)
    assert (other.status_code, error["code"], error["param"]) == (409, "feedback_given", "score")


async def test_feedback_about_an_unknown_or_another_tenant_s_request_is_not_found(learning):
    r = await learning()
    theirs = await asked(r, ADMIN_KEY)

    for response in (await judge(r, theirs), await judge(r, "req_unknown")):
        error = error_of(response)
        assert (response.status_code, error["code"]) == (404, "unknown_request")
        assert (error["param"], error["blame"]) == ("request_id", "caller")
    hers = await asked(r)
    assert (await judge(r, hers, key=ADMIN_KEY)).status_code == 404
    assert (await r.learner.learning()).version == 1


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"score": 1}, "request_id"),
        ({"request_id": "", "score": 1}, "request_id"),
        ({"request_id": 7, "score": 1}, "request_id"),
        ({"request_id": "req_1"}, "score"),
        ({"request_id": "req_1", "score": 1.01}, "score"),
        ({"request_id": "req_1", "score": -1}, "score"),
        ({"request_id": "req_1", "score": "good"}, "score"),
        ({"request_id": "req_1", "score": None}, "score"),
        ([1], None),
    ],
)
async def test_bad_feedback_names_its_field(learning, body, param):
    r = await learning()

    response = await r.ask("POST", FEEDBACK, json=body)

    assert (response.status_code, error_of(response)["param"]) == (400, param)


async def test_an_answer_that_never_came_cannot_be_judged_but_explained(learning):
    r = await learning(*[Overloaded("busy")] * 3)
    request_id = await asked(r)

    response, told = await judge(r, request_id), (await decision(r, request_id)).json()

    assert (response.status_code, error_of(response)["code"]) == (400, "not_answered")
    assert (told["outcome"]["status"], told["outcome"]["endpoint"]) == (503, None)


async def test_what_was_learned_is_what_the_next_decision_expects(learning):
    r = await learning()
    before = (await decision(r, await asked(r))).json()["expectation"]["quality"]["fast"]
    for _ in range(5):
        await judge(r, await asked(r), 0.0)
    r.pupil.hear((await r.learner.watch(-1, 0))[1])

    after = (await decision(r, await asked(r))).json()["expectation"]

    assert after["surplus"]["fast"] < 0
    assert after["quality"]["fast"] < before
    assert not after["explored"]


async def test_an_admin_freezes_resumes_and_rolls_back(learning):
    r = await learning()
    await judge(r, await asked(r))

    frozen = (await operate(r, action="freeze")).json()
    unlearned = (await judge(r, await asked(r))).json()
    resumed = (await operate(r, action="resume")).json()
    rolled = (await operate(r, action="roll_back", to=1)).json()
    told = (await r.ask("GET", LEARNING, key=ADMIN_KEY)).json()

    assert (frozen["mode"], frozen["version"], frozen["judged"]["fast"]) == ("frozen", 2, 1)
    assert unlearned["learned_in"] is None
    assert resumed["mode"] == "on"
    assert (rolled["version"], rolled["judged"]["fast"]) == (3, 0)
    assert told == rolled
    assert told["oldest_version"] == 1


@pytest.mark.parametrize(
    ("order", "status", "param"),
    [
        ({}, 400, "action"),
        ({"action": "forget"}, 400, "action"),
        ({"action": "roll_back"}, 400, "to"),
        ({"action": "roll_back", "to": True}, 400, "to"),
        ({"action": "roll_back", "to": -1}, 400, "to"),
        ({"action": "roll_back", "to": 10**30}, 400, "to"),
        ({"action": "roll_back", "to": 99}, 404, "to"),
    ],
)
async def test_a_bad_order_names_its_field(learning, order, status, param):
    r = await learning()

    response = await operate(r, **order)

    assert (response.status_code, error_of(response)["param"]) == (status, param)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_learning_takes_an_admin_s_key(learning, method):
    r = await learning()

    response = await r.ask(method, LEARNING, json={"action": "freeze"})

    assert (response.status_code, error_of(response)["code"]) == (403, "not_an_admin")


async def test_a_silent_learner_is_said_and_never_in_the_way_of_a_chat(learning):
    r = await learning()

    class Silent:
        async def note(self, notes):
            raise OSError("gone")

        judge = decision = operate = learning = note

    r.world.gateway._decisions._store = Silent()
    r.replica.decisions._learner = Silent()
    request_id = await asked(r)

    for response in (
        await judge(r, request_id),
        await decision(r, request_id),
        await operate(r, action="freeze"),
        await r.ask("GET", LEARNING, key=ADMIN_KEY),
    ):
        assert (response.status_code, error_of(response)["blame"]) == (503, "capacity")


async def test_where_nothing_is_kept_no_decision_is_found(learning):
    r = await learning()
    await r.learner.configure(replace(learner_settings(replace(r.settings, learned=True)), keep=0))
    request_id = await asked(r)

    assert (await decision(r, request_id)).status_code == 404
    assert (await judge(r, request_id)).status_code == 404


async def test_an_admin_is_told_of_drift_beside_the_budgets(learning):
    r = await learning()
    outcome = Outcome("code", "a/m", 200, 20, 1.0, 5, (Called("a/m", ok=True, seconds=1.0),))
    slow = outcome._replace(calls=(Called("a/m", ok=True, seconds=4.0),))
    for n in range(500):
        one = outcome if n < 400 else slow
        await r.learner.note((Note(f"q{n}", "acme", 1.0, 3, None, "", b"", b"{}", b"", one),))

    (told,) = (await r.ask("GET", "/api/v1/alerts", key=ADMIN_KEY)).json()["data"]

    assert (told["kind"], told["endpoint"], told["trait"]) == ("drift", "a/m", "latency")
    assert (await r.ask("GET", "/api/v1/alerts")).json()["data"] == []
