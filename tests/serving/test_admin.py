"""What may be asked and done beside a chat, over HTTP, with the actors as plain objects."""

import pytest

from compass_ray.types.accounts import Account, Limit
from compass_ray.types.events import Reservation, Settlement
from compass_ray.types.money import Sync
from compass_ray.types.settings import AlertSettings
from compass_ray.types.usage import Usage

from .conftest import ADMIN_KEY, KEY, error_of

CIRCUITS = "/api/v1/circuits"


def settlement(name, cost, account="acme"):
    reservation = Reservation(name, (f"{account}@lifetime", "root@lifetime"), 500, 1.0)
    return Settlement(reservation, "settled", cost, "a", "org/m", Usage(10, 5), 2.0)


async def operate(rim, action, endpoint="a/org/m", key=ADMIN_KEY):
    order = {"endpoint": endpoint, "action": action}
    return await rim.ask("POST", CIRCUITS, key=key, json=order)


async def phase(rim, endpoint="a/org/m"):
    circuits = (await rim.ask("GET", CIRCUITS)).json()["data"]
    assert [circuit["endpoint"] for circuit in circuits] == ["a", "a/org/m"]
    return next(circuit["phase"] for circuit in circuits if circuit["endpoint"] == endpoint)


async def test_books_are_those_of_the_caller(rim):
    r = rim()
    await r.ledger.sync(Sync("r1", 1, (settlement("q/0", 300),)))

    (books,) = (await r.ask("GET", "/api/v1/budgets")).json()["data"]

    assert (books["account"], books["limit"]) == ("acme", 5_000_000)
    assert (books["spent"], books["remaining"]) == (300, 4_999_700)


async def test_alerts_are_those_of_the_caller_and_an_admin_sees_all(rim):
    r = rim()
    await r.ledger.configure(
        {name: Account(name, None, (Limit(400),)) for name in ("acme", "other")},
        AlertSettings((50, 75), None),
    )
    paid = (settlement("q/0", 300), settlement("q/1", 200, "other"))
    await r.ledger.sync(Sync("r1", 1, paid))

    own = (await r.ask("GET", "/api/v1/alerts")).json()["data"]
    every = (await r.ask("GET", "/api/v1/alerts", key=ADMIN_KEY)).json()["data"]

    assert [(one["account"], one["percent"], one["spent"]) for one in own] == [
        ("acme", 50, 300),
        ("acme", 75, 300),
    ]
    assert [(one["account"], one["percent"]) for one in every][2:] == [("other", 50)]


async def test_a_request_s_postings_explain_its_cost(rim):
    r = rim()
    failed, paid = settlement("q1/0", 0), settlement("q1/1", 300)
    await r.ledger.sync(Sync("r1", 1, (failed, paid, settlement("q10/0", 7))))

    first, second = (await r.ask("GET", "/api/v1/postings/q1")).json()["data"]

    assert (first["attempt"], second["attempt"]) == ("q1/0", "q1/1")
    assert (second["reserved_micro_usd"], second["cost_micro_usd"]) == (500, 300)
    assert second["buckets"] == ["acme@lifetime", "root@lifetime"]
    assert (second["input_tokens"], second["usage_estimated"]) == (10, False)


ORDER = {"id": "nov-1", "account": "acme", "micro_usd": -100, "reason": "invoice 7"}


async def adjust(rim, key=ADMIN_KEY, **fields):
    return await rim.ask("POST", "/api/v1/adjustments", key=key, json=ORDER | fields)


async def spent(rim):
    (books,) = (await rim.ask("GET", "/api/v1/budgets")).json()["data"]
    return books["spent"], books["leased"]


async def test_an_adjustment_is_posted_once_and_explained(rim):
    r = rim()
    await r.ledger.sync(Sync("r1", 1, (settlement("q/0", 300),)))

    answers = [(await adjust(r)).json() for _ in range(2)]

    assert answers[0] == answers[1]
    assert await spent(r) == (200, 0)
    (posting,) = (await r.ask("GET", "/api/v1/postings/adj_nov-1")).json()["data"]
    assert posting == answers[0]
    assert (posting["outcome"], posting["cost_micro_usd"]) == ("adjusted", -100)
    assert posting["reason"] == "invoice 7"


async def test_an_id_belongs_to_one_adjustment(rim):
    r = rim()
    await adjust(r)

    response = await adjust(r, micro_usd=5)

    error = error_of(response)
    assert response.status_code == 400
    assert (error["param"], error["code"]) == ("id", "id_is_taken")
    assert await spent(r) == (-100, 0)


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"id": "a b"}, 400, "id"),
        ({"id": None}, 400, "id"),
        ({"account": "nobody"}, 404, "account"),
        ({"account": ["acme"]}, 404, "account"),
        ({"micro_usd": 0}, 400, "micro_usd"),
        ({"micro_usd": 1.5}, 400, "micro_usd"),
        ({"micro_usd": True}, 400, "micro_usd"),
        ({"micro_usd": 2**63}, 400, "micro_usd"),
        ({"reason": ""}, 400, "reason"),
        ({"reason": "x" * 501}, 400, "reason"),
    ],
)
async def test_a_wrong_adjustment_names_the_field_and_posts_nothing(rim, fields, status, param):
    r = rim()

    response = await adjust(r, **fields)

    assert (response.status_code, error_of(response)["param"]) == (status, param)
    assert await spent(r) == (0, 0)


async def test_only_an_admin_adjusts(rim):
    r = rim()

    response = await adjust(r, key=KEY)

    assert response.status_code == 403
    assert error_of(response)["code"] == "not_an_admin"
    assert await spent(r) == (0, 0)


@pytest.mark.parametrize("request_id", ["q1", "nope", "%", "q1%2F0"])
async def test_nobody_sees_the_postings_of_another_account(rim, request_id):
    r = rim()
    await r.ledger.sync(Sync("r1", 1, (settlement("q1/0", 300, "other"),)))

    response = await r.ask("GET", f"/api/v1/postings/{request_id}")

    assert response.status_code == 404
    assert "300" not in response.text


@pytest.mark.parametrize("circuit", ["a", "a/org/m"])
async def test_a_circuit_is_opened_and_closed_by_hand(rim, circuit):
    r = rim()
    before = await phase(r, circuit)

    opened = (await operate(r, "open", circuit)).json()
    while_open = await phase(r, circuit)
    await operate(r, "close", circuit)

    assert (before, while_open, await phase(r, circuit)) == ("closed", "open", "closed")
    assert (opened["phase"], opened["reason"]) == ("open", "opened by an operator")


async def test_only_an_admin_operates_circuits(rim):
    r = rim()

    response = await operate(r, "open", key="ck-alice")

    assert response.status_code == 403
    assert error_of(response)["code"] == "not_an_admin"
    assert await phase(r) == "closed"


@pytest.mark.parametrize(
    ("order", "status", "param"),
    [
        ({"endpoint": "a/org/m"}, 400, "action"),
        ({"endpoint": "a/org/m", "action": "explode"}, 400, "action"),
        ({"endpoint": "a/org/m", "action": ["open"]}, 400, "action"),
        ({"endpoint": "a/none", "action": "open"}, 404, "endpoint"),
        ({"endpoint": None, "action": "open"}, 404, "endpoint"),
        ([], 400, None),
    ],
)
async def test_a_wrong_order_names_the_field(rim, order, status, param):
    response = await rim().ask("POST", CIRCUITS, key=ADMIN_KEY, json=order)

    assert response.status_code == status
    assert error_of(response)["param"] == param


async def test_an_order_that_is_not_json_is_refused(rim):
    response = await rim().ask("POST", CIRCUITS, key=ADMIN_KEY, content=b"{")

    assert (response.status_code, error_of(response)["code"]) == (400, "invalid_json")


@pytest.mark.parametrize(("path", "silent"), [("/api/v1/budgets", "ledger"), (CIRCUITS, "breaker")])
async def test_a_silent_authority_is_told_as_such(rim, path, silent):
    r = rim()

    class Silent:
        def __getattr__(self, _name):
            async def ask(*_):
                raise ConnectionError

            return ask

    setattr(r.replica.admin, f"_{silent}", Silent())

    response = await r.ask("GET", path)

    assert response.status_code == 503
    assert silent in error_of(response)["message"]
