"""Keeps a replica's rules up with their file, which its users edit while the gateway runs.

Each replica looks at the file every second, so all of them follow an edit without a word from
anybody. What is not sound is refused, with line and reason, and the rules that hold stay. Where
the file is not on a replica's machine, what was read when the gateway was deployed holds.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from compass_ray.policy.rules import Rules
from compass_ray.rules import parse_rules, read_rules
from compass_ray.serving.admin import only_admin
from compass_ray.types.accounts import Caller
from compass_ray.types.errors import ConfigError, InvalidRequest
from compass_ray.types.settings import RulesFile

_log = logging.getLogger("compass.rules")

_EVERY_SECONDS = 1.0


class _Stamp(NamedTuple):
    """What changes when somebody edits a file, or puts another in its place."""

    inode: int
    size: int
    modified: int


class _Look(NamedTuple):
    """What a look at the file has shown: new rules, a problem, or neither."""

    stamp: _Stamp | None
    rules: Rules | None = None
    problem: str | None = None


class RulesWatch:
    """The rules that hold, their file, and what is wrong with it. `wall` is Unix seconds.

    `own` is None where no file is configured; `adopt` takes over new rules.
    """

    def __init__(
        self,
        own: RulesFile | None,
        rules: Rules,
        adopt: Callable[[Rules], None],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._file = None if own is None else Path(own.name)
        self._version = rules.version
        self._adopt = adopt
        self._wall = wall
        self._since = wall()
        self._stamp: _Stamp | None = None
        self._problem: str | None = None
        self._looking = asyncio.Lock()

    async def run(self) -> None:
        """Follow the file, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_EVERY_SECONDS)

    async def look(self, *, again: bool = False) -> None:
        """Take over what has changed; `again` reads a file that looks the same, too."""
        if self._file is None:
            return
        async with self._looking:
            stamp = None if again else self._stamp
            seen = await asyncio.to_thread(_look, self._file, stamp, self._version)
            if seen.stamp is not None and seen.stamp == stamp:
                return
            self._stamp = seen.stamp
            self._say(seen.problem)
            if seen.rules is not None:
                self._version, self._since = seen.rules.version, self._wall()
                self._adopt(seen.rules)
                _log.info("rules %s of %s hold from now on", self._version, self._file)

    async def reload(self, caller: Caller) -> dict[str, object]:
        """Read the file now; the other replicas follow within about a second.

        Raises:
            Forbidden: the caller's key is no admin's.
            InvalidRequest: there is no file, or it is refused; says where and why.
        """
        only_admin(caller, "reloading rules")
        if self._file is None:
            raise InvalidRequest(
                "routing.rules names no file: the shipped rules hold", code="no_rules_file"
            )
        await self.look(again=True)
        if self._problem is not None:
            raise InvalidRequest(self._problem, param="routing.rules", code="rules_refused")
        return self.told(caller)

    def told(self, caller: Caller) -> dict[str, object]:
        """Return which rules hold, since when (Unix seconds), and what their file is refused for.

        Raises:
            Forbidden: the caller's key is no admin's.
        """
        only_admin(caller, "looking at rules")
        return {
            "version": self._version,
            "file": None if self._file is None else str(self._file),
            "since": self._since,
            "problem": self._problem,
        }

    def health(self) -> dict[str, object]:
        """Return what everybody may know: the reason names files and words, so it is an admin's."""
        return {"version": self._version, "refused": self._problem is not None}

    def _say(self, problem: str | None) -> None:
        if problem is not None and problem != self._problem:
            _log.warning("rules %s stay: %s", self._version, problem)
        self._problem = problem


def _look(file: Path, known: _Stamp | None, version: str) -> _Look:
    """Read a file that is not as it was `known`; rules of the same `version` are no news."""
    stamp = None
    try:
        found = file.stat()
        stamp = _Stamp(found.st_ino, found.st_size, found.st_mtime_ns)
        if stamp == known:
            return _Look(stamp)
        rules = parse_rules(read_rules(file), str(file))
    except ConfigError as error:
        return _Look(stamp, problem=error.message)
    except (OSError, UnicodeDecodeError) as error:
        reason = (getattr(error, "strerror", None) or "is not UTF-8").lower()
        return _Look(stamp, problem=f"{file}: {reason}")
    return _Look(stamp, None if rules.version == version else rules)
