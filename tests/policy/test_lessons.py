import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.lessons import Answer, begin, judge, replay
from compass_ray.types.decisions import Judged, Judgement, NotJudged
from compass_ray.types.routing import Tier

SIZE = 3
BASIS = "model"


def features(seed):
    return np.random.default_rng(seed).standard_normal(SIZE).astype(np.float32).tobytes()


def answer(tier=3, account="acme", basis=BASIS, expected=0.5, seed=1):
    if basis == "":
        return Answer(account, tier, None, "", b"", None, None)
    return Answer(account, tier, expected, basis, features(seed), None, None)


def said(n=1, score=1.0, account="acme"):
    return Judgement(f"req_{n}", account, score, 100.0)


def take(judgements, answers=None, state=None, *, learns=True):
    known = {"req_1": answer(), "req_2": answer(seed=2)} if answers is None else answers
    return judge(state or begin(7, BASIS, SIZE), judgements, known, learns=learns)


def same(one, other):
    return (one.version, one.basis) == (other.version, other.basis) and all(
        known.seen == other.learner[tier].seen
        and (known.precision == other.learner[tier].precision).all()
        and (known.moment == other.learner[tier].moment).all()
        for tier, known in one.learner.items()
    )


def test_a_score_is_a_lesson_about_the_tier_that_answered_and_a_version_of_its_own():
    taken = take([said(1, 0.75), said(2, 0.0)])

    assert taken.verdicts == [Judged(0.75, 8), Judged(0.0, 9)]
    assert [one.surplus for one in taken.lessons] == [0.25, -0.5]
    assert taken.state.version == 9
    assert taken.state.learner[Tier.FAST].seen == 2
    assert taken.state.learner[Tier.PREMIUM].seen == 0


def test_the_first_word_counts_also_within_one_group():
    taken = take([said(1, 1.0), said(1, 1.0), said(1, 0.0)])

    assert taken.verdicts == [Judged(1.0, 8), Judged(1.0, 8), NotJudged("judged")]
    assert len(taken.scores) == len(taken.lessons) == 1


@pytest.mark.parametrize(
    ("judgement", "why"),
    [(said(9), "unknown"), (said(1, account="other"), "unknown"), (said(3), "unanswered")],
)
def test_what_nobody_may_judge_changes_nothing(judgement, why):
    state = begin(7, BASIS, SIZE)
    taken = take([judgement], {"req_1": answer(), "req_3": answer(tier=0)}, state)

    assert taken.verdicts == [NotJudged(why)]
    assert taken.state is state
    assert not taken.scores
    assert not taken.lessons


@pytest.mark.parametrize("basis", ["another model", ""])
def test_a_score_about_another_model_s_expectation_is_kept_and_teaches_nothing(basis):
    taken = take([said()], {"req_1": answer(basis=basis)})

    assert taken.verdicts == [Judged(1.0, None)]
    assert len(taken.scores) == 1
    assert taken.state.version == 7


def test_who_does_not_learn_still_keeps_the_score():
    taken = take([said()], learns=False)

    assert taken.verdicts == [Judged(1.0, None)]
    assert len(taken.scores) == 1
    assert not taken.lessons


OUTCOMES = st.lists(
    st.tuples(st.sampled_from([1, 2, 3, 4]), st.floats(0, 1), st.integers(0, 99)), max_size=20
)


@given(OUTCOMES)
def test_a_replay_of_the_lessons_is_the_same_to_the_last_bit(outcomes):
    answers = {f"req_{n}": answer(tier, seed=seed) for n, (tier, _, seed) in enumerate(outcomes)}
    judgements = [said(n, score) for n, (_, score, _) in enumerate(outcomes)]
    start = begin(7, BASIS, SIZE)
    taken = take(judgements, answers, start)

    assert same(replay(start, taken.lessons), taken.state)
    assert taken.state.version == 7 + len(outcomes)


@given(OUTCOMES)
def test_each_version_is_what_was_learned_until_then(outcomes):
    answers = {f"req_{n}": answer(tier, seed=seed) for n, (tier, _, seed) in enumerate(outcomes)}
    state, whole = begin(7, BASIS, SIZE), []
    for n, (_, score, _) in enumerate(outcomes):
        taken = take([said(n, score)], answers, state)
        whole += taken.lessons
        state = taken.state
        assert same(replay(begin(7, BASIS, SIZE), whole), state)
