"""The long form: `python -m tests.chaos --seconds 1800 --seed 7`. Exit code 1: something broke."""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from .run import run
from .world import running


def main() -> int:
    """Start a Compass, storm, report."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800.0, help="how long faults happen")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--folder", type=Path, help="for the history; a new one by default")
    told = parser.parse_args()
    folder = told.folder or Path(tempfile.mkdtemp(prefix="chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"seed {told.seed}, history in {folder}", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="chaos-state-") as state,
        running(Path(state), told.seed) as world,
    ):
        report = asyncio.run(run(world, told.seed, told.seconds, folder))
    print(report)
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
