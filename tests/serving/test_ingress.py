"""HTTP as callers see it: keys, routes, bodies, answers, streams and the shape of every error."""

import asyncio
import json

import pytest

from compass_ray.types.errors import BrokenStream, RateLimited
from tests.gateway.conftest import USAGE, Provider, answer, chunk, endpoint

from .conftest import ADMIN_KEY, CHAT, HELLO, KEY, LIMIT, PLAIN_KEY, Rim, error_of, events_of, play

GUARDED = [
    ("POST", CHAT),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/m"),
    ("GET", "/api/v1/providers"),
    ("GET", "/api/v1/budgets"),
    ("GET", "/api/v1/metrics"),
    ("GET", "/metrics"),
    ("POST", "/api/v1/route"),
]


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_without_a_key_every_route_but_health_refuses(rim, method, path):
    r = rim()

    response = await r.ask(method, path, key=None, json=HELLO)

    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert error_of(response)["type"] == "authentication_error"
    assert error_of(response)["code"] == "missing_api_key"
    assert r.world.providers["a"].calls == 0


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_an_unknown_key_is_refused_and_not_repeated(rim, method, path):
    response = await rim().ask(method, path, key="ck-mallory", json=HELLO)

    assert response.status_code == 401
    assert error_of(response)["code"] == "invalid_api_key"
    assert "mallory" not in response.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": f"bearer  {KEY} "}, 200),
        ({"x-api-key": KEY}, 200),
        ({"authorization": f"Basic {KEY}"}, 401),
        ({"authorization": KEY}, 401),
        ({"authorization": "Bearer"}, 401),
        ({"authorization": b"Bearer \xff\xfe"}, 401),
        ({"x-api-key": ""}, 401),
    ],
)
async def test_a_key_comes_as_bearer_or_x_api_key(rim, headers, status):
    response = await rim().ask("GET", "/v1/models", key=None, headers=headers)

    assert response.status_code == status


async def test_a_refused_caller_is_counted(rim):
    r = rim()

    await r.ask("POST", CHAT, key=None, json=HELLO)

    assert [(record.status, record.account) for record in r.world.records] == [(401, "")]


async def test_without_configured_keys_anybody_may_call(world, tmp_path):
    r = Rim(world(a=Provider(answer("hello"))), tmp_path)

    assert (await r.ask("POST", CHAT, key=None, json=HELLO)).status_code == 200


async def test_health_needs_no_key(rim):
    assert (await rim().ask("GET", "/api/v1/health", key=None)).status_code == 200


@pytest.mark.parametrize("path", ["/metrics", "/api/v1/metrics"])
async def test_metrics_name_all_accounts_and_are_for_keys_that_may_read_them(rim, path):
    r = rim()

    answers = [await r.ask("GET", path, key=key) for key in (KEY, ADMIN_KEY, PLAIN_KEY)]

    assert [answer.status_code for answer in answers] == [200, 200, 403]
    assert error_of(answers[2])["code"] == "no_metrics"


async def test_a_replica_that_starts_is_not_healthy_yet(rim):
    r = rim()
    r.replica.status = "starting"

    response = await r.ask("GET", "/api/v1/health", key=None)

    assert (response.status_code, response.json()) == (503, {"status": "starting"})


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/v1/nothing"), ("POST", "/v1/audio/speech"), ("POST", f"{CHAT}/")],
)
async def test_an_unknown_route_is_named(rim, method, path):
    response = await rim().ask(method, path)

    error = error_of(response)
    assert response.status_code == 404
    assert (error["type"], error["code"]) == ("invalid_request_error", "unknown_route")
    assert f"{method} {path!r}" in error["message"]


async def test_no_route_redirects_to_the_host_that_the_caller_names(rim):
    response = await rim().ask("GET", "/api/v1/health/", headers={"host": "evil.test"})

    assert response.status_code == 404
    assert "location" not in response.headers


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", CHAT, "POST"),
        ("OPTIONS", CHAT, "POST"),
        ("GET", "/api/v1/route", "POST"),
        ("POST", "/v1/models", "GET, HEAD"),
        ("DELETE", "/v1/models/m", "GET, HEAD"),
        ("POST", "/api/v1/health", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(rim, method, path, allowed):
    response = await rim().ask(method, path)

    assert response.status_code == 405
    assert response.headers["allow"] == allowed
    assert error_of(response)["code"] == "method_not_allowed"


async def chunked(*pieces):
    for piece in pieces:
        yield piece


@pytest.mark.parametrize("path", [CHAT, "/api/v1/route"])
@pytest.mark.parametrize(
    "body",
    [b" " * (LIMIT + 1), (b" " * LIMIT, b" ")],
    ids=["with a length", "chunked"],
)
async def test_an_oversized_body_is_refused_and_the_limit_named(rim, path, body):
    content = body if isinstance(body, bytes) else chunked(*body)

    response = await rim().ask("POST", path, content=content)

    assert response.status_code == 413
    assert str(LIMIT) in error_of(response)["message"]
    assert error_of(response)["code"] == "body_too_large"


async def test_an_announced_oversized_body_is_refused_before_it_is_read(rim):
    sent = await play(
        rim().app,
        [],
        method="POST",
        path=CHAT,
        headers=[(b"authorization", b"Bearer ck-alice"), (b"content-length", b"2001")],
    )

    assert sent[0]["status"] == 413


async def test_the_limit_itself_is_allowed_in_pieces(rim):
    raw = json.dumps(HELLO).encode().ljust(LIMIT)

    response = await rim().ask("POST", CHAT, content=chunked(raw[:7], b"", raw[7:]))

    assert response.status_code == 200


@pytest.mark.parametrize("announced", [b"nonsense", b"-1", b"\xb2"])
async def test_a_length_that_is_none_is_ignored(rim, announced):
    headers = [(b"authorization", b"Bearer ck-alice"), (b"content-length", announced)]
    body = {"type": "http.request", "body": json.dumps(HELLO).encode()}

    sent = await play(rim().app, [body], method="POST", path=CHAT, headers=headers)

    assert sent[0]["status"] == 200


@pytest.mark.parametrize("path", [CHAT, "/api/v1/route"])
@pytest.mark.parametrize(
    ("raw", "place"),
    [
        (b"", "line 1 column 1"),
        (b'{"model":\n "auto",\n "messages": [}', "line 3 column 15"),
        (b'{"model": "\xff\xfe"}', "UTF-8"),
        (b'{"model": NaN}', "line 1 column 11"),
        (b'{"model": "\\ud800"}', "surrogate"),
        (b"[" * 1_500, "line 1 column"),
        (b"[]", "object"),
        (b'"auto"', "object"),
    ],
)
async def test_what_is_not_json_is_refused_with_its_place(rim, path, raw, place):
    response = await rim().ask("POST", path, content=raw)

    error = error_of(response)
    assert response.status_code == 400
    assert error["code"] == "invalid_json"
    assert place in error["message"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": 5}, "model"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "a\0b"}]}, "messages[0].content"),
        ({"user": "a\0b"}, "user"),
        ({"stream": "yes"}, "stream"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"temperature": []}, "temperature"),
        ({"tools": {}}, "tools"),
        ({"compass": {"tier": "best"}}, "compass.tier"),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_is_called(rim, fields, param):
    r = rim()

    response = await r.chat(**fields)

    assert response.status_code == 400
    assert error_of(response)["param"] == param
    assert param in error_of(response)["message"]
    assert r.world.providers["a"].calls == 0


async def test_an_answer_tells_who_gave_it_and_what_it_cost(rim):
    r = rim(a=Provider(answer("hello", USAGE)), left=1_000)

    response = await r.chat()

    assert response.status_code == 200
    assert response.json()["choices"][0]["message"]["content"] == "hello"
    headers = {name: response.headers[f"x-compass-{name}"] for name in ("provider", "model")}
    assert headers == {"provider": "a", "model": "m"}
    assert response.headers["x-compass-tier"] == "3"
    assert response.headers["x-compass-attempts"] == "1"
    assert response.headers["x-compass-cost-usd"] == "0.000020"
    assert response.headers["x-compass-remaining-budget-usd"] == "0.000980"
    assert response.headers["x-compass-request-id"] == r.world.records[0].request_id
    assert r.world.records[0].account == "acme"


async def test_an_account_without_a_budget_is_told_no_remainder(rim):
    response = await rim().chat()

    assert "x-compass-remaining-budget-usd" not in response.headers


async def test_a_name_that_http_cannot_carry_is_replaced_where_it_must(rim):
    response = await rim(a=Provider(answer()), endpoints=[endpoint("a", "é日")]).chat()

    assert response.headers.raw.count((b"x-compass-model", "é?".encode("latin-1"))) == 1


async def test_request_ids_are_never_the_same(rim):
    r = rim(a=Provider(answer(), answer()))

    ids = {(await r.chat()).headers["x-compass-request-id"] for _ in range(2)}

    assert len(ids) == 2


async def test_a_stream_ends_with_one_done(rim):
    r = rim(a=Provider([chunk("he"), chunk("llo"), chunk(finish_reason="stop", usage=USAGE)]))

    response = await r.chat(stream=True, stream_options={"include_usage": True})

    *events, last = events_of(response)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["x-compass-provider"] == "a"
    assert "x-compass-cost-usd" not in response.headers
    assert last == "[DONE]"
    assert "[DONE]" not in events
    said = [json.loads(event)["choices"] for event in events]
    assert "".join(choices[0]["delta"]["content"] for choices in said if choices) == "hello"
    assert r.world.records[0].status == 200


async def test_a_broken_stream_ends_with_one_error_and_no_done(rim):
    r = rim(a=Provider([chunk("he"), BrokenStream("cut")]))

    response = await r.chat(stream=True)

    first, last = events_of(response)
    error = json.loads(last)["error"]
    assert response.status_code == 200
    assert json.loads(first)["choices"][0]["delta"]["content"] == "he"
    assert (error["message"], error["blame"]) == ("cut", "provider")
    assert error["request_id"] == response.headers["x-compass-request-id"]


async def test_a_mistake_of_our_own_is_an_error_too_and_only_its_place_is_logged(rim, caplog):
    r = rim(a=Provider(KeyError("a caller's words")))

    response = await r.chat()

    error = error_of(response)
    assert (response.status_code, error["blame"], error["code"]) == (500, "compass", "defect")
    assert "_play" in caplog.text
    assert "words" not in caplog.text + response.text
    assert r.world.records[0].status == 500
    ((how, *_),) = r.world.purse.ends
    assert how == "settled"  # by estimate: the provider was called


async def test_a_mistake_of_our_own_in_a_stream_ends_it_with_one_error(rim):
    r = rim(a=Provider([chunk("he"), ValueError("a caller's words")]))

    _, last = events_of(await r.chat(stream=True))

    assert json.loads(last)["error"]["code"] == "defect"
    assert r.world.records[0].status == 500


async def test_a_mistake_of_our_own_beside_the_chat_has_its_shape_too(rim):
    r = rim()
    r.replica.admin = None

    response = await r.ask("GET", "/v1/models")

    assert error_of(response)["code"] == "defect"


async def test_a_stream_that_never_begins_is_an_error_with_a_status(rim):
    response = await rim(a=Provider([RateLimited("slow down", retry_after=99.4)])).chat(stream=True)

    error = error_of(response)
    assert response.status_code == 429
    assert response.headers["retry-after"] == "100"
    assert [attempt["error"] for attempt in error["attempts"]] == ["RateLimited"]


async def test_a_caller_who_leaves_a_stream_stops_the_provider(rim):
    r = rim(a=Provider([chunk("he"), None]))
    body = {"type": "http.request", "body": json.dumps(HELLO | {"stream": True}).encode()}
    headers = [(b"authorization", b"Bearer ck-alice")]
    task = asyncio.create_task(play(r.app, [body], method="POST", path=CHAT, headers=headers))
    await r.world.providers["a"].waiting.wait()

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert task.cancelled()
    assert r.world.providers["a"].closed == 1
    assert [record.status for record in r.world.records] == [499]


@pytest.mark.parametrize("path", [CHAT, "/api/v1/route"])
async def test_a_caller_who_leaves_before_the_body_is_complete_is_no_failure(rim, path):
    r = rim()
    left = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
    headers = [(b"authorization", b"Bearer ck-alice")]

    await play(r.app, left, method="POST", path=path, headers=headers)

    assert r.world.providers["a"].calls == 0


async def test_a_spent_budget_names_the_account(rim):
    response = await rim(a=Provider(), left=0).chat()

    error = error_of(response)
    assert response.status_code == 402
    assert (error["type"], error["code"]) == ("insufficient_quota", "budget_exceeded")
    assert error["account"] == "acme"


async def test_models_are_listed_and_found_by_name(rim):
    r = rim()

    listed = (await r.ask("GET", "/v1/models")).json()
    found = await r.ask("GET", "/v1/models/org/m")

    assert listed["object"] == "list"
    assert found.json() == listed["data"][1]
    assert found.headers["x-compass-request-id"].startswith("req_")


async def test_anthropic_s_client_gets_the_models_and_their_errors_in_its_own_shape(rim):
    r, headers = rim(), {"anthropic-version": "2023-06-01"}

    listed = (await r.ask("GET", "/v1/models", headers=headers)).json()
    found = (await r.ask("GET", "/v1/models/org/m", headers=headers)).json()
    missing = await r.ask("GET", "/v1/models/gpt-99", headers=headers)

    assert (listed["first_id"], listed["last_id"], listed["has_more"]) == ("auto", "org/m", False)
    assert found == listed["data"][1]
    assert (found["type"], found["id"], found["lifecycle"]) == ("model", "org/m", "active")
    assert found["max_input_tokens"] > 0
    assert (missing.status_code, missing.json()["error"]["type"]) == (404, "not_found_error")
    assert missing.headers["request-id"].startswith("req_")


@pytest.mark.parametrize("name", ["gpt-99", "", "m\u00e9", "%00", "org"])
async def test_an_unknown_model_is_not_found(rim, name):
    response = await rim().ask("GET", f"/v1/models/{name}")

    assert response.status_code == 404
    assert (error_of(response)["code"], error_of(response)["param"]) == ("model_not_found", "model")


async def test_providers_are_listed_without_their_keys(rim):
    response = await rim().ask("GET", "/api/v1/providers")

    assert response.json()["data"][0]["base_url"] == "https://a.test/v1"
    assert "sk-secret" not in response.text


async def test_a_choice_is_explained_and_nothing_is_called(rim):
    r = rim(a=Provider(), b=Provider())

    response = await r.ask("POST", "/api/v1/route", json=HELLO)

    assert response.status_code == 200
    assert {c["endpoint"] for c in response.json()["candidates"]} == {"a/m", "b/m"}
    assert r.world.providers["a"].calls == 0


async def test_the_lifespan_starts_and_stops_the_replica(rim):
    r = rim()

    sent = await play(
        r.app, [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}], type="lifespan"
    )

    assert [m["type"] for m in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert (r.replica.began, r.replica.ended) == (True, True)


async def test_a_websocket_is_closed_where_there_is_none(rim):
    sent = await play(rim().app, [], type="websocket", path=CHAT)

    assert [(one["type"], one["code"]) for one in sent] == [("websocket.close", 4404)]
