"""What the server needs of a provider's wire; a module for each provider is it."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from compass_ray.simulator.exchange import Ask, Frame, Reply, Trouble


class Wire(Protocol):
    """One provider's shapes. Nothing here waits, draws or sends."""

    @property
    def NAME(self) -> str:  # noqa: N802  # a module's constant
        """The provider's name, which begins its paths."""

    def authenticate(self, headers: Mapping[str, str], query: Mapping[str, str], /) -> None:
        """Raise Refused unless the request carries a key; header names are lower case."""

    def read(self, raw: bytes, path: Mapping[str, str], /) -> Ask:
        """Read a request, or raise Refused."""

    def whole(self, ask: Ask, reply: Reply, /) -> bytes:
        """Write an answer in one piece."""

    def frames(self, ask: Ask, reply: Reply, /) -> Iterator[Frame]:
        """Write an answer as server-sent events."""

    def error(self, trouble: Trouble, request_id: str, /) -> bytes:
        """Write an error."""

    def error_event(self, document: bytes, /) -> bytes:
        """Write an error inside a stream."""

    def headers(self, ask: Ask | None, request_id: str, /) -> dict[str, str]:
        """Return the headers that go with an answer; `ask` None: with an error or a list."""

    def models(self) -> bytes:
        """Write the list of models."""
