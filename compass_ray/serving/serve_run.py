"""`serve run` on a new Ray: `python -m compass_ray.serving.serve_run ADDRESS_FILE CONFIG ...`.

`serve run` starts a Ray only where it is not connected yet, with the dashboard: ten more processes,
200 MB and 3 seconds. So the Ray is started first. And at its end it stops the ingress at once, with
every stream that is open; so the applications are deleted first, which lets their replicas drain.
"""

import os
import sys
import time
from pathlib import Path

import ray
from ray import serve
from ray.serve.scripts import cli

_LONG = 3600.0


def main(arguments: list[str]) -> None:
    """Start Ray, write where others join it, then do as `serve run`; returns when interrupted."""
    address_file, *rest = arguments
    ray.init(
        address="local",
        namespace="serve",
        include_dashboard=os.environ.get("COMPASS_DASHBOARD") == "1",
    )
    Path(address_file).write_text(ray.get_runtime_context().gcs_address)
    cli(["run", "--non-blocking", *rest], standalone_mode=False)
    try:
        while True:
            time.sleep(_LONG)
    except KeyboardInterrupt:
        for application in serve.status().applications:
            serve.delete(application)
        serve.shutdown()  # type: ignore[no-untyped-call]  # it has no annotations


if __name__ == "__main__":
    main(sys.argv[1:])
