"""What runs that are over came to, by workflow, agent, step or model.

Reads what is stored of their ends, and no history; through a connection of its own, so that no
event waits for it.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from compass_ray.types.run_analytics import Analysis, AnalysisQuery, Grouping, RunGroup, Spread

_MOST_ROWS = 200_000
"""Runs, or calls, that one question looks at: the latest."""
_MOST_GROUPS = 1_000

_RUNS = "name, run, status, code, cost, calls, ended_at - at FROM standings"
_CALLS = """
    {column}, run, CASE WHEN failed THEN 'failed' ELSE 'completed' END, of.code, of.cost, 1, seconds
    FROM standings JOIN calls AS of USING (run)
"""
_ROWS: Mapping[Grouping, str] = MappingProxyType(
    {
        "name": _RUNS,
        "agent": _CALLS.format(column="agent"),
        "step": _CALLS.format(column="step"),
        "model": _CALLS.format(column="endpoint"),
    }
)
_CHOSEN = """
    WITH chosen (what, run, status, code, cost, calls, seconds) AS MATERIALIZED (
        SELECT {rows} WHERE {where} ORDER BY standings.ended_at DESC LIMIT ?
    )
"""
_GROUPS = """
    , ranked AS (
        SELECT *, COUNT(*) OVER (PARTITION BY what) AS n,
            ROW_NUMBER() OVER (PARTITION BY what ORDER BY cost) AS dear,
            ROW_NUMBER() OVER (PARTITION BY what ORDER BY seconds) AS slow
        FROM chosen
    )
    SELECT what, COUNT(DISTINCT run), SUM(calls), SUM(status = 'cancelled'),
        SUM(cost), AVG(cost),
        MIN(CASE WHEN dear * 100 >= n * 50 THEN cost END),
        MIN(CASE WHEN dear * 100 >= n * 95 THEN cost END),
        SUM(seconds), AVG(seconds),
        MIN(CASE WHEN slow * 100 >= n * 50 THEN seconds END),
        MIN(CASE WHEN slow * 100 >= n * 95 THEN seconds END)
    FROM ranked GROUP BY what ORDER BY SUM(cost) DESC, what LIMIT ?
"""
"""Percentiles are nearest ranks: the least that so many per cent do not exceed."""
_COUNT = "SELECT COUNT(*) FROM chosen"
_FAILURES = "SELECT what, code, COUNT(*) FROM chosen WHERE status = 'failed' GROUP BY what, code"


class RunAnalytics:
    """Reads the file of a `WorkflowStore` that is open; to be used by one thread at a time."""

    def __init__(self, file: Path) -> None:
        where = f"{file.absolute().as_uri()}?mode=ro"
        self._db = sqlite3.connect(where, uri=True, check_same_thread=False, timeout=10)

    def analysis(self, query: AnalysisQuery) -> Analysis:
        """Return what is asked for, the dearest group first."""
        where = ["standings.kind = 'workflow'", "ended_at >= ?", "ended_at < ?"]
        values: list[Any] = [query.since, query.until]
        for column, value in (("account", query.account), ("name", query.name)):
            if value is not None:
                where.append(f"standings.{column} = ?")
                values.append(value)
        chosen = _CHOSEN.format(rows=_ROWS[query.by], where=" AND ".join(where))
        values.append(_MOST_ROWS)
        (looked_at,) = self._db.execute(chosen + _COUNT, values).fetchone()
        failures: dict[str | None, dict[str, int]] = defaultdict(dict)
        for what, code, times in self._db.execute(chosen + _FAILURES, values):
            failures[what][code] = times
        rows = self._db.execute(chosen + _GROUPS, [*values, _MOST_GROUPS])
        groups = [_group(row, failures[row[0]]) for row in rows]
        return Analysis(groups, truncated=looked_at >= _MOST_ROWS or len(groups) >= _MOST_GROUPS)

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _group(row: tuple[Any, ...], failures: Mapping[str, int]) -> RunGroup:
    what, runs, calls, cancelled, *spreads = row
    return RunGroup(
        what, runs, calls, cancelled, failures, Spread(*spreads[:4]), Spread(*spreads[4:])
    )
