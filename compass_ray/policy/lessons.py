"""How answers that were judged become what is believed, version by version. Pure.

Each lesson makes a version, and so does going back to an earlier one: what holds at a version is
its last snapshot and the lessons since, in their order, to the last bit.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from compass_ray.policy.belief import PENALTY
from compass_ray.policy.learn import Feedback, Floats, Learner, fresh, observe
from compass_ray.types.decisions import Judged, Judgement, NotJudged, Verdict
from compass_ray.types.routing import Tier

__all__ = ["Answer", "Lesson", "State", "Taken", "begin", "judge", "replay"]


@dataclass(frozen=True, slots=True)
class State:
    """What is believed at a version; `basis` names the quality model that it corrects."""

    version: int
    basis: str
    learner: Learner


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of the request that is judged."""

    account: str
    tier: int
    expected: float | None
    basis: str
    features: bytes
    score: float | None
    learned_in: int | None


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one score teaches, as the version that has learned it; `features` as in `Note`."""

    version: int
    tier: Tier
    surplus: float
    features: bytes


@dataclass(frozen=True, slots=True)
class Taken:
    """The state after a group of judgements, their verdicts, and what is to be stored.

    `scores` are those judgements that count, with their verdicts.
    """

    state: State
    verdicts: Sequence[Verdict]
    scores: Sequence[tuple[Judgement, Judged]]
    lessons: Sequence[Lesson]


def begin(version: int, basis: str, size: int) -> State:
    """Return a state that has learned nothing of `size` features."""
    return State(version, basis, fresh(tuple(Tier), size, PENALTY))


def judge(
    state: State,
    judgements: Iterable[Judgement],
    answers: Mapping[str, Answer],
    *,
    learns: bool,
) -> Taken:
    """Take judgements one after the other; of each request the first counts.

    Where `learns` is false, scores are kept and nothing is learned from them.
    """
    known = dict(answers)
    verdicts: list[Verdict] = []
    scores: list[tuple[Judgement, Judged]] = []
    lessons: list[Lesson] = []
    for one in judgements:
        answer = known.get(one.request_id)
        verdict = _earlier(one, answer)
        if verdict is None and answer is not None:
            lesson = _lesson(state, answer, one.score) if learns else None
            if lesson is not None:
                state = _taught(state, lesson)
                lessons.append(lesson)
            verdict = Judged(one.score, None if lesson is None else lesson.version)
            scores.append((one, verdict))
            known[one.request_id] = replace(answer, score=one.score, learned_in=verdict.learned_in)
        verdicts.append(verdict or NotJudged("unknown"))
    return Taken(state, verdicts, scores, lessons)


def replay(state: State, lessons: Iterable[Lesson]) -> State:
    """Return the state after the lessons that followed it."""
    for lesson in lessons:
        state = _taught(state, lesson)
    return state


def _earlier(one: Judgement, answer: Answer | None) -> Verdict | None:
    """Return the verdict that stands already; None where the score is news."""
    if answer is None or answer.account != one.account:
        return NotJudged("unknown")
    if answer.tier == 0:
        return NotJudged("unanswered")
    if answer.score is None:
        return None
    if answer.score != one.score:
        return NotJudged("judged")
    return Judged(answer.score, answer.learned_in)


def _lesson(state: State, answer: Answer, score: float) -> Lesson | None:
    """Return what a score teaches; None where it is about another model's expectation."""
    if answer.expected is None or not state.basis or answer.basis != state.basis:
        return None
    surplus = score - answer.expected
    return Lesson(state.version + 1, Tier(answer.tier), surplus, answer.features)


def _taught(state: State, lesson: Lesson) -> State:
    feedback = Feedback(lesson.tier, _features(lesson.features), lesson.surplus)
    return State(lesson.version, state.basis, observe(state.learner, feedback))


def _features(told: bytes) -> Floats:
    return np.frombuffer(told, np.float32).astype(np.float64)
