from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.window import Window, count

calls = st.lists(st.tuples(st.integers(0, 8), st.booleans()), max_size=60)


@given(calls)
def test_a_window_counts_exactly_the_calls_of_its_last_buckets(steps):
    window, bucket, log = Window(), 0, []
    for step, failed in steps:
        bucket += step
        window = count(window, bucket, 4, 1, int(failed))
        log.append((bucket, failed))

    inside = [failed for at, failed in log if at > bucket - 4]
    assert (window.total_calls, window.total_failures) == (len(inside), sum(inside))


def test_a_clock_that_steps_back_counts_in_the_current_bucket():
    window = count(count(Window(), 9, 4, 2, 1), 3, 4, 1, 1)

    assert (window.bucket, window.total_calls, window.total_failures) == (9, 3, 2)


def test_the_past_never_holds_more_buckets_than_the_window():
    window = Window()
    for bucket in range(100):
        window = count(window, bucket, 12, 1, 0)

    assert len(window.past) == 11
