"""Bytes in, a validated `ChatRequest` out; every refusal names its field.

Hand-written checks instead of a model class: this runs on every request, and OpenAI's fields
that Compass has no opinion of pass through untouched. Pure.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from compass_ray.gateway.fields import CHECKS, Limits
from compass_ray.gateway.preferences import NO_HEADERS, read_preferences
from compass_ray.types.chat import ChatRequest
from compass_ray.types.errors import BodyTooLarge, InvalidRequest
from compass_ray.types.routing import Capability

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_ROLES_THAT_SPEAK = frozenset({"system", "developer", "user", "tool"})


def parse(raw: bytes, limits: Limits, headers: Mapping[str, str] = NO_HEADERS) -> ChatRequest:
    """Read a chat-completions body; `headers` are those of the request that are for Compass.

    Raises:
        InvalidRequest: not UTF-8, not JSON, or a field is missing, wrong or out of range.
        BodyTooLarge: more bytes than the limit.
    """
    body = load_body(raw, limits)
    for name, value in body.items():
        if value is not None and name in CHECKS:
            CHECKS[name](name, value, limits)
    model = model_of(body)
    messages = _Messages(body.get("messages"), limits)
    stream = bool(body.get("stream"))
    options = body.get("stream_options")
    if options is not None and not stream:
        raise InvalidRequest("stream_options needs stream: true", param="stream_options")
    return ChatRequest(
        body=body,
        model=model,
        text="\n".join(messages.texts),
        last_user_text=messages.last_user_text,
        needs=_needs(body, messages),
        stream=stream,
        include_usage=bool(options and options.get("include_usage")),
        max_output_tokens=_max_output_tokens(body),
        n=body.get("n") or 1,
        images=messages.images,
        input_bytes=len(raw) - messages.image_bytes,
        preferences=read_preferences(body.get("compass"), headers),
    )


def load_body(raw: bytes, limits: Limits) -> dict[str, Any]:
    """Return a body's JSON object.

    Raises:
        InvalidRequest: not UTF-8, not a JSON object, or a NUL in it.
        BodyTooLarge
    """
    if len(raw) > limits.body_bytes:
        raise BodyTooLarge(f"the body exceeds {limits.body_bytes} bytes", code="body_too_large")
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise InvalidRequest(f"the body is not valid JSON: {exc}", code="invalid_json") from None
    if not isinstance(body, dict):
        raise InvalidRequest("the body must be a JSON object", code="invalid_json")
    if b"\\u0000" in raw:
        _refuse_nul(body)
    return body


def model_of(body: Mapping[str, Any]) -> str:
    """Return the model that is asked for.

    Raises:
        InvalidRequest
    """
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidRequest("model must be a non-empty string", param="model")
    return model


class _Messages:
    """One pass over the messages: checks them and gathers what the request's facts need."""

    def __init__(self, messages: Any, limits: Limits) -> None:
        if not isinstance(messages, list):
            raise InvalidRequest("messages must be an array", param="messages")
        if not messages:
            raise InvalidRequest("messages must not be empty", param="messages")
        if len(messages) > limits.messages:
            raise InvalidRequest(f"more than {limits.messages} messages", param="messages")
        self.texts: list[str] = []
        self.last_user_text = ""
        self.images = 0
        self.image_bytes = 0
        self.needs: set[Capability] = set()
        for index, message in enumerate(messages):
            self._message(message, f"messages[{index}]")

    def _message(self, message: Any, path: str) -> None:
        if not isinstance(message, dict):
            raise InvalidRequest(f"{path} must be an object", param=path)
        role = message.get("role")
        if not isinstance(role, str) or role not in _ROLES:
            raise InvalidRequest(
                f"{path}.role must be one of {', '.join(sorted(_ROLES))}", param=f"{path}.role"
            )
        first = len(self.texts)
        self._content(message.get("content"), role, f"{path}.content")
        if role == "user":
            self.last_user_text = "\n".join(self.texts[first:])
        if message.get("tool_calls") is not None:
            _tool_calls(message["tool_calls"], f"{path}.tool_calls")
        if role == "tool" and not isinstance(message.get("tool_call_id"), str):
            raise InvalidRequest(
                f"{path}.tool_call_id must be a string", param=f"{path}.tool_call_id"
            )

    def _content(self, content: Any, role: str, path: str) -> None:
        if isinstance(content, str):
            self.texts.append(content)
        elif isinstance(content, list):
            for index, part in enumerate(content):
                self._part(part, f"{path}[{index}]")
        elif content is not None:
            raise InvalidRequest(f"{path} must be a string or an array of parts", param=path)
        elif role in _ROLES_THAT_SPEAK:
            raise InvalidRequest(f"{path} is missing", param=path)

    def _part(self, part: Any, path: str) -> None:
        if not isinstance(part, dict):
            raise InvalidRequest(f"{path} must be an object", param=path)
        match part.get("type"):
            case "text" | "refusal" as kind:
                if not isinstance(part.get(kind), str):
                    raise InvalidRequest(f"{path}.{kind} must be a string", param=f"{path}.{kind}")
                self.texts.append(part[kind])
            case "image_url":
                image = part.get("image_url")
                url = image.get("url") if isinstance(image, dict) else None
                if not isinstance(url, str):
                    raise InvalidRequest(
                        f"{path}.image_url.url must be a string", param=f"{path}.image_url.url"
                    )
                self.images += 1
                self.image_bytes += len(url)
                self.needs.add("vision")
            case "input_audio":
                self.needs.add("audio")
            case "file":
                self.needs.add("documents")
            case other:
                raise InvalidRequest(f"{path}.type {other!r} is unknown", param=f"{path}.type")


def _tool_calls(calls: Any, path: str) -> None:
    if not isinstance(calls, list):
        raise InvalidRequest(f"{path} must be an array", param=path)
    for index, call in enumerate(calls):
        function = call.get("function") if isinstance(call, dict) else None
        if (
            not isinstance(function, dict)
            or not isinstance(function.get("name"), str)
            or not isinstance(function.get("arguments", ""), str)
            or not isinstance(call.get("id"), str)
        ):
            where = f"{path}[{index}]"
            raise InvalidRequest(
                f"{where} must have an id and a function with name and arguments", param=where
            )


def _needs(body: Mapping[str, Any], messages: _Messages) -> frozenset[Capability]:
    needs = messages.needs
    if body.get("tools") or body.get("functions"):
        needs.add("tools")
    response_format = body.get("response_format")
    if response_format and response_format["type"] == "json_schema":
        needs.add("json_schema")
    if body.get("reasoning_effort") not in {None, "none"}:
        needs.add("reasoning")
    return frozenset(needs)


def _max_output_tokens(body: Mapping[str, Any]) -> int | None:
    newer: int | None = body.get("max_completion_tokens")
    return body.get("max_tokens") if newer is None else newer


def _refuse_nul(body: dict[str, Any]) -> None:
    """Name the field that holds U+0000, which stores and some providers cannot carry.

    Without recursion: a body may be nested deeper than the interpreter's stack.
    """
    keys: list[str | int] = []
    levels = [_entries(body)]
    while levels:
        for key, value in levels[-1]:
            if isinstance(value, str) and "\0" in value:
                path = _path([*keys, key])
                raise InvalidRequest(f"{path} holds a NUL character", param=path)
            if isinstance(value, dict | list):
                keys.append(key)
                levels.append(_entries(value))
                break
        else:
            levels.pop()
            del keys[-1:]


def _entries(value: dict[str, Any] | list[Any]) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, list):
        yield from enumerate(value)
    else:
        for name, item in value.items():
            yield repr(name), name
            yield name, item


def _path(keys: Iterable[str | int]) -> str:
    path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return path.removeprefix(".")
