"""Cost against quality, as a chart."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_COLORS = {"learned": "#2563eb", "oracle": "#16a34a"}
_OTHER_COLOR = "#9ca3af"


def draw(curves: Mapping[str, Any], tiers: Mapping[str, Any], path: Path) -> bool:
    """Write the chart; return whether matplotlib was there to do so."""
    try:
        import matplotlib as mpl  # noqa: PLC0415  # of the group `bench`
    except ImportError:
        print("no chart: matplotlib is not installed")
        return False
    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, (two, three) = plt.subplots(1, 2, figsize=(11, 4.5))
    for name, curve in curves.items():
        color = _COLORS.get(name, _OTHER_COLOR)
        style = "-" if name in _COLORS else ":"
        two.plot(curve["cost"], curve["quality"], style, color=color, label=name)
    two.set_title("two tiers: more and more to premium")
    for name, one in tiers.items():
        learned = name.startswith("learned")
        color = _COLORS["learned"] if learned else _OTHER_COLOR
        place = (1 - one["cost saved"], one["quality kept"])
        three.plot(*place, "o", color=color)
        three.annotate(name, place, textcoords="offset points", xytext=(4, 4), fontsize=7)
    three.set_title("three tiers")
    for axes in (two, three):
        axes.axhline(0.95, color="#d1d5db", linewidth=0.8)
        axes.set_xlabel("cost, share of always premium")
        axes.set_ylabel("quality, share of always premium")
    two.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
    return True
