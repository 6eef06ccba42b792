"""The checkers find what they are for: a run in which all is well, and one lie at a time."""

from dataclasses import replace
from itertools import islice, pairwise

import pytest

from . import checkers, nemesis
from .evidence import Call, Evidence, Footprint, Posting
from .generator import TENANTS, operations
from .history import Seen

ASKED = replace(
    next(operations(1)), kind="chat", model="sim", stream=False, leaves_after=None, tenant="red"
)
SEEN = Seen(ASKED, "ok", 0.0, 0.1, 200, "req_1", cost=120, output_tokens=10, chars=40)
CALL = Call(ASKED.asked, 200, 10, 10, None, aborted=False)
POSTING = Posting("req_1/0", "settled", 200, 120, 10, 10, estimated=False)
EVIDENCE = Evidence((POSTING,), (CALL,), (), 0, (), ())
FOOTPRINT = Footprint({"ServeReplica": 3}, 100, 10_000)


def everything(seen=(SEEN,), evidence=EVIDENCE, worst=None, after=(SEEN,), held=FOOTPRINT):
    """Return what all checkers say, by invariant."""
    problems = [
        *checkers.nothing_is_a_defect(seen),
        *checkers.books_add_up(evidence, worst or {}),
        *checkers.everything_ended(seen, evidence, len(seen)),
        *checkers.the_bill_is_right(seen, evidence),
        *checkers.nothing_told_is_lost(seen, evidence),
        *checkers.each_call_is_posted_once(seen, evidence),
        *checkers.tenants_are_apart(seen),
        *checkers.no_secret_is_logged(evidence),
        *checkers.all_is_as_before((SEEN,), after, (FOOTPRINT, held)),
    ]
    return {problem.partition(":")[0] for problem in problems}


def test_where_all_is_well_nothing_is_said():
    assert everything() == set()


@pytest.mark.parametrize(
    ("lie", "found"),
    [
        ({"seen": (replace(SEEN, status=500, outcome="fail"),)}, "I0"),
        ({"evidence": replace(EVIDENCE, mistakes=("org has spent 1, its postings are 2",))}, "I1"),
        ({"worst": {"org": "org: 2 spent of 1"}}, "I1"),
        ({"evidence": replace(EVIDENCE, leased=1)}, "I2"),
        ({"evidence": replace(EVIDENCE, unfinished=("a reservation",))}, "I2"),
        ({"evidence": replace(EVIDENCE, postings=(POSTING, POSTING))}, "I2"),
        ({"evidence": replace(EVIDENCE, postings=(replace(POSTING, output_tokens=11),))}, "I3"),
        ({"evidence": replace(EVIDENCE, postings=(replace(POSTING, cost=201),))}, "I3"),
        ({"seen": (replace(SEEN, chars=4000),)}, "I3"),
        ({"seen": (replace(SEEN, cost=119),)}, "I4"),
        ({"evidence": replace(EVIDENCE, postings=())}, "I4"),
        ({"evidence": replace(EVIDENCE, postings=(replace(POSTING, outcome="voided"),))}, "I4"),
        ({"evidence": replace(EVIDENCE, calls=(CALL, CALL))}, "I5"),
        ({"seen": (replace(SEEN, leaks=("canary",)),)}, "I6"),
        ({"evidence": replace(EVIDENCE, secrets_in_logs=("sk- in a.log",))}, "I7"),
        ({"after": (replace(SEEN, status=502, outcome="fail"),)}, "I8"),
        ({"after": (replace(SEEN, outcome="info", status=None, error="reset"),)}, "I8"),
        ({"after": (replace(SEEN, ended=5.0),)}, "I8"),
        ({"held": replace(FOOTPRINT, processes={"ServeReplica": 2})}, "I8"),
        ({"held": replace(FOOTPRINT, replica_files=300)}, "I8"),
    ],
)
def test_each_lie_is_found_by_its_invariant(lie, found):
    assert found in everything(**lie)


def test_an_estimate_is_no_lie_between_what_was_received_and_the_reserve():
    left = replace(SEEN, outcome="info", cost=None, error="left", chars=20)
    cut = replace(CALL, aborted=True, output_tokens=7)
    guess = replace(POSTING, estimated=True, output_tokens=7, cost=90)

    assert everything((left,), replace(EVIDENCE, postings=(guess,), calls=(cut,))) == set()


def test_a_request_whose_id_nobody_learned_is_matched_with_its_expired_record():
    lost = replace(SEEN, outcome="info", status=None, request_id=None, cost=None, chars=0)
    expired = replace(POSTING, outcome="expired", cost=200, estimated=True)

    assert everything((lost,), replace(EVIDENCE, postings=(expired,))) == set()
    assert "I5" in everything((lost,), replace(EVIDENCE, postings=()))


def test_the_same_seed_makes_the_same_operations_and_deeds():
    assert list(islice(operations(5), 200)) == list(islice(operations(5), 200))
    assert list(islice(operations(5), 200)) != list(islice(operations(6), 200))
    assert nemesis.schedule(5, 0, 100) == nemesis.schedule(5, 0, 100)


def test_two_operations_never_say_the_same():
    some = list(islice(operations(1), 1000))

    assert len({operation.asked for operation in some}) == 1000
    assert {operation.tenant for operation in some} == set(TENANTS)


def test_a_storm_brings_every_kind_of_fault_and_one_failing_provider_at_a_time():
    deeds = nemesis.schedule(1, 0, 300)
    failing = [deed for deed in deeds if deed.kind == "provider"]

    assert {deed.target for deed in deeds if deed.kind == "kill"} == set(nemesis.KILLS)
    assert {deed.target for deed in deeds if deed.kind == "pause"} == set(nemesis.PAUSES)
    assert {deed.fault for deed in failing} == set(nemesis.FAULTS)
    assert all(first.at + first.lasts <= second.at for first, second in pairwise(failing))
    assert all(deed.at + deed.lasts <= 300 + 5 for deed in deeds)
