"""Writes a stream of the normal form as Anthropic's events. Pure.

    message_start
    (content_block_start, content_block_delta*, content_block_stop)*    one block at a time
    message_delta                                                       stop reason and usage
    message_stop

A `ping` follows the first block's start, as it does at Anthropic. The input tokens are known at the
end: `message_start` says 0, and `message_delta` the truth, which clients take over.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from compass_ray.doors import messages_answer
from compass_ray.doors.answers import (
    as_object,
    call_of,
    goes_on,
    signed_by_anthropic,
    thought_of,
    usage_of,
)
from compass_ray.types.errors import BadAnswer
from compass_ray.types.usage import Usage


class EventWriter:
    """The events of one stream; what is open is closed before anything else begins."""

    def __init__(self, *, shows_thoughts: bool) -> None:
        self._shows_thoughts = shows_thoughts
        self._out: list[bytes] = []
        self._began = False
        self._blocks = 0
        self._open = ""
        """Type of the open block; empty when none is."""
        self._call = -1
        """Which call the open block is."""
        self._calls = 0
        self._choice: Mapping[str, Any] = {}
        self._usage: Any = None
        self._cost: Any = None

    def chunk(self, chunk: Mapping[str, Any]) -> bytes:
        """Return the events for one `chat.completion.chunk`.

        Raises:
            BadAnswer: it goes back to a call that has ended.
            BrokenStream: it begins anew.
        """
        goes_on(chunk)
        if not self._began:
            self._begin(chunk)
        for choice in chunk["choices"]:
            delta = as_object(choice.get("delta"))
            self._thoughts(delta)
            for text in (delta.get("content"), delta.get("refusal")):
                if text:
                    self._enter("text", {"type": "text", "text": ""})
                    self._delta({"type": "text_delta", "text": text})
            for call in delta.get("tool_calls") or ():
                self._tool_use(call)
            if choice.get("finish_reason") is not None:
                self._choice = choice
        if chunk.get("usage"):
            self._usage, self._cost = chunk["usage"], chunk.get("compass")
        return self._written()

    def end(self, charged: Usage | None) -> bytes:
        """Return the last events."""
        if not self._began:
            self._begin({})
        self._leave()
        told: dict[str, Any] = {
            "type": "message_delta",
            "delta": messages_answer.stop(self._choice, called=self._calls > 0),
            "usage": messages_answer.usage(usage_of(self._usage, charged)),
        }
        if self._cost is not None:
            told["compass"] = self._cost
        self._write(told)
        self._write({"type": "message_stop"})
        return self._written()

    def _begin(self, chunk: Mapping[str, Any]) -> None:
        self._began = True
        message = {
            **messages_answer.envelope(chunk),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": messages_answer.usage(Usage()),
        }
        self._write({"type": "message_start", "message": message})

    def _thoughts(self, delta: Mapping[str, Any]) -> None:
        thought = thought_of(delta)
        if thought:
            self._enter("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            if self._shows_thoughts:
                self._delta({"type": "thinking_delta", "thinking": thought})
        for block in signed_by_anthropic(delta):
            if block.get("type") == "thinking":
                self._enter("thinking", {"type": "thinking", "thinking": "", "signature": ""})
                self._delta({"type": "signature_delta", "signature": block.get("signature") or ""})
            else:
                self._leave()
                self._enter("redacted_thinking", block)
            self._leave()

    def _tool_use(self, call: Mapping[str, Any]) -> None:
        position = call["index"]
        if position != self._call:
            if position < self._calls:
                raise BadAnswer("the provider's stream goes back to an earlier call")
            self._leave()
            begun = call_of(call)
            self._enter("tool_use", messages_answer.tool_use(begun, {}))
            self._call, self._calls = position, position + 1
        arguments = as_object(call.get("function")).get("arguments")
        if arguments:
            self._delta({"type": "input_json_delta", "partial_json": arguments})

    def _enter(self, kind: str, block: Mapping[str, Any]) -> None:
        if self._open == kind:
            return
        self._leave()
        self._open = kind
        index = self._blocks
        self._blocks += 1
        self._write({"type": "content_block_start", "index": index, "content_block": block})
        if index == 0:
            self._write({"type": "ping"})

    def _delta(self, delta: Mapping[str, Any]) -> None:
        self._write({"type": "content_block_delta", "index": self._blocks - 1, "delta": delta})

    def _leave(self) -> None:
        if self._open:
            self._write({"type": "content_block_stop", "index": self._blocks - 1})
        self._open = ""
        self._call = -1

    def _write(self, event: Mapping[str, Any]) -> None:
        self._out.append(written(event))

    def _written(self) -> bytes:
        out, self._out = b"".join(self._out), []
        return out


def written(event: Mapping[str, Any]) -> bytes:
    """Return one server-sent event, named by its type."""
    name: str = event["type"]
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(event) + b"\n\n"
