"""`serve run` on a new Ray: `python -m compass_ray.serving.serve_run ADDRESS_FILE CONFIG ...`.

`serve run` starts a Ray only where it is not connected yet, with the dashboard: ten more processes,
200 MB and 3 seconds. So the Ray is started first.
"""

import os
import sys
from pathlib import Path

import ray
from ray.serve.scripts import cli


def main(arguments: list[str]) -> None:
    """Start Ray, write where others join it, then do as `serve run`; returns when interrupted."""
    address_file, *rest = arguments
    ray.init(
        address="local",
        namespace="serve",
        include_dashboard=os.environ.get("COMPASS_DASHBOARD") == "1",
    )
    Path(address_file).write_text(ray.get_runtime_context().gcs_address)
    cli(["run", *rest])


if __name__ == "__main__":
    main(sys.argv[1:])
