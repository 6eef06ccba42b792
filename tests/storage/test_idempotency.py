import stat
from contextlib import closing

import pytest

from compass_ray.policy.idempotency import Entry
from compass_ray.storage.idempotency import IdempotencyStore
from compass_ray.storage.sqlite import Superseded
from compass_ray.types.idempotency import Claim, KeptAnswer


def entry(n, account="a", at=1.0, content=b"{}", *, answered=True):
    claim = Claim(account, f"key {n}", bytes([n]) * 32, f"req_{n}")
    answer = KeptAnswer(n % 2 == 0, "p/m@r", "p", "é日", 3, content)
    return Entry(claim, at, answer if answered else None)


def by_name(*entries):
    return {one.claim.name: one for one in entries}


@pytest.fixture
def file(tmp_path):
    return tmp_path / "state" / "k.db"


@pytest.fixture
def store(file):
    store = IdempotencyStore(file)
    yield store
    store.close()


def names(store):
    return [key for (key,) in store._db.execute("SELECT key FROM keys ORDER BY at, key")]


def test_what_was_committed_is_loaded_again(store, file):
    entries = by_name(entry(1), entry(2, content=None), entry(3, answered=False))
    entries |= by_name(entry(1, account="b", content=b"\0\xff"))

    store.commit(entries)

    with closing(IdempotencyStore(file)) as other:
        assert other.load([*entries, ("a", "unknown")]) == entries
        assert other.in_progress() == ["req_3"]


def test_an_entry_is_replaced_and_forgotten(store):
    store.commit(by_name(entry(1, answered=False), entry(2, answered=False)))

    store.commit({**by_name(entry(1)), entry(2).claim.name: None})

    assert store.load([("a", "key 1"), ("a", "key 2")]) == by_name(entry(1))
    assert store.in_progress() == []


def test_a_second_writer_supersedes_the_first(store, file):
    second = IdempotencyStore(file)

    with pytest.raises(Superseded):
        store.commit(by_name(entry(1)))

    assert second.load([("a", "key 1")]) == {}
    second.close()


def test_the_file_and_all_beside_it_are_for_their_owner_s_eyes(store, file):
    store.commit(by_name(entry(1)))

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
    assert modes == {"k.db": 0o600, "k.db-wal": 0o600, "k.db-shm": 0o600}


def test_what_is_old_is_forgotten_but_no_run_that_lives(store):
    store.commit(
        by_name(
            entry(1, at=1.0),
            entry(2, at=1.0, answered=False),
            entry(3, at=1.0, answered=False),
            entry(4, at=2.0),
        )
    )

    assert store.forget_older(2.0, {"req_3"}) == 2
    assert store.forget_older(2.0, {"req_3"}) == 0

    assert names(store) == ["key 3", "key 4"]


def test_old_ones_are_forgotten_some_at_a_time(store):
    rows = [Entry(Claim("a", f"k{n}", b"", f"req_{n}"), 1.0, entry(1).answer) for n in range(600)]
    store.commit(by_name(*rows))

    assert store.forget_older(2.0, set()) == 500
    assert store.forget_older(2.0, set()) == 100


def test_beyond_its_room_the_largest_account_s_oldest_go_first(store):
    big = bytes(20_000)
    store.commit(by_name(*(entry(n, "big", at=n, content=big) for n in range(100))))
    store.commit(by_name(entry(1, "small", at=0.0), entry(200, "big", at=0.0, answered=False)))
    used = store._used()

    assert store.forget_beyond(used) == 0
    assert store.forget_beyond(used - 50_000) == 3

    assert names(store)[:3] == ["key 1", "key 200", "key 3"]  # another's, and one in progress
    assert used - 100_000 < store._used() <= used - 50_000


def test_where_there_is_no_answer_nothing_can_be_forgotten(store):
    store.commit(by_name(entry(1, answered=False)))

    assert store.forget_beyond(0) == 0
