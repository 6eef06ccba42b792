"""Reads Anthropic's `system` and `messages` into the normal form's messages. Pure.

| Anthropic                  | normal form                                                        |
|----------------------------|--------------------------------------------------------------------|
| system                     | a first message of that role                                       |
| text, image                | text, image_url                                                    |
| document: base64           | file                                                               |
| document: text, content    | the parts themselves, after title and context                      |
| tool_use                   | tool_calls                                                         |
| tool_result                | a message of the role tool, before what else its turn says         |
| thinking                   | reasoning_content; signed, also extra_content as it came           |
| cache_control, is_error    | extra_content, which Anthropic alone gets to see: it has no like   |
"""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from compass_ray.doors.conversation import Conversation
from compass_ray.doors.fields import (
    Handling,
    check,
    entry_at,
    list_at,
    object_at,
    text_at,
    unsupported,
    wrong,
)
from compass_ray.providers.anthropic_vocabulary import THINKING

_FOR_ANTHROPIC = ("cache_control", "is_error")
_BLOCK: Mapping[str, Handling] = {"type": "translated", "cache_control": "translated"}
_TEXT: Mapping[str, Handling] = {**_BLOCK, "text": "translated", "citations": ([],)}
_IMAGE: Mapping[str, Handling] = {**_BLOCK, "source": "translated"}
_DOCUMENT: Mapping[str, Handling] = {
    **_BLOCK,
    "source": "translated",
    "title": "translated",
    "context": "translated",
    "citations": ({}, {"enabled": False}),
}
_TOOL_USE: Mapping[str, Handling] = {
    **_BLOCK,
    "id": "translated",
    "name": "translated",
    "input": "translated",
    "caller": ({"type": "direct"},),
    "extra_content": "translated",
}
_TOOL_RESULT: Mapping[str, Handling] = {
    **_BLOCK,
    "tool_use_id": "translated",
    "content": "translated",
    "is_error": "translated",
}


def read(system: Any, messages: Any, cache_control: Any) -> Conversation:
    """Return the conversation; `cache_control` marks its last part.

    Raises:
        InvalidRequest: a block is malformed or cannot be said; names it.
    """
    told = Conversation()
    if system is not None and system != []:
        told.add("system", {"role": "system", "content": _content(system, "system", _text)})
    turns = list_at(messages, "messages")
    if not turns:
        raise wrong("messages", "at least one message is required")
    for index, turn in enumerate(turns):
        path = f"messages.{index}"
        _turn(told, entry_at(turn, path), path)
    if cache_control is not None:
        _mark_last(told.messages[-1], cache_control)
    return told


def _turn(told: Conversation, turn: dict[str, Any], path: str) -> None:
    check(turn, {"role": "translated", "content": "translated"}, f"{path}.")
    content, where = turn.get("content"), f"{path}.content"
    match turn.get("role"):
        case "assistant":
            told.add(path, _assistant(content, where))
        case "user":
            _user(told, content, path)
        case "system":
            told.add(path, {"role": "system", "content": _content(content, where, _text)})
        case _:
            raise wrong(f"{path}.role", "must be user, assistant or system")


def _user(told: Conversation, content: Any, path: str) -> None:
    """Add the results of tools first: nothing may stand between them and their calls."""
    where = f"{path}.content"
    if not isinstance(content, list):
        told.add(path, {"role": "user", "content": text_at(content, where)})
        return
    said: list[dict[str, Any]] = []
    for index, block in enumerate(content):
        at = f"{where}.{index}"
        if entry_at(block, at).get("type") == "tool_result":
            told.add(at, _tool_result(block, at))
        else:
            said += _shown(block, at)
    if said or not content:
        told.add(path, {"role": "user", "content": _plain(said)})


def _assistant(content: Any, path: str) -> dict[str, Any]:
    if isinstance(content, str):
        return {"role": "assistant", "content": content}
    texts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    thoughts: list[dict[str, Any]] = []
    for index, block in enumerate(list_at(content, path)):
        at = f"{path}.{index}"
        match entry_at(block, at).get("type"):
            case "tool_use":
                calls.append(_tool_use(block, at))
            case kind if kind in THINKING:
                thoughts.append(block)
            case _:
                texts += _text(block, at)
    message: dict[str, Any] = {"role": "assistant", "content": _plain(texts) if texts else None}
    _remember(message, thoughts, path)
    if calls:
        message["tool_calls"] = calls
    return message


def _remember(message: dict[str, Any], thoughts: list[dict[str, Any]], path: str) -> None:
    """Keep thoughts readable, and those that Anthropic signed as they came."""
    readable = [text_at(block.get("thinking", ""), path) for block in thoughts]
    if any(readable):
        message["reasoning_content"] = "".join(readable)
    signed = [block for block in thoughts if block.get("signature") or block.get("data")]
    if signed:
        message["extra_content"] = {"anthropic": {"thinking_blocks": signed}}


def _tool_use(block: dict[str, Any], path: str) -> dict[str, Any]:
    check(block, _TOOL_USE, f"{path}.")
    arguments = orjson.dumps(object_at(block.get("input"), f"{path}.input")).decode()
    function = {"name": text_at(block.get("name"), f"{path}.name"), "arguments": arguments}
    call = {
        "id": text_at(block.get("id"), f"{path}.id"),
        "type": "function",
        "function": function,
    }
    extra = {**object_at(block.get("extra_content"), f"{path}.extra_content"), **_extra(block)}
    return {**call, "extra_content": extra} if extra else call


def _tool_result(block: dict[str, Any], path: str) -> dict[str, Any]:
    check(block, _TOOL_RESULT, f"{path}.")
    content = block.get("content")
    message: dict[str, Any] = {
        "role": "tool",
        "tool_call_id": text_at(block.get("tool_use_id"), f"{path}.tool_use_id"),
        "content": "" if content is None else _content(content, f"{path}.content", _shown),
    }
    extra = _extra(block)
    return {**message, "extra_content": extra} if extra else message


_Read = Callable[[dict[str, Any], str], list[dict[str, Any]]]


def _content(content: Any, path: str, read_block: _Read) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    parts: list[dict[str, Any]] = []
    for index, block in enumerate(list_at(content, path)):
        at = f"{path}.{index}"
        parts += read_block(entry_at(block, at), at)
    return _plain(parts)


def _plain(parts: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Write a single bare text as a string, which every server understands."""
    if not parts:
        return ""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        text: str = parts[0]["text"]
        return text
    return parts


def _shown(block: dict[str, Any], path: str) -> list[dict[str, Any]]:
    """Read a block of a kind that can be shown to a model."""
    match block.get("type"):
        case "image":
            check(block, _IMAGE, f"{path}.")
            source = object_at(block.get("source"), f"{path}.source")
            url = _address(source, f"{path}.source")
            return [_with_extra({"type": "image_url", "image_url": {"url": url}}, block)]
        case "document":
            check(block, _DOCUMENT, f"{path}.")
            return _document(block, path)
    return _text(block, path)


def _text(block: dict[str, Any], path: str) -> list[dict[str, Any]]:
    kind = block.get("type")
    if kind != "text":
        raise unsupported(f"{path}.type", f"{kind!r} is not supported here")
    check(block, _TEXT, f"{path}.")
    text = text_at(block.get("text"), f"{path}.text")
    return [_with_extra({"type": "text", "text": text}, block)]


def _document(block: dict[str, Any], path: str) -> list[dict[str, Any]]:
    source, where = object_at(block.get("source"), f"{path}.source"), f"{path}.source"
    title = text_at(block.get("title") or "", f"{path}.title")
    context = text_at(block.get("context") or "", f"{path}.context")
    about: list[dict[str, Any]]
    about = [{"type": "text", "text": text} for text in (title, context) if text]
    match source.get("type"):
        case "base64":
            if title:
                del about[0]  # it travels as the file's name
            file = {"filename": title or "document.pdf", "file_data": _address(source, where)}
            parts: list[dict[str, Any]] = [{"type": "file", "file": file}]
        case "text":
            parts = [{"type": "text", "text": text_at(source.get("data"), f"{where}.data")}]
        case "content":
            content = _content(source.get("content"), f"{where}.content", _shown)
            parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        case kind:
            raise unsupported(f"{where}.type", f"{kind!r} is not supported here")
    *most, last = [*about, *parts]
    return [*most, _with_extra(last, block)]


def _address(source: dict[str, Any], path: str) -> str:
    match source.get("type"):
        case "base64":
            kind = text_at(source.get("media_type"), f"{path}.media_type")
            return f"data:{kind};base64,{text_at(source.get('data'), f'{path}.data')}"
        case "url":
            return text_at(source.get("url"), f"{path}.url")
        case kind:
            raise unsupported(f"{path}.type", f"{kind!r} is not supported here")


def _with_extra(part: dict[str, Any], block: Mapping[str, Any]) -> dict[str, Any]:
    extra = _extra(block)
    return {**part, "extra_content": extra} if extra else part


def _extra(block: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: block[name] for name in _FOR_ANTHROPIC if block.get(name)}
    return {"anthropic": told} if told else {}


def _mark_last(message: dict[str, Any], cache_control: Any) -> None:
    """Mark where Anthropic would: at the end of the conversation."""
    content = message["content"]
    if message["role"] == "tool" or not content:
        extra = message.setdefault("extra_content", {}).setdefault("anthropic", {})
        extra.setdefault("cache_control", cache_control)
        return
    if isinstance(content, str):
        message["content"] = content = [{"type": "text", "text": content}]
    content[-1].setdefault("extra_content", {"anthropic": {"cache_control": cache_control}})
