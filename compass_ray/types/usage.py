"""What a call used and what it costs, in integers.

Money is integer micro-dollars (1 USD = 1,000,000); a price is integer pico-dollars per token,
so that the field's usual "dollars per million tokens" is exact: 1 USD/Mtok = 1,000,000 pico-USD
per token. Amounts are rounded up to the next micro-dollar, once per call.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

Money = int
"""Integer micro-dollars."""

MICRO = 1_000_000
"""Micro-dollars per dollar; also pico-dollars per micro-dollar."""

MAX_MONEY: Money = 2**62
"""More than any budget; fits a signed 64-bit column."""

MAX_TOKENS = 2**40
"""No honest provider reports more tokens than this for one call."""


def dollars(amount: Money) -> str:
    """Return micro-dollars as an exact decimal number of dollars."""
    sign = "-" if amount < 0 else ""
    whole, part = divmod(abs(amount), MICRO)
    return f"{sign}{whole}.{part:06d}"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call. `cached_input_tokens` and `reasoning_tokens` are parts, not extras.

    `input_tokens` includes `cached_input_tokens`; `output_tokens` includes `reasoning_tokens`.
    `estimated` is set where the provider did not say (a broken stream, a missing usage block),
    `batch` where it said that it charges what a batch costs.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0
    estimated: bool = False
    batch: bool = False

    def __add__(self, other: "Usage") -> "Usage":
        """Return the tokens of both calls."""
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_input_tokens + other.cached_input_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.estimated or other.estimated,
            self.batch and other.batch,
        )

    def is_credible(self) -> bool:
        """Return whether a provider's word can be billed: no negatives, no absurd counts."""
        return (
            0 <= self.input_tokens <= MAX_TOKENS
            and 0 <= self.reasoning_tokens <= self.output_tokens <= MAX_TOKENS
            and self.cached_input_tokens >= 0
            and self.cache_write_tokens >= 0
            and self.cached_input_tokens + self.cache_write_tokens <= self.input_tokens
        )


@dataclass(frozen=True, slots=True)
class Price:
    """Pico-dollars per token, and micro-dollars per call (`per_request`).

    `batch` is the price of what the provider may work off when it suits it.
    """

    input: int
    output: int
    cached_input: int | None = None
    cache_write: int | None = None
    per_request: Money = 0
    batch: "Price | None" = None

    def times(self, share: Fraction) -> "Price":
        """Return the price of tokens times `share`, rounded up."""

        def part(price: int | None) -> int | None:
            return None if price is None else ceil(price * share)

        return Price(
            ceil(self.input * share),
            ceil(self.output * share),
            part(self.cached_input),
            part(self.cache_write),
            self.per_request,
        )

    @property
    def dearest_input(self) -> int:
        """The most that a token of input can cost, cached or not."""
        return max(self.input, self.cached_input or 0, self.cache_write or 0)
