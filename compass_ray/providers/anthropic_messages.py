"""Writes the conversation as Anthropic's `system` and `messages`. Pure.

Consecutive messages of one side become one, so that all results of parallel tool calls stand
together, as Anthropic demands. Empty text is left out, which Anthropic refuses. `name` of a
message is a hint and left out; `cache_control` is kept, of a part or in anything's
`extra_content.anthropic`, and so is a tool result's `is_error` there.
"""

from collections.abc import Sequence
from typing import Any

from compass_ray.providers._content import (
    Inline,
    arguments_of,
    file_of,
    image_of,
    parts_of,
    text_of,
)
from compass_ray.providers._fields import inexpressible
from compass_ray.providers._json import as_list, as_object
from compass_ray.types.errors import InvalidRequest

_IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_SPOKEN_BY = {"user": "user", "tool": "user", "assistant": "assistant"}


def write_messages(messages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return `messages`, and `system` if there is one.

    Raises:
        InvalidRequest: a message or a part cannot be expressed; names it.
    """
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        role = message["role"]
        if role in ("system", "developer"):
            system += _text_blocks(message.get("content"), f"{path}.content")
            continue
        blocks = _blocks(message, path)
        if not blocks:
            continue
        side = _SPOKEN_BY[role]
        if turns and turns[-1]["role"] == side:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": side, "content": blocks})
    if not turns:
        raise InvalidRequest("messages hold nothing to answer", param="messages")
    return {"system": system, "messages": turns} if system else {"messages": turns}


def _blocks(message: dict[str, Any], path: str) -> list[dict[str, Any]]:
    match message["role"]:
        case "user":
            return _user_blocks(message.get("content"), f"{path}.content")
        case "tool":
            return [_tool_result(message, path)]
        case "assistant":
            return _assistant_blocks(message, path)
    raise inexpressible(f"{path}.role")


def _user_blocks(content: Any, path: str) -> list[dict[str, Any]]:
    blocks = []
    for where, part in parts_of(content, path):
        block = _block(part, where)
        if block is not None:
            blocks.append({**block, **_marks(part)})
    return blocks


def _text_blocks(content: Any, path: str) -> list[dict[str, Any]]:
    text_of(content, path)
    return _user_blocks(content, path)


def _block(part: dict[str, Any], path: str) -> dict[str, Any] | None:
    """Return the block, None for empty text."""
    match part["type"]:
        case "text" | "refusal" as kind:
            return {"type": "text", "text": part[kind]} if part[kind] else None
        case "image_url":
            return {"type": "image", "source": _image_source(part, path)}
        case "file":
            return _document(part, path)
    raise inexpressible(f"{path}.type", f"the chosen provider takes no {part['type']}")


def _image_source(part: dict[str, Any], path: str) -> dict[str, Any]:
    image = image_of(part, path)
    if not isinstance(image, Inline):
        return {"type": "url", "url": image}
    if image.mime_type not in _IMAGE_TYPES:
        where = f"{path}.image_url.url"
        raise inexpressible(where, f"{where}: the chosen provider takes no {image.mime_type}")
    return _base64(image)


def _document(part: dict[str, Any], path: str) -> dict[str, Any]:
    file = file_of(part, path)
    if file.mime_type != "application/pdf":
        where = f"{path}.file.file_data"
        raise inexpressible(where, f"{where}: the chosen provider takes no {file.mime_type}")
    block = {"type": "document", "source": _base64(file)}
    title = as_object(part.get("file")).get("filename")
    if isinstance(title, str) and title:
        block["title"] = title
    return block


def _base64(source: Inline) -> dict[str, Any]:
    return {"type": "base64", "media_type": source.mime_type, "data": source.data}


def _tool_result(message: dict[str, Any], path: str) -> dict[str, Any]:
    content = _user_blocks(message.get("content"), f"{path}.content")
    block: dict[str, Any] = {"type": "tool_result", "tool_use_id": message["tool_call_id"]}
    if content:
        block["content"] = content
    return {**block, **_marks(message)}


def _assistant_blocks(message: dict[str, Any], path: str) -> list[dict[str, Any]]:
    for name in ("audio", "function_call"):
        if message.get(name) is not None:
            raise inexpressible(f"{path}.{name}")
    blocks = _thinking(message)
    blocks += _text_blocks(message.get("content"), f"{path}.content")
    if not blocks and message.get("refusal"):
        blocks.append({"type": "text", "text": message["refusal"]})
    for index, call in enumerate(message.get("tool_calls") or ()):
        where = f"{path}.tool_calls[{index}]"
        blocks.append(
            {
                "type": "tool_use",
                "id": call["id"],
                "name": call["function"]["name"],
                "input": arguments_of(call, where),
                **_marks(call),
            }
        )
    return blocks


def _marks(said: dict[str, Any]) -> dict[str, Any]:
    """Return what is only Anthropic's, as OpenRouter or as Compass's door for it writes it."""
    extra = as_object(as_object(said.get("extra_content")).get("anthropic"))
    marks = {"cache_control": said.get("cache_control"), **extra}
    return {
        name: value
        for name, value in marks.items()
        if (name == "cache_control" and isinstance(value, dict))
        or (name == "is_error" and value is True)
    }


def _thinking(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the blocks `anthropic_answer` handed out, if the caller sent them back."""
    extra = as_object(as_object(message.get("extra_content")).get("anthropic"))
    return [block for block in as_list(extra.get("thinking_blocks")) if isinstance(block, dict)]
