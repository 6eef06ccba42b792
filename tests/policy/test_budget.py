"""Leases as a model checker sees them: any interleaving, any loss, any crash."""

import copy

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from compass_ray.gateway.slices import Slices
from compass_ray.policy import budget
from compass_ray.policy.budget import Pot, path, window
from compass_ray.types.accounts import Account
from compass_ray.types.events import Reservation, Settlement
from compass_ray.types.money import Grant
from compass_ray.types.usage import Usage

NEW_YEAR = 1_767_225_600.0  # 2026-01-01T00:00:00Z
LIMIT = 1_000
KEY = "a@lifetime"
ACCOUNTS = {"a": Account("a", limit=LIMIT)}
REPLICAS = st.integers(0, 2)


class Replica:
    """The replica's side of the conversation; what it spent outlives it, as its journal does."""

    def __init__(self, name):
        self.name = name
        self.slices = Slices(ACCOUNTS)
        self.path = self.slices.path("a", 0)
        self.held = []
        self.journal = []  # costs, in order; posted ones stay
        self.posted = 0
        self.seq = 0
        self.second = 0


class Leases(RuleBasedStateMachine):
    """Three replicas, one Ledger, and a network that delays, loses, repeats and reorders."""

    def __init__(self):
        super().__init__()
        self.pots = {}
        self.progress = {}  # replica name -> (seq, posted)
        self.durable = ({}, {})
        self.births = 0
        self.replicas = [self._born() for _ in range(3)]
        self.network = []
        self.charged = 0  # what really was spent, by whoever
        self.overdrawn = 0

    def _born(self):
        self.births += 1
        return Replica(f"r{self.births}")

    @rule(i=REPLICAS, amount=st.integers(1, 300))
    def hold(self, i, amount):
        replica = self.replicas[i]
        if replica.path.fits(amount):
            replica.path.take(amount)
            replica.held.append(amount)
        else:
            replica.path.wait_for(amount)
            replica.path.wait_for(-amount)

    @rule(i=REPLICAS, amount=st.integers(1, 300))
    def wait(self, i, amount):
        slice_ = self.replicas[i].path.slices[0]
        slice_.wait_for(amount if not slice_.waiting else -slice_.waiting)

    @rule(i=REPLICAS, share=st.floats(0, 1), data=st.data())
    def settle(self, i, share, data):
        replica = self.replicas[i]
        if replica.held:
            amount = replica.held.pop(data.draw(st.integers(0, len(replica.held) - 1)))
            cost = int(amount * share)
            replica.path.give_back(amount, cost)
            replica.journal.append(cost)
            self.charged += cost

    @rule(i=REPLICAS, excess=st.integers(1, 50))
    def a_provider_exceeds_its_limit(self, i, excess):
        replica = self.replicas[i]
        if replica.held:
            amount = replica.held.pop()
            replica.path.give_back(amount, amount + excess)
            replica.journal.append(amount + excess)
            self.charged += amount + excess
            self.overdrawn += excess

    @rule(i=REPLICAS, pause=st.integers(0, 3))
    def send(self, i, pause):
        replica = self.replicas[i]
        replica.seq += 1
        replica.second += pause
        wishes = replica.slices.wishes(replica.second)
        message = (replica, replica.seq, replica.posted, replica.journal[replica.posted :], wishes)
        self.network.append(message)

    @rule(data=st.data(), repeat=st.booleans(), reply_lost=st.booleans())
    def deliver(self, data, repeat, reply_lost):
        if not self.network:
            return
        message = self.network[data.draw(st.integers(0, len(self.network) - 1))]
        if not repeat:
            self.network.remove(message)
        replica, seq, posted_before, costs, wishes = message
        grants = self._apply(replica.name, seq, posted_before, costs, wishes)
        self.durable = copy.deepcopy((self.pots, self.progress))
        if replica.seq == seq and replica in self.replicas and not reply_lost:
            done = self.progress[replica.name][1]
            posted = [_settlement(cost) for cost in replica.journal[replica.posted : done]]
            replica.posted = max(replica.posted, done)
            replica.slices.hear(grants, posted)

    @precondition(lambda self: self.network)
    @rule()
    def lose(self):
        self.network.pop(0)

    @rule()
    def the_ledger_crashes(self):
        self.pots, self.progress = copy.deepcopy(self.durable)

    @rule(i=REPLICAS)
    def a_replica_crashes(self, i):
        dead = self.replicas[i]
        expired = dead.held
        self.charged += sum(expired)
        costs = dead.journal[dead.posted :] + expired
        self._apply(dead.name, 2**62, dead.posted, costs, {})
        budget.release(self.pots.setdefault(KEY, Pot()), dead.name)
        self.durable = copy.deepcopy((self.pots, self.progress))
        self.replicas[i] = self._born()

    def _apply(self, name, seq, posted_before, costs, wishes):
        seen, posted = self.progress.get(name, (0, 0))
        pot = self.pots.setdefault(KEY, Pot())
        for cost in costs[max(0, posted - posted_before) :]:
            budget.settle(pot, name, cost)
        posted = max(posted, posted_before + len(costs))
        if seq > seen:
            for wish in wishes.values():
                budget.grant(pot, LIMIT, name, wish, now=0.0, scarce_for=0.3)
        self.progress[name] = max(seq, seen), posted
        lease = pot.leases.get(name, budget.Lease())
        return {KEY: Grant(lease.granted, pot.spent, LIMIT - pot.spent - pot.leased, scarce=False)}

    @invariant()
    def no_grant_exceeds_the_limit(self):
        pot = self.pots.get(KEY, Pot())
        assert pot.leased == sum(lease.outstanding for lease in pot.leases.values())
        assert pot.spent + pot.leased <= LIMIT + self.overdrawn

    @invariant()
    def what_is_spent_and_held_stays_within_the_limit(self):
        held = sum(sum(replica.held) for replica in self.replicas)
        assert self.charged + held <= LIMIT + self.overdrawn

    @invariant()
    def the_books_never_invent_a_cost(self):
        assert self.pots.get(KEY, Pot()).spent <= self.charged


def _settlement(cost):
    return Settlement(Reservation("x", (KEY,), cost, 0.0), "settled", cost, "", "", Usage(), 0.0)


TestLeases = Leases.TestCase
TestLeases.settings = settings(settings.default, stateful_step_count=60)


@pytest.mark.parametrize(
    ("period", "now", "label", "end"),
    [
        ("lifetime", NEW_YEAR, "lifetime", None),
        ("day", NEW_YEAR, "2026-01-01", NEW_YEAR + 86_400),
        ("day", NEW_YEAR - 0.001, "2025-12-31", NEW_YEAR),
        ("month", NEW_YEAR - 1, "2025-12", NEW_YEAR),
        ("month", NEW_YEAR + 58 * 86_400, "2026-02", NEW_YEAR + 59 * 86_400),
    ],
)
def test_windows_begin_and_end_in_utc(period, now, label, end):
    assert window(period, now) == (label, end)


def test_a_path_leads_from_the_account_to_its_root():
    accounts = {
        "org": Account("org", None, 100, "month"),
        "team": Account("team", "org", None),
        "key": Account("key", "team", 5, "day"),
    }

    found = path(accounts, "key", NEW_YEAR)

    assert [(b.key, b.limit) for b in found] == [
        ("key@2026-01-01", 5),
        ("team@lifetime", None),
        ("org@2026-01", 100),
    ]


def test_an_account_that_is_not_listed_has_no_budget():
    assert [(b.key, b.limit) for b in path({}, "open", 0.0)] == [("open@lifetime", None)]
