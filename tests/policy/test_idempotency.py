"""Idempotency keys as a model checker sees them: groups, losses, repeats, deaths and restarts."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from compass_ray.policy.idempotency import (
    BEAT,
    LEASE,
    Entry,
    Keep,
    apply,
    begin,
    checked,
    end,
    fingerprint,
    is_over,
)
from compass_ray.types.errors import InvalidRequest
from compass_ray.types.idempotency import (
    Answered,
    Claim,
    Ending,
    Granted,
    InProgress,
    KeptAnswer,
    Mismatch,
)

KEEP = Keep(seconds=100.0)
NAMES = [("a", "k1"), ("a", "k2"), ("b", "k1")]
BODIES = [b"one", b"two"]
MOSTLY_THE_SAME = st.sampled_from(
    [(NAMES[0], BODIES[0])] * 6 + [(n, b) for n in NAMES for b in BODIES]
)


def claim(n=1, body=BODIES[0], name=NAMES[0]):
    return Claim(*name, hashlib.sha256(body).digest(), f"req_{n}")


def answer(text="hello"):
    return KeptAnswer(False, "p/m", "p", "m", 3, text.encode())  # noqa: FBT003


class Replica:
    """Runs what it is granted; everything it has not told dies with it."""

    def __init__(self):
        self.asking = []
        self.running = {}
        self.untold = []


class Keys(RuleBasedStateMachine):
    """Two replicas, one authority that decides in groups, and a network that loses replies."""

    def __init__(self):
        super().__init__()
        self.entries, self.leases = {}, {}  # the authority's
        self.now = 0.0
        self.runs = 0
        self.replicas = [Replica(), Replica()]
        self.posted = []  # (replica, message): the next group
        self.held_until = {}  # as the model knows: claim -> end of its lease
        self.first = {}  # name -> the one answer, while it is kept

    @rule(i=st.integers(0, 1), what=MOSTLY_THE_SAME)
    def ask(self, i, what):
        name, body = what
        self.runs += 1
        asked = claim(self.runs, body, name)
        self.replicas[i].asking.append(asked)
        self.posted.append((self.replicas[i], asked))

    @precondition(lambda self: any(replica.running for replica in self.replicas))
    @rule(data=st.data(), well=st.sampled_from([True, True, False]))
    def finish(self, data, well):
        replica = data.draw(st.sampled_from([r for r in self.replicas if r.running]))
        run = replica.running.pop(data.draw(st.sampled_from(sorted(replica.running))))
        ending = Ending(run, answer(f"of {run.id}") if well else None)
        replica.untold.append(ending)
        self.posted.append((replica, ending))

    @precondition(lambda self: self.posted)
    @rule(lost=st.sampled_from([False, False, True]))
    def decide_a_group(self, lost):
        group, self.posted = self.posted, []
        changes, replies = apply(
            {name: entry for name, entry in self.entries.items() if entry is not None},
            self.leases,
            [message for _, message in group],
            now=self.now,
            unix=self.now,
            keep=KEEP,
        )
        self.entries.update(changes)
        for (replica, message), reply in zip(group, replies, strict=True):
            self.judge(message, reply)
            if lost:
                if self.is_waited_for(replica, message):
                    self.posted.append((replica, message))  # and asks again
            else:
                self.hear(replica, message, reply)

    def is_waited_for(self, replica, message):
        return message in replica.asking or message in replica.untold

    def hear(self, replica, message, reply):
        if isinstance(message, Ending):
            if message in replica.untold:
                replica.untold.remove(message)
        elif message in replica.asking:
            replica.asking.remove(message)
            if isinstance(reply, Granted):
                replica.running[message.id] = message

    def judge(self, message, reply):
        """Compare a reply with what the model knows."""
        said = message.claim if isinstance(message, Ending) else message
        first = self.first.get(said.name)
        told = None if first is None or self.now - first[2] >= KEEP.seconds else first
        if isinstance(message, Ending):
            self.held_until.pop(said, None)
            repeated = first is not None and first[:2] == (said, message.answer)
            if message.answer is not None and reply and not repeated:
                assert told is None
                self.first[said.name] = (said, message.answer, self.now)
        elif isinstance(reply, Granted):
            assert told is None
            others = [one for one in self.held_until if one.name == said.name and one != said]
            assert all(self.held_until[one] <= self.now for one in others)
            for one in others:
                del self.held_until[one]
            self.held_until[said] = self.now + LEASE
        elif isinstance(reply, Answered):
            assert told[0].fingerprint == said.fingerprint
            assert (told[0].id, told[1]) == (reply.request_id, reply.answer)
        elif isinstance(reply, InProgress):
            assert 0 < reply.retry_after <= LEASE
            assert self.holds(said.name, same=said.fingerprint)
        else:
            assert isinstance(reply, Mismatch)
            assert self.holds(said.name, other=said.fingerprint)

    def holds(self, name, same=None, other=None):
        living = [one.fingerprint for one, until in self.held_until.items()
                  if one.name == name and until > self.now]  # fmt: skip
        if other is not None and name in self.first:
            living.append(self.first[name][0].fingerprint)
        return any(one == same if same is not None else one != other for one in living)

    @rule(i=st.integers(0, 1))
    def extend(self, i):
        replica = self.replicas[i]
        for held in [*replica.running.values(), *(one.claim for one in replica.untold)]:
            if held.id in self.leases:
                self.leases[held.id] = self.held_until[held] = self.now + LEASE

    @rule(seconds=st.sampled_from([BEAT, LEASE, LEASE, 60.0]))
    def wait(self, seconds):
        self.now += seconds

    @rule(i=st.integers(0, 1))
    def die(self, i):
        self.posted = [(r, message) for r, message in self.posted if r is not self.replicas[i]]
        self.replicas[i] = Replica()

    @rule()
    def restart_the_authority(self):
        self.posted = [
            (replica, message)
            for replica in self.replicas
            for message in [*replica.asking, *replica.untold]
        ]
        entries = [entry for entry in self.entries.values() if entry is not None]
        open_ones = [entry.claim for entry in entries if entry.answer is None]
        self.leases = {one.id: self.now + LEASE for one in open_ones}
        self.held_until = dict.fromkeys(open_ones, self.now + LEASE)

    @rule()
    def tidy(self):
        for name, entry in list(self.entries.items()):
            answered = entry is not None and entry.answer is not None
            if answered and is_over(entry, 0.0, self.now, KEEP):
                self.entries[name] = None

    @invariant()
    def a_kept_answer_is_never_lost(self):
        for name, (said, kept, at) in self.first.items():
            if self.now - at < KEEP.seconds:
                assert self.entries[name] == Entry(said, at, kept)

    @invariant()
    def leases_are_only_of_runs_that_hold_a_key(self):
        holding = {entry.claim.id for entry in self.entries.values() if entry is not None}
        assert self.leases.keys() <= holding


TestKeys = Keys.TestCase
TestKeys.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)


def test_a_run_that_lives_may_end_soon_and_one_that_misses_its_beats_is_waited_for():
    entry = Entry(claim(1), 0.0)

    alive, _ = begin(entry, claim(2), LEASE - BEAT, 0.0, KEEP)
    dying, _ = begin(entry, claim(2), 3.2, 0.0, KEEP)

    assert alive == InProgress("req_1", 1.0)
    assert dying == InProgress("req_1", 4)


def test_another_request_under_the_same_key_is_a_mismatch_before_all_else():
    running, answered = Entry(claim(1), 0.0), Entry(claim(1), 0.0, answer())

    for entry in (running, answered):
        verdict, after = begin(entry, claim(2, b"two"), LEASE, 0.0, KEEP)

        assert (verdict, after) == (Mismatch(), entry)


def test_a_dead_run_s_key_and_an_old_answer_s_key_are_free_for_any_request():
    dead, old = Entry(claim(1), 0.0), Entry(claim(1), 0.0, answer())

    for entry, now in ((dead, 1.0), (old, KEEP.seconds)):
        assert begin(entry, claim(2, b"two"), 0.0, now, KEEP)[0] == Granted()


def test_an_answer_that_comes_late_counts_unless_somebody_else_has_the_key():
    late = Ending(claim(1), answer())

    assert end(Entry(claim(2), 5.0), late, 9.0) == (False, Entry(claim(2), 5.0))
    assert end(None, late, 9.0) == (True, Entry(claim(1), 9.0, answer()))


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=255))
def test_printable_ascii_is_a_key_without_the_blanks_around_it(key):
    if key.strip():
        assert checked(f" {key}\t") == key.strip()


@pytest.mark.parametrize("key", ["", "  ", "k" * 256, "k\nk", "k\0", "schlüssel", "\x7f", "日"])
def test_what_is_no_key_is_refused_by_name(key):
    with pytest.raises(InvalidRequest, match="Idempotency-Key must be 1 to 255") as refused:
        checked(key)

    assert refused.value.param == "Idempotency-Key"


def test_a_fingerprint_is_of_the_bytes_and_of_the_route():
    prints = {fingerprint("/a", b"b"), fingerprint("/a", b" b"), fingerprint("/b", b"b")}

    assert len(prints) == 3
    assert fingerprint("/a", b"b") in prints
