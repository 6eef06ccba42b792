"""Who is in which arm, and when a run ends."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.policy.experiment import (
    assigned,
    compared,
    configured,
    ending,
    endings,
    ordered,
    values,
)
from compass_ray.policy.sequential import Part, added
from compass_ray.types.decisions import Outcome
from compass_ray.types.experiments import (
    Ending,
    Experiment,
    ExperimentOrder,
    Guard,
    Run,
    Tally,
)

ONE = Experiment("one", "d1", 0.5, "user", "quality", 0.05)
OFF = Ending("off", "by the configuration")


def tally(share, count=400, *, by_unit=1):
    """Return the tally of so many values of which this share is 1, by units of `by_unit`."""
    sums, part = Tally(), Part()
    for n in range(count):
        part = Part() if n % by_unit == 0 else part
        sums, part = added(sums, part, float((n * 7919) % count < share * count))
    return sums


def arms(figure="quality", variant=0.5, control=0.5, count=400, **named):
    return {
        "variant": {figure: tally(variant, count, **named)},
        "control": {figure: tally(control, count, **named)},
    }


@given(st.text(max_size=50), st.floats(0.001, 0.5))
def test_a_unit_stays_in_its_arm(unit, share):
    experiment = replace(ONE, share=share)

    assert assigned(experiment, unit) == assigned(experiment, unit)


@given(st.text(max_size=20), st.floats(0.01, 0.25))
def test_a_larger_share_leaves_those_who_have_the_variant_in_it(unit, share):
    before = assigned(replace(ONE, share=share), unit)
    after = assigned(replace(ONE, share=2 * share), unit)

    assert before is None or before.name == "control" or before == after


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_the_share_gets_the_variant_as_many_are_the_control_and_the_rest_is_left_alone(share):
    experiment, count = replace(ONE, share=share), 20_000
    found = Counter(
        arm and arm.name for arm in (assigned(experiment, f"u{n}") for n in range(count))
    )

    assert found["variant"] / count == pytest.approx(share, abs=0.015)
    assert found["control"] / count == pytest.approx(share, abs=0.015)


def test_who_is_where_in_one_experiment_says_nothing_about_another():
    arms_ = [
        (assigned(ONE, f"u{n}").name, assigned(replace(ONE, name="two"), f"u{n}").name)
        for n in range(8_000)
    ]

    assert min(Counter(arms_).values()) > 8_000 / 4 * 0.9


def test_whom_it_is_about_cannot_be_read():
    arm = assigned(ONE, "acme\0jane@example.com")

    assert "jane" not in arm.unit
    assert len(arm.unit) == 16
    assert assigned(replace(ONE, unit="request"), "req_1").unit == ""


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (200, {"latency": 1.5, "cost": 20.0, "errors": 0.0}),
        (503, {"cost": 20.0, "errors": 1.0}),
        (400, {}),
        (402, {}),
        (499, {}),
    ],
)
def test_a_request_says_something_unless_it_was_its_caller_s_mistake(status, told):
    assert dict(values(Outcome("code", "a/m", status, 20, 1.5, 5))) == told


def test_without_a_difference_a_run_goes_on():
    assert ending(ONE, arms()) is None
    assert ending(ONE, {}) is None


@pytest.mark.parametrize(
    ("metric", "verdict"),
    [("quality", "better"), ("cost", "worse"), ("latency", "worse"), ("errors", "worse")],
)
def test_more_quality_is_better_and_more_of_anything_else_worse(metric, verdict):
    experiment = replace(ONE, metric=metric)

    assert ending(experiment, arms(metric, 0.9, 0.5)).verdict == verdict
    other = {"better": "worse", "worse": "better"}[verdict]
    assert ending(experiment, arms(metric, 0.1, 0.6)).verdict == other


def test_an_ending_says_by_how_much():
    found = ending(ONE, arms(variant=0.9))

    assert found.reason.startswith("quality differs by 0.4, surely 0.")


@pytest.mark.parametrize(
    ("guard", "figure", "reason"),
    [
        (Guard(max_cost_ratio=1.5), "cost", "cost is more than 1.5 times the control's"),
        (Guard(max_latency_ratio=1.5), "latency", "latency is more than 1.5 times the control's"),
        (Guard(max_error_rate=0.5), "errors", "more than 50.00% of the requests fail"),
    ],
)
def test_a_guard_rail_ends_a_run_whose_metric_says_nothing(guard, figure, reason):
    experiment = replace(ONE, guard=guard)

    assert ending(experiment, arms(figure, 0.9, 0.3)) == Ending("guarded", reason)
    assert ending(experiment, arms(figure, 0.4, 0.3)) is None
    assert ending(ONE, arms(figure, 0.9, 0.3)) is None


def test_too_little_quality_ends_a_run_before_it_is_found_to_be_worse():
    experiment = replace(ONE, guard=Guard(min_quality=0.6))

    assert ending(experiment, arms(variant=0.1, control=0.1)).verdict == "guarded"
    assert ending(experiment, arms(variant=0.7, control=0.7)) is None


def test_a_guard_rail_holds_though_few_users_took_part():
    experiment = replace(ONE, guard=Guard(max_error_rate=0.2))
    few = arms("errors", 1.0, 0.0, count=60, by_unit=20)

    assert few["variant"]["errors"].units == 3
    assert ending(experiment, few).verdict == "guarded"
    assert ending(replace(experiment, guard=Guard(), metric="errors"), few) is None


def test_a_guard_rail_seldom_ends_what_keeps_to_it():
    experiment, ended = replace(ONE, guard=Guard(max_error_rate=0.1)), 0
    for seed in range(100):
        chance, sums = np.random.default_rng(seed), Tally()
        for _ in range(500):
            sums, _ = added(sums, Part(), float(chance.random() < 0.1))
            if ending(experiment, {"variant": {"errors": sums}}) is not None:
                ended += 1
                break

    assert ended <= 20


def test_the_difference_is_the_variant_s_less_the_control_s():
    assert compared(ONE, arms(variant=0.75, control=0.5)).estimate == pytest.approx(0.25)


def run(experiment=ONE, ended=None, arms_=None):
    return Run(experiment, 1.0, None if ended is None else 2.0, ended, arms_ or {})


def test_what_is_new_or_compared_otherwise_begins_and_what_is_gone_is_forgotten():
    two, other = replace(ONE, name="two"), replace(ONE, digest="d2")
    changes = configured([run(two), run(ONE)], [other, replace(ONE, name="three")])

    assert [(one.name, one.digest) for one in changes.begun] == [("one", "d2"), ("three", "d1")]
    assert changes.dropped == ["two"]
    assert not configured([run()], [ONE])
    assert not configured([run(ended=Ending("better", ""))], [ONE])


def test_what_is_switched_off_ends_once_and_begins_anew_when_it_is_switched_on():
    off = replace(ONE, running=False)

    assert configured([run()], [off]).ended == {"one": OFF}
    assert configured([], [off]).ended == {"one": OFF}
    assert not configured([run(ended=OFF)], [off])
    assert configured([run(ended=OFF)], [ONE]).begun == [ONE]


@pytest.mark.parametrize("verdict", ["stopped", "guarded", "better"])
def test_what_has_ended_otherwise_is_not_begun_by_the_configuration(verdict):
    assert not configured([run(ended=Ending(verdict, ""))], [ONE])


def test_an_operator_stops_and_starts():
    stop, start = ExperimentOrder("one", "stop"), ExperimentOrder("one", "start")
    stopped = Ending("stopped", "by an operator")

    assert ordered([run()], stop).ended == {"one": stopped}
    assert not ordered([run(ended=stopped)], stop)
    assert ordered([run(ended=stopped)], start).begun == [ONE]
    assert not ordered([run(ended=OFF)], start)
    assert ordered([], start) is None


def test_only_runs_under_way_end():
    found = arms(variant=0.9)

    assert endings([run(arms_=found)]).ended["one"].verdict == "better"
    assert not endings([run(arms_=found, ended=OFF)])
