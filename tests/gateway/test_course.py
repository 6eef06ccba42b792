"""In which order endpoints are tried, and which failure is told."""

from compass_ray.gateway.course import Course
from compass_ray.policy.retry import Verdict
from compass_ray.types.chat import ChatRequest
from compass_ray.types.errors import InvalidRequest, Overloaded

from .conftest import endpoint

A, B, SIBLING = endpoint("a"), endpoint("b"), endpoint("a", "other")
MENDED = ChatRequest({}, "a/m", "", "", frozenset())
ELSEWHERE = Verdict(elsewhere=True, again_after=None)


def rest(course):
    return [one.id for one, _wait in iter(course.next, None)]


def test_who_is_to_mend_its_answer_is_next_and_only_once():
    course = Course([A, B])
    first, _ = course.next()

    course.mend(first, MENDED)
    again, wait = course.next()
    course.mend(again, MENDED)

    assert (again, wait) == (A, 0.0)
    assert course.mended == {"a/m": MENDED}
    assert rest(course) == ["b/m"]


def test_after_a_failure_the_provider_s_other_models_wait():
    course = Course([A, SIBLING, B])
    course.next()

    course.learn(A, Overloaded("503"), ELSEWHERE)

    assert rest(course) == ["b/m", "a/other"]


def test_what_only_one_wire_cannot_say_tells_less_than_a_failure():
    course = Course([A, B])

    course.learn(A, Overloaded("503"), ELSEWHERE)
    course.learn(B, InvalidRequest("cannot say it"), ELSEWHERE)

    assert isinstance(course.failure, Overloaded)
