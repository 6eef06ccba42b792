"""Writes a chat request as Google's generateContent request. Pure.

| OpenAI                    | Google                                                              |
|---------------------------|---------------------------------------------------------------------|
| system, developer         | `systemInstruction`, in order, wherever they stand                  |
| max_(completion_)tokens   | `maxOutputTokens`; the endpoint's limit where the caller set none   |
| temperature, top_p, seed, | the same in `generationConfig`                                      |
|   penalties, stop, n      |                                                                     |
| logprobs, top_logprobs    | `responseLogprobs`, `logprobs`                                      |
| reasoning_effort          | `thinkingLevel`; a `thinkingBudget` for Gemini 2                    |
| response_format           | `responseMimeType`, `responseJsonSchema`                            |
| parallel_tool_calls false | cannot be expressed: the client leaves out what is called besides   |
"""

from collections.abc import Mapping
from typing import Any

from compass_ray.providers._fields import ADVISORY, Handling, inexpressible, refuse_inexpressible
from compass_ray.providers._json import as_object
from compass_ray.providers._tools import Tools, read_tools
from compass_ray.providers.google_contents import write_contents
from compass_ray.types.chat import ChatRequest
from compass_ray.types.routing import Endpoint

FIELDS: Mapping[str, Handling] = {
    **ADVISORY,
    "audio": (),
    "frequency_penalty": "translated",
    "function_call": (),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": "translated",
    "max_completion_tokens": "translated",
    "max_tokens": "translated",
    "messages": "translated",
    "modalities": (["text"],),
    "model": "translated",
    "moderation": (),
    "n": "translated",
    "parallel_tool_calls": "advisory",  # the client keeps to it, see `_one_call`
    "presence_penalty": "translated",
    "reasoning_effort": "translated",
    "response_format": "translated",
    "safety_identifier": "advisory",  # the Gemini API knows no end users
    "seed": "translated",
    "stop": "translated",
    "stream": "translated",
    "temperature": "translated",
    "tool_choice": "translated",
    "tools": "translated",
    "top_logprobs": "translated",
    "top_p": "translated",
    "user": "advisory",  # the Gemini API knows no end users
    "verbosity": ("medium",),
    "web_search_options": (),
}
"""What becomes of each of OpenAI's fields, see `_fields`."""

_CONFIG = {
    "frequency_penalty": "frequencyPenalty",
    "logprobs": "responseLogprobs",
    "n": "candidateCount",
    "presence_penalty": "presencePenalty",
    "temperature": "temperature",
    "top_logprobs": "logprobs",
    "top_p": "topP",
}
"""What only changes its name."""

_SEEDS = 2**31
"""Google's seed has 32 bits, OpenAI's 64; folded, the same seed is still the same seed."""

_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}

_LEVELS = {
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "XHIGH",
    "max": "XHIGH",
}
_BUDGETS = {
    "none": 0,
    "minimal": 1024,
    "low": 1024,
    "medium": 8192,
    "high": 24_576,
    "xhigh": 24_576,
    "max": 24_576,
}
"""Tokens; source: ai.google.dev, "OpenAI compatibility", Thinking."""


def write(request: ChatRequest, endpoint: Endpoint) -> dict[str, Any]:
    """Return the body.

    Raises:
        InvalidRequest: a field cannot be expressed; names it.
    """
    body = request.body
    refuse_inexpressible(body, FIELDS)
    signed = not endpoint.wire_model.startswith("gemini-2")
    out = write_contents(body["messages"], signed=signed)
    _write_tools(out, read_tools(body))
    config: dict[str, Any] = {"maxOutputTokens": endpoint.output_limit(request.max_output_tokens)}
    for name, theirs in _CONFIG.items():
        if body.get(name) is not None:
            config[theirs] = body[name]
    if body.get("seed") is not None:
        config["seed"] = int(body["seed"]) % _SEEDS
    if (stop := body.get("stop")) is not None:
        config["stopSequences"] = stop if isinstance(stop, list) else [stop]
    _write_format(config, as_object(body.get("response_format")))
    _write_reasoning(config, body.get("reasoning_effort"), endpoint)
    out["generationConfig"] = config
    return out


def _write_tools(out: dict[str, Any], tools: Tools) -> None:
    if not tools.functions:
        return
    out["tools"] = [{"functionDeclarations": [_declaration(one) for one in tools.functions]}]
    if tools.mode is not None:
        config: dict[str, Any] = {"mode": _MODES[tools.mode]}
        if tools.name is not None:
            config["allowedFunctionNames"] = [tools.name]
        out["toolConfig"] = {"functionCallingConfig": config}


def _declaration(function: Mapping[str, Any]) -> dict[str, Any]:
    declaration = {"name": function["name"]}
    if function.get("description"):
        declaration["description"] = function["description"]
    if function.get("parameters"):
        declaration["parametersJsonSchema"] = function["parameters"]
    return declaration


def _write_format(config: dict[str, Any], wish: Mapping[str, Any]) -> None:
    if wish.get("type") not in ("json_object", "json_schema"):
        return
    config["responseMimeType"] = "application/json"
    if wish["type"] == "json_schema":
        schema = wish["json_schema"].get("schema")
        if not isinstance(schema, dict):
            raise inexpressible("response_format.json_schema.schema")
        config["responseJsonSchema"] = schema


def _write_reasoning(config: dict[str, Any], effort: str | None, endpoint: Endpoint) -> None:
    reasons = "reasoning" in endpoint.capabilities
    if effort is None or (effort == "none" and not reasons):
        return
    budgeted = endpoint.wire_model.startswith("gemini-2")
    known: Mapping[str, str | int] = _BUDGETS if budgeted else _LEVELS
    if not reasons or effort not in known:
        raise inexpressible(
            "reasoning_effort", f"{endpoint.model} has no reasoning_effort {effort!r}"
        )
    config["thinkingConfig"] = {
        "thinkingBudget" if budgeted else "thinkingLevel": known[effort],
    }
