"""Limits of a minute and of requests at once, leased to replicas, as a model checker sees them."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from compass_ray.gateway.slices import Slices
from compass_ray.policy.books import Books, apply
from compass_ray.types.accounts import Account, Limit
from compass_ray.types.events import Amounts, Reservation, Settlement
from compass_ray.types.money import Sync
from compass_ray.types.usage import Usage

REQUESTS, TOKENS, PARALLEL = 3, 200, 2
LIMITS = (
    Limit(REQUESTS, "minute", "requests"),
    Limit(TOKENS, "minute", "tokens"),
    Limit(PARALLEL, "lifetime", "parallel"),
)
ACCOUNTS = {"a": Account("a", None, LIMITS)}
REPLICAS = st.integers(0, 2)
ONE = Amounts(0, 1, 1)
EXPECTED = st.integers(1, 120)


class Replica:
    def __init__(self, name):
        self.name = name
        self.slices = Slices(ACCOUNTS)
        self.path = self.slices.path("a", 0)
        self.held = []
        self.waiting = []
        self.unposted = []
        self.seq = 0
        self.heard = 0.0


class Rates(RuleBasedStateMachine):
    """Three replicas and one Ledger; what is used stays as long as it was expected."""

    def __init__(self):
        super().__init__()
        self.books = Books()
        self.now = 1_000.0
        self.replicas = [Replica(f"r{n}") for n in range(3)]
        self.born = 3
        self.admitted = []  # (when, tokens)
        self.ended = 0

    @rule(i=REPLICAS, tokens=EXPECTED)
    def ask(self, i, tokens):
        replica, amounts = self.replicas[i], Amounts(0, tokens, tokens)
        if replica.path.fits(amounts):
            self._admit(replica, amounts)
        else:
            replica.path.wait_for(amounts)
            replica.waiting.append(amounts)

    @rule(i=REPLICAS)
    def wait_no_longer(self, i):
        replica = self.replicas[i]
        if replica.waiting:
            amounts = replica.waiting.pop()
            replica.path.stop_waiting(amounts)
            if replica.path.fits(amounts, waited_for=True):
                self._admit(replica, amounts)

    def _admit(self, replica, amounts):
        replica.path.take(amounts)
        replica.held.append(amounts)
        self.admitted.append((self.now, amounts.pace))

    @rule(i=REPLICAS)
    def end(self, i):
        replica = self.replicas[i]
        if replica.held:
            amounts = replica.held.pop()
            settlement = self._settlement("settled", replica.path, amounts)
            replica.path.give_back(amounts, settlement.charges())
            replica.unposted.append(settlement)

    def _settlement(self, outcome, path, amounts):
        self.ended += 1
        reservation = Reservation(f"q/{self.ended}", path.keys, 0, 0.0, amounts.tokens)
        usage = Usage(amounts.tokens) if outcome == "settled" else Usage(estimated=True)
        return Settlement(reservation, outcome, 0, "", "", usage, 0.0)

    @rule(i=REPLICAS, tokens=EXPECTED)
    def a_whole_request(self, i, tokens):
        self.ask(i, tokens)
        self.exchange(i)
        self.wait_no_longer(i)
        self.end(i)
        self.exchange(i)

    @rule(seconds=st.sampled_from([0.2, 5.0, 30.0, 55.0]))
    def time_passes(self, seconds):
        for i, replica in enumerate(self.replicas):
            if self.now - replica.heard > 3:  # who lives is heard of every second
                self.exchange(i)
        self.now += seconds

    @rule(i=REPLICAS)
    def exchange(self, i):
        replica = self.replicas[i]
        replica.seq += 1
        settlements = tuple(replica.unposted)
        wishes = replica.slices.wishes(self.now)
        sync = Sync(replica.name, replica.seq, settlements, wishes)
        _, (reply,) = apply(self.books, ACCOUNTS, [sync], set(), self.now)
        replica.unposted.clear()
        replica.slices.posted(settlements)
        replica.slices.hear(reply.grants)
        replica.heard = self.now

    @rule(i=REPLICAS)
    def die(self, i):
        dead = self.replicas[i]
        expired = [self._settlement("expired", dead.path, amounts) for amounts in dead.held]
        for sync in (
            Sync(dead.name, 0, (*dead.unposted, *expired)),
            Sync(dead.name, 2**62, (), closing=True),
        ):
            apply(self.books, ACCOUNTS, [sync], set(), self.now)
        self.replicas[i] = Replica(f"r{self.born}")
        self.born += 1

    @invariant()
    def no_minute_sees_more_than_its_limit(self):
        recent = [tokens for at, tokens in self.admitted if at > self.now - 60]
        assert len(recent) <= REQUESTS
        assert sum(recent) <= TOKENS

    @invariant()
    def no_more_at_once_than_allowed(self):
        assert sum(len(replica.held) for replica in self.replicas) <= PARALLEL


TestRates = Rates.TestCase
TestRates.settings = settings(settings.default, stateful_step_count=60)


def test_a_share_of_a_rate_does_not_die_with_a_host_that_is_never_heard_of_again():
    books = Books()
    lost, other = Replica("lost"), Replica("other")
    say(books, lost, 0.0, wanted=2)
    say(books, other, 1.0, wanted=2)
    before = (lost.path.fits(ONE), other.path.fits(ONE))

    say(books, other, 30.0, wanted=2)
    soon = other.path.fits(ONE)
    say(books, other, 61.0, wanted=2)

    assert (before, soon, other.path.fits(ONE)) == ((True, False), False, True)


def test_a_replica_that_was_silent_and_comes_back_goes_on():
    books = Books()
    replica = Replica("r")
    for n in range(40):
        say(books, replica, 100.0 * n, wanted=1)
        assert replica.path.fits(ONE)
        replica.path.take(ONE)
        replica.path.give_back(ONE, ONE._replace(parallel=0))
        reservation = Reservation(f"q/{n}", replica.path.keys, 0, 0.0, 1)
        replica.unposted = [Settlement(reservation, "settled", 0, "", "", Usage(1), 0.0)]


def say(books, replica, now, wanted):
    """Exchange one message, with so many requests waiting meanwhile."""
    for _ in range(wanted):
        replica.path.wait_for(ONE)
    replica.seq += 1
    posted = tuple(replica.unposted)
    sync = Sync(replica.name, replica.seq, posted, replica.slices.wishes(now))
    _, (reply,) = apply(books, ACCOUNTS, [sync], set(), now)
    replica.unposted.clear()
    replica.slices.posted(posted)
    replica.slices.hear(reply.grants)
    for _ in range(wanted):
        replica.path.stop_waiting(ONE)
