"""Reads and checks what a system answered. Pure: no clock, no I/O."""

from typing import Any

import orjson

from benchmarks.contract import ANSWER_TOKENS, answer_text, usage


class WrongAnswer(Exception):
    """An answer is not the one the upstream gave."""


def check_answer(body: bytes, mark: str) -> None:
    """Compare a whole answer with what the upstream says for `mark`.

    Raises:
        WrongAnswer: names what differs.
    """
    answer = _parsed(body)
    try:
        choice = answer["choices"][0]
        content, finish_reason = choice["message"]["content"], choice["finish_reason"]
    except (KeyError, IndexError, TypeError):
        raise WrongAnswer(f"not a completion: {body[:200]!r}") from None
    _expect("content", content, answer_text(mark))
    _expect("finish reason", finish_reason, "stop")
    _check_usage(answer.get("usage"), ANSWER_TOKENS)


class StreamReader:
    """Reads one stream of server-sent events; `end` tells whether it was whole and right."""

    def __init__(self, mark: str, chunks: int) -> None:
        self._mark = mark
        self._chunks = chunks
        self._rest = b""
        self._seen = 0
        self._finish_reason: str | None = None
        self._usage: object = None
        self._done = False

    def feed(self, data: bytes) -> list[int]:
        """Return when the upstream wrote the content chunks in `data`, in nanoseconds.

        `data` may end anywhere, also within an event.

        Raises:
            WrongAnswer: an event is not the next one of this stream.
        """
        *events, self._rest = (self._rest + data).split(b"\n\n")
        written = []
        for event in events:
            payload = event.strip()
            if not payload.startswith(b"data:"):
                continue  # a comment that keeps the connection alive
            payload = payload[5:].strip()
            if payload == b"[DONE]":
                self._done = True
            else:
                written += self._read(payload)
        return written

    def end(self) -> None:
        """Check that nothing is missing.

        Raises:
            WrongAnswer: names what is missing.
        """
        _expect("number of chunks", self._seen, self._chunks)
        _expect("finish reason", self._finish_reason, "stop")
        _check_usage(self._usage, self._chunks)
        _expect("terminal event", self._done, expected=True)

    def _read(self, payload: bytes) -> list[int]:
        chunk = _parsed(payload)
        if chunk.get("usage"):
            self._usage = chunk["usage"]
        written = []
        for choice in chunk.get("choices") or ():
            self._finish_reason = choice.get("finish_reason") or self._finish_reason
            if content := choice["delta"].get("content"):
                written.append(self._stamp(content))
        return written

    def _stamp(self, content: str) -> int:
        try:
            mark, index, stamp = content.split()
        except ValueError:
            raise WrongAnswer(f"not a chunk of the upstream: {content[:200]!r}") from None
        _expect("mark", mark, self._mark)
        _expect("index of the chunk", int(index), self._seen)
        self._seen += 1
        return int(stamp)


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise WrongAnswer(f"not JSON: {body[:200]!r}") from None
    if not isinstance(value, dict):
        raise WrongAnswer(f"not an object: {body[:200]!r}")
    return value


def _check_usage(found: object, output_tokens: int) -> None:
    if not isinstance(found, dict):
        raise WrongAnswer(f"no usage: {found!r}")
    for name, value in usage(output_tokens).items():
        _expect(name, found.get(name), value)


def _expect(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise WrongAnswer(f"{what} is {found!r}, not {expected!r}")
