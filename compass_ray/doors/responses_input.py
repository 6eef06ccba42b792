"""Reads the items of OpenAI's Responses API into the normal form's messages. Pure.

| item                       | normal form                                                         |
|----------------------------|---------------------------------------------------------------------|
| message                    | a message; the assistant's joins what he thought before it          |
| function_call              | tool_calls of the assistant's message before it, or of a new one    |
| function_call_output       | a message of the role tool                                          |
| reasoning                  | reasoning_content; its encrypted_content, if ours, extra_content    |

`encrypted_content` is not encrypted: it holds, unread, what the provider wants back.
"""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

import orjson

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

_OURS = "compass:"
_ROLES = ("user", "system", "developer", "assistant")
_ITEM: Mapping[str, Handling] = {
    "type": "translated",
    "id": "advisory",
    "status": "advisory",
    "phase": "advisory",
    "caller": ({"type": "direct"},),
    "extra_content": "translated",
}
_MESSAGE: Mapping[str, Handling] = {**_ITEM, "role": "translated", "content": "translated"}
_CALL: Mapping[str, Handling] = {
    **_ITEM,
    "call_id": "translated",
    "name": "translated",
    "arguments": "translated",
    "async": (False,),
    "parsed_arguments": "advisory",  # added by OpenAI's own client to what it was told
}
_OUTPUT: Mapping[str, Handling] = {**_ITEM, "call_id": "translated", "output": "translated"}
_REASONING: Mapping[str, Handling] = {
    **_ITEM,
    "summary": "translated",
    "content": "translated",
    "encrypted_content": "translated",
}
_TEXT: Mapping[str, Handling] = {
    "type": "translated",
    "text": "translated",
    "annotations": "advisory",
    "logprobs": "advisory",
    "parsed": "advisory",
    "prompt_cache_breakpoint": "advisory",
}
_REFUSAL: Mapping[str, Handling] = {"type": "translated", "refusal": "translated"}
_IMAGE: Mapping[str, Handling] = {
    "type": "translated",
    "image_url": "translated",
    "detail": "translated",
    "prompt_cache_breakpoint": "advisory",
}
_FILE: Mapping[str, Handling] = {
    "type": "translated",
    "file_data": "translated",
    "filename": "translated",
    "detail": ("auto",),
    "prompt_cache_breakpoint": "advisory",
}


def read(instructions: Any, items: Any) -> Conversation:
    """Return the conversation.

    Raises:
        InvalidRequest: an item is malformed or cannot be said; names it.
    """
    told = Conversation()
    if instructions is not None:
        text = text_at(instructions, "instructions")
        told.add("instructions", {"role": "system", "content": text})
    if isinstance(items, str):
        told.add("input", {"role": "user", "content": items})
        return told
    for index, item in enumerate(list_at(items, "input")):
        path = f"input[{index}]"
        _item(told, entry_at(item, path), path)
    if not items:
        raise wrong("input", "must not be empty")
    return told


def packed(extra: Mapping[str, Any]) -> str:
    """Return what a provider wants back as an `encrypted_content`."""
    return _OURS + b64encode(orjson.dumps(extra)).decode()


def _item(told: Conversation, item: dict[str, Any], path: str) -> None:
    match item.get("type", "message"):
        case "message":
            check(item, _MESSAGE, f"{path}.")
            role = one_of(item.get("role"), _ROLES, f"{path}.role")
            content = _content(item.get("content"), f"{path}.content")
            if role == "assistant":
                _spoken(told, content, path)
            else:
                told.add(path, {"role": role, "content": content})
        case "function_call":
            check(item, _CALL, f"{path}.")
            told.turn(path).setdefault("tool_calls", []).append(_call(item, path))
        case "function_call_output":
            check(item, _OUTPUT, f"{path}.")
            call_id = text_at(item.get("call_id"), f"{path}.call_id")
            output = _content(item.get("output"), f"{path}.output")
            told.add(path, {"role": "tool", "tool_call_id": call_id, "content": output})
        case "reasoning":
            check(item, _REASONING, f"{path}.")
            _thought(told, item, path)
        case kind:
            raise unsupported(f"{path}.type", f"{kind!r} is not supported here")


def _spoken(told: Conversation, content: str | list[dict[str, Any]], path: str) -> None:
    message = told.turn(path)
    if message["content"] is not None or "tool_calls" in message:
        told.add(path, message := {"role": "assistant"})
    message["content"] = content


def _thought(told: Conversation, item: dict[str, Any], path: str) -> None:
    message: dict[str, Any] = {"role": "assistant", "content": None}
    texts = [
        text_at(entry_at(part, f"{path}.{name}[{n}]").get("text"), f"{path}.{name}[{n}].text")
        for name in ("content", "summary")
        for n, part in enumerate(list_at(item.get(name), f"{path}.{name}"))
    ]
    if any(texts):
        message["reasoning_content"] = "\n\n".join(texts)
    sealed = item.get("encrypted_content")
    if sealed is not None:
        message["extra_content"] = _unpacked(sealed, f"{path}.encrypted_content")
    told.add(path, message)


def _unpacked(sealed: Any, path: str) -> dict[str, Any]:
    text = text_at(sealed, path)
    try:
        extra = orjson.loads(b64decode(text.removeprefix(_OURS), validate=True))
    except (binascii.Error, orjson.JSONDecodeError, ValueError):
        extra = None
    if not text.startswith(_OURS) or not isinstance(extra, dict):
        raise wrong(path, "was not written by Compass")
    return extra


def _call(item: dict[str, Any], path: str) -> dict[str, Any]:
    call: dict[str, Any] = {
        "id": text_at(item.get("call_id"), f"{path}.call_id"),
        "type": "function",
        "function": {
            "name": text_at(item.get("name"), f"{path}.name"),
            "arguments": text_at(item.get("arguments"), f"{path}.arguments"),
        },
    }
    extra = object_at(item.get("extra_content"), f"{path}.extra_content")
    return {**call, "extra_content": extra} if extra else call


def _content(content: Any, path: str) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    parts = [
        _part(entry_at(part, f"{path}[{n}]"), f"{path}[{n}]")
        for n, part in enumerate(list_at(content, path))
    ]
    if len(parts) == 1 and parts[0]["type"] == "text":
        text: str = parts[0]["text"]
        return text
    return parts or ""


def _part(part: dict[str, Any], path: str) -> dict[str, Any]:
    match part.get("type"):
        case "input_text" | "output_text":
            check(part, _TEXT, f"{path}.")
            return {"type": "text", "text": text_at(part.get("text"), f"{path}.text")}
        case "refusal":
            check(part, _REFUSAL, f"{path}.")
            return {"type": "refusal", "refusal": text_at(part.get("refusal"), f"{path}.refusal")}
        case "input_image":
            check(part, _IMAGE, f"{path}.")
            image = {"url": text_at(part.get("image_url"), f"{path}.image_url")}
            if part.get("detail") is not None:
                image["detail"] = text_at(part["detail"], f"{path}.detail")
            return {"type": "image_url", "image_url": image}
        case "input_file":
            check(part, _FILE, f"{path}.")
            file = {"file_data": text_at(part.get("file_data"), f"{path}.file_data")}
            file["filename"] = text_at(part.get("filename") or "document.pdf", f"{path}.filename")
            return {"type": "file", "file": file}
        case kind:
            raise unsupported(f"{path}.type", f"{kind!r} is not supported here")
