"""Bytes in, a validated `EmbeddingRequest` out; every refusal names its field. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from compass_ray.gateway.fields import CHECKS, Limits
from compass_ray.gateway.parse import load_body, model_of
from compass_ray.gateway.preferences import NO_HEADERS, read_preferences
from compass_ray.types.embeddings import EmbeddingRequest, Encoding
from compass_ray.types.errors import InvalidRequest

_MAX_DIMENSIONS = 65_536
_MAX_TOKEN_IDS = 1_000_000
"""Of all inputs together; OpenAI takes 300,000."""
_MAX_TOKEN_ID = 2**31 - 1
_WHAT = "a string, an array of strings, of token ids, or of arrays of token ids"


def parse_embeddings(
    raw: bytes, limits: Limits, headers: Mapping[str, str] = NO_HEADERS
) -> EmbeddingRequest:
    """Read an embeddings body; `headers` are those of the request that are for Compass.

    Raises:
        InvalidRequest: not UTF-8, not JSON, or a field is missing, wrong or out of range.
        BodyTooLarge: more bytes than the limit.
    """
    body = load_body(raw, limits)
    for name in ("model", "user"):
        if body.get(name) is not None:
            CHECKS[name](name, body[name], limits)
    model = model_of(body)
    inputs = _inputs(body.get("input"), limits)
    encoding = body.get("encoding_format")
    if encoding not in (None, *get_args(Encoding)):
        raise InvalidRequest("encoding_format must be float or base64", param="encoding_format")
    return EmbeddingRequest(
        body=body,
        model=model,
        inputs=inputs,
        dimensions=_dimensions(body.get("dimensions")),
        encoding=encoding or "float",
        input_bytes=sum(map(_bytes, inputs)),
        preferences=read_preferences(body.get("compass"), headers),
    )


def _dimensions(value: Any) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= _MAX_DIMENSIONS:
        raise InvalidRequest(
            f"dimensions must be an integer between 1 and {_MAX_DIMENSIONS}", param="dimensions"
        )
    return value


def _inputs(value: Any, limits: Limits) -> Sequence[str | Sequence[int]]:
    """Return the inputs; an array of token ids is one."""
    if isinstance(value, str):
        return (_text(value, "input"),)
    if not isinstance(value, list):
        raise InvalidRequest(f"input must be {_WHAT}", param="input")
    if not value:
        raise InvalidRequest("input must not be empty", param="input")
    if type(value[0]) is int:
        return (_token_ids(value, "input", _MAX_TOKEN_IDS),)
    if len(value) > limits.inputs:
        raise InvalidRequest(f"input holds more than {limits.inputs} entries", param="input")
    left = _MAX_TOKEN_IDS
    for index, one in enumerate(value):
        where = f"input[{index}]"
        if type(one) is not type(value[0]):
            raise InvalidRequest(f"{where} is not of the kind of input[0]", param=where)
        if isinstance(one, str):
            _text(one, where)
        else:
            left -= len(_token_ids(one, where, left))
    return value


def _text(value: str, where: str) -> str:
    if not value:
        raise InvalidRequest(f"{where} must not be an empty string", param=where)
    return value


def _token_ids(value: Any, where: str, most: int) -> list[int]:
    if not isinstance(value, list):
        raise InvalidRequest(f"{where} must be a string or an array of token ids", param=where)
    if not value:
        raise InvalidRequest(f"{where} must not be empty", param=where)
    if len(value) > most:
        raise InvalidRequest(f"input holds more than {_MAX_TOKEN_IDS} token ids", param="input")
    if set(map(type, value)) != {int} or min(value) < 0 or max(value) > _MAX_TOKEN_ID:
        raise InvalidRequest(f"{where} must hold integers from 0 to {_MAX_TOKEN_ID}", param=where)
    return value


def _bytes(one: str | Sequence[int]) -> int:
    """Return the most tokens it can be: one a byte, and a token id is one."""
    if not isinstance(one, str) or one.isascii():
        return len(one)
    return len(one.encode("utf-8", "surrogatepass"))
