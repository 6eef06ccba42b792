"""Leases as a model checker sees them: any interleaving, any loss, any crash."""

import copy

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from compass_ray.gateway.slices import Slices
from compass_ray.policy.books import Books, apply, balance
from compass_ray.policy.budget import Pot
from compass_ray.types.accounts import Account, Limit
from compass_ray.types.events import Amounts, Reservation, Settlement
from compass_ray.types.money import Balance, Sync, Wish
from compass_ray.types.usage import Usage

LIMIT = 1_000
KEY = "a@lifetime"
ACCOUNTS = {"a": Account("a", None, (Limit(LIMIT),))}
REPLICAS = st.integers(0, 2)


class Replica:
    """The replica's side of the conversation; what it spent outlives it, as its journal does."""

    def __init__(self, name):
        self.name = name
        self.slices = Slices(ACCOUNTS)
        self.path = self.slices.path("a", 0)
        self.held = []
        self.waiting = []
        self.unposted = []  # settlements, as its journal keeps them
        self.seq = 0
        self.second = 0


class Conversation(RuleBasedStateMachine):
    """Three replicas, one Ledger, and a network that delays, loses, repeats and reorders."""

    def __init__(self):
        super().__init__()
        self.books = Books()
        self.postings = {}  # id -> cost, as the Ledger's file has them
        self.births = 0
        self.reservations = 0
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
        if replica.path.fits(Amounts(amount)):
            replica.path.take(Amounts(amount))
            replica.held.append(amount)
        else:
            replica.path.wait_for(Amounts(amount))
            replica.waiting.append(amount)

    @precondition(lambda self: any(replica.waiting for replica in self.replicas))
    @rule(i=REPLICAS)
    def wait_no_longer(self, i):
        replica = self.replicas[i]
        if replica.waiting:
            amount = replica.waiting.pop()
            replica.path.stop_waiting(Amounts(amount))
            if replica.path.fits(Amounts(amount), waited_for=True):
                replica.path.take(Amounts(amount))
                replica.held.append(amount)

    @rule(i=REPLICAS, share=st.floats(0, 1), data=st.data())
    def settle(self, i, share, data):
        replica = self.replicas[i]
        if replica.held:
            amount = replica.held.pop(data.draw(st.integers(0, len(replica.held) - 1)))
            self._end(replica, amount, int(amount * share))

    @rule(i=REPLICAS, excess=st.integers(1, 50))
    def a_provider_exceeds_its_limit(self, i, excess):
        replica = self.replicas[i]
        if replica.held:
            amount = replica.held.pop()
            self._end(replica, amount, amount + excess)
            self.overdrawn += excess

    def _end(self, replica, amount, cost):
        replica.path.give_back(Amounts(amount), Amounts(cost))
        replica.unposted.append(self._settlement(cost))
        self.charged += cost

    def _settlement(self, cost):
        self.reservations += 1
        reservation = Reservation(f"q/{self.reservations}", (KEY,), cost, 0.0)
        return Settlement(reservation, "settled", cost, "", "", Usage(), 0.0)

    @rule(i=REPLICAS, pause=st.integers(0, 3))
    def send(self, i, pause):
        replica = self.replicas[i]
        replica.seq += 1
        replica.second += pause
        wishes = replica.slices.wishes(replica.second)
        sync = Sync(replica.name, replica.seq, tuple(replica.unposted), wishes)
        self.network.append((replica, sync))

    @precondition(lambda self: self.network)
    @rule(data=st.data(), repeat=st.booleans(), lost=st.sampled_from(["", "reply", "commit"]))
    def deliver(self, data, repeat, lost):
        message = self.network[data.draw(st.integers(0, len(self.network) - 1))]
        if not repeat:
            self.network.remove(message)
        replica, sync = message
        if lost == "commit":  # the Ledger dies in between, and comes back as the file says
            self._apply(copy.deepcopy(self.books), sync)
            return
        changes, (reply,) = self._apply(self.books, sync)
        self._commit(changes)
        if lost == "reply" or replica not in self.replicas:
            return
        posted = [s for s in sync.settlements if s in replica.unposted]
        replica.unposted = [s for s in replica.unposted if s not in posted]
        replica.slices.posted(posted)
        if sync.seq == replica.seq:
            replica.slices.hear(reply.grants)

    @precondition(lambda self: self.network)
    @rule()
    def lose(self):
        self.network.pop(0)

    @rule(amount=st.integers(-200, 200))
    def an_operator_adjusts(self, amount):
        self.reservations += 1
        reservation = Reservation(f"q/{self.reservations}", (KEY,), 0, 0.0)
        adjusted = Settlement(reservation, "adjusted", amount, "", "", Usage(), 0.0, "why")
        changes, _ = self._apply(self.books, Sync("adjustments", 0, (adjusted,)))
        self._commit(changes)
        self.charged += amount
        self.overdrawn += max(0, amount)

    @rule(i=REPLICAS)
    def a_replica_dies_and_its_journal_is_posted(self, i):
        dead = self.replicas[i]
        expired = [self._settlement(amount) for amount in dead.held]
        self.charged += sum(dead.held)
        for sync in (
            Sync(dead.name, 0, (*dead.unposted, *expired)),
            Sync(dead.name, 2**62, (), closing=True),
        ):
            changes, _ = self._apply(self.books, sync)
            self._commit(changes)
        self.replicas[i] = self._born()

    def _apply(self, books, sync):
        return apply(books, ACCOUNTS, [sync], set(self.postings), now=0.0)

    def _commit(self, changes):
        for _, settlement in changes.postings:
            assert settlement.reservation.id not in self.postings
            self.postings[settlement.reservation.id] = settlement.cost

    @invariant()
    def no_grant_exceeds_the_limit(self):
        pot = self.books.pots.get(KEY, Pot())
        assert pot.leased == sum(lease.outstanding for lease in pot.leases.values())
        assert pot.spent + pot.leased <= LIMIT + self.overdrawn

    @invariant()
    def what_is_spent_and_held_stays_within_the_limit(self):
        held = sum(sum(replica.held) for replica in self.replicas)
        assert self.charged + held <= LIMIT + self.overdrawn

    @invariant()
    def the_books_are_the_sum_of_the_postings(self):
        assert self.books.pots.get(KEY, Pot()).spent == sum(self.postings.values())

    @invariant()
    def every_cost_is_posted_or_waits_in_a_journal(self):
        waits = {s.reservation.id: s.cost for replica in self.replicas for s in replica.unposted}
        assert sum((self.postings | waits).values()) == self.charged


TestConversation = Conversation.TestCase
TestConversation.settings = settings(settings.default, stateful_step_count=60)


def test_the_last_cent_goes_to_somebody_who_waits_for_it():
    """Two replicas wait for ten each while ten are free: one of them gets all."""
    books = Books({KEY: Pot(LIMIT - 10)})
    wish = {KEY: Wish(0, 10, 10, 10)}

    _, replies = apply(
        books, ACCOUNTS, [Sync("one", 1, (), wish), Sync("two", 1, (), wish)], set(), now=0.0
    )

    assert sorted(reply.grants[KEY].granted for reply in replies) == [0, 10]


def test_a_closed_replica_is_granted_nothing_more():
    books = Books()
    apply(books, ACCOUNTS, [Sync("one", 5, (), closing=True)], set(), now=0.0)

    _, (reply,) = apply(
        books, ACCOUNTS, [Sync("one", 6, (), {KEY: Wish(0, 0, 10, 10)})], set(), now=0.0
    )

    assert reply.grants[KEY].granted == 0


def test_a_bucket_that_was_never_used_is_empty():
    assert balance(Books(), ACCOUNTS, KEY, 0.0) == Balance(KEY, LIMIT, 0, 0)
