"""What the logs of `serve run` say about a deployment under way. Pure.

Serve tells an application's state only to clients of its cluster; its logs tell everybody.
"""

import re

_STEPS = (
    ("Submitted deploy config", "starting the gateway"),
    ("Started a local Ray instance", "starting Ray Serve"),
)
_VERDICTS = (
    "failed with exception:",
    "Failed to update the deployments",
    "Runtime env setup for app",
    "Unexpected error occurred while deploying",
)
"""What Serve's controller logs when it gives a deployment up, after its own retries."""

_EXCEPTION = re.compile(r"^(?:\w+\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt|Failed)?: .+$")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_RECORD = re.compile(r"^(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) \d{4}-")


def step(output: str) -> str:
    """Return what `serve run`, having printed `output`, is waiting for."""
    return next((doing for said, doing in _STEPS if said in output), "starting Ray")


def failure(controller_log: str) -> str | None:
    """Return the exception for which Serve gave up a deployment, or None while it has not."""
    if not any(verdict in controller_log for verdict in _VERDICTS):
        return None
    exceptions = [line for line in plain(controller_log).splitlines() if _is_exception(line)]
    return exceptions[-1] if exceptions else tail(controller_log, 10)


def tail(text: str, lines: int) -> str:
    """Return the last `lines` that are not empty, without colours."""
    return "\n".join([line for line in plain(text).splitlines() if line.strip()][-lines:])


def plain(text: str) -> str:
    """Return `text` without terminal colours."""
    return _COLOUR.sub("", text)


def _is_exception(line: str) -> bool:
    return _EXCEPTION.match(line) is not None and _RECORD.match(line) is None
