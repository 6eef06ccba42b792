"""Files and batches over HTTP, as OpenAI's own client asks for them."""

import asyncio
import json

import httpx2
import openai
import pytest

from compass_ray.actors.batches import BatchesActor
from compass_ray.serving.batches import Batches
from compass_ray.serving.files import Files
from compass_ray.serving.lines import Lines
from compass_ray.types.settings import BatchSettings
from tests.gateway.conftest import Provider, answer

from .conftest import ADMIN_KEY, KEY, error_of

CHAT = "/v1/chat/completions"
FORM = "multipart/form-data; boundary=x"
SETTINGS = BatchSettings(
    max_file_bytes=4_000, max_stored_bytes=6_000, max_requests=10, parallel=4, keep_seconds=86_400
)
OVER = {"failed", "completed", "expired", "cancelled"}


def line(number, url=CHAT, **body):
    said = {"model": "auto", "max_tokens": 20, "messages": [{"role": "user", "content": "hi"}]}
    told = {"custom_id": f"c{number}", "method": "POST", "url": url, "body": said | body}
    return json.dumps(told)


@pytest.fixture
async def batched(rim, tmp_path):
    """Build the application with an actor whose lines go to this gateway."""
    tasks, actors = [], []

    def build(*script, left=None):
        r = rim(a=Provider(*script), left=left)
        actor = BatchesActor(
            tmp_path / "batches.db", tmp_path / "files", Lines(r.replica.once), SETTINGS
        )
        actors.append(actor)
        now = r.world.gateway._clock.wall
        actor._wall = now
        r.replica.files = Files(actor, SETTINGS, now)
        r.replica.batches = Batches(actor, SETTINGS, now)
        tasks.append(asyncio.create_task(r.claims.run()))
        return r

    yield build
    for actor in actors:
        tasks.extend(actor._driving.values())
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def client_of(r, key=KEY):
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(r.app))
    return openai.AsyncOpenAI(
        api_key=key, base_url="http://compass.test/v1", http_client=http, max_retries=0
    )


async def uploaded(client, *lines):
    content = "\n".join(lines).encode()
    return await client.files.create(file=("in.jsonl", content), purpose="batch")


async def begun(client, *lines, endpoint=CHAT, **fields):
    file = await uploaded(client, *lines)
    return await client.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h", **fields
    )


async def over(client, batch):
    async with asyncio.timeout(10):
        while (batch := await client.batches.retrieve(batch.id)).status not in OVER:  # noqa: ASYNC110
            await asyncio.sleep(0.002)  # the actor's own tasks and threads
    return batch


async def lines_of(client, file):
    return [json.loads(one) for one in (await client.files.content(file)).text.splitlines()]


async def test_openai_s_client_uploads_asks_polls_and_downloads(batched):
    client = client_of(batched(answer("one"), answer("two")))

    batch = await begun(client, line(1), line(2), metadata={"for": "a test"})
    done = await over(client, batch)

    assert (batch.object, batch.status, batch.metadata) == (
        "batch",
        "validating",
        {"for": "a test"},
    )
    assert (done.status, done.request_counts.completed, done.request_counts.total) == (
        "completed", 2, 2,
    )  # fmt: skip
    assert done.model_extra["compass"]["cost_micro_usd"] == 40
    told = await lines_of(client, done.output_file_id)
    assert [one["custom_id"] for one in told] == ["c1", "c2"]
    said = {one["response"]["body"]["choices"][0]["message"]["content"] for one in told}
    assert said == {"one", "two"}
    assert done.error_file_id is None


async def test_what_the_gateway_refuses_is_in_the_error_file_and_costs_nothing(batched):
    client = client_of(batched(answer("one")))

    done = await over(client, await begun(client, line(1), line(2, temperature="hot")))

    (bad,) = await lines_of(client, done.error_file_id)
    assert (done.status, done.request_counts.failed) == ("completed", 1)
    assert (bad["custom_id"], bad["response"]["status_code"], bad["error"]) == ("c2", 400, None)
    assert bad["response"]["body"]["error"]["param"] == "temperature"
    assert done.model_extra["compass"]["cost_micro_usd"] == 20


async def test_a_budget_that_runs_out_makes_errors_of_the_rest(batched):
    client = client_of(batched(answer("one"), left=0))

    done = await over(client, await begun(client, line(1)))

    (bad,) = await lines_of(client, done.error_file_id)
    assert bad["response"]["status_code"] == 402


async def test_a_batch_of_responses_is_answered_in_that_dialect(batched):
    client = client_of(batched(answer("one")))
    said = {"custom_id": "r", "method": "POST", "url": "/v1/responses"}
    asked = json.dumps(said | {"body": {"model": "auto", "input": "hi", "max_output_tokens": 20}})

    done = await over(client, await begun(client, asked, endpoint="/v1/responses"))

    (told,) = await lines_of(client, done.output_file_id)
    assert told["response"]["body"]["object"] == "response"
    assert told["response"]["body"]["output"][0]["content"][0]["text"] == "one"


async def test_mistakes_of_the_file_are_told_by_line_as_openai_tells_them(batched):
    client = client_of(batched())

    done = await over(client, await begun(client, line(1), "?", line(1)))

    assert done.status == "failed"
    assert [(one.code, one.line) for one in done.errors.data] == [
        ("invalid_json_line", 2),
        ("duplicate_custom_id", 3),
    ]


async def test_files_and_batches_are_listed_by_pages(batched):
    client = client_of(batched(answer("one"), answer("two"), answer("three")))
    batches = [await begun(client, line(n)) for n in range(3)]
    for one in batches:
        await over(client, one)

    listed = [one.id async for one in client.batches.list(limit=1)]
    files = [one.purpose async for one in client.files.list(limit=4)]

    assert sorted(listed) == sorted(one.id for one in batches)
    assert sorted(files) == ["batch"] * 3 + ["batch_output"] * 3


async def test_a_file_is_told_and_deleted(batched):
    client = client_of(batched())
    file = await uploaded(client, line(1))

    told = await client.files.retrieve(file.id)
    gone = await client.files.delete(file.id)

    assert (told.filename, told.bytes, told.purpose, told.status) == (
        "in.jsonl", len(line(1)), "batch", "processed",
    )  # fmt: skip
    assert gone.deleted
    with pytest.raises(openai.NotFoundError):
        await client.files.retrieve(file.id)


async def test_a_file_says_when_it_goes(batched):
    client = client_of(batched())

    file = await client.files.create(
        file=("in.jsonl", b"x"),
        purpose="batch",
        expires_after={"anchor": "created_at", "seconds": 7_200},
    )

    assert file.expires_at == file.created_at + 7_200


async def test_another_account_finds_neither_file_nor_batch(batched):
    r = batched(answer("one"))
    mine, theirs = client_of(r), client_of(r, ADMIN_KEY)
    batch = await over(mine, await begun(mine, line(1)))

    for asking in (
        theirs.files.retrieve(batch.input_file_id),
        theirs.files.content(batch.output_file_id),
        theirs.files.delete(batch.output_file_id),
        theirs.batches.retrieve(batch.id),
        theirs.batches.cancel(batch.id),
        theirs.batches.create(
            input_file_id=batch.input_file_id, endpoint=CHAT, completion_window="24h"
        ),
    ):
        with pytest.raises(openai.NotFoundError):
            await asking
    assert [one async for one in theirs.batches.list()] == []


async def test_a_cancelled_batch_ends_as_cancelled(batched):
    r = batched()
    client = client_of(r)
    batch = await begun(client, line(1))

    told = await client.batches.cancel(batch.id)
    done = await over(client, batch)

    assert (told.status, done.status) == ("cancelling", "cancelled")
    (late,) = await lines_of(client, done.error_file_id)
    assert late["error"]["code"] == "batch_cancelled"


async def test_an_idempotency_key_begins_one_batch(batched):
    client = client_of(batched(answer("one")))
    file = await uploaded(client, line(1))
    asked = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}
    key = {"idempotency-key": "k"}

    first = await client.batches.create(**asked, extra_headers=key)
    second = await client.batches.create(**asked, extra_headers=key)

    assert first.id == second.id
    with pytest.raises(openai.UnprocessableEntityError):
        await client.batches.create(**asked, metadata={"a": "b"}, extra_headers=key)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"endpoint": "/v1/completions"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"input_file_id": 7}, "input_file_id"),
        ({"metadata": {"a": 1}}, "metadata"),
        (
            {"output_expires_after": {"anchor": "created_at", "seconds": 1}},
            "output_expires_after.seconds",
        ),
        (
            {"output_expires_after": {"anchor": "now", "seconds": 7_200}},
            "output_expires_after.anchor",
        ),
        ({"prompt": "hi"}, "prompt"),
    ],
)
async def test_a_mistake_in_an_order_is_named(batched, fields, param):
    r = batched()
    file = await uploaded(client_of(r), line(1))
    asked = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}

    refused = await r.ask("POST", "/v1/batches", json=asked | fields)

    assert refused.status_code == 400
    assert error_of(refused)["param"] == param


@pytest.mark.parametrize(
    ("sent", "status", "param"),
    [
        ({"json": {"file": "x"}}, 400, "file"),
        ({"data": {"purpose": "batch"}, "files": {"other": ("a", b"x")}}, 400, "file"),
        ({"files": {"file": ("a", b"x")}, "data": {"purpose": "fine-tune"}}, 400, "purpose"),
        ({"files": {"file": ("a", b"x")}}, 400, "purpose"),
        ({"files": {"file": ("a" * 300, b"x")}, "data": {"purpose": "batch"}}, 400, "file"),
        ({"files": {"file": ("a", b"x" * 4_001)}, "data": {"purpose": "batch"}}, 413, "file"),
        ({"files": {"file": ("a", b"x" * 400_000)}, "data": {"purpose": "batch"}}, 413, None),
        ({"content": b"--x\r\nbroken", "headers": {"content-type": FORM}}, 400, "file"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, None),
    ],
)  # fmt: skip
async def test_a_mistake_in_an_upload_is_named_and_nothing_is_kept(batched, sent, status, param):
    r = batched()

    refused = await r.ask("POST", "/v1/files", **sent)

    assert refused.status_code == status
    assert error_of(refused)["param"] == param
    assert (await r.ask("GET", "/v1/files")).json()["data"] == []


async def test_an_account_has_room_for_so_much(batched):
    r = batched()
    sent = {"files": {"file": ("a", b"x" * 3_500)}, "data": {"purpose": "batch"}}

    first, second = [await r.ask("POST", "/v1/files", **sent) for _ in range(2)]

    assert (first.status_code, second.status_code) == (200, 413)
    assert error_of(second)["code"] == "storage_full"


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=101", "order=up"])
async def test_a_mistake_in_a_list_is_named(batched, query):
    refused = await batched().ask("GET", f"/v1/batches?{query}")

    assert refused.status_code == 400
    assert error_of(refused)["param"] == query.partition("=")[0]


async def test_without_a_key_nothing_is_told(batched):
    r = batched()

    for path in ("/v1/files", "/v1/batches", "/v1/files/x/content"):
        assert (await r.ask("GET", path, key=None)).status_code == 401


async def test_a_line_may_wait_and_says_so_unless_it_says_otherwise(batched):
    r = batched(answer("one"), answer("two"))
    client = client_of(r)

    await over(client, await begun(client, line(1), line(2, compass={"urgency": "real-time"})))

    asked = {one.preferences.urgency for one in r.world.providers["a"].requests}
    assert asked == {"batch", "real-time"}
