"""The seam between HTTP and a dialect.

A `Door` turns a request of its dialect into the normal form, and its `Visit` turns what came of
it back. Neither has I/O, a clock or an opinion: who may ask, what it costs and who answers is
decided behind the door, on the normal form alone, and so for every dialect alike.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from compass_ray.types.errors import CompassError
from compass_ray.types.requests import Kind
from compass_ray.types.usage import Usage

Headers = list[tuple[bytes, bytes]]


class Visit(Protocol):
    """One request that came through a door, and the way back of its one answer."""

    def answer(self, body: Mapping[str, Any], charged: Usage | None) -> bytes:
        """Write a whole `chat.completion`, or a `list` of embeddings.

        `charged` stands in where the provider said no usage; None for an answer told again.
        """

    def event(self, chunk: Mapping[str, Any]) -> bytes:
        """Write the server-sent events for one `chat.completion.chunk`; may be none."""

    def end(self, charged: Usage | None) -> bytes:
        """Write what follows the last chunk of a stream that ended well."""

    def failure(self, error: CompassError, request_id: str) -> bytes:
        """Write the event by which a stream ends that did not end well."""

    def named(self, error: CompassError) -> CompassError:
        """Return an error with the field it names as this dialect calls it."""


class Door(Protocol):
    """One dialect, for all requests."""

    @property
    def path(self) -> str:
        """The route that takes requests of this dialect."""

    @property
    def kind(self) -> Kind:
        """What its requests ask for."""

    def enter(self, raw: bytes) -> tuple[bytes, Visit]:
        """Return the request in the normal form, and its visit.

        Raises:
            InvalidRequest: the normal form cannot say it; names the field.
        """

    def error(self, error: CompassError, request_id: str) -> dict[str, Any]:
        """Return the body of an answer that is an error."""

    def headers(self, request_id: str) -> Headers:
        """Return what the dialect's clients look for beside Compass's own headers."""
