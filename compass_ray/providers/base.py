"""The seam between the gateway and a provider's wire.

A `Wire` translates; it has no I/O, no clock and no policy. One instance serves all requests.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from compass_ray.types.chat import Answer, ChatRequest, Chunk
from compass_ray.types.embeddings import Embedded, EmbeddingRequest
from compass_ray.types.errors import CompassError
from compass_ray.types.routing import Endpoint
from compass_ray.types.status import ProviderKey


@dataclass(frozen=True, slots=True)
class Target:
    """Where a provider is reached: `base_url` without trailing slash, and its key.

    `api_version` is a dated version of Azure's API, empty for all else.
    """

    base_url: str
    key: str | None = field(default=None, repr=False)
    api_version: str = ""
    keys: tuple[ProviderKey, ...] = ()
    """All keys of a provider that may have several."""

    def each_key(self) -> Iterator["Target"]:
        """Yield the same target with each of its keys."""
        for one in self.keys:
            yield Target(self.base_url, one.secret, self.api_version)


@dataclass(frozen=True, slots=True)
class HttpCall:
    """A call to be made; headers hold the key, so `repr` does not show them."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    method: Literal["POST", "GET"] = "POST"
    patient: bool = False
    """Whether the answer may begin as late as the call's deadline."""


@dataclass(frozen=True, slots=True)
class Step:
    """The next call for an answer that takes several.

    It is made `after` so many seconds. `streams`: what it brings is the streamed answer.
    """

    call: HttpCall
    after: float = 0.0
    streams: bool = False


@dataclass(slots=True)
class StreamState:
    """What a decoder remembers between the events of one stream.

    `request_id` becomes the OpenAI chunk id where the provider has none; `created` (Unix
    seconds) likewise; `model` is the name reported to the caller. `scratch` is the wire's own.
    `sent`: the call was handed to a connection, so the provider may work on it, and charge for it.
    """

    request_id: str
    created: int
    model: str
    rests_for: float = 0.0
    """Seconds for which the provider, by the answer's headers, takes nothing more."""
    scratch: dict[str, Any] = field(default_factory=dict)
    sent: bool = False
    made_good: tuple[str, ...] = ()
    """What was done in the place of a provider that cannot be asked for it, for people to read."""


END = "compass.end"
"""Name of the event after a stream of several exchanges; no provider sends it."""


class Further(Protocol):
    """How to go on where the first answer only says where the answer will be.

    `body` is the latest such answer, a 2xx.
    """

    def next(self, body: bytes, target: Target, *, stream: bool) -> Step | None:
        """Return the step that brings the answer nearer; None: `body` is the answer.

        Raises:
            BadAnswer: it says neither.
        """

    def stop(self, body: bytes, target: Target) -> HttpCall:
        """Return the call that ends the work on an answer for which nobody waits any more."""


class Counting(Protocol):
    """How a provider is asked for the number of a request's input tokens."""

    def ask(self, request: ChatRequest, endpoint: Endpoint, target: Target) -> HttpCall:
        """Write the question.

        Raises:
            InvalidRequest: this wire cannot express a field; names it.
        """

    def read(self, body: bytes) -> int:
        """Read the answer (status 200).

        Raises:
            BadAnswer: the body is none.
        """


class Embedder(Protocol):
    """How a provider is asked for embeddings."""

    def ask(self, request: EmbeddingRequest, endpoint: Endpoint, target: Target) -> HttpCall:
        """Write the request.

        Raises:
            InvalidRequest: this wire cannot express a field; names it.
        """

    def read(self, body: bytes) -> Embedded:
        """Read the answer (status 200).

        Raises:
            BadAnswer: the body is none.
            CompassError: the body is an error in a 200.
        """


class Wire(Protocol):
    """How one provider family writes a chat request and its answers."""

    @property
    def rate_limits(self) -> Sequence[tuple[str, str]]:
        """Pairs of headers: what remains of a rate limit, and when it begins anew."""

    @property
    def further(self) -> Further | None:
        """How to go on after the first exchange; None where one is enough."""

    @property
    def counting(self) -> Counting | None:
        """How to have input tokens counted; None where the provider counts for nobody."""

    @property
    def embedder(self) -> Embedder | None:
        """How to ask for embeddings; None where the provider makes none."""

    @property
    def json_mode(self) -> bool:
        """Whether `response_format` may ask for some JSON object, of no schema."""

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

        A stream of several exchanges ends with one more event, END, whose data is the last
        answer that `further.next` found, or an empty object where none came.

        Raises:
            BadAnswer: the data is not what the wire promises.
            CompassError: the event reports an error.
        """

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> CompassError:
        """Turn a non-200 answer into ours; header names are lower case."""
