"""Writes a chat request as Anthropic's message request. Pure.

| OpenAI                    | Anthropic                                                           |
|---------------------------|---------------------------------------------------------------------|
| system, developer         | `system`, in order, wherever they stand in the conversation         |
| max_(completion_)tokens   | `max_tokens`; the endpoint's limit where the caller set none        |
| temperature, top_p        | one of them, temperature up to 1, for the models that have them; 1  |
|                           |   is every model's default and left out; anything else is refused   |
| reasoning_effort          | adaptive thinking and `effort`; a budget for models before 4.6      |
| response_format           | json_schema: `output_config.format`; json_object has no equivalent  |
| user, safety_identifier   | `metadata.user_id`                                                  |
| stop                      | `stop_sequences`                                                    |

Temperature is refused rather than clamped: gateways that clamp or drop it answer with another
distribution than was asked for, and the pipeline can still try an endpoint that has it.
"""

from collections.abc import Mapping
from typing import Any

from compass_ray.providers._fields import ADVISORY, Handling, inexpressible, refuse_inexpressible
from compass_ray.providers._json import as_object
from compass_ray.providers._tools import Tools, read_tools
from compass_ray.providers.anthropic_messages import write_messages
from compass_ray.providers.anthropic_models import Generation
from compass_ray.providers.anthropic_vocabulary import BUDGET_SHARE, TOOL_CHOICES
from compass_ray.types.chat import ChatRequest
from compass_ray.types.routing import Endpoint

FIELDS: Mapping[str, Handling] = {
    **ADVISORY,
    "audio": (),
    "frequency_penalty": (0,),
    "function_call": (),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "max_completion_tokens": "translated",
    "max_tokens": "translated",
    "messages": "translated",
    "modalities": (["text"],),
    "model": "translated",
    "moderation": (),
    "n": (1,),
    "parallel_tool_calls": "translated",
    "presence_penalty": (0,),
    "reasoning_effort": "translated",
    "response_format": "translated",
    "safety_identifier": "translated",
    "seed": "advisory",  # OpenAI promises no more than its best effort
    "stop": "translated",
    "stream": "translated",
    "temperature": "translated",
    "tool_choice": "translated",
    "tools": "translated",
    "top_logprobs": (0,),
    "top_p": "translated",
    "user": "translated",
    "verbosity": ("medium",),
    "web_search_options": (),
}
"""What becomes of each of OpenAI's fields, see `_fields`."""

_MIN_BUDGET = 1024


def write(request: ChatRequest, endpoint: Endpoint, generation: Generation) -> dict[str, Any]:
    """Return the body.

    Raises:
        InvalidRequest: a field cannot be expressed; names it.
    """
    body = request.body
    refuse_inexpressible(body, FIELDS)
    tools = read_tools(body)
    out: dict[str, Any] = {
        "model": endpoint.wire_model,
        "max_tokens": endpoint.output_limit(request.max_output_tokens),
        **write_messages(body["messages"]),
    }
    if request.stream:
        out["stream"] = True
    if (stop := body.get("stop")) is not None:
        out["stop_sequences"] = stop if isinstance(stop, list) else [stop]
    user = body.get("user") or body.get("safety_identifier")
    if user is not None:
        out["metadata"] = {"user_id": user}
    _write_tools(out, tools, alone=body.get("parallel_tool_calls") is False)
    _write_format(out, as_object(body.get("response_format")))
    _write_reasoning(out, body.get("reasoning_effort"), endpoint, generation, tools)
    _write_sampling(out, body, endpoint, generation)
    return out


def _write_tools(out: dict[str, Any], tools: Tools, *, alone: bool) -> None:
    """Write the tools; `alone` allows one call at a time."""
    if not tools.functions:
        return
    out["tools"] = [_tool(function) for function in tools.functions]
    kind = TOOL_CHOICES[tools.mode or "auto"]
    choice: dict[str, Any] = {"type": kind}
    if tools.name is not None:
        choice = {"type": "tool", "name": tools.name}
    if alone and kind != "none":
        choice["disable_parallel_tool_use"] = True
    if tools.mode is not None or len(choice) > 1:
        out["tool_choice"] = choice


def _tool(function: Mapping[str, Any]) -> dict[str, Any]:
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    tool = {"name": function["name"], "input_schema": {"type": "object", **schema}}
    if function.get("description"):
        tool["description"] = function["description"]
    if function.get("strict"):
        tool["strict"] = True
    extra = as_object(as_object(function.get("extra_content")).get("anthropic"))
    if isinstance(extra.get("cache_control"), dict):
        tool["cache_control"] = extra["cache_control"]
    return tool


def _write_format(out: dict[str, Any], wish: Mapping[str, Any]) -> None:
    if wish.get("type") == "json_object":
        raise inexpressible(
            "response_format.type",
            "the chosen provider has no json_object mode, use json_schema",
        )
    if wish.get("type") == "json_schema":
        schema = wish["json_schema"].get("schema")
        if not isinstance(schema, dict):
            raise inexpressible("response_format.json_schema.schema")
        out["output_config"] = {"format": {"type": "json_schema", "schema": schema}}


def _write_reasoning(
    out: dict[str, Any],
    effort: str | None,
    endpoint: Endpoint,
    generation: Generation,
    tools: Tools,
) -> None:
    """Set how much to think; thinking and a forced tool exclude each other."""
    if effort is None or (effort == "none" and not _thinks(endpoint, generation)):
        return
    if effort == "none":
        if generation.always_thinks:
            raise inexpressible("reasoning_effort", f"{endpoint.model} cannot but think")
        out["thinking"] = {"type": "disabled"}
    elif "reasoning" not in endpoint.capabilities or effort not in BUDGET_SHARE:
        raise inexpressible("reasoning_effort")
    elif generation.adaptive:
        config = out.setdefault("output_config", {})
        config["effort"] = "low" if effort == "minimal" else effort
        if not tools.forced:
            out["thinking"] = {"type": "adaptive"}
    else:
        out["thinking"] = {"type": "enabled", "budget_tokens": _budget(out, effort, tools)}


def _thinks(endpoint: Endpoint, generation: Generation) -> bool:
    """Return whether the model may think unasked."""
    return "reasoning" in endpoint.capabilities and generation.adaptive


def _budget(out: Mapping[str, Any], effort: str, tools: Tools) -> int:
    if tools.forced:
        raise inexpressible("tool_choice", "this model cannot both think and be forced to a tool")
    limit: int = out["max_tokens"]
    if limit <= _MIN_BUDGET:
        raise inexpressible(
            "reasoning_effort", f"thinking takes more than {_MIN_BUDGET} output tokens"
        )
    return max(_MIN_BUDGET, limit * BUDGET_SHARE[effort] // 100)


def _write_sampling(
    out: dict[str, Any], body: Mapping[str, Any], endpoint: Endpoint, generation: Generation
) -> None:
    asked: dict[str, Any] = {name: body.get(name) for name in ("temperature", "top_p")}
    asked = {name: value for name, value in asked.items() if value not in (None, 1)}
    thinks = out.get("thinking", {}).get("type") in ("adaptive", "enabled")
    for name, value in asked.items():
        if not generation.sampling or thinks:
            when = " while it thinks" if generation.sampling else ""
            raise inexpressible(name, f"{endpoint.model} takes no {name}{when}")
        if value > 1:
            raise inexpressible(name, f"{endpoint.model} takes a {name} of at most 1")
    if len(asked) > 1:
        raise inexpressible("top_p", f"{endpoint.model} takes temperature or top_p, not both")
    out.update(asked)
