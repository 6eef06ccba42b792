"""What feedback has taught, as this replica knows it, and which answers are experiments."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import cos, log, pi, sqrt
from typing import Protocol

from compass_ray.policy.belief import Taught, corrected, explorable, read
from compass_ray.policy.lengths import lengthened
from compass_ray.policy.quality import QualityModel
from compass_ray.types.chat import ChatRequest
from compass_ray.types.routing import Classification

_log = logging.getLogger("compass.learner")

_POLL_SECONDS = 30.0
_GRACE_SECONDS = 5.0


class Teacher(Protocol):
    """The Learner actor, directly or through a handle."""

    async def watch(self, version: int, wait: float) -> tuple[int, Taught]:
        """Return what is believed once its version is not `version`, or after `wait` seconds."""


class Listener(Protocol):
    """Who goes by what the Learner says."""

    def hear(self, taught: Taught) -> None:
        """Take over the Learner's word."""


async def follow(teacher: Teacher, listeners: Sequence[Listener], pace: float = 1.0) -> None:
    """Keep listeners up with the Learner, until cancelled; while it is silent its last word stands.

    `pace` is the seconds between two words: under much feedback, one brings many lessons.
    """
    version, silent = 0, False
    while True:
        try:
            async with asyncio.timeout(_POLL_SECONDS + _GRACE_SECONDS):
                version, taught = await teacher.watch(version, _POLL_SECONDS)
        except Exception as error:  # noqa: BLE001  # any failure of an actor means silence
            if not silent:
                _log.warning("the learner is silent: %s", type(error).__name__)
            silent = True
        else:
            silent = False
            for listener in listeners:
                listener.hear(taught)
        await asyncio.sleep(pace)


class Pupil:
    """Corrects what the quality model expects.

    `explore` is the share of requests that may be experiments; `uniform` gives chance, 0 to 1.
    """

    def __init__(self, model: QualityModel, explore: float, uniform: Callable[[], float]) -> None:
        self._model = model
        self._explore = explore
        self._uniform = uniform
        self._taught = Taught()
        self._has_lessons = False

    def hear(self, taught: Taught) -> None:
        """Take over the Learner's word, unless it is about another quality model."""
        self._taught = taught if taught.basis == self._model.basis else Taught()
        self._has_lessons = any(one.seen for one in self._taught.beliefs.values())

    def correct(self, request: ChatRequest, seen: Classification, *, act: bool) -> Classification:
        """Return `seen` with what was learned; only where somebody will `act` is it drawn."""
        if self._taught.lengths:
            seen = lengthened(request, seen, self._taught.lengths)
        if seen.expectation is None or not self._taught.beliefs:
            return seen
        draws = act and self._draws(request, seen)
        if not draws and not self._has_lessons:
            return seen
        beliefs = self._taught.beliefs
        normals = {tier: self._normal() for tier in beliefs} if draws else None
        x = read(seen.expectation, self._model)
        expectation = corrected(seen.expectation, x, beliefs, normals)
        reasons = (*seen.reasons, "explores: qualities drawn from what is believed")
        return replace(seen, expectation=expectation, reasons=reasons if draws else seen.reasons)

    def _draws(self, request: ChatRequest, seen: Classification) -> bool:
        if not self._explore or self._taught.mode != "on" or not explorable(request, seen):
            return False
        return self._uniform() < self._explore

    def _normal(self) -> float:
        """Return a standard normal, by Box and Muller."""
        return sqrt(-2 * log(1 - self._uniform())) * cos(2 * pi * self._uniform())
