"""Reads Anthropic's message request into a chat-completions body. Pure.

| Anthropic               | normal form                                                          |
|-------------------------|----------------------------------------------------------------------|
| system, messages        | messages, see `messages_conversation`                                |
| stop_sequences          | stop                                                                 |
| metadata.user_id        | user                                                                 |
| tools, tool_choice      | tools, tool_choice, parallel_tool_calls                              |
| thinking, effort        | reasoning_effort: a budget by its share of max_tokens                |
| output_config.format    | response_format: a strict json_schema                                |
| service_tier            | service_tier; standard_only is OpenAI's default                      |
| top_k                   | top_k, which some of OpenAI's look-alikes take                       |

What a provider cannot do with these, its wire refuses by name, and the next one is asked.
"""

from collections.abc import Mapping
from typing import Any

from compass_ray.doors import messages_conversation
from compass_ray.doors.conversation import Conversation
from compass_ray.doors.fields import (
    Handling,
    check,
    entry_at,
    list_at,
    object_at,
    one_of,
    text_at,
    unsupported,
    wrong,
)
from compass_ray.providers.anthropic_vocabulary import BUDGET_SHARE, TOOL_CHOICES

_SAME = ("compass", "max_tokens", "model", "stream", "temperature", "top_k", "top_p")
_FIELDS: Mapping[str, Handling] = {
    **dict.fromkeys(_SAME, "translated"),
    "cache_control": "translated",
    "messages": "translated",
    "metadata": "translated",
    "output_config": "translated",
    "service_tier": "translated",
    "speed": ("standard",),
    "stop_sequences": "translated",
    "system": "translated",
    "thinking": "translated",
    "tool_choice": "translated",
    "tools": "translated",
}
_TOOL: Mapping[str, Handling] = {
    "allowed_callers": (["direct"],),
    "cache_control": "translated",
    "defer_loading": (False,),
    "description": "translated",
    "eager_input_streaming": "advisory",  # how finely arguments are cut
    "input_schema": "translated",
    "name": "translated",
    "strict": "translated",
    "type": ("custom",),
}
_KINDS_OF_CHOICE = {kind: choice for choice, kind in TOOL_CHOICES.items()}
_TIERS = {"auto": "auto", "standard_only": "default"}
_USUAL_EFFORT = "high"
"""What Anthropic's models think with where nobody says."""

NAMES: Mapping[str, str] = {
    "max_completion_tokens": "max_tokens",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "reasoning_effort": "thinking",
    "response_format": "output_config.format",
    "stop": "stop_sequences",
    "user": "metadata.user_id",
}
"""A field of the normal form to the field of the request that it came from."""


def read(told: Mapping[str, Any], *, answered: bool = True) -> tuple[dict[str, Any], Conversation]:
    """Return the body and the conversation in it; `answered` is False where tokens are counted.

    Raises:
        InvalidRequest: a field is malformed or cannot be said; names it.
    """
    check(told, _FIELDS)
    conversation = messages_conversation.read(
        told.get("system"), told.get("messages"), told.get("cache_control")
    )
    body = {name: told[name] for name in _SAME if told.get(name) is not None}
    body["messages"] = conversation.messages
    if answered and told.get("max_tokens") is None:
        raise wrong("max_tokens", "field required")
    if told.get("stream") is True:
        body["stream_options"] = {"include_usage": True}
    if stops := list_at(told.get("stop_sequences"), "stop_sequences"):
        body["stop"] = stops
    _read_metadata(body, object_at(told.get("metadata"), "metadata"))
    _read_tools(body, told)
    _read_output(body, told)
    if (tier := told.get("service_tier")) is not None:
        body["service_tier"] = _TIERS[one_of(tier, _TIERS, "service_tier")]
    return body, conversation


def _read_metadata(body: dict[str, Any], metadata: dict[str, Any]) -> None:
    check(metadata, {"user_id": "translated"}, "metadata.")
    if metadata.get("user_id") is not None:
        body["user"] = text_at(metadata["user_id"], "metadata.user_id")


def _read_tools(body: dict[str, Any], told: Mapping[str, Any]) -> None:
    tools = [
        _tool(tool, f"tools.{n}") for n, tool in enumerate(list_at(told.get("tools"), "tools"))
    ]
    choice = object_at(told.get("tool_choice"), "tool_choice")
    if tools:
        body["tools"] = tools
    if not choice:
        return
    kind = choice.get("type")
    if kind == "tool":
        name = text_at(choice.get("name"), "tool_choice.name")
        wish: Any = {"type": "function", "function": {"name": name}}
    else:
        wish = _KINDS_OF_CHOICE[one_of(kind, _KINDS_OF_CHOICE, "tool_choice.type")]
    if tools:
        body["tool_choice"] = wish
        if choice.get("disable_parallel_tool_use"):
            body["parallel_tool_calls"] = False
    elif kind not in ("auto", "none"):
        raise wrong("tool_choice", "there is no tool to call")


def _tool(value: Any, path: str) -> dict[str, Any]:
    tool = entry_at(value, path)
    if tool.get("type") not in (None, "custom"):
        raise unsupported(f"{path}.type", "a tool that only Anthropic can run")
    check(tool, _TOOL, f"{path}.")
    function: dict[str, Any] = {
        "name": text_at(tool.get("name"), f"{path}.name"),
        "parameters": object_at(tool.get("input_schema"), f"{path}.input_schema"),
    }
    for name in ("description", "strict"):
        if tool.get(name):
            function[name] = tool[name]
    if tool.get("cache_control"):
        function["extra_content"] = {"anthropic": {"cache_control": tool["cache_control"]}}
    return {"type": "function", "function": function}


def _read_output(body: dict[str, Any], told: Mapping[str, Any]) -> None:
    config = object_at(told.get("output_config"), "output_config")
    check(config, {"effort": "translated", "format": "translated"}, "output_config.")
    if config.get("format") is not None:
        body["response_format"] = _format(object_at(config["format"], "output_config.format"))
    effort = config.get("effort")
    if effort is not None:
        one_of(effort, BUDGET_SHARE, "output_config.effort")
    thinking = object_at(told.get("thinking"), "thinking")
    match thinking.get("type") if thinking else None:
        case None if not thinking:
            if effort is not None:
                body["reasoning_effort"] = effort
        case "adaptive":
            body["reasoning_effort"] = effort or _USUAL_EFFORT
        case "enabled":
            body["reasoning_effort"] = effort or _by_budget(thinking, told.get("max_tokens"))
        case "disabled":
            if effort not in (None, _USUAL_EFFORT):
                raise unsupported("output_config.effort", "not supported without thinking")
            body["reasoning_effort"] = "none"
        case _:
            raise unsupported("thinking.type", "must be adaptive, enabled or disabled")
    fields: dict[str, Handling] = dict.fromkeys(("type", "budget_tokens", "display"), "translated")
    check(thinking, fields, "thinking.")


def _by_budget(thinking: Mapping[str, Any], max_tokens: Any) -> str:
    """Return the least effort whose share of the output limit covers the budget."""
    budget = thinking.get("budget_tokens")
    if type(budget) is not int or budget < 1:
        raise wrong("thinking.budget_tokens", "must be a positive integer")
    if type(max_tokens) is not int:  # where tokens are counted nothing limits the answer
        return _USUAL_EFFORT
    shares = ("low", "medium", "high", "xhigh")
    fits = (effort for effort in shares if budget * 100 <= BUDGET_SHARE[effort] * max_tokens)
    return next(fits, "xhigh")


def _format(wish: dict[str, Any]) -> dict[str, Any]:
    if wish.get("type") != "json_schema":
        raise wrong("output_config.format.type", "must be json_schema")
    if not isinstance(wish.get("schema"), dict):
        raise wrong("output_config.format.schema", "must be a JSON schema")
    schema = {"name": "output", "schema": wish["schema"], "strict": True}
    return {"type": "json_schema", "json_schema": schema}
