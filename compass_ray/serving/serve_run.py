"""`serve run` on a new Ray of this machine: `python -m compass_ray.serving.serve_run FILE ...`.

`serve run` starts a Ray only where it is not connected yet, with the dashboard: ten more processes,
200 MB and 3 seconds. So the Ray is started first.
"""

import os
import sys

import ray
from ray.serve.scripts import cli


def main(arguments: list[str]) -> None:
    """Start Ray, then do as `serve run` does with `arguments`; returns when interrupted."""
    ray.init(
        address="local",
        namespace="serve",
        include_dashboard=os.environ.get("COMPASS_DASHBOARD") == "1",
    )
    cli(["run", *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
