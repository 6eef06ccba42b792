import sqlite3
from contextlib import closing

import pytest

from compass_ray.storage.sqlite import FENCE, SingleWriter, Superseded

FIRST = FENCE + "CREATE TABLE notes (text TEXT)"
SECOND = "ALTER TABLE notes ADD COLUMN at REAL NOT NULL DEFAULT 0; CREATE INDEX by_at ON notes(at)"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "below" / "f.db"


def notes(file):
    with closing(sqlite3.connect(file)) as db:
        return [text for (text,) in db.execute("SELECT text FROM notes ORDER BY text")]


def test_what_was_committed_is_there_for_every_reader_and_survives(file):
    with closing(SingleWriter(file, [FIRST])) as writer:
        with writer.transaction() as db:
            db.execute("INSERT INTO notes VALUES ('a')")

        assert notes(file) == ["a"]

    with closing(SingleWriter(file, [FIRST])) as writer:
        assert writer.db.execute("SELECT * FROM notes").fetchall() == [("a",)]


def test_a_transaction_is_whole_or_nothing(file):
    with closing(SingleWriter(file, [FIRST])) as writer:
        with pytest.raises(sqlite3.ProgrammingError), writer.transaction() as db:
            db.executemany("INSERT INTO notes VALUES (?)", [("a",), ("too", "many")])
        with writer.transaction() as db:
            db.execute("INSERT INTO notes VALUES ('b')")

    assert notes(file) == ["b"]


def test_a_second_writer_supersedes_the_first(file):
    first, second = SingleWriter(file, [FIRST]), SingleWriter(file, [FIRST])

    with pytest.raises(Superseded), first.transaction() as db:
        db.execute("INSERT INTO notes VALUES ('a')")

    first.close()
    second.close()
    assert notes(file) == []


def test_a_file_is_led_from_its_version_to_the_last(file):
    with closing(SingleWriter(file, [FIRST])) as writer, writer.transaction() as db:
        db.execute("INSERT INTO notes VALUES ('a')")

    with closing(SingleWriter(file, [FIRST, SECOND])) as writer:
        assert writer.db.execute("SELECT * FROM notes").fetchall() == [("a", 0.0)]


def test_a_file_of_a_newer_version_is_refused(file):
    SingleWriter(file, [FIRST, SECOND]).close()

    with pytest.raises(sqlite3.DatabaseError, match="newer version: schema 2, known is 1"):
        SingleWriter(file, [FIRST])


def test_what_is_no_database_is_refused_and_left_as_it_is(file):
    file.parent.mkdir()
    file.write_text("notes" * 1_000)

    with pytest.raises(sqlite3.DatabaseError):
        SingleWriter(file, [FIRST])

    assert file.read_text() == "notes" * 1_000
