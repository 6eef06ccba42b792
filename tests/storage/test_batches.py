from contextlib import closing

import pytest

from compass_ray.policy.batches import moved
from compass_ray.storage.batches import BatchStore
from compass_ray.storage.sqlite import Superseded
from compass_ray.types.accounts import Caller
from compass_ray.types.batches import (
    Batch,
    Changes,
    Counts,
    LineError,
    Outcome,
    Page,
    StoredFile,
)

CALLER = Caller("alice", "acme", frozenset({"b", "a"}))
ENDS = (Outcome(1, ok=True, cost=5, written=b"one"), Outcome(2, ok=False, cost=0, written=b"two"))


@pytest.fixture
def opened(tmp_path):
    """Open the store of one folder, as often as wanted."""
    stores = []

    def build():
        stores.append(BatchStore(tmp_path / "batches.db", tmp_path / "files"))
        return stores[-1]

    yield build
    for store in stores:
        store.close()


def file(name="file-1", account="acme", at=1.0, purpose="batch", size=5):
    return StoredFile(name, account, "../../etc/passwd", purpose, size, at, at + 100)


def keep(store, one, content=b"hello"):
    store.write(one.id, 0, content)
    store.keep(one)


def batch(name="batch_1", at=1.0, **fields):
    return Batch(name, CALLER, "file-1", "/v1/embeddings", at, at + 9, 60.0, {"k": "v"}, **fields)


def test_a_file_is_written_in_pieces_and_read_whole_after_a_restart(opened, tmp_path):
    store = opened()
    store.write("file-1", 0, b"hel")
    store.write("file-1", 3, b"lo")
    store.keep(file())

    other = opened()

    assert other.file("file-1") == file()
    with closing(other.open("file-1")) as content:
        assert content.read() == b"hello"
    assert (tmp_path / "files" / "file-1").stat().st_mode & 0o777 == 0o600


def test_what_was_not_whole_at_a_crash_is_gone(opened, tmp_path):
    store = opened()
    store.write("file-1", 0, b"hel")
    (tmp_path / "files" / "file-2").write_bytes(b"its row was never written")

    store = opened()

    assert list((tmp_path / "files").iterdir()) == []
    with pytest.raises(FileNotFoundError):
        store.write("file-1", 3, b"lo")


@pytest.mark.parametrize("name", ["../batches.db", "/etc/passwd", ".part", "a/b"])
def test_no_name_leads_out_of_the_folder(opened, name):
    with pytest.raises(FileNotFoundError):
        opened().open(name)


def test_files_are_listed_by_account_purpose_and_page(opened):
    store = opened()
    for number in range(4):
        keep(store, file(f"file-{number}", at=float(number // 2)))
    keep(store, file("file-x", account="other"))
    keep(store, file("file-o", at=9.0, purpose="batch_output"))

    def listed(purpose="batch", **page):
        return [one.id for one in store.files("acme", purpose, Page(**page))]

    assert listed(most=2) == ["file-3", "file-2"]
    assert listed(most=9, after="file-2") == ["file-1", "file-0"]
    assert listed(after="file-1", latest_first=False) == ["file-2", "file-3"]
    assert listed(None, most=1) == ["file-o"]
    assert listed(after="nobody") == []
    assert store.bytes_of("acme") == 20


def test_a_batch_and_its_ends_are_there_after_a_restart(opened):
    store = opened()
    begun = batch(errors=(LineError("c", "m", 3, "p"),), counts=Counts(2))
    store.commit([Changes(begun)])
    store.commit([Changes(outcomes=(("batch_1", ENDS[0]),))])
    store.commit([Changes(outcomes=(("batch_1", ENDS[0]), ("batch_1", ENDS[1])))])

    other = opened()

    assert other.batch("batch_1") == begun
    assert other.unfinished() == ["batch_1"]
    assert other.outcomes("batch_1", 0, 9) == [*ENDS]
    assert other.outcomes("batch_1", 1, 9) == [ENDS[1]]
    assert other.ended("batch_1") == [one._replace(written=b"") for one in ENDS]


def test_a_batch_that_is_over_has_its_files_and_no_ends_left(opened):
    store = opened()
    store.commit([Changes(batch(), (("batch_1", ENDS[0]),))])
    result = file("file-out", purpose="batch_output")
    store.write(result.id, 0, b"one\n")

    store.finish(moved(batch(), "failed", 3.0), [result])

    assert store.batch("batch_1").status == "failed"
    assert store.unfinished() == []
    assert store.ended("batch_1") == []
    assert store.file("file-out") == result


def test_only_files_that_nobody_reads_are_forgotten(opened):
    store = opened()
    keep(store, file())
    keep(store, file("file-2"))
    store.commit([Changes(batch())])

    store.forget_older(1e6, keep_batches=10.0)
    kept = [one.id for one in store.files("acme", None, Page())]
    store.finish(moved(batch(), "failed", 3.0), [])
    store.forget_older(1e6, keep_batches=10.0)

    assert kept == ["file-1"]
    assert store.files("acme", None, Page()) == []
    assert store.batches("acme", Page()) == []


def test_an_upload_that_was_never_ended_is_forgotten_after_a_day(opened, tmp_path):
    store = opened()
    store.write("file-1", 0, b"hel")
    part = tmp_path / "files" / "file-1.part"
    began = part.stat().st_mtime

    store.forget_older(began + 1_000, keep_batches=10.0)
    was_there = part.exists()
    store.forget_older(began + 100_000, keep_batches=10.0)

    assert (was_there, part.exists()) == (True, False)


def test_a_second_writer_takes_over(opened):
    first = opened()
    opened()

    with pytest.raises(Superseded):
        first.commit([Changes(batch())])
