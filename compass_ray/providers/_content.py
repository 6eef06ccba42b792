"""The content of a message, read for the wires that write it differently. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from compass_ray.providers._fields import inexpressible
from compass_ray.providers._json import as_object, as_text
from compass_ray.types.errors import InvalidRequest

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w=.+-]+)*;base64,", re.ASCII)


@dataclass(frozen=True, slots=True)
class Inline:
    """Bytes that travel in the request, base64."""

    mime_type: str
    data: str


def parts_of(content: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (path, part) of a string, an array of parts, or nothing; a string is one part."""
    if isinstance(content, str):
        yield path, {"type": "text", "text": content}
    elif isinstance(content, list):
        for index, part in enumerate(content):
            yield f"{path}[{index}]", part


def text_of(content: Any, path: str) -> str:
    """Return the text of a content that can only be text.

    Raises:
        InvalidRequest: a part is something else.
    """
    texts = []
    for where, part in parts_of(content, path):
        kind = part["type"]
        if kind not in {"text", "refusal"}:
            raise inexpressible(where, f"{where} cannot be {kind} for the chosen provider")
        texts.append(part[kind])
    return "\n".join(texts)


def image_of(part: dict[str, Any], path: str) -> Inline | str:
    """Return the image's bytes, or its http address.

    Raises:
        InvalidRequest: neither.
    """
    url: str = part["image_url"]["url"]
    return url if url.startswith(("https://", "http://")) else inline(url, f"{path}.image_url.url")


def file_of(part: dict[str, Any], path: str) -> Inline:
    """Return the bytes of a `file` part.

    Raises:
        InvalidRequest: it refers to a file stored at OpenAI, or is malformed.
    """
    file = as_object(part.get("file"))
    if file.get("file_id") is not None:
        where = f"{path}.file.file_id"
        raise inexpressible(where, f"{where} names a file that only OpenAI has")
    return inline(as_text(file.get("file_data")), f"{path}.file.file_data")


def audio_of(part: dict[str, Any], path: str) -> Inline:
    """Return the bytes of an `input_audio` part.

    Raises:
        InvalidRequest: it is malformed.
    """
    audio = as_object(part.get("input_audio"))
    kind, data = audio.get("format"), audio.get("data")
    if kind not in ("wav", "mp3") or not isinstance(data, str):
        where = f"{path}.input_audio"
        raise InvalidRequest(f"{where} must have data, and a format of wav or mp3", param=where)
    return Inline(f"audio/{kind}", data)


def inline(url: str, path: str) -> Inline:
    """Read a base64 `data:` URL.

    Raises:
        InvalidRequest: it is none.
    """
    head = _DATA_URL.match(url, 0, 256)
    if head is None:
        raise InvalidRequest(f"{path} must be a data: URL in base64", param=path)
    return Inline(head[1].lower(), url[head.end() :])


def arguments_of(call: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the arguments of a tool call as an object, as other wires want them.

    Raises:
        InvalidRequest: they are not a JSON object.
    """
    raw = call["function"].get("arguments") or "{}"
    try:
        arguments = orjson.loads(raw)
    except orjson.JSONDecodeError:
        arguments = None
    if not isinstance(arguments, dict):
        where = f"{path}.function.arguments"
        raise InvalidRequest(f"{where} must be a JSON object", param=where)
    return arguments
