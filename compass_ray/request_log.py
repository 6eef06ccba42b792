"""The structured log: one JSON object per line on stderr, written by a thread of its own.

A line holds no prompt, no answer, no key and no provider's message. JSON escapes what could
break a line or drive a terminal, and everything that is not ASCII. A reader that stops reading
never stops a request: once too many lines wait, more are dropped.
"""

import json
import logging
import queue
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from typing import Any, TextIO

from compass_ray.types.events import Record

_MAX_WAITING = 10_000

_log = logging.getLogger("compass.requests")


def log_request(record: Record) -> None:
    """Log a finished request."""
    _log.info(record)


def start(stream: TextIO | None = None, level: int = logging.INFO) -> Callable[[], None]:
    """Send everything the logger `compass` and its children say to `stream`.

    By default that is the process's own stderr: Ray Serve puts a logger in place of `sys.stderr`.

    Returns:
        A function that writes what still waits and undoes this.
    """
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    writer = logging.StreamHandler(stream or sys.__stderr__)
    writer.setFormatter(JsonLines())
    listener = QueueListener(waiting, writer)
    handler = _Handoff(waiting)
    logger = logging.getLogger("compass")
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    listener.start()

    def stop() -> None:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before
        listener.stop()

    return stop


class JsonLines(logging.Formatter):
    """Writes a `Record` with its fields and any other message with its text."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of ASCII."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        if isinstance(record.msg, Record):
            line["event"] = "request"
            line |= _fields(record.msg)
        else:
            line["message"] = record.getMessage()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, separators=(",", ":"))


class _Handoff(QueueHandler):
    def __init__(self, waiting: queue.SimpleQueue[Any]) -> None:
        super().__init__(waiting)
        self._waiting = waiting

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record  # formatting is the writer thread's work

    def enqueue(self, record: logging.LogRecord) -> None:
        if self._waiting.qsize() < _MAX_WAITING:
            self._waiting.put(record)


def _fields(record: Record) -> dict[str, Any]:
    usage = record.usage
    return {
        "request_id": record.request_id,
        "replay_of": record.replay_of,
        "account": record.account,
        "key_name": record.key_name,
        "provider": record.provider,
        "model": record.model,
        "tier": record.tier,
        "status": record.status,
        "stream": record.stream,
        "attempts": [
            {"endpoint": tried.endpoint, "error": tried.error, "seconds": round(tried.seconds, 6)}
            for tried in record.attempts
        ],
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "usage_estimated": usage.estimated,
        "cost_micro_usd": record.cost,
        "seconds": round(record.seconds, 6),
        "ttft": None if record.ttft is None else round(record.ttft, 6),
    }
