"""The routes by which Anthropic and Google count a request's tokens without answering it. Pure."""

from collections.abc import Callable, Mapping

import orjson

from compass_ray.simulator import anthropic, body, google
from compass_ray.simulator.exchange import Refused
from compass_ray.simulator.wire import Wire

Count = Callable[[bytes, Mapping[str, str]], bytes]
"""From a body and what stands in its path to the answer; raises Refused."""


def _anthropic(raw: bytes, path: Mapping[str, str]) -> bytes:
    told = body.load(raw)
    if told is None:
        raise Refused(400, "invalid_request_error", "The request body is not valid JSON")
    if "max_tokens" in told:
        raise Refused(400, "invalid_request_error", "max_tokens: Extra inputs are not permitted")
    ask = anthropic.read(orjson.dumps({**told, "max_tokens": 1}), path)
    return orjson.dumps({"input_tokens": ask.input_tokens})


def _google(raw: bytes, path: Mapping[str, str]) -> bytes:
    told = (body.load(raw) or {}).get("generateContentRequest")
    if not isinstance(told, dict) or told.pop("model", None) != f"models/{path['model']}":
        raise Refused(400, "INVALID_ARGUMENT", "generateContentRequest.model must be the model")
    ask = google.read(orjson.dumps(told), {**path, "action": "generateContent"})
    return orjson.dumps({"totalTokens": ask.input_tokens})


COUNTS: tuple[tuple[Wire, str, Count], ...] = (
    (anthropic, "/anthropic/v1/messages/count_tokens", _anthropic),
    (google, "/google/{version:v1|v1beta}/models/{model}:countTokens", _google),
)
