"""One tool call in an answer, where its caller wants no more: what comes after it is left out.

Not every provider can be told, and not every server that is told keeps to it. Calls of one answer
do not build on each other: the model asks again for what it still needs, once it has the first
result. `made_good` of the attempt says how many were left out. Pure.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from compass_ray.providers.base import StreamState
from compass_ray.types.chat import Answer, ChatRequest, Chunk


def one_call_of(request: ChatRequest, state: StreamState) -> "OneCall | None":
    """Return what keeps the answer to one call; None where it may have any number."""
    return OneCall(state) if request.body.get("parallel_tool_calls") is False else None


class OneCall:
    """Leaves out all but the first call of each choice, and notes in `state` how many."""

    def __init__(self, state: StreamState) -> None:
        self._state = state
        self._first: dict[int, tuple[int, str | None]] = {}
        self._now: dict[int, str | None] = {}
        self._left_out: set[tuple[int, int, str | None]] = set()

    def answer(self, answer: Answer) -> Answer:
        """Return a whole answer with one call."""
        choices = [self._choice(choice, "message") for choice in answer.body["choices"]]
        return answer._replace(body={**answer.body, "choices": choices})

    def chunk(self, chunk: Chunk) -> Chunk:
        """Return a chunk of a stream without what belongs to a second call."""
        if chunk.body is None:
            return chunk
        choices = [self._choice(choice, "delta") for choice in chunk.body["choices"]]
        return replace(chunk, body={**chunk.body, "choices": choices})

    def _choice(self, choice: dict[str, Any], part: str) -> dict[str, Any]:
        calls = choice[part].get("tool_calls")
        if not calls:
            return choice
        number = choice["index"]
        kept = [call for place, call in enumerate(calls) if self._is_first(number, place, call)]
        said = {name: value for name, value in choice[part].items() if name != "tool_calls"}
        if kept:
            said["tool_calls"] = kept
        return {**choice, part: said}

    def _is_first(self, choice: int, place: int, call: Mapping[str, Any]) -> bool:
        """Tell by the call's index in a stream, or its place in a whole answer, and by its id.

        Some servers give all calls of a stream one index, or none: then each piece belongs to the
        call whose id came last.
        """
        index = call.get("index", place)
        self._now[choice] = name = call.get("id") or self._now.get(choice)
        if self._first.setdefault(choice, (index, name)) == (index, name):
            return True
        self._left_out.add((choice, index, name))
        count = len(self._left_out)
        told = f"parallel_tool_calls: {count} call{'s' if count > 1 else ''} left out"
        others = [one for one in self._state.made_good if not one.startswith("parallel_tool_calls")]
        self._state.made_good = (*others, told)
        return False
