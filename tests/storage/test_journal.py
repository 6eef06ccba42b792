import errno
import os
import resource
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.storage import journal as module
from compass_ray.storage.journal import MAX_BYTES, Contents, Journal, orphans, read
from compass_ray.types.events import Reservation, Settlement
from compass_ray.types.usage import Usage


def reservation(n):
    return Reservation(f"req/{n}", ("a@lifetime", "org@2026-11"), 100 + n, 5.5)


def settlement(n):
    usage = Usage(1, 2, estimated=True)
    return Settlement(reservation(n), "settled", 7, "openai", "gpt", usage, 6.5)


def written(folder, *, acknowledge=0):
    """Three reservations, of which two have ended."""
    journal = Journal(folder, "r1")
    for n in (1, 2, 3):
        journal.reserve(reservation(n))
    journal.settle(1, settlement(1))
    journal.settle(2, settlement(2))
    if acknowledge:
        journal.acknowledge(acknowledge)
    return journal


def left_in(folder):
    (orphan,) = orphans(folder)
    contents = orphan.read()
    orphan.release()
    return contents


def test_a_dead_owner_s_journal_tells_what_it_left(tmp_path):
    written(tmp_path).close(delete=False)

    (orphan,) = orphans(tmp_path)

    assert orphan.owner == "r1"
    assert orphan.read() == Contents(
        {"req/3": reservation(3)}, {1: settlement(1), 2: settlement(2)}
    )
    orphan.release()


@pytest.mark.parametrize(("acknowledged", "left"), [(1, {2: settlement(2)}), (2, {})])
def test_what_is_acknowledged_is_not_told_again(tmp_path, acknowledged, left):
    written(tmp_path, acknowledge=acknowledged).close(delete=False)

    assert left_in(tmp_path).settlements == left


def test_what_a_full_disk_left_out_shifts_no_acknowledgement(tmp_path):
    journal = Journal(tmp_path, "r1")
    for n in (1, 2, 3, 4):
        journal.reserve(reservation(n))
    for n in (1, 2, 4):  # the line of 3 found no room
        journal.settle(n, settlement(n))
    journal.acknowledge(3)
    journal.close(delete=False)

    assert left_in(tmp_path) == Contents({"req/3": reservation(3)}, {4: settlement(4)})


def test_a_living_owner_s_journal_is_left_alone(tmp_path):
    journal = written(tmp_path)

    assert list(orphans(tmp_path)) == []
    journal.close(delete=True)


def test_nobody_writes_into_another_s_journal(tmp_path):
    written(tmp_path).close(delete=False)

    with pytest.raises(FileExistsError):
        Journal(tmp_path, "r1")

    assert left_in(tmp_path).settlements


def test_an_orphan_is_taken_by_one_only(tmp_path):
    written(tmp_path).close(delete=False)

    first = next(orphans(tmp_path))

    assert list(orphans(tmp_path)) == []
    first.release()


def test_a_deleted_orphan_is_gone(tmp_path):
    written(tmp_path).close(delete=False)
    (orphan,) = orphans(tmp_path)
    orphan.delete()
    orphan.release()

    assert list(orphans(tmp_path)) == []


def test_a_rewritten_journal_says_the_same_and_is_still_locked(tmp_path):
    journal = written(tmp_path, acknowledge=1)

    journal.rewrite(Contents({"req/3": reservation(3)}, {2: settlement(2)}))
    journal.settle(3, settlement(3))

    assert list(orphans(tmp_path)) == []
    journal.close(delete=False)
    assert left_in(tmp_path) == Contents({}, {2: settlement(2), 3: settlement(3)})


def test_a_journal_grows_as_far_as_it_must(tmp_path):
    journal = Journal(tmp_path, "r1")
    number = 0
    while not journal.is_large:
        number += 1
        journal.reserve(reservation(number))
    for more in range(number, 4 * number):
        journal.reserve(reservation(more))
    journal.close(delete=False)

    assert len(left_in(tmp_path).reservations) == 4 * number - 1


def test_a_journal_torn_at_any_byte_tells_all_whole_lines(tmp_path):
    written(tmp_path).close(delete=False)
    data = (tmp_path / "r1.journal").read_bytes().rstrip(b"\0")
    whole = read(data)

    for cut in range(len(data)):
        for rest in (b"", b"\0" * 9):
            torn = read(data[:cut] + rest)
            lines = data[:cut].count(b"\n")
            assert len(torn.reservations) + 2 * len(torn.settlements) == lines
            assert torn.settlements.items() <= whole.settlements.items()


@given(st.data())
def test_a_damaged_byte_ends_what_is_believed(data):
    text = b"".join(module._line(b"r", reservation(n)) for n in (1, 2, 3))
    at = data.draw(st.integers(0, len(text) - 1))
    damaged = bytearray(text)
    damaged[at] ^= data.draw(st.integers(1, 255))

    contents = read(bytes(damaged))

    assert set(contents.reservations) <= {"req/1", "req/2", "req/3"}
    assert len(contents.reservations) < 3


@contextmanager
def files_no_larger_than(size):
    """The nearest thing to a full disk that needs no disk: room is refused, as by ENOSPC."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_where_there_is_no_room_it_is_said_and_nothing_is_lost(tmp_path):
    journal = Journal(tmp_path, "r1")
    with files_no_larger_than(2 * MAX_BYTES):
        taken = fill(journal)
    journal.reserve(reservation(taken))
    journal.close(delete=False)

    assert len(left_in(tmp_path).reservations) == taken + 1


def fill(journal):
    """Write until there is no room; return how many reservations were taken."""
    taken = 0
    with suppress(OSError):
        while taken < 100_000:
            journal.reserve(reservation(taken))
            taken += 1
    assert taken < 100_000
    return taken


def test_a_rewrite_without_room_leaves_the_journal_as_it_was(tmp_path):
    journal = written(tmp_path)

    with files_no_larger_than(MAX_BYTES), pytest.raises(OSError, match="too large"):
        journal.rewrite(Contents())
    journal.settle(3, settlement(3))
    journal.close(delete=False)

    assert len(left_in(tmp_path).settlements) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["r1.journal"]


def test_a_closed_journal_writes_into_no_other_file(tmp_path):
    journal = written(tmp_path)
    journal.close(delete=True)
    other = os.open(tmp_path / "other", os.O_CREAT | os.O_RDWR)  # gets the freed number

    with pytest.raises(OSError, match="closed") as refusal:
        journal.settle(3, settlement(3))

    assert refusal.value.errno == errno.EBADF
    assert os.fstat(other).st_size == 0
    os.close(other)
