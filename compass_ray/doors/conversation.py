"""The conversation that a dialect's request tells, message by message in the normal form. Pure."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Conversation:
    """Messages of the normal form; `origins` are the paths of what each was made from."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    origins: list[str] = field(default_factory=list)

    def add(self, origin: str, message: dict[str, Any]) -> None:
        """Append a message."""
        self.messages.append(message)
        self.origins.append(origin)

    def turn(self, origin: str) -> dict[str, Any]:
        """Return the assistant's message that is being told, a new one if there is none."""
        if not self.messages or self.messages[-1]["role"] != "assistant":
            self.add(origin, {"role": "assistant", "content": None})
        return self.messages[-1]
