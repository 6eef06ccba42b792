"""Reads Replicate's predictions and the events of their streams into the normal form. Pure.

A prediction does not say why it ended: at its output limit where it made as many tokens as its
input allowed, else of itself. Models that do not count their tokens leave the usage open.
"""

from collections.abc import Mapping
from typing import Any

from compass_ray.providers import replicate_errors
from compass_ray.providers._json import as_object, load_object, text_or_none
from compass_ray.providers._normal_form import answer, choice, chunk, usage_chunk
from compass_ray.providers._usage import usage_of
from compass_ray.providers.base import END, StreamState
from compass_ray.types.chat import Answer, Chunk, FinishReason
from compass_ray.types.errors import BadAnswer, BrokenStream
from compass_ray.types.usage import Usage

_GOING_ON = frozenset({"starting", "processing"})
_ENDED = frozenset({"succeeded", "failed", "canceled", "aborted"})


def has_ended(prediction: Mapping[str, Any]) -> bool:
    """Return whether nothing more will come of it.

    Raises:
        BadAnswer: it is no prediction.
    """
    status = prediction.get("status")
    if type(status) is not str or status not in _GOING_ON | _ENDED:
        raise BadAnswer("the provider's answer is not a prediction")
    return status in _ENDED


def read(prediction: dict[str, Any], state: StreamState) -> Answer:
    """Read a prediction that has ended.

    Raises:
        BadAnswer: it has not, or is none.
        CompassError: it failed.
    """
    if not has_ended(prediction):
        raise BadAnswer("the provider's prediction has not ended")
    _check(prediction)
    message = {"role": "assistant", "content": _output(prediction)}
    usage = _usage(prediction)
    choices = [choice(0, message, _finish(prediction, usage))]
    return answer(state, None, choices, usage)


def read_event(event: str, data: bytes, state: StreamState) -> list[Chunk]:
    """Read one event of a stream.

    Raises:
        BadAnswer: it is not what Replicate promises.
        BrokenStream: the stream ended before the prediction.
        CompassError: the prediction failed.
    """
    match event:
        case "output":
            return [_said(data.decode("utf-8", "replace"), state)]
        case "error":
            raise replicate_errors.in_stream(data)
        case "done":
            return _done(as_object(load_object(data)), state)
        case "logs":
            return []
        case _ if event == END:
            return _ended(load_object(data), state)
    raise BadAnswer(f"an event of the provider's stream is called {event[:40]!r}")


def _said(text: str, state: StreamState) -> Chunk:
    delta: dict[str, Any] = {"content": text}
    if "spoke" not in state.scratch:
        state.scratch["spoke"] = True
        delta = {"role": "assistant", **delta}
    return chunk(state, delta, chars=len(text))


def _done(told: Mapping[str, Any], state: StreamState) -> list[Chunk]:
    """Wait for the ending, which says how much there was of it; or say why there is none."""
    reason = told.get("reason")
    if reason == "error":
        raise replicate_errors.of_prediction("the prediction failed")
    if reason is not None:
        raise BrokenStream(f"the prediction ended early: {str(reason)[:40]}")
    state.scratch["done"] = True
    return []


def _ended(prediction: dict[str, Any], state: StreamState) -> list[Chunk]:
    """Read what the prediction came to; of one that was not streamed that is all of it."""
    chunks = []
    if prediction:
        _check(prediction)
    if "done" not in state.scratch:
        if "spoke" in state.scratch or prediction.get("status") != "succeeded":
            raise BrokenStream("the stream ended before the prediction")
        chunks = [_said(_output(prediction), state)]
    elif "spoke" not in state.scratch:
        chunks = [_said("", state)]
    usage = _usage(prediction)
    chunks.append(chunk(state, {}, finish=_finish(prediction, usage), usage=usage))
    if usage is not None:
        chunks.append(usage_chunk(state, usage))
    return [*chunks, Chunk(None, usage=usage, done=True)]


def _check(prediction: Mapping[str, Any]) -> None:
    match prediction.get("status"):
        case "failed":
            raise replicate_errors.of_prediction(prediction.get("error"))
        case "canceled" | "aborted" as status:
            raise BrokenStream(f"the prediction was {status}")


def _output(prediction: Mapping[str, Any]) -> str:
    output = prediction.get("output")
    pieces = output if isinstance(output, list) else [output]
    texts = [text_or_none("output", piece) or "" for piece in pieces]
    return "".join(texts)


def _usage(prediction: Mapping[str, Any]) -> Usage | None:
    metrics = as_object(prediction.get("metrics"))
    return usage_of(metrics.get("input_token_count"), metrics.get("output_token_count"))


def _finish(prediction: Mapping[str, Any], usage: Usage | None) -> FinishReason:
    limit = as_object(prediction.get("input")).get("max_tokens")
    full = usage is not None and type(limit) is int and usage.output_tokens >= limit
    return "length" if full else "stop"
