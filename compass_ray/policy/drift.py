"""How a provider's own count of our usage differs from what was posted. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from compass_ray.types.usage import Money


@dataclass(frozen=True, slots=True)
class DayUsage:
    """What one model was used on one day (YYYY-MM-DD, UTC); None where it is not told.

    An empty `model` stands for all models.
    """

    day: str
    model: str
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: Money | None = None


@dataclass(frozen=True, slots=True)
class Drift:
    """One figure that both sides tell."""

    day: str
    model: str
    figure: str
    posted: int
    reported: int

    @property
    def share(self) -> float:
        """The difference as a share of what the provider reports."""
        if self.posted == self.reported:
            return 0.0
        return (self.posted - self.reported) / self.reported if self.reported else float("inf")


_FIGURES = ("input_tokens", "output_tokens", "cost")


def drift(
    posted: Iterable[DayUsage], reported: Sequence[DayUsage], models: Mapping[str, str]
) -> list[Drift]:
    """Compare, day by day and model by model, every figure that is reported.

    `models` leads from the provider's names to those in the postings; a dated name, such as
    gpt-4o-2024-08-06, is found by its beginning. Days that are not reported are left out.
    """
    days = {one.day for one in reported}
    whole = any(not one.model for one in reported)
    ours = _sums((one.day, "" if whole else one.model, one) for one in posted if one.day in days)
    theirs = _sums((one.day, "" if whole else _ours(one.model, models), one) for one in reported)
    found = []
    for figure in _FIGURES:
        told = {key for key, sums in theirs.items() if figure in sums}
        if not told:
            continue
        for key in sorted(told | ours.keys()):
            posted_sum = ours.get(key, {}).get(figure, 0)
            reported_sum = theirs.get(key, {}).get(figure, 0)
            if posted_sum or reported_sum:
                found.append(Drift(*key, figure, posted_sum, reported_sum))
    return found


def _ours(name: str, models: Mapping[str, str]) -> str:
    known = [wire for wire in models if name == wire or name.startswith(f"{wire}-")]
    return models[max(known, key=len)] if known else name


def _sums(
    rows: Iterable[tuple[str, str, DayUsage]],
) -> dict[tuple[str, str], dict[str, int]]:
    sums: dict[tuple[str, str], dict[str, int]] = {}
    for day, model, usage in rows:
        of_key = sums.setdefault((day, model), {})
        for figure in _FIGURES:
            value = getattr(usage, figure)
            if value is not None:
                of_key[figure] = of_key.get(figure, 0) + value
    return sums
