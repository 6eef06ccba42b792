"""Runs the simulator: `python -m compass_ray.simulator`."""

import argparse
import asyncio
import contextlib
import signal
import sys
from pathlib import Path

from aiohttp import web

from compass_ray.simulator.process import READY, environment
from compass_ray.simulator.read_script import BadScript, read_file
from compass_ray.simulator.server import Simulator

_SHUTDOWN_SECONDS = 0.2


def main() -> None:
    """Serve on 127.0.0.1 until interrupted."""
    parser = argparse.ArgumentParser(prog="compass_ray.simulator", description=__doc__)
    parser.add_argument("--port", type=int, default=8400, help="0: any free port")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--script", type=Path, help="YAML or JSON file of rules")
    options = parser.parse_args()
    try:
        script = read_file(options.script) if options.script else ()
        asyncio.run(_serve(Simulator(options.seed, script), options.port))
    except (BadScript, OSError) as exc:
        sys.exit(f"simulator: {exc}")


async def _serve(simulator: Simulator, port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    # A handler is cancelled when its client leaves, even while it waits.
    runner = web.AppRunner(
        simulator.application(),
        handler_cancellation=True,
        access_log=None,
        shutdown_timeout=_SHUTDOWN_SECONDS,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        _greet(f"http://127.0.0.1:{runner.addresses[0][1]}")
        await stop.wait()
    finally:
        await runner.cleanup()


def _greet(url: str) -> None:
    lines = [f"{READY}{url}"]
    lines += [f"export {name}={value}" for name, value in environment(url).items()]
    with contextlib.suppress(BrokenPipeError):  # who started it need not listen
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
