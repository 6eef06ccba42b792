"""Runs the simulator: `compass simulate`, or `python -m compass_ray.simulator`."""

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from compass_ray.simulator.process import READY, environment
from compass_ray.simulator.read_script import BadScript, read_file
from compass_ray.simulator.server import Simulator

_SHUTDOWN_SECONDS = 0.2
_SCRIPT = """
a script, first matching rule wins:
  rules:
  - match: {provider: openai, model: sim-1, contains: hello, nth: [1, 2], probability: 0.5,
            after_tool: false, busier_than: 8}
    then:
      ttft_s: 0.2
      tpot_s: 0.01
      error: {status: 429, kind: rate_limit_exceeded, message: slow down, retry_after: 3}
  - then: {text: hi}

then:
  ttft_s, tpot_s   seconds before the first and between tokens
  tokens, text     length of the made-up answer, or the answer
  ignore_max_tokens: true
  tool_call        {name: f, arguments: {...}}, or the name alone; or a list of such
  headers          {name: value}, in place of the answer's own
  error            a status, or as above; retry_after: a number or text for the header,
                   {ms: 250}, {date: 5} (that many seconds from now) or {retry_info: 3s}
  fault            reset, blackhole, html, empty, not_json, error_in_200, no_usage,
                   absurd_usage, no_finish_reason, no_done, huge_line, {huge_line: bytes},
                   {cut_after_chunks: n}, {cut_after_bytes: n},
                   or {stall_after_chunks: n, seconds: s}

at run time:
  GET  /_simulator/health, /_simulator/log
  POST /_simulator/script (JSON), /_simulator/reset
"""


def main(
    arguments: Sequence[str] | None = None, program: str = "python -m compass_ray.simulator"
) -> None:
    """Serve on 127.0.0.1 until interrupted.

    Args:
        arguments: what the user typed behind the program's name; None: what this process was given.
        program: what the user typed to come here.

    Raises:
        SystemExit: help was asked for, or with code 2, the user made a mistake.
    """
    parser = argparse.ArgumentParser(
        prog=program,
        description="A server that speaks the wires of all providers.",
        epilog=_SCRIPT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=8400, help="default 8400; 0: any free port")
    parser.add_argument("--seed", type=int, default=0, help="what all chance is drawn from")
    parser.add_argument("--script", type=Path, help="YAML or JSON file of rules")
    options = parser.parse_args(arguments)
    try:
        script = read_file(options.script) if options.script else ()
        asyncio.run(_serve(Simulator(options.seed, script), options.port))
    except (BadScript, OSError, OverflowError) as exc:
        parser.exit(2, f"{program}: {exc}\n")


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
