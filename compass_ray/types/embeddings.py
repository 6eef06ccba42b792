"""A request for embeddings in Compass's normal form: OpenAI's JSON, and the facts drawn from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from compass_ray.types.routing import Capability, Preferences
from compass_ray.types.usage import Usage

Encoding = Literal["float", "base64"]
"""How an answer writes its vectors: as numbers, or as the base64 of 32-bit floats."""

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """A validated request; `body` is OpenAI's JSON as parsed, never mutated.

    An input is a text, or the ids of its tokens. Each is a sequence of its own to the model: its
    context window holds for every one.
    """

    body: Mapping[str, Any]
    model: str
    """`auto`, a model name, or `provider/model`."""
    inputs: Sequence[str | Sequence[int]]
    dimensions: int | None = None
    """None: as many as the model has."""
    encoding: Encoding = "float"
    input_bytes: int = 0
    """UTF-8 bytes of all texts, or the number of token ids: an upper bound of the tokens."""
    preferences: Preferences = field(default_factory=Preferences)
    needs: ClassVar[frozenset[Capability]] = frozenset()
    stream: ClassVar[bool] = False
    n: ClassVar[int] = 1
    max_output_tokens: ClassVar[int] = 0

    @property
    def windows(self) -> int:
        """How many context windows its input may fill."""
        return len(self.inputs)

    @property
    def text(self) -> str:
        """All texts, joined by newlines; token ids are left out."""
        return "\n".join(one for one in self.inputs if isinstance(one, str))


@dataclass(frozen=True, slots=True)
class Embedded:
    """What a provider made of the inputs: a vector for each, in their order."""

    vectors: Sequence[Vector]
    usage: Usage | None = None
    """None where the provider did not say."""
