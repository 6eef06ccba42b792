"""From what people write for money to exact integers. Pure."""

from decimal import Decimal, InvalidOperation
from fractions import Fraction

from compass_ray.types.usage import MAX_MONEY, MICRO, Money

_LONGEST = 40
_MOST_DOLLARS = MAX_MONEY // MICRO


def micro_dollars(value: object) -> Money:
    """Return dollars, a number or a decimal string, as micro-dollars.

    Raises:
        ValueError: not a number, negative, absurdly large, or finer than a micro-dollar.
    """
    return _scaled(value, "a micro-dollar (0.000001)")


def pico_dollars(value: object) -> int:
    """Return dollars per million tokens as pico-dollars per token; see `types.usage`.

    Raises:
        ValueError: not a number, negative, absurdly large, or finer than a pico-dollar a token.
    """
    return _scaled(value, "0.000001 dollars per million tokens")


def _scaled(value: object, finest: str) -> int:
    amount = _decimal(value)
    if not 0 <= amount <= _MOST_DOLLARS:
        raise ValueError("must not be negative" if amount < 0 else "is more than there is")
    scaled = Fraction(amount) * MICRO
    if scaled.denominator != 1:
        raise ValueError(f"must not be finer than {finest}")
    return scaled.numerator


def _decimal(value: object) -> Decimal:
    """Read a decimal; a float stands for the shortest decimal that reads as it."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("must be a number or a decimal string")  # noqa: TRY004  # pydantic's way
    try:
        amount = Decimal(str(value))  # `str` refuses integers of thousands of digits
    except (InvalidOperation, ValueError):
        raise ValueError("must be a number or a decimal string") from None
    exponent = amount.as_tuple().exponent
    if not isinstance(exponent, int):
        raise ValueError("must be a finite number")  # noqa: TRY004
    if abs(exponent) > _LONGEST:
        raise ValueError("must be written in plain digits")
    return amount
