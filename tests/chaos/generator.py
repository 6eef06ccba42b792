"""A seeded stream of operations: who asks for what, and who leaves early. Pure."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

Kind = Literal["chat", "snoop"]
"""`snoop` asks for the postings of another tenant's request, which must not be found."""

TENANTS = ("red", "green", "blue")
MODELS = ("sim", "sim", "sim", "sim-openai", "sim-anthropic", "sim-google", "auto")


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing a client does; `seed` and `number` make its prompt unlike any other."""

    seed: int
    number: int
    kind: Kind
    tenant: str
    model: str
    stream: bool
    words: int
    """Length of the prompt."""
    max_tokens: int
    leaves_after: int | None
    """Pieces of the answer after which the client closes the connection; 0: at once."""

    @property
    def prompt(self) -> str:
        """Return what is said; it holds the tenant's canary."""
        return f"{canary(self.seed, self.tenant)} {self.number} " + "lorem " * self.words

    @property
    def asked(self) -> str:
        """Return the digest under which the provider logs it."""
        return sha256(self.prompt.encode()).hexdigest()


def canary(seed: int, tenant: str) -> str:
    """Return a word that nobody but this tenant's provider may ever see."""
    return "canary" + sha256(f"{seed}:{tenant}".encode()).hexdigest()[:20]


def operations(seed: int) -> Iterator[Operation]:
    """Yield operations without end; the same seed yields the same."""
    chance = random.Random(f"operations:{seed}")
    for number in itertools.count(1):
        stream = chance.random() < 0.4
        leaves = chance.random() < (0.2 if stream else 0.05)
        yield Operation(
            seed=seed,
            number=number,
            kind="snoop" if chance.random() < 0.03 else "chat",
            tenant=chance.choice(TENANTS),
            model=chance.choice(MODELS),
            stream=stream,
            words=chance.choice((1, 5, 20, 400)),
            max_tokens=chance.choice((1, 5, 20, 60)),
            leaves_after=chance.randrange(6) if leaves else None,
        )
