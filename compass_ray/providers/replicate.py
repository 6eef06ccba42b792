"""Replicate's wire: a prediction is created, and then asked for until it is complete, or streamed.

The model is `owner/name`, or `owner/name:version` for a community's. See `replicate_request` for
what is translated and what is refused. Predictions are asked for by their id at our own base
URL; only a stream has an address of the provider's choice, which must be one of its own.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from compass_ray.providers import replicate_answer, replicate_errors, replicate_request
from compass_ray.providers._json import as_object, as_text, dump, load_object
from compass_ray.providers.base import HttpCall, Step, StreamState, Target
from compass_ray.types.chat import Answer, ChatRequest, Chunk
from compass_ray.types.errors import BadAnswer, CompassError
from compass_ray.types.routing import Endpoint

_WAIT_SECONDS = 2
"""How long the first exchange is held: until then the work has no name by which to stop it."""

_POLL_SECONDS = 0.5
"""Replicate's own clients' pause."""

_ID = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)


class ReplicateWire:
    """Implements `Wire` and `Further` for api.replicate.com."""

    counting = None
    embedder = None
    json_mode = False
    rate_limits = ()

    @property
    def further(self) -> "ReplicateWire":
        """The prediction is followed by the same wire."""
        return self

    def prefills(self, endpoint: Endpoint) -> bool:  # noqa: ARG002  # no model of Replicate's does
        """Return False: a prompt ends with the caller's turn."""
        return False

    def encode(self, request: ChatRequest, endpoint: Endpoint, target: Target) -> HttpCall:
        """Write `request` as the creation of a prediction."""
        model, _, version = endpoint.wire_model.partition(":")
        body: dict[str, Any] = {"input": replicate_request.write(request, endpoint)}
        headers = {"content-type": "application/json", **_key(target)}
        if request.stream:
            body["stream"] = True
        else:
            headers["prefer"] = f"wait={_WAIT_SECONDS}"
        if version:
            body["version"] = version
            return HttpCall(f"{target.base_url}/v1/predictions", headers, dump(body))
        return HttpCall(
            f"{target.base_url}/v1/models/{quote(model)}/predictions", headers, dump(body)
        )

    def next(self, body: bytes, target: Target, *, stream: bool) -> Step | None:
        """Return how to hear more of the prediction; None: it has ended."""
        prediction = load_object(body)
        ended = replicate_answer.has_ended(prediction)
        url = as_object(prediction.get("urls")).get("stream")
        if stream and url is not None and prediction.get("status") != "failed":
            headers = {"accept": "text/event-stream", "cache-control": "no-store", **_key(target)}
            return Step(HttpCall(_own(url, target), headers, method="GET"), streams=True)
        if ended:
            return None
        return Step(HttpCall(_place(prediction, target), _key(target), method="GET"), _POLL_SECONDS)

    def stop(self, body: bytes, target: Target) -> HttpCall:
        """Return the call that cancels the prediction."""
        return HttpCall(f"{_place(load_object(body), target)}/cancel", _key(target))

    def decode(self, body: bytes, state: StreamState) -> Answer:
        """Read a prediction that has ended."""
        return replicate_answer.read(load_object(body), state)

    def decode_chunk(self, event: str, data: bytes, state: StreamState) -> list[Chunk]:
        """Read one event of a prediction's stream."""
        return replicate_answer.read_event(event, data, state)

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> CompassError:
        """Read Replicate's problem details."""
        return replicate_errors.read(status, headers, body)


def _key(target: Target) -> dict[str, str]:
    return {} if target.key is None else {"authorization": f"Bearer {target.key}"}


def _place(prediction: Mapping[str, Any], target: Target) -> str:
    """Return where the prediction is, of which the provider names but the id."""
    name = as_text(prediction.get("id"))
    if not _ID.fullmatch(name):
        raise BadAnswer("the provider's prediction has no id")
    return f"{target.base_url}/v1/predictions/{name}"


def _own(url: Any, target: Target) -> str:
    """Return the address of a stream, to which our key goes, if it is the provider's own.

    Raises:
        BadAnswer: it leads elsewhere.
    """
    try:
        there, here = urlsplit(as_text(url)), urlsplit(target.base_url)
        port = there.port
    except ValueError:
        raise BadAnswer("the address of the provider's stream is not a URL") from None
    if (there.scheme, there.netloc) == (here.scheme, here.netloc):
        return as_text(url)
    ours = (there.hostname or "").endswith(".replicate.com") and "@" not in there.netloc
    if there.scheme == "https" and ours and port in (None, 443):
        return as_text(url)
    raise BadAnswer("the provider's stream is at an address that is not its own")
