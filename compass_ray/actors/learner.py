"""Learner actor: keeps what was decided, and learns from how the answers were judged.

It loads, decides by `policy.lessons`, and stores. Nothing is learned that is not on disk first;
replicas follow what is believed by long poll. It is durable, and its settings with it: after a
restart it goes on as it was last configured.
"""

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

from compass_ray.actors.alerts import Messenger
from compass_ray.actors.group_commit import GroupCommit, OneThread
from compass_ray.actors.watch import Versioned
from compass_ray.policy.belief import Belief, Taught, belief
from compass_ray.policy.experiment import configured, endings, ordered
from compass_ray.policy.learn import Posterior
from compass_ray.policy.lengths import news
from compass_ray.policy.lessons import State, begin, judge
from compass_ray.storage.decisions import DecisionStore
from compass_ray.types.decisions import (
    Judgement,
    KeptDecision,
    LearnerSettings,
    Learning,
    LearningMode,
    Note,
    Order,
    Verdict,
)
from compass_ray.types.experiments import ExperimentOrder, Run, RunChanges
from compass_ray.types.routing import Tier
from compass_ray.types.shifts import Shift

_log = logging.getLogger("compass.learner")

_MAX_GROUP = 256

_Message = tuple[Note, ...] | Judgement | Order | ExperimentOrder | LearnerSettings
_Reply = Verdict | Learning | Sequence[Run] | None


class LearnerActor:
    """The decisions of one state folder, and what they have taught. `wall` is Unix seconds."""

    def __init__(
        self,
        file: Path,
        wall: Callable[[], float] = time.time,
        fail: Callable[[int], object] = os._exit,
    ) -> None:
        self._store = DecisionStore(file)
        self._disk = OneThread("learner")
        self._fail = fail
        self._settings, self._frozen = self._store.settings()
        self._state = self._store.latest() or begin(0, "", 0)
        self._oldest = self._store.oldest()
        self._runs: Sequence[Run] = self._store.runs()
        self._messenger = Messenger[Shift](self)
        self._messenger.webhook = self._settings.webhook
        self._wall = wall
        self._lengths = news({}, self._store.lengths()) or {}
        self._beliefs: dict[Tier, tuple[Posterior, Belief]] = {}
        self._group = GroupCommit[_Message, _Reply](self._commit, self._end, _MAX_GROUP)
        self._taught = Versioned(self._told(), wall)

    async def configure(self, settings: LearnerSettings) -> None:
        """Take over settings; what was learned of another quality model is set aside."""
        await self._group.post(settings)

    async def note(self, notes: tuple[Note, ...]) -> None:
        """Keep decisions; safe to repeat. They are on disk when this returns."""
        await self._group.post(notes)

    async def decision(self, request_id: str) -> KeptDecision | None:
        """Return a decision; None where it is unknown, or forgotten."""
        return await self._disk.run(partial(self._store.decision, request_id))

    async def judge(self, judgement: Judgement) -> Verdict:
        """Take a score, and learn from it; safe to repeat. What counts is on disk."""
        return cast("Verdict", await self._group.post(judgement))

    async def operate(self, order: Order) -> Learning | None:
        """Freeze, resume or roll back; None where the version is not there to go back to."""
        return cast("Learning | None", await self._group.post(order))

    async def learning(self) -> Learning:
        """Return where learning stands."""
        seen = {tier: known.seen for tier, known in self._state.learner.items()}
        return Learning(self._mode, self._state.version, self._oldest, seen)

    async def shifts(self) -> Sequence[Shift]:
        """Return all drift that was found, the oldest first."""
        return await self._disk.run(self._store.shifts)

    async def undelivered(self) -> list[Shift]:
        """Return the drift that nobody was told of yet, the oldest first."""
        return await self._disk.run(partial(self._store.shifts, undelivered=True))

    async def delivered(self, alert: Shift) -> None:
        """Note that somebody was told."""
        await self._disk.run(partial(self._store.mark_delivered, alert))

    async def experiments(self) -> Sequence[Run]:
        """Return all runs of experiments as they stand, by name."""
        return await self._disk.run(self._store.runs)

    async def operate_experiment(self, order: ExperimentOrder) -> Sequence[Run] | None:
        """Start or stop an experiment and return all; None where there is none of that name."""
        return cast("Sequence[Run] | None", await self._group.post(order))

    async def watch(self, version: int, wait: float) -> tuple[int, Taught]:
        """Return what is believed once its version is not `version`, or after `wait` seconds."""
        return await self._taught.wait(version, wait)

    @property
    def _mode(self) -> LearningMode:
        mode = self._settings.mode
        return "frozen" if mode == "on" and self._frozen else mode

    async def _commit(self, messages: Sequence[_Message]) -> list[_Reply]:
        """Do a group's work and return its replies once they are true on disk.

        Decisions first: who judges one may be quicker than the replica that made it.
        """
        notes = [note for one in messages if isinstance(one, tuple) for note in one]
        if notes:
            await self._note(notes)
        judgements = [one for one in messages if isinstance(one, Judgement)]
        judged = iter(await self._judge(judgements))
        if judgements or notes:
            await self._end_experiments()
        replies: list[_Reply] = []
        for one in messages:
            if isinstance(one, Judgement):
                replies.append(next(judged))
            elif isinstance(one, Order):
                replies.append(await self._operate(one))
            elif isinstance(one, ExperimentOrder):
                replies.append(await self._operate_experiment(one))
            elif isinstance(one, LearnerSettings):
                await self._configure(one)
                replies.append(None)
            else:
                replies.append(None)
        return replies

    async def _note(self, notes: Sequence[Note]) -> None:
        learns = self._mode == "on"
        keep, at = self._settings.keep, self._watched_at()
        await self._tell(
            await self._disk.run(partial(self._store.note, notes, keep, at, learns=learns))
        )
        if learns:
            lengths = news(self._lengths, await self._disk.run(self._store.lengths))
            if lengths is not None:
                self._lengths = lengths
                self._publish(self._state)

    async def _judge(self, judgements: Sequence[Judgement]) -> Sequence[Verdict]:
        if not judgements:
            return ()
        names = {one.request_id for one in judgements}
        answers = await self._disk.run(partial(self._store.answers, names))
        taken = judge(self._state, judgements, answers, learns=self._mode == "on")
        if taken.scores:
            store = partial(self._store.take, taken, self._watched_at())
            await self._tell(await self._disk.run(store))
        if taken.lessons:
            self._publish(taken.state)
        return taken.verdicts

    async def _operate(self, order: Order) -> Learning | None:
        if order.action == "roll_back":
            past = await self._disk.run(partial(self._store.state, order.to))
            if past is None or past.basis != self._state.basis or not past.learner:
                return None
            await self._become(replace(past, version=self._state.version + 1), past.version)
        else:
            await self._freeze(frozen=order.action == "freeze")
        return await self.learning()

    async def _freeze(self, *, frozen: bool) -> None:
        await self._disk.run(partial(self._store.configure, self._settings, frozen=frozen))
        self._frozen = frozen
        self._publish(self._state)

    def _watched_at(self) -> float | None:
        return None if self._settings.drift == "off" else self._wall()

    async def _tell(self, shifts: Sequence[Shift]) -> None:
        """Tell of drift, and learn no more where that is wished."""
        if not shifts:
            return
        if self._settings.drift == "freeze" and not self._frozen:
            _log.warning("learning is frozen, because of drift")
            await self._freeze(frozen=True)
        self._messenger.look()

    async def _operate_experiment(self, order: ExperimentOrder) -> Sequence[Run] | None:
        changes = ordered(self._runs, order)
        if changes is None:
            return None
        await self._change(changes)
        return self._runs

    async def _end_experiments(self) -> None:
        """End the runs that have said what they can say."""
        if any(run.ended is None for run in self._runs):
            self._runs = await self._disk.run(self._store.runs)
            await self._change(endings(self._runs))

    async def _change(self, changes: RunChanges) -> None:
        if not changes:
            return
        await self._disk.run(partial(self._store.change, changes, self._wall()))
        self._runs = await self._disk.run(self._store.runs)
        for name, ended in changes.ended.items():
            _log.warning("experiment %s ends, %s: %s", name, ended.verdict, ended.reason)
        self._publish(self._state)

    async def _configure(self, settings: LearnerSettings) -> None:
        await self._disk.run(partial(self._store.configure, settings, frozen=self._frozen))
        self._settings = settings
        self._messenger.webhook = settings.webhook
        self._messenger.look()
        await self._change(configured(self._runs, settings.experiments))
        if settings.basis and settings.basis != self._state.basis:
            if self._state.basis:
                _log.warning(
                    "another quality model: what version %d knew is set aside", self._state.version
                )
            await self._become(begin(self._state.version + 1, settings.basis, settings.size))
        else:
            self._publish(self._state)

    async def _become(self, state: State, past: int | None = None) -> None:
        await self._disk.run(partial(self._store.snapshot, state, past))
        self._lengths = news({}, await self._disk.run(self._store.lengths)) or {}
        self._oldest = await self._disk.run(self._store.oldest)
        self._publish(state)

    def _publish(self, state: State) -> None:
        self._state = state
        self._taught.set(self._told())

    def _told(self) -> Taught:
        state, mode = self._state, self._mode
        running = frozenset(run.experiment.digest for run in self._runs if run.ended is None)
        if mode == "off":
            return Taught(state.version, mode, state.basis, running=running)
        for tier, known in state.learner.items():
            if tier not in self._beliefs or self._beliefs[tier][0] is not known:
                self._beliefs[tier] = known, belief(known)
        beliefs = {tier: self._beliefs[tier][1] for tier in state.learner}
        return Taught(state.version, mode, state.basis, beliefs, running, self._lengths)

    def _end(self) -> None:
        _log.exception("decisions cannot be written and the learner ends")
        self._fail(1)
