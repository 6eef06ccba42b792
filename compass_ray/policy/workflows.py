"""The step machine of a workflow's run: events in, what happens next out. Pure.

A run is a walk over its plan with the answers so far: a call that was answered stands for its
answer, one that was not and that everything before it allows is ready. So the same events always
give the same next ones, and a run goes on after any crash from what is on disk.

Money: what is left of the budget, less what calls under way may still cost, is shared evenly by
the calls that are ready. So the calls of a run cannot cost more than it has, all together.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from json import JSONDecodeError, loads
from typing import Any, NamedTuple

from compass_ray.policy.plans import NAME
from compass_ray.policy.pricing import to_micro
from compass_ray.policy.run_alerts import RunAlerts
from compass_ray.policy.step_check import flaw_of_step
from compass_ray.types.plans import Call, Chain, Debate, Delegate, Parallel, Step, Try
from compass_ray.types.usage import Money
from compass_ray.types.workflows import (
    BudgetReached,
    Ended,
    Event,
    Failed,
    Finished,
    Started,
    Value,
)

MOST_AT_ONCE = 64
"""Calls of one run under way at the same time."""
MOST_FILLED_IN = 1_000_000
"""Characters that names may come to in one call."""
_YES = re.compile(r"\W*yes\b", re.IGNORECASE)
_LONGEST_CALL = 86_400.0
"""Seconds; the most that a request may ask for."""


class Pending(NamedTuple):
    """A call under way: the event that allowed it, and what to ask."""

    started: Started
    body: dict[str, Any]


class _Failure(Exception):  # named for what happened
    """A step has failed for good, and the run with it."""

    def __init__(self, step: str, code: str, message: str) -> None:
        super().__init__(message)
        self.step = step
        self.code = code
        self.message = message


class Machine:
    """One run; `apply` its events in order, `decide` what comes next."""

    def __init__(
        self,
        plan: Step,
        told: str,
        budget: Money | None,
        deadline_at: float,
        alerts: Sequence[int] = (),
    ) -> None:
        """Begin a run that is told `told`; money in micro-dollars, times in Unix seconds.

        `alerts` are the percents of the budget that are told of.
        """
        self._plan = plan
        self._told = told
        self._budget = budget
        self._deadline_at = deadline_at
        self._alerts = RunAlerts(budget, alerts)
        self._last: dict[str, Started | Finished | Failed] = {}
        self._flaws: dict[str, str | None] = {}
        """What is wrong with the answers of checked steps: looked for once."""
        self._under_way: dict[str, Money] = {}
        self.spent: Money = 0
        self.calls = 0
        self.end: Ended | None = None

    def apply(self, event: Event) -> None:
        """Take in what has happened."""
        if isinstance(event, Ended):
            self.end = event
            return
        if isinstance(event, BudgetReached):
            self._alerts.apply(event)
            return
        self._last[event.step] = event
        if isinstance(event, Started):
            self._under_way[event.step] = event.max_cost or 0
            return
        del self._under_way[event.step]
        self.spent += event.cost
        self.calls += isinstance(event, Finished)

    def decide(self, now: float) -> tuple[Event, ...]:
        """Return what happens next: calls that start, or the end; nothing while all is waited for.

        Before it comes what its budget has come to. None of it has happened before it was applied.
        """
        if self.end is not None:
            return ()
        reached = self._alerts.due(self.spent, now)
        return (*reached, *self._next(now, reached[-1].share if reached else self._alerts.used))

    def _next(self, now: float, used: float) -> tuple[Event, ...]:
        if now >= self._deadline_at:
            return (_failed(now, "", "deadline_exceeded", "the run's deadline has passed"),)
        walk = _Walk(self._last, self._told, self._flaws)
        try:
            value = walk.step(self._plan, "plan", {"previous": self._told})
        except _Failure as failure:
            return (_failed(now, failure.step, failure.code, failure.message),)
        if value is not None:
            return (Ended("completed", now, *value),)
        return self._starts(walk.ready, now, used)

    def under_way(self) -> list[Pending]:
        """Return the calls that were started and have not ended."""
        if self.end is not None:
            return []
        walk = _Walk(self._last, self._told, self._flaws)
        try:
            walk.step(self._plan, "plan", {"previous": self._told})
        except _Failure:
            return []
        return walk.pending

    def _starts(
        self, ready: Sequence[tuple[str, int]], now: float, used: float
    ) -> tuple[Event, ...]:
        room = MOST_AT_ONCE - len(self._under_way)
        if not ready or room <= 0:
            return ()
        share = None
        if self._budget is not None:
            left = self._budget - self.spent - sum(self._under_way.values())
            share = left // len(ready)
            if share <= 0 and self._under_way:
                return ()  # what those leave is for these
            if share <= 0:
                step, _ = ready[0]
                message = f"{self._budget} micro-dollars are used up"
                return (_failed(now, step, "budget_exceeded", message),)
        timeout = min(self._deadline_at - now, _LONGEST_CALL)
        return tuple(
            Started(step, attempt, share, timeout, now, used) for step, attempt in ready[:room]
        )


class _Walk:
    """One walk over a plan: `None` where an answer is waited for."""

    def __init__(
        self,
        last: Mapping[str, Started | Finished | Failed],
        told: str,
        flaws: dict[str, str | None],
    ) -> None:
        self._last = last
        self._flaws = flaws
        self._names = {"input": told}
        self.ready: list[tuple[str, int]] = []
        """Calls that everything before them allows, and which attempt it is."""
        self.pending: list[Pending] = []

    def step(self, step: Step, path: str, scope: Mapping[str, str]) -> Value | None:
        """Return what a step gives."""
        match step:
            case Call():
                return self._call(step, path, scope)
            case Chain():
                return self._chain(step, path, scope)
            case Parallel():
                return self._parallel(step, path, scope)
            case Debate():
                return self._debate(step, path, scope)
            case Delegate():
                return self._delegate(step, path, scope)
            case Try():
                return self._try(step, path, scope)

    def _all(self, steps: Sequence[tuple[Step, str, Mapping[str, str]]]) -> list[str] | None:
        """Return what all steps give; None while one is waited for.

        All are walked, also where one fails: the others may have calls under way.
        """
        texts: list[str] = []
        failure: _Failure | None = None
        for step, path, scope in steps:
            try:
                value = self.step(step, path, scope)
            except _Failure as failed:
                failure = failure or failed
            else:
                texts += [] if value is None else [value.text]
        if failure is not None:
            raise failure
        return texts if len(texts) == len(steps) else None

    def _call(self, call: Call, path: str, scope: Mapping[str, str]) -> Value | None:
        last, names = self._last.get(path), {**self._names, **scope}
        match last:
            case None:
                _require_room(call, path, names)
                self.ready.append((path, 1))
            case Started():
                self.pending.append(Pending(last, _body(call, last, names)))
            case Finished():
                if call.name is not None:
                    self._names[call.name] = last.text
                return Value(last.text)
            case Failed():
                if not last.again or last.attempt >= call.attempts:
                    raise _Failure(path, last.code, last.message)
                self.ready.append((path, last.attempt + 1))
        return None

    def _chain(self, chain: Chain, path: str, scope: Mapping[str, str]) -> Value | None:
        value: Value | None = None
        for place, step in enumerate(chain.steps):
            value = self.step(step, f"{path}.chain[{place}]", scope)
            if value is None:
                return None
            scope = {**scope, "previous": value.text}
        return value

    def _parallel(self, fan: Parallel, path: str, scope: Mapping[str, str]) -> Value | None:
        branches = enumerate(fan.branches)
        answers = self._all([(one, f"{path}.parallel[{place}]", scope) for place, one in branches])
        if answers is None:
            return None
        if fan.judge is not None:
            return self._judged(fan.judge, f"{path}.judge", scope, answers)
        return _voted(answers) if fan.aggregate == "vote" else Value("\n\n".join(answers))

    def _debate(self, debate: Debate, path: str, scope: Mapping[str, str]) -> Value | None:
        answers: list[str] = []
        for number in range(1, debate.rounds + 1):
            heard = {**scope, "answers": _listed(answers)}
            said = self._all(
                [
                    (speaker, f"{path}.debate[{place}]@{number}", heard)
                    for place, speaker in enumerate(debate.speakers)
                ]
            )
            if said is None:
                return None
            answers = said
        return self._judged(debate.judge, f"{path}.judge", scope, answers)

    def _delegate(self, step: Delegate, path: str, scope: Mapping[str, str]) -> Value | None:
        lead = f"{path}.delegate"
        plan = self.step(step.lead, lead, {**scope, "width": str(step.width)})
        if plan is None:
            return None
        tasks = _tasks(plan.text, lead, step.width)
        answers = self._all(
            [
                (step.worker, f"{path}.worker[{place}]", {**scope, "task": task})
                for place, task in enumerate(tasks)
            ]
        )
        if answers is None:
            return None
        return self.step(step.combine, f"{path}.combine", {**scope, "answers": _listed(answers)})

    def _try(self, step: Try, path: str, scope: Mapping[str, str]) -> Value | None:
        ready, pending, failed = len(self.ready), len(self.pending), ""
        try:
            value = self._apart(step.step, f"{path}.try", scope)
            if value is None:
                return None
            failed = value.text
            if path not in self._flaws:
                self._flaws[path] = flaw_of_step(step.check, value)
            failure = self._flaws[path]
            if failure is None and step.check.judge is not None:
                asked = {**scope, "answer": failed}
                verdict = self._apart(step.check.judge, f"{path}.check.judge", asked)
                if verdict is None:
                    return None
                if not _YES.match(verdict.text):
                    failure = verdict.text
        except _Failure as exc:
            del self.ready[ready:]
            if len(self.pending) > pending:
                return None  # what is under way may still cost: it is waited for
            failure = exc.message
        if failure is None:
            return value
        seen = {**scope, "failed": failed, "failure": failure}
        return self._apart(step.fallback, f"{path}.fallback", seen)

    def _apart(self, step: Step, path: str, scope: Mapping[str, str]) -> Value | None:
        """Return what a step gives whose names nobody outside of it knows."""
        names = self._names
        self._names = dict(names)
        try:
            return self.step(step, path, scope)
        finally:
            self._names = names

    def _judged(
        self, judge: Call, path: str, scope: Mapping[str, str], answers: list[str]
    ) -> Value | None:
        verdict = self.step(judge, path, {**scope, "answers": _listed(answers)})
        if verdict is None:
            return None
        others = tuple(answer for answer in dict.fromkeys(answers) if answer != verdict.text)
        return Value(verdict.text, None, others)


def _failed(now: float, step: str, code: str, message: str) -> Ended:
    return Ended("failed", now, step=step, code=code, message=message)


def _listed(answers: Sequence[str]) -> str:
    return "\n\n".join(f"Answer {number}:\n{text}" for number, text in enumerate(answers, 1))


def _voted(answers: Sequence[str]) -> Value:
    """Return what most said, whatever its case and blanks; of equals, the first."""
    alike = [" ".join(answer.casefold().split()) for answer in answers]
    (winner, votes), *_ = Counter(alike).most_common(1)
    first = dict(zip(reversed(alike), reversed(answers), strict=True))
    others = tuple(first[key] for key in dict.fromkeys(alike) if key != winner)
    return Value(first[winner], votes / len(answers), others)


def _tasks(text: str, path: str, width: int) -> list[str]:
    """Return the JSON array of texts that a lead's answer holds."""
    try:
        tasks = loads(text[text.index("[") : text.rindex("]") + 1])
    except (ValueError, JSONDecodeError, RecursionError):
        tasks = None
    if not isinstance(tasks, list) or not all(isinstance(task, str) for task in tasks):
        raise _Failure(path, "no_tasks", "the lead's answer holds no JSON array of texts")
    if not 0 < len(tasks) <= width:
        raise _Failure(path, "too_wide", f"the lead gave {len(tasks)} tasks, and may {width}")
    return tasks


def _body(call: Call, started: Started, names: Mapping[str, str]) -> dict[str, Any]:
    """Return what is asked: a function of the plan and of events alone, to the last byte."""
    wishes = dict(call.body.get("compass") or {})
    wishes["timeout_s"] = min(started.timeout, wishes.get("timeout_s") or started.timeout)
    if started.used:
        wishes["budget_used"] = max(started.used, wishes.get("budget_used") or 0.0)
    budget = "unlimited"
    if started.max_cost is not None:
        wish = wishes.get("max_cost_usd")
        most = started.max_cost if wish is None else min(started.max_cost, to_micro(wish))
        budget = wishes["max_cost_usd"] = f"{most // 1_000_000}.{most % 1_000_000:06}"
    body = {**call.body, "compass": wishes}
    if call.literal:
        return body
    filled = _filled(call.body["messages"], {**names, "budget_usd": budget})
    return {**body, "messages": filled}


def _require_room(call: Call, path: str, names: Mapping[str, str]) -> None:
    """Raise _Failure where a call would ask too much, before it is started."""
    size = sum(len(names.get(name, "")) for name in call.uses)
    if size > MOST_FILLED_IN:
        message = f"its names come to {size} characters, more than {MOST_FILLED_IN}"
        raise _Failure(path, "too_long", message)


def _filled(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return NAME.sub(lambda found: names[found[1]], value)
    if isinstance(value, list):
        return [_filled(item, names) for item in value]
    if isinstance(value, Mapping):
        return {name: _filled(item, names) for name, item in value.items()}
    return value
