from pathlib import Path

import orjson
import pytest
from anthropic.types.shared import ErrorResponse
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.providers._errors import CODES, Complaint, redact, retry_after, to_error
from compass_ray.providers.registry import wire
from compass_ray.types.errors import CompassError

SAMPLES = Path(__file__).parent / "wire"

DATE = "Mon, 23 Nov 2026 05:00:00 GMT"

KEYS = [
    "sk-proj-AbCdEf0123456789AbCdEf0123456789",
    "sk-proj-****************************abcd",
    "sk-ant-api03-AbCdEf0123456789",
    "AIzaSyA0123456789abcdefghijklmnopqrstuv",
    "gsk_0123456789abcdef",
    "hf_abcdefghijklmnop",
    "0123456789abcdef0123456789abcdef",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "ya29.a0AfH6SMBabcdef",
    "A" * 43,
]


def error_samples():
    return [
        pytest.param(path.parent.name, case, id=f"{path.parent.name}-{name}")
        for path in sorted(SAMPLES.glob("*/errors.json"))
        for name, case in orjson.loads(path.read_bytes()).items()
    ]


@pytest.mark.parametrize(("kind", "case"), error_samples())
def test_a_providers_error_becomes_ours(kind, case):
    body = case["body"]
    raw = body.encode() if isinstance(body, str) else orjson.dumps(body)

    error = wire(kind).decode_error(case["status"], case["headers"], raw)

    assert type(error).__name__ == case["error"]
    assert (error.code, error.param) == (case["code"], case["param"])
    assert error.retry_after == case["retry_after"]
    assert error.message


@pytest.mark.parametrize(("kind", "case"), error_samples())
def test_an_error_inside_a_200_is_an_error(kind, case, state):
    body = case["body"][0] if isinstance(case["body"], list) else case["body"]
    if not isinstance(body, dict):
        return
    data = orjson.dumps(body)

    with pytest.raises(CompassError):
        wire(kind).decode(data, state())
    with pytest.raises(CompassError):
        wire(kind).decode_chunk("error", data, state())


def test_recorded_errors_are_anthropics_by_its_sdk():
    cases = orjson.loads((SAMPLES / "anthropic" / "errors.json").read_bytes())

    for name, case in cases.items():
        if name not in {"html", "too_large", "conflict"}:  # of types that its objects lack
            ErrorResponse.model_validate(case["body"], strict=True)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("text", ["Incorrect API key provided: {}.", "{}", "({}) 'x'", "k={};"])
def test_a_key_is_never_in_a_message(key, text):
    clean = redact(text.format(key))

    assert key not in clean
    assert key[7:16] not in clean
    assert "[redacted]" in clean


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "api_key={}", "token: {}"])
def test_whatever_is_called_a_key_is_redacted(form):
    assert "hunter2hunter2" not in redact(form.format("hunter2hunter2"))


def test_a_message_without_a_key_stays_readable():
    message = "This model's maximum context length is 128000 tokens, see req_011CaNyc6Kpm."

    assert redact(message) == message


@given(st.text(max_size=3000))
def test_a_message_is_short_and_one_line(text):
    clean = redact(text)

    assert len(clean) <= 500
    assert "\n" not in clean


@pytest.mark.parametrize("unit", ["a-", "sk-", "key=", "bearer ", "*", "eyJ."])
def test_redaction_takes_no_longer_for_hostile_text(unit):
    assert len(redact(unit * 1_000_000)) <= 500


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "5"}, 5.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "1000000000"}, 3600.0),
        ({"retry-after": "inf"}, 3600.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after": "Mon, 23 Nov 2026 05:02:00 GMT", "date": DATE}, 120.0),
        ({"retry-after": "Mon, 23 Nov 2026 04:02:00 GMT", "date": DATE}, 0.0),
        ({"retry-after": "Mon, 23 Nov 2026 05:02:00 GMT"}, None),
        ({"ratelimit": '"api";r=0;t=55'}, 55.0),
        ({"ratelimit": '"api";r=1;t=55'}, None),
        ({"ratelimit": '"api";r=0;t=55', "retry-after": "9"}, 9.0),
        ({"retry-after": "Mon, 99 Nov 2026 05:02:00 GMT", "date": DATE}, None),
    ],
)
def test_retry_after_in_every_form(headers, seconds):
    assert retry_after(headers) == seconds


@given(st.text(), st.text(), st.text())
def test_retry_after_never_fails_and_stays_in_range(told, milliseconds, date):
    wait = retry_after({"retry-after": told, "retry-after-ms": milliseconds, "date": date})

    assert wait is None or 0 <= wait <= 3600


@given(st.integers(-1, 999), st.text(), st.none() | st.sampled_from([*CODES, "other"]))
def test_every_complaint_becomes_an_error_with_a_message(status, message, code):
    error = to_error(Complaint(status, message, code))

    assert isinstance(error, CompassError)
    assert error.message


@pytest.mark.parametrize("status", [400, 404, 405, 413, 415, 418, 422])
def test_a_4xx_blames_the_caller(status):
    assert to_error(Complaint(status)).blame == "caller"


@pytest.mark.parametrize(
    "status", [401, 403, 408, 409, 424, 499, 500, 502, 503, 504, 520, 529, 302, 0]
)
def test_a_refused_key_and_a_5xx_blame_the_provider(status):
    assert to_error(Complaint(status)).blame == "provider"
