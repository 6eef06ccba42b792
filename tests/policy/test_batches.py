import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.batches import (
    ENDPOINTS,
    OVER,
    answered,
    as_json,
    checked,
    counted,
    end_of,
    moved,
    pause,
    read_line,
    recounted,
    unheard,
)
from compass_ray.types.accounts import Caller
from compass_ray.types.batches import Batch, Counts, Line, LineError, Outcome, Told

CHAT = "/v1/chat/completions"
LINE = {"custom_id": "a", "method": "POST", "url": CHAT, "body": {"model": "auto"}}
STATUSES = ["in_progress", "finalizing", "cancelling", "completed", "expired", "cancelled"]


def batch(**fields):
    return Batch("batch_1", Caller("alice", "acme"), "file-1", CHAT, 10.0, 110.0, 60.0, **fields)


def written(**fields):
    return json.dumps(LINE | fields).encode()


def without(field):
    return json.dumps({name: value for name, value in LINE.items() if name != field}).encode()


def test_a_sound_line_is_its_id_and_its_body():
    assert read_line(3, written(), CHAT) == Line(3, "a", b'{"model":"auto"}')


@pytest.mark.parametrize(
    ("raw", "code", "param"),
    [
        (b"{", "invalid_json_line", None),
        (b"[]", "invalid_json_line", None),
        (without("custom_id"), "missing_required_parameter", "custom_id"),
        (without("body"), "missing_required_parameter", "body"),
        (written(custom_id=""), "invalid_custom_id", "custom_id"),
        (written(custom_id=7), "invalid_custom_id", "custom_id"),
        (written(method="GET"), "invalid_method", "method"),
        (written(url="/v1/embeddings"), "mismatched_endpoint", "url"),
        (written(body=[]), "invalid_body", "body"),
        (written(body={"stream": True}), "invalid_body", "body.stream"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_field(raw, code, param):
    found = read_line(7, raw, CHAT)

    assert isinstance(found, LineError)
    assert (found.code, found.line, found.param) == (code, 7, param)


@given(st.binary(max_size=60))
def test_whatever_a_line_holds_it_is_a_request_or_a_mistake(raw):
    assert isinstance(read_line(1, raw, CHAT), Line | LineError)


def test_all_lines_are_looked_at_and_an_id_counts_once():
    lines = [(1, written()), (2, b"?"), (4, written()), (5, written(custom_id="b"))]

    count, errors = checked(lines, CHAT, 10)

    assert count == 4
    assert [(one.line, one.code) for one in errors] == [
        (2, "invalid_json_line"),
        (4, "duplicate_custom_id"),
    ]


def test_a_file_may_be_neither_empty_nor_too_long():
    lines = [(number, written(custom_id=str(number))) for number in range(1, 4)]

    assert [one.code for one in checked([], CHAT, 3)[1]] == ["empty_file"]
    assert checked(lines, CHAT, 3) == (3, ())
    assert [one.code for one in checked(lines, CHAT, 2)[1]] == ["too_many_requests"]


def test_of_many_mistakes_the_first_hundred_are_told():
    assert len(checked(((n, b"?") for n in range(5_000)), CHAT, 10_000)[1]) == 100


@given(st.integers(1, 50), st.floats(0, 1, exclude_max=True), st.none() | st.floats(0, 1e6))
def test_who_may_fare_better_is_asked_again_within_a_bound(failures, u, retry_after):
    told = Told(503, "r", b"{}", again=True, retry_after=retry_after)

    wait = pause(told, failures, u)

    assert pause(told._replace(again=False), failures, u) is None
    if retry_after is None and failures >= 5:
        assert wait is None
    else:
        assert 0 <= wait <= 120
        assert retry_after is None or wait >= min(retry_after, 60)


def test_an_answer_and_an_error_read_as_openai_s():
    line = Line(3, "a", b"{}")

    good = answered(batch(), line, Told(200, "req_1", b'{"choices":[]}', 7))
    bad = answered(batch(), line, Told(400, "req_2", b'{"error":{}}'))
    late = unheard(batch(), line, "expired")

    assert (good.ok, good.cost, bad.ok) == (True, 7, False)
    assert json.loads(good.written) == {
        "id": "batch_req_1_3",
        "custom_id": "a",
        "response": {"status_code": 200, "request_id": "req_1", "body": {"choices": []}},
        "error": None,
    }
    assert json.loads(bad.written)["response"]["status_code"] == 400
    assert json.loads(late)["error"]["code"] == "batch_expired"
    assert json.loads(late)["response"] is None


@given(st.lists(st.sampled_from(STATUSES)))
def test_what_is_over_stays_over_and_every_status_has_its_moment(statuses):
    now, one = 0.0, batch()
    for status in statuses:
        before, one, now = one, moved(one, status, now), now + 1
        assert before.status not in OVER or one.status == before.status
        assert one.status == "validating" or one.at[one.status] <= now
        assert not (before.status == "cancelling" and one.status == "finalizing")


@pytest.mark.parametrize(
    ("fields", "now", "end"),
    [
        ({"status": "in_progress", "counts": Counts(2, 1, 1)}, 200.0, "completed"),
        ({"status": "in_progress", "counts": Counts(2, 1, 0)}, 110.0, "expired"),
        ({"status": "cancelling", "counts": Counts(2, 2, 0)}, 50.0, "cancelled"),
        ({"errors": (LineError("empty_file", "empty"),)}, 50.0, "failed"),
    ],
)
def test_how_a_batch_ends(fields, now, end):
    assert end_of(batch(**fields), now) == end


def test_ends_are_counted_once_however_often_they_are_counted_anew():
    ends = [Outcome(1, ok=True, cost=5, written=b""), Outcome(2, ok=False, cost=2, written=b"")]
    one = counted(batch(counts=Counts(3)), ends)

    assert (one.counts, one.cost) == (Counts(3, 1, 1), 7)
    assert recounted(one, ends) == one


def test_a_batch_reads_as_openai_s():
    one = moved(batch(counts=Counts(2), metadata={"k": "v"}), "in_progress", 12.5)

    told = as_json(one)

    assert told["object"] == "batch"
    assert (told["status"], told["in_progress_at"], told["completed_at"]) == (
        "in_progress", 12, None,
    )  # fmt: skip
    assert told["request_counts"] == {"total": 2, "completed": 0, "failed": 0}
    assert (told["metadata"], told["errors"], told["completion_window"]) == (
        {"k": "v"},
        None,
        "24h",
    )
    assert told["endpoint"] in ENDPOINTS
