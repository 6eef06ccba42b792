"""Writes a stream of the normal form as the events of OpenAI's Responses API. Pure.

    response.created, response.in_progress
    (response.output_item.added, …parts and deltas…, response.output_item.done)*   one at a time
    response.completed, or response.incomplete where a limit or a filter ended it

Every event has a `sequence_number`, from 0; whatever has deltas has a `done` with the whole of it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import orjson

from compass_ray.doors.answers import Call, as_object, call_of, goes_on, thought_of, usage_of
from compass_ray.doors.errors import facts
from compass_ray.doors.responses_answer import Envelope, ended, refusal_part, text_part
from compass_ray.types.errors import BadAnswer, CompassError
from compass_ray.types.usage import Usage

Event = dict[str, Any]


class EventWriter:
    """The events of one stream; what is open is closed before anything else begins."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        self._told = told
        self._envelope: Envelope | None = None
        self._number = 0
        self._output: list[dict[str, Any]] = []
        self._item: _Item | None = None
        self._calls = 0
        self._finish: str | None = None
        self._usage: Any = None
        self._cost: Any = None

    def chunk(self, chunk: Mapping[str, Any]) -> bytes:
        """Return the events for one `chat.completion.chunk`.

        Raises:
            BadAnswer: it goes back to a call that has ended.
            BrokenStream: it begins anew.
        """
        goes_on(chunk)
        events = [] if self._envelope else self._begin(chunk)
        for choice in chunk["choices"]:
            delta = as_object(choice.get("delta"))
            events += self._delta(delta)
            self._finish = choice.get("finish_reason") or self._finish
        if chunk.get("usage"):
            self._usage, self._cost = chunk["usage"], chunk.get("compass")
        return self._written(events)

    def end(self, charged: Usage | None) -> bytes:
        """Return the last events."""
        events = [] if self._envelope else self._begin({})
        envelope = self._known()
        if not self._output and self._item is None:
            events += self._enter(_Message(envelope, "output_text", 0))
        status = ended(self._finish)
        events += self._leave(status)
        used = usage_of(self._usage, charged)
        finish = self._finish
        response = envelope.response(self._output, finish=finish, usage=used, status=status)
        if self._cost is not None:
            response["compass"] = self._cost
        events.append({"type": f"response.{response['status']}", "response": response})
        return self._written(events)

    def failure(self, error: CompassError, request_id: str) -> bytes:
        """Return the event that ends a stream; OpenAI's client raises it."""
        told = {"type": "error", "message": error.message, "code": error.code}
        event = {**told, "param": error.param, "error": facts(error, request_id)}
        return self._written([event])

    def _begin(self, chunk: Mapping[str, Any]) -> list[Event]:
        self._envelope = Envelope(self._told, chunk)
        response = self._envelope.response([], status="in_progress")
        kinds = ("response.created", "response.in_progress")
        return [{"type": kind, "response": response} for kind in kinds]

    def _known(self) -> Envelope:
        if self._envelope is None:
            raise BadAnswer("the stream has not begun")
        return self._envelope

    def _delta(self, delta: Mapping[str, Any]) -> list[Event]:
        envelope, events = self._known(), []
        thought, extra = thought_of(delta), as_object(delta.get("extra_content"))
        if thought or (extra and envelope.seals):
            if not isinstance(self._item, _Thought):
                events += self._enter(_Thought(envelope, len(self._output)))
            events += self._say(thought, extra)
        for kind, name in (("output_text", "content"), ("refusal", "refusal")):
            if delta.get(name):
                if not (isinstance(self._item, _Message) and self._item.kind == kind):
                    events += self._enter(_Message(envelope, kind, len(self._output)))
                events += self._say(delta[name], {})
        for call in delta.get("tool_calls") or ():
            events += self._call(envelope, call)
        return events

    def _call(self, envelope: Envelope, call: Mapping[str, Any]) -> list[Event]:
        events, position = [], call["index"]
        if position >= self._calls:
            events = self._enter(_Called(envelope, call_of(call), position))
            self._calls = position + 1
        elif not (isinstance(self._item, _Called) and self._item.position == position):
            raise BadAnswer("the provider's stream goes back to an earlier call")
        return events + self._say(as_object(call.get("function")).get("arguments") or "", {})

    def _enter(self, item: "_Item") -> list[Event]:
        events = self._leave()
        self._item = item
        added = {"type": "response.output_item.added", "item": item.written("in_progress")}
        return events + self._placed([added, *item.opening()])

    def _say(self, text: str, extra: Mapping[str, Any]) -> list[Event]:
        if self._item is None:
            return []
        return self._placed(self._item.say(text, extra))

    def _leave(self, status: str = "completed") -> list[Event]:
        item = self._item
        if item is None:
            return []
        written = item.written(status)
        done = {"type": "response.output_item.done", "item": written}
        events = self._placed([*item.closing(), done])
        self._output.append(written)
        self._item = None
        return events

    def _placed(self, events: list[Event]) -> list[Event]:
        place = len(self._output)
        return [{**event, "output_index": place} for event in events]

    def _written(self, events: list[Event]) -> bytes:
        out = []
        for event in events:
            numbered = {**event, "sequence_number": self._number}
            self._number += 1
            name: str = event["type"]
            out.append(b"event: " + name.encode() + b"\ndata: " + orjson.dumps(numbered) + b"\n\n")
        return b"".join(out)


class _Item(ABC):
    """One item of the output while it is being told."""

    def __init__(self, envelope: Envelope) -> None:
        self.envelope = envelope
        self.pieces: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @abstractmethod
    def written(self, status: str) -> dict[str, Any]:
        """Return the item as it stands."""

    @abstractmethod
    def opening(self) -> list[Event]:
        """Return what follows its beginning."""

    @abstractmethod
    def say(self, text: str, extra: Mapping[str, Any]) -> list[Event]:
        """Take more of it."""

    @abstractmethod
    def closing(self) -> list[Event]:
        """Return what precedes its end."""


class _Message(_Item):
    """What is said: one part, text or a refusal."""

    def __init__(self, envelope: Envelope, kind: str, place: int) -> None:
        super().__init__(envelope)
        self.kind = kind
        self._id = f"msg_{envelope.suffix}_{place}"
        self._where = {"item_id": self._id, "content_index": 0}

    def written(self, status: str) -> dict[str, Any]:
        parts = [] if status == "in_progress" else [self._part()]
        return {**self.envelope.message(parts, status=status), "id": self._id}

    def opening(self) -> list[Event]:
        return [{"type": "response.content_part.added", **self._where, "part": self._part()}]

    def say(self, text: str, extra: Mapping[str, Any]) -> list[Event]:  # noqa: ARG002  # of thoughts
        self.pieces.append(text)
        return [
            {"type": f"response.{self.kind}.delta", **self._where, "delta": text, **self._odds()}
        ]

    def closing(self) -> list[Event]:
        name = "text" if self.kind == "output_text" else "refusal"
        whole = {"type": f"response.{self.kind}.done", **self._where, name: self.text}
        part = {"type": "response.content_part.done", **self._where, "part": self._part()}
        return [{**whole, **self._odds()}, part]

    def _part(self) -> dict[str, Any]:
        return text_part(self.text) if self.kind == "output_text" else refusal_part(self.text)

    def _odds(self) -> dict[str, Any]:
        return {"logprobs": []} if self.kind == "output_text" else {}


class _Thought(_Item):
    """Readable reasoning, and what its provider wants back."""

    def __init__(self, envelope: Envelope, place: int) -> None:
        super().__init__(envelope)
        self._id = f"rs_{envelope.suffix}_{place}"
        self._where = {"item_id": self._id, "summary_index": 0}
        self._extra: dict[str, Any] = {}

    def written(self, status: str) -> dict[str, Any]:
        item = self.envelope.reasoning(self.text, self._extra, status=status)
        return {**item, "id": self._id}

    def opening(self) -> list[Event]:
        return []

    def say(self, text: str, extra: Mapping[str, Any]) -> list[Event]:
        _join(self._extra, extra)
        if not text:
            return []
        events: list[Event] = []
        if not self.pieces:
            kind = "response.reasoning_summary_part.added"
            events.append({"type": kind, **self._where, "part": self._part()})
        self.pieces.append(text)
        kind = "response.reasoning_summary_text.delta"
        return [*events, {"type": kind, **self._where, "delta": text}]

    def closing(self) -> list[Event]:
        if not self.pieces:
            return []
        whole = {"type": "response.reasoning_summary_text.done", **self._where, "text": self.text}
        part = {"type": "response.reasoning_summary_part.done", **self._where, "part": self._part()}
        return [whole, part]

    def _part(self) -> dict[str, Any]:
        return {"type": "summary_text", "text": self.text}


class _Called(_Item):
    """A call and its arguments."""

    def __init__(self, envelope: Envelope, call: Call, position: int) -> None:
        super().__init__(envelope)
        self.position = position
        self._call = call
        self._where = {"item_id": envelope.call(call, position, "")["id"]}

    def written(self, status: str) -> dict[str, Any]:
        return self.envelope.call(self._call, self.position, self.text, status=status)

    def opening(self) -> list[Event]:
        return []

    def say(self, text: str, extra: Mapping[str, Any]) -> list[Event]:  # noqa: ARG002  # of thoughts
        if not text:
            return []
        self.pieces.append(text)
        kind = "response.function_call_arguments.delta"
        return [{"type": kind, **self._where, "delta": text}]

    def closing(self) -> list[Event]:
        kind = "response.function_call_arguments.done"
        told = {"arguments": self.text, "name": self._call.name}
        return [{"type": kind, **self._where, **told}]


def _join(known: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add what a chunk brings: Anthropic's thoughts come block by block."""
    for provider, told in more.items():
        kept = known.setdefault(provider, {})
        for name, value in as_object(told).items():
            before = kept.get(name)
            both = isinstance(before, list) and isinstance(value, list)
            kept[name] = [*before, *value] if both else value
