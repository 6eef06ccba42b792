"""Going on with a streamed answer that broke off in its middle, at another model. Pure.

The text so far is handed to the next model as the beginning of its own answer (a prefill), and what
it says is joined to it. That is sound only for plain text: a tool call cannot be gone on with, nor
can thoughts that are over, nor a text that a grammar was to shape from its first character.

Anthropic refuses a prefill that ends in blanks, and chat templates cut them off. So the blanks at
the end are held back, and left out where the next model says them again.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from compass_ray.policy.billing import tokens_of_text
from compass_ray.types.chat import ChatRequest
from compass_ray.types.routing import Decision

_MORE_THAN_TEXT = frozenset(
    {
        "audio",
        "extra_content",
        "function_call",
        "reasoning",
        "reasoning_content",
        "refusal",
        "tool_calls",
    }
)
"""Parts of a delta that no prefill can express."""


class Heard:
    """What the caller has of a streamed answer with one choice."""

    __slots__ = ("_texts", "only_text")

    def __init__(self) -> None:
        self._texts: list[str] = []
        self.only_text = True

    @property
    def text(self) -> str:
        """The whole text so far."""
        return "".join(self._texts)

    @property
    def blanks(self) -> str:
        """What ends the text and is no part of a prefill."""
        text = self.text
        return text[len(text.rstrip()) :]

    def add(self, body: Mapping[str, Any]) -> None:
        """Take note of an OpenAI `chat.completion.chunk`."""
        for choice in body["choices"]:
            delta = choice["delta"]
            if delta.get("content"):
                self._texts.append(delta["content"])
            if any(delta.get(name) for name in _MORE_THAN_TEXT.intersection(delta)):
                self.only_text = False


def continued(request: ChatRequest, heard: Heard) -> ChatRequest | None:
    """Return the request for the rest of the answer; None where there is no sound one.

    Its last message is the text so far. Nothing but blanks needs no prefill: the request is asked
    again as it was. An output limit is lowered by what was delivered, counted as for the bill.
    """
    if not heard.only_text or not _is_plain(request):
        return None
    text = heard.text
    limit = request.max_output_tokens
    if limit is not None:
        limit -= tokens_of_text(len(text))
        if limit < 1:
            return None
    prefill = text.rstrip()
    if not prefill:
        return request
    message = {"role": "assistant", "content": prefill}
    body = {**request.body, "messages": [*request.body["messages"], message]}
    for name in ("max_tokens", "max_completion_tokens"):
        if body.get(name) is not None:
            body[name] = limit
    return replace(
        request,
        body=body,
        max_output_tokens=limit,
        input_bytes=request.input_bytes + len(prefill.encode()),
    )


def expecting(decision: Decision, heard: Heard) -> Decision:
    """Return the decision with the text so far counted as input, for an estimate of the bill."""
    seen = decision.classification
    tokens = seen.input_tokens + tokens_of_text(len(heard.text))
    return replace(decision, classification=replace(seen, input_tokens=tokens))


def _is_plain(request: ChatRequest) -> bool:
    """Return whether the request is for one text, and leaves the assistant the word."""
    body = request.body
    response_format = body.get("response_format")
    return (
        request.n == 1
        and "reasoning" not in request.needs
        and (response_format is None or response_format["type"] == "text")
        and body.get("tool_choice") in (None, "auto", "none")
        and body["messages"][-1]["role"] != "assistant"
    )


class Seam:
    """Joins the answer of another attempt to a stream under way: one id, and no second role.

    `held` are the blanks at the end of what the caller has that the next model was not told of.
    """

    __slots__ = ("_envelope", "_held")

    def __init__(self, begun: Mapping[str, Any], held: str = "") -> None:
        """Take any chunk of the stream's beginning."""
        self._envelope = {name: begun[name] for name in ("id", "created") if name in begun}
        self._held = held

    def join(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return a chunk of the new attempt as one of the stream."""
        choices = [{**choice, "delta": self._rest(choice["delta"])} for choice in body["choices"]]
        return {**body, **self._envelope, "choices": choices}

    def _rest(self, delta: Mapping[str, Any]) -> dict[str, Any]:
        rest = {name: value for name, value in delta.items() if name != "role"}
        content = rest.get("content")
        if content and self._held:
            said = _common(content, self._held)
            # A model that says something else after the same blanks goes on from there.
            self._held = self._held[said:] if said == len(content) else ""
            rest["content"] = content[said:]
        return rest


def _common(first: str, second: str) -> int:
    """Return how many characters both begin with."""
    length = min(len(first), len(second))
    return next((i for i in range(length) if first[i] != second[i]), length)


def mark(
    last: Mapping[str, Any], event: str, choices: int, model: str, told: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the chunk that says what becomes of the stream after `last`; `told` goes with it.

    After a restart every choice begins anew, with its role.
    """
    delta = {"role": "assistant", "content": ""} if event == "restart" else {}
    blank = {"delta": delta, "logprobs": None, "finish_reason": None}
    return {
        "id": last.get("id"),
        "object": "chat.completion.chunk",
        "created": last.get("created"),
        "model": model,
        "choices": [{"index": index, **blank} for index in range(choices)],
        "compass": {"event": event, **told},
    }
