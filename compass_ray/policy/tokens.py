"""How many tokens a request will be, estimated without a tokenizer. Pure.

The rule: a quarter token a character, plus 0.3 for every UTF-8 byte beyond a character's first
(so about 0.55 for a Greek or Cyrillic letter, 0.85 for a Chinese or Japanese one, 1.2 for an
emoji), and half a token a character for text almost without spaces (base64, hex, minified
code). Bounds, not estimates, guard money: see `policy.pricing`.
"""

from compass_ray.types.chat import ChatRequest

_PER_CHAR = 0.25
_PER_EXTRA_BYTE = 0.3
_PER_CHAR_UNSPACED = 0.5
_CHARS_PER_SPACE_AT_MOST = 30
_SHORTEST_JUDGED = 64
"""Characters; below it the share of spaces says nothing."""

_PER_MESSAGE = 4
_PER_IMAGE = 800
_BYTES_PER_SCHEMA_TOKEN = 5
_SCHEMA_FIELDS = frozenset({"tools", "functions", "response_format"})


def tokens_of(text: str) -> int:
    """Return an estimate, rounded up; linear in the text, about 0.1 ms a megabyte of ASCII."""
    chars = len(text)
    extra = 0 if text.isascii() else len(text.encode("utf-8", "surrogatepass")) - chars
    per_char = _PER_CHAR_UNSPACED if _unspaced(text) and not extra else _PER_CHAR
    return -int(-(chars * per_char + extra * _PER_EXTRA_BYTE) // 1)


def input_tokens(request: ChatRequest) -> int:
    """Return an estimate of all input tokens; at most one a byte, so below every bound.

    Tool and answer schemas are estimated from the bytes of the body that are not text.
    """
    body = request.body
    tokens = tokens_of(request.text)
    tokens += _PER_MESSAGE * len(body["messages"]) + _PER_IMAGE * request.images
    if not _SCHEMA_FIELDS.isdisjoint(body):
        tokens += max(0, request.input_bytes - len(request.text)) // _BYTES_PER_SCHEMA_TOKEN
    return tokens


def _unspaced(text: str) -> bool:
    if len(text) < _SHORTEST_JUDGED:
        return False
    spaces = text.count(" ") + text.count("\n")
    return spaces * _CHARS_PER_SPACE_AT_MOST < len(text)
