"""Reads a request of OpenAI's Responses API into a chat-completions body. Pure.

| Responses                  | normal form                                                         |
|----------------------------|---------------------------------------------------------------------|
| instructions, input        | messages, see `responses_input`                                     |
| max_output_tokens          | max_tokens                                                          |
| reasoning.effort           | reasoning_effort                                                    |
| text.format, .verbosity    | response_format, verbosity                                          |
| tools, tool_choice         | the same, with the function one level deeper                        |
| metadata, reasoning.summary| told again in the answer; whatever reasoning can be read is told    |

Nothing is stored here: what refers to an earlier response, a conversation or a prompt of OpenAI's,
asks to be stored or to run in the background is refused by name.
"""

from collections.abc import Mapping
from typing import Any

from compass_ray.doors import responses_input
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

SEALED = "reasoning.encrypted_content"
"""The one thing that can be included beyond what is always told."""

_SAME = (
    *("compass", "model", "parallel_tool_calls", "prompt_cache_key", "prompt_cache_retention"),
    *("safety_identifier", "service_tier", "stream", "temperature", "top_p", "user"),
)
_FIELDS: Mapping[str, Handling] = {
    **dict.fromkeys(_SAME, "translated"),
    "background": (False,),
    "include": "translated",
    "input": "translated",
    "instructions": "translated",
    "max_output_tokens": "translated",
    "max_tool_calls": "advisory",  # of tools that OpenAI runs itself
    "metadata": "translated",
    "reasoning": "translated",
    "store": (False,),
    "stream_options": ({}, {"include_obfuscation": False}),
    "text": "translated",
    "tool_choice": "translated",
    "tools": "translated",
    "top_logprobs": (0,),
    "truncation": ("disabled",),
}
_REASONING: Mapping[str, Handling] = {
    "context": ("auto",),
    "effort": "translated",
    "generate_summary": "translated",
    "mode": ("standard",),
    "summary": "translated",
}
_TOOL: Mapping[str, Handling] = {
    "type": "translated",
    "allowed_callers": (["direct"],),
    "async": (False,),
    "defer_loading": (False,),
    "description": "translated",
    "name": "translated",
    "parameters": "translated",
    "strict": "translated",
}
_FORMAT: Mapping[str, Handling] = dict.fromkeys(
    ("type", "name", "schema", "description", "strict"), "translated"
)

NAMES: Mapping[str, str] = {
    "max_completion_tokens": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "messages": "input",
    "reasoning_effort": "reasoning.effort",
    "response_format": "text.format",
    "verbosity": "text.verbosity",
}
"""A field of the normal form to the field of the request that it came from."""


def read(told: Mapping[str, Any]) -> tuple[dict[str, Any], Conversation]:
    """Return the body and the conversation in it.

    Raises:
        InvalidRequest: a field is malformed or cannot be said; names it.
    """
    check(told, _FIELDS)
    conversation = responses_input.read(told.get("instructions"), told.get("input"))
    body = {name: told[name] for name in _SAME if told.get(name) is not None}
    body["messages"] = conversation.messages
    if told.get("max_output_tokens") is not None:
        body["max_tokens"] = told["max_output_tokens"]
    if told.get("stream") is True:
        body["stream_options"] = {"include_usage": True}
    for index, wish in enumerate(list_at(told.get("include"), "include")):
        if wish != SEALED:
            raise unsupported(f"include[{index}]")
    object_at(told.get("metadata"), "metadata")
    reasoning = object_at(told.get("reasoning"), "reasoning")
    check(reasoning, _REASONING, "reasoning.")
    if reasoning.get("effort") is not None:
        body["reasoning_effort"] = text_at(reasoning["effort"], "reasoning.effort")
    _read_text(body, object_at(told.get("text"), "text"))
    _read_tools(body, told)
    return body, conversation


def _read_text(body: dict[str, Any], text: dict[str, Any]) -> None:
    check(text, {"format": "translated", "verbosity": "translated"}, "text.")
    if text.get("verbosity") is not None:
        body["verbosity"] = text["verbosity"]
    wish = object_at(text.get("format"), "text.format")
    if not wish:
        return
    check(wish, _FORMAT, "text.format.")
    kind = one_of(wish.get("type"), ("text", "json_object", "json_schema"), "text.format.type")
    if kind == "json_schema":
        schema = {name: value for name, value in wish.items() if name != "type"}
        body["response_format"] = {"type": kind, "json_schema": schema}
    elif kind != "text":
        body["response_format"] = {"type": kind}


def _read_tools(body: dict[str, Any], told: Mapping[str, Any]) -> None:
    tools = [
        _tool(tool, f"tools[{n}]") for n, tool in enumerate(list_at(told.get("tools"), "tools"))
    ]
    if tools:
        body["tools"] = tools
    else:
        body.pop("parallel_tool_calls", None)  # OpenAI takes it with tools only
    choice = told.get("tool_choice")
    if choice is None or (not tools and choice in ("auto", "none")):
        return
    if not tools:
        raise wrong("tool_choice", "there is no tool to call")
    body["tool_choice"] = _choice(choice)


def _tool(value: Any, path: str) -> dict[str, Any]:
    tool = entry_at(value, path)
    if tool.get("type") != "function":
        raise unsupported(f"{path}.type", f"{tool.get('type')!r}: only functions are supported")
    check(tool, _TOOL, f"{path}.")
    function: dict[str, Any] = {"name": text_at(tool.get("name"), f"{path}.name")}
    for name in ("description", "parameters", "strict"):
        if tool.get(name) is not None:
            function[name] = tool[name]
    return {"type": "function", "function": function}


def _choice(choice: Any) -> Any:
    if isinstance(choice, str):
        return one_of(choice, ("auto", "none", "required"), "tool_choice")
    wish = entry_at(choice, "tool_choice")
    match wish.get("type"):
        case "function":
            return _named(wish, "tool_choice")
        case "allowed_tools":
            path = "tool_choice.tools"
            entries = enumerate(list_at(wish.get("tools"), path))
            named = [_named(entry_at(one, f"{path}[{n}]"), f"{path}[{n}]") for n, one in entries]
            allowed = {"mode": wish.get("mode"), "tools": named}
            return {"type": "allowed_tools", "allowed_tools": allowed}
    raise unsupported("tool_choice.type", f"{wish.get('type')!r} is not supported here")


def _named(wish: Mapping[str, Any], path: str) -> dict[str, Any]:
    one_of(wish.get("type"), ("function",), f"{path}.type")
    return {"type": "function", "function": {"name": text_at(wish.get("name"), f"{path}.name")}}
