"""Writes the conversation as Google's `systemInstruction` and `contents`. Pure.

Consecutive messages of one side become one content, so that all results of parallel calls stand
together. `name` of a message is a hint and left out.
"""

from collections.abc import Sequence
from typing import Any

from compass_ray.providers._content import (
    Inline,
    arguments_of,
    audio_of,
    file_of,
    image_of,
    parts_of,
    text_of,
)
from compass_ray.providers._fields import inexpressible
from compass_ray.providers._json import as_object
from compass_ray.types.errors import InvalidRequest

_ANY_SIGNATURE = "skip_thought_signature_validator"
"""What Google documents for a call whose signature is lost or that another model made."""

_IMAGE_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
}


def write_contents(messages: Sequence[dict[str, Any]], *, signed: bool) -> dict[str, Any]:
    """Return `contents`, and `systemInstruction` if there is one.

    `signed`: the model (Gemini 3 and later) demands a thought signature with its own calls.

    Raises:
        InvalidRequest: a message or a part cannot be expressed; names it.
    """
    system: list[dict[str, Any]] = []
    contents: list[dict[str, Any]] = []
    called: dict[str, str] = {}
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        if message["role"] in ("system", "developer"):
            text = text_of(message.get("content"), f"{path}.content")
            system += [{"text": text}] if text else []
            continue
        parts = _parts(message, path, called, signed=signed)
        if not parts:
            continue
        side = "model" if message["role"] == "assistant" else "user"
        if contents and contents[-1]["role"] == side:
            contents[-1]["parts"] += parts
        else:
            contents.append({"role": side, "parts": parts})
    if not contents:
        raise InvalidRequest("messages hold nothing to answer", param="messages")
    out: dict[str, Any] = {"contents": contents}
    if system:
        out["systemInstruction"] = {"parts": system}
    return out


def _parts(
    message: dict[str, Any], path: str, called: dict[str, str], *, signed: bool
) -> list[dict[str, Any]]:
    match message["role"]:
        case "user":
            content = parts_of(message.get("content"), f"{path}.content")
            parts = (_part(part, where) for where, part in content)
            return [part for part in parts if part is not None]
        case "tool":
            return [_response(message, path, called)]
        case "assistant":
            return _model_parts(message, path, called, signed=signed)
    raise inexpressible(f"{path}.role")


def _part(part: dict[str, Any], path: str) -> dict[str, Any] | None:
    """Return Google's part, None for empty text."""
    match part["type"]:
        case "text":
            return {"text": part["text"]} if part["text"] else None
        case "image_url":
            image = image_of(part, path)
            return _inline(image) if isinstance(image, Inline) else _link(image)
        case "input_audio":
            return _inline(audio_of(part, path))
        case "file":
            return _inline(file_of(part, path))
    raise inexpressible(f"{path}.type")


def _inline(source: Inline) -> dict[str, Any]:
    return {"inlineData": {"mimeType": source.mime_type, "data": source.data}}


def _link(url: str) -> dict[str, Any]:
    data = {"fileUri": url}
    ending = url.partition("?")[0].rpartition(".")[2].lower()
    if ending in _IMAGE_TYPES:
        data["mimeType"] = _IMAGE_TYPES[ending]
    return {"fileData": data}


def _response(message: dict[str, Any], path: str, called: dict[str, str]) -> dict[str, Any]:
    call_id = message["tool_call_id"]
    if call_id not in called:
        where = f"{path}.tool_call_id"
        raise InvalidRequest(f"{where} answers no tool call before it", param=where)
    output = text_of(message.get("content"), f"{path}.content")
    response = {"id": call_id, "name": called[call_id], "response": {"output": output}}
    return {"functionResponse": response}


def _model_parts(
    message: dict[str, Any], path: str, called: dict[str, str], *, signed: bool
) -> list[dict[str, Any]]:
    for name in ("audio", "function_call"):
        if message.get(name) is not None:
            raise inexpressible(f"{path}.{name}")
    text = text_of(message.get("content"), f"{path}.content") or message.get("refusal")
    parts: list[dict[str, Any]] = [{"text": text}] if text else []
    for index, call in enumerate(message.get("tool_calls") or ()):
        called[call["id"]] = name = call["function"]["name"]
        arguments = arguments_of(call, f"{path}.tool_calls[{index}]")
        part: dict[str, Any] = {
            "functionCall": {"id": call["id"], "name": name, "args": arguments},
        }
        extra = as_object(as_object(call.get("extra_content")).get("google"))
        signature = extra.get("thought_signature")
        if isinstance(signature, str):
            part["thoughtSignature"] = signature
        elif signed and index == 0:  # of parallel calls Google signs the first
            part["thoughtSignature"] = _ANY_SIGNATURE
        parts.append(part)
    return parts
