import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compass_ray.storage.journal import Contents, Journal, orphans, read
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


def test_a_dead_owner_s_journal_tells_what_it_left(tmp_path):
    written(tmp_path).close(delete=False)

    (orphan,) = orphans(tmp_path)

    assert orphan.owner == "r1"
    assert orphan.read() == Contents(1, {"req/3": reservation(3)}, [settlement(1), settlement(2)])
    orphan.release()


@pytest.mark.parametrize(("acknowledged", "left"), [(1, [settlement(2)]), (2, [])])
def test_what_is_acknowledged_is_not_told_again(tmp_path, acknowledged, left):
    written(tmp_path, acknowledge=acknowledged).close(delete=False)

    (orphan,) = orphans(tmp_path)
    contents = orphan.read()
    orphan.release()

    assert contents.settlements == left
    assert contents.first == acknowledged + 1


def test_a_living_owner_s_journal_is_left_alone(tmp_path):
    journal = written(tmp_path)

    assert list(orphans(tmp_path)) == []
    journal.close(delete=True)


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
    left = Contents(2, {"req/3": reservation(3)}, [settlement(2)])

    journal.rewrite(left)
    journal.settle(3, settlement(3))

    assert list(orphans(tmp_path)) == []
    journal.close(delete=False)
    (orphan,) = orphans(tmp_path)
    assert orphan.read() == Contents(2, {}, [settlement(2), settlement(3)])
    orphan.release()


def test_a_journal_torn_at_any_byte_tells_all_whole_lines(tmp_path):
    written(tmp_path).close(delete=False)
    data = (tmp_path / "r1.journal").read_bytes()
    whole = read(data)

    for cut in range(len(data)):
        torn = read(data[:cut])
        lines = data[:cut].count(b"\n")
        assert len(torn.reservations) + 2 * len(torn.settlements) == lines
        assert torn.settlements == whole.settlements[: len(torn.settlements)]


@given(st.data())
def test_a_damaged_byte_ends_what_is_believed(data):
    text = b""
    for n in (1, 2, 3):
        text += _line(n)
    at = data.draw(st.integers(0, len(text) - 1))
    damaged = bytearray(text)
    damaged[at] ^= data.draw(st.integers(1, 255))

    contents = read(bytes(damaged))

    assert set(contents.reservations) <= {"req/1", "req/2", "req/3"}
    assert len(contents.reservations) < 3


def _line(n):
    from compass_ray.storage import journal  # noqa: PLC0415

    return journal._line(b"r", reservation(n))


def test_a_full_disk_is_said(tmp_path):
    journal = Journal(tmp_path, "r1")
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, journal._file)
    os.close(full)

    with pytest.raises(OSError, match="No space left"):
        journal.reserve(reservation(1))

    journal.close(delete=True)
