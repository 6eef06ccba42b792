"""A run's figures as a table for the terminal, as Markdown and as a chart."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.figures import Bar, Rounds, added, median_over

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABELS = {"direct": "direct", "compass": "Compass", "litellm": "LiteLLM"}
_COLORS = {"compass": "#2563eb", "litellm": "#b0b7c3"}
_OTHER_COLOR = "#7c8798"
_INK, _FAINT = "#1f2937", "#6b7280"


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that one run measured. `memory` is by system, in megabytes."""

    rounds: Rounds
    memory: Mapping[str, Mapping[str, float]]
    bars: Sequence[Bar]

    @property
    def systems(self) -> list[str]:
        """The names of the systems, in the order they were given."""
        return list(self.memory)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what it says and how its cells are found."""

    text: str
    cell: Callable[[Run, str], str]


def _of(scenario: str, *figures: str) -> Callable[[Run, str], str]:
    """Return a cell that shows figures' medians over the rounds, separated by a slash."""

    def cell(run: Run, system: str) -> str:
        values = [median_over(run.rounds, system, scenario, figure) for figure in figures]
        return " / ".join("-" if value is None else number(value) for value in values)

    return cell


def _memory(figure: str) -> Callable[[Run, str], str]:
    def cell(run: Run, system: str) -> str:
        value = run.memory[system].get(figure)
        return "-" if value is None else f"{value:,.0f}"

    return cell


ROWS = (
    Row("1 caller: p50 / p99, ms", _of("json-1", "latency_p50_ms", "latency_p99_ms")),
    Row("16 callers: p50 / p99, ms", _of("json-16", "latency_p50_ms", "latency_p99_ms")),
    Row("16 callers: requests/s", _of("json-16", "per_second")),
    Row("64 callers: requests/s", _of("json-64", "per_second")),
    Row("CPU per request, ms", _of("json-64", "cpu_ms_per_request")),
    Row("1 stream: first chunk p50, ms", _of("sse-1", "ttft_p50_ms")),
    Row("16 streams: first chunk p50 / p99, ms", _of("sse-16", "ttft_p50_ms", "ttft_p99_ms")),
    Row(
        "16 streams: delay of a chunk p50 / p99, ms",
        _of("sse-16", "chunk_delay_p50_ms", "chunk_delay_p99_ms"),
    ),
    Row("16 streams without pauses: chunks/s", _of("flat-16", "chunks_per_second")),
    Row("memory of the gateway process, MB", _memory("worker_rss_mb")),
    Row("memory of all its processes, MB", _memory("all_pss_mb")),
)


def number(value: float) -> str:
    """Write a figure with as many digits as its size deserves."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def label(system: str) -> str:
    """Return a system's name as people write it."""
    return LABELS.get(system, system)


def table(run: Run) -> str:
    """Return the figures and the bars as text with aligned columns."""
    rows = [["", *map(label, run.systems)]]
    rows += [[row.text, *(row.cell(run, system) for system in run.systems)] for row in ROWS]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [text.rjust(width) for text, width in zip(others, widths[1:], strict=True)]
        lines.append("   ".join([first.ljust(widths[0]), *cells]))
    lines.append("")
    lines += [f"{'met' if bar.met else 'NOT MET':8} {_bar(bar)}" for bar in run.bars]
    return "\n".join(lines)


def markdown(run: Run) -> str:
    """Return the figures and the bars as two Markdown tables."""
    lines = [
        "| | " + " | ".join(map(label, run.systems)) + " |",
        "|---|" + "---:|" * len(run.systems),
    ]
    for row in ROWS:
        cells = [row.cell(run, system) for system in run.systems]
        lines.append(f"| {row.text} | " + " | ".join(cells) + " |")
    if run.bars:
        lines += ["", "| bar | measured | limit | |", "|---|---:|---:|---|"]
    for bar in run.bars:
        sign = "≥" if bar.at_least else "≤"
        lines.append(
            f"| {bar.text} | {_with_unit(bar.measured, bar.unit)} "
            f"| {sign} {_with_unit(bar.limit, bar.unit)} | {'met' if bar.met else '**not met**'} |"
        )
    return "\n".join(lines) + "\n"


def plot(run: Run, file: Path) -> None:
    """Draw what the gateways add to a call and what they carry, as a chart for a README."""
    import matplotlib as mpl  # noqa: PLC0415  # only this needs it, and it is slow to import

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    gateways = [system for system in run.systems if system != "direct"]
    panels = [
        ("Added to a call\n1 caller, p50, ms", _added(run, "json-1", "latency_p50_ms")),
        ("Added to the first chunk\n16 streams, p50, ms", _added(run, "sse-16", "ttft_p50_ms")),
        ("CPU per request\n64 callers, ms", _median(run, "json-64", "cpu_ms_per_request")),
        ("Requests per second\n64 callers, more is better", _median(run, "json-64", "per_second")),
    ]
    style: dict[Any, str] = {
        "svg.hashsalt": "overhead",
        "font.family": "DejaVu Sans",
        "text.color": _INK,
    }
    with mpl.rc_context(style):
        figure, axes = plt.subplots(
            1, len(panels), figsize=(9.2, 0.95 + 0.42 * len(gateways)), sharey=True
        )
        for axis, (title, values) in zip(axes, panels, strict=True):
            _panel(axis, title, gateways, [values(system) for system in gateways])
        axes[0].set_yticks(range(len(gateways)), list(map(label, gateways)), fontsize=10)
        figure.tight_layout(w_pad=1.6)
        metadata = {"Date": None} if file.suffix == ".svg" else None
        figure.savefig(file, metadata=metadata, dpi=160, facecolor="white")
        plt.close(figure)


def _panel(
    axis: "Axes", title: str, systems: Sequence[str], values: Sequence[float | None]
) -> None:
    """Draw one bar a system, with its value at the end; bars start at zero, so no log scale."""
    lengths = [max(value or 0.0, 0.0) for value in values]
    colors = [_COLORS.get(system, _OTHER_COLOR) for system in systems]
    axis.barh(range(len(systems)), lengths, color=colors, height=0.62)
    longest = max(lengths) or 1.0
    for place, (length, value) in enumerate(zip(lengths, values, strict=True)):
        text = "not measured" if value is None else number(value)
        axis.text(length + longest * 0.03, place, text, va="center", fontsize=9.5)
    axis.set_xlim(0, longest * 1.38)
    axis.set_ylim(len(systems) - 0.45, -0.55)
    heading, _, unit = title.partition("\n")
    axis.set_title(heading, fontsize=9.5, loc="left", pad=17, fontweight="bold")
    axis.text(
        0, 1, unit, transform=axis.transAxes, fontsize=8.5, color=_FAINT, va="bottom", ha="left"
    )
    axis.set_xticks([])
    axis.tick_params(length=0)
    for side in ("top", "right", "bottom"):
        axis.spines[side].set_visible(False)
    axis.spines["left"].set_color(_FAINT)


def _added(run: Run, scenario: str, figure: str) -> Callable[[str], float | None]:
    return lambda system: added(run.rounds, system, "direct", scenario, figure)


def _median(run: Run, scenario: str, figure: str) -> Callable[[str], float | None]:
    return lambda system: median_over(run.rounds, system, scenario, figure)


def _bar(bar: Bar) -> str:
    sign = "≥" if bar.at_least else "≤"
    return (
        f"{_with_unit(bar.measured, bar.unit):>9}  {bar.text} "
        f"({sign} {_with_unit(bar.limit, bar.unit)})"
    )


def _with_unit(value: float, unit: str) -> str:
    if unit == "x":
        return f"{number(value)}x"
    return f"{number(value)} {unit}".rstrip()
