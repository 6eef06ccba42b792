"""Hugging Face's router: OpenAI's wire with errors of its own.

Source: huggingface_hub 2.x and https://huggingface.co/docs/inference-providers. Pure.
"""

from collections.abc import Mapping

import orjson

from compass_ray.simulator import openai
from compass_ray.simulator.exchange import Ask, Refused, Trouble

NAME = "huggingface"

_TGI = frozenset({"validation", "generation", "incomplete_generation", "overloaded"})
_MODELS_FAULT = frozenset({400, 404})


def authenticate(headers: Mapping[str, str], _query: Mapping[str, str]) -> None:
    """Refuse a request without a token or with a revoked one."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or token.startswith("hf_revoked"):
        raise Refused(401, "", "Invalid username or password.")


def error(trouble: Trouble, request_id: str) -> bytes:
    """Write an error: about the request as OpenAI does, the router's own as a text."""
    if trouble.kind in _TGI:
        return orjson.dumps({"error": trouble.message, "error_type": trouble.kind})
    if trouble.kind == "loading":
        return orjson.dumps({"error": trouble.message, "estimated_time": 20.0})
    if trouble.status in _MODELS_FAULT:
        return openai.error(trouble, request_id)
    return orjson.dumps({"error": trouble.message})


def headers(ask: Ask | None, request_id: str) -> dict[str, str]:
    """Return what the router says beside an answer."""
    told = {"x-request-id": request_id}
    if ask is not None:
        told["ratelimit"] = '"api";r=499;t=300'
        told["ratelimit-policy"] = '"fixed window";"api";q=500;w=300'
        told["x-inference-provider"] = ask.model.partition(":")[2] or "simulated"
    return told


read = openai.read
whole = openai.whole
frames = openai.frames
error_event = openai.error_event
models = openai.models
