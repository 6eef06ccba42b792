"""The seam between the gateway and a provider's wire.

A `Wire` translates; it has no I/O, no clock and no policy. One instance serves all requests.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from compass_ray.types.chat import Answer, ChatRequest, Chunk
from compass_ray.types.errors import CompassError
from compass_ray.types.routing import Endpoint


@dataclass(frozen=True, slots=True)
class Target:
    """Where a provider is reached: `base_url` without trailing slash, and its key."""

    base_url: str
    key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class HttpCall:
    """A POST to be made; headers hold the key, so `repr` does not show them."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(slots=True)
class StreamState:
    """What a decoder remembers between the events of one stream.

    `request_id` becomes the OpenAI chunk id where the provider has none; `created` (Unix
    seconds) likewise; `model` is the name reported to the caller. `scratch` is the wire's own.
    """

    request_id: str
    created: int
    model: str
    scratch: dict[str, Any] = field(default_factory=dict)


class Wire(Protocol):
    """How one provider family writes a chat request and its answers."""

    def prefills(self, endpoint: Endpoint) -> bool:
        """Return whether `endpoint` goes on with a last message that is the assistant's.

        Only what its makers document counts, and only if a stream does not repeat that message.
        """

    def encode(self, request: ChatRequest, endpoint: Endpoint, target: Target) -> HttpCall:
        """Write `request` for `endpoint`.

        Raises:
            InvalidRequest: this wire cannot express a field; names it.
        """

    def decode(self, body: bytes, state: StreamState) -> Answer:
        """Read a whole answer (status 200).

        Raises:
            BadAnswer: the body is not an answer.
            CompassError: the body is an error in a 200.
        """

    def decode_chunk(self, event: str, data: bytes, state: StreamState) -> list[Chunk]:
        """Read one server-sent event (`event` is "" where the wire names none).

        Raises:
            BadAnswer: the data is not what the wire promises.
            CompassError: the event reports an error.
        """

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> CompassError:
        """Turn a non-200 answer into ours; header names are lower case."""
