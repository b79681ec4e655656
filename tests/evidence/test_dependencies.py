"""Reads and writes of a trace in the hashed domain."""

from __future__ import annotations

import pytest
from tests.simulator.recording import MS, Recording

from cachewright.evidence.dependencies import (
    EVERYTHING,
    UNKNOWN_TABLE,
    ReadSeen,
    WriteSeen,
    reads_of,
    writers_of,
    written_by,
)
from cachewright.evidence.trace import ForeignKey, SchemaSeen
from cachewright.spec.tags import NULL, row_tag

SETS = {"tasks": frozenset({("user_id",)}), "notes": frozenset({("task_id",)})}


@pytest.fixture
def recording() -> Recording:
    return Recording()


def loose(recording: Recording, value: object) -> str:
    found = recording.hasher.value(value).loose
    assert found is not None
    return found


def tasks_of(recording: Recording, user: object) -> str:
    return row_tag("tasks", {"user_id": loose(recording, user)})


def only(recording: Recording, **options: frozenset[tuple[str, str]]) -> WriteSeen:
    (write,) = written_by(recording.trace(), SETS, **options)
    return write


def test_a_read_has_the_hashes_of_its_pins(recording: Recording) -> None:
    number = recording.sql("SELECT title FROM tasks WHERE user_id = ? AND done > ?", (7, 1), at=0)
    assert reads_of(recording.trace()) == {number: (ReadSeen("tasks", {"user_id": loose(recording, 7)}),)}


def test_a_value_meets_its_other_spellings(recording: Recording) -> None:
    for value in (7, "7", "07"):
        recording.sql("SELECT title FROM tasks WHERE user_id = ?", (value,), at=0)
    assert len({reads[0].pinned["user_id"] for reads in reads_of(recording.trace()).values()}) == 1


@pytest.mark.parametrize(
    ("text", "binds"),
    [
        ("SELECT title FROM tasks WHERE user_id = ? OR id = ?", (7, 1)),
        ("SELECT title FROM tasks WHERE user_id = ?", (None,)),
        ("SELECT title FROM tasks WHERE user_id = ?", (0.5,)),
        ("SELECT title FROM tasks", ()),
    ],
)
def test_what_cannot_be_compared_is_not_pinned(
    recording: Recording, text: str, binds: tuple[object, ...]
) -> None:
    number = recording.sql(text, binds, at=0)
    assert reads_of(recording.trace())[number] == (ReadSeen("tasks", {}),)


def test_a_column_that_compares_loosely_is_not_pinned(recording: Recording) -> None:
    recording.schema = SchemaSeen(inexact_columns=frozenset({("users", "name")}))
    number = recording.sql("SELECT id FROM users WHERE name = ? AND id = ?", ("Ann", 1), at=0)
    assert reads_of(recording.trace())[number] == (ReadSeen("users", {"id": loose(recording, 1)}),)


def test_a_statement_that_nobody_understands_reads_and_writes_everything(recording: Recording) -> None:
    number = recording.sql("CALL refresh_all()", at=0)
    assert reads_of(recording.trace())[number] == (ReadSeen(UNKNOWN_TABLE),)
    assert only(recording).tags == {EVERYTHING}
    assert only(recording).changes("whatever")


def test_a_failed_read_saw_nothing(recording: Recording) -> None:
    recording.sql("SELECT title FROM tasks", at=0, failed=True)
    assert reads_of(recording.trace()) == {}


def test_an_update_changes_the_rows_it_pins_before_and_after(recording: Recording) -> None:
    recording.sql("UPDATE tasks SET user_id = ? WHERE user_id = ?", (8, 7), at=0)
    assert only(recording).tags == {"tasks", tasks_of(recording, 7), tasks_of(recording, 8)}


@pytest.mark.parametrize(
    ("text", "binds"),
    [
        ("UPDATE tasks SET title = ? WHERE id = ?", ("x", 1)),
        ("UPDATE tasks SET user_id = user_id + 1 WHERE user_id = ?", (7,)),
        ("UPDATE tasks SET title = ? WHERE user_id = 7", ("x",)),
        ("INSERT INTO tasks (id) VALUES (?)", (1,)),
    ],
)
def test_rows_that_nobody_can_tell_are_bulk(
    recording: Recording, text: str, binds: tuple[object, ...]
) -> None:
    recording.sql(text, binds, at=0)
    assert only(recording).tags == {"tasks", "tasks#bulk"}


def test_many_sets_of_binds_change_the_rows_of_each(recording: Recording) -> None:
    others = tuple({"0": recording.hasher.value("x"), "1": recording.hasher.value(user)} for user in (8, 9))
    recording.sql("UPDATE tasks SET title = ? WHERE user_id = ?", ("x", 7), at=0, many=3, more=others)
    assert only(recording).tags == {"tasks", *(tasks_of(recording, user) for user in (7, 8, 9))}


def test_more_sets_of_binds_than_are_kept_are_bulk(recording: Recording) -> None:
    recording.sql("UPDATE tasks SET title = ? WHERE user_id = ?", ("x", 7), at=0, many=3)
    assert only(recording).tags == {"tasks", "tasks#bulk"}


def test_an_insert_changes_the_rows_it_names(recording: Recording) -> None:
    recording.sql("INSERT INTO tasks (id, user_id) VALUES (?, ?), (?, ?)", (1, 7, 2, 8), at=0)
    assert only(recording).tags == {"tasks", tasks_of(recording, 7), tasks_of(recording, 8)}


def test_the_image_of_a_flush_beats_its_statement(recording: Recording) -> None:
    recording.sql("UPDATE tasks SET title = ? WHERE id = ?", ("x", 1), at=2, transaction=1, unit_of_work=True)
    row = {"id": 1, "user_id": 7, "title": "x"}
    recording.image(1, "tasks", "update", {"id": 1, "user_id": 7}, row, "title")
    recording.transaction(1, 1, 9, request=3)
    write = only(recording)
    assert write.tags == {"tasks", tasks_of(recording, 7)}
    assert (write.began, write.ending, write.ended) == (2 * MS, 8 * MS, 9 * MS)
    assert (write.transaction, write.request, write.committed) == (1, 3, True)


def test_an_image_that_lacks_the_old_value_is_bulk(recording: Recording) -> None:
    recording.image(1, "tasks", "update", {"id": 1}, {"id": 1, "user_id": 8}, "user_id")
    recording.transaction(1, 1, 9)
    assert only(recording).tags == {"tasks", "tasks#bulk"}


def test_a_row_without_an_owner_is_known_to_have_none(recording: Recording) -> None:
    recording.image(1, "tasks", "update", {"id": 1, "user_id": None}, {"id": 1, "user_id": 7}, "user_id")
    recording.transaction(1, 1, 9)
    assert only(recording).tags == {"tasks", tasks_of(recording, 7), row_tag("tasks", {"user_id": NULL})}


def test_a_flush_without_an_image_is_bulk(recording: Recording) -> None:
    recording.sql(
        "INSERT INTO tasks (id, user_id) VALUES (?, ?)", (1, 7), at=2, transaction=1, unit_of_work=True
    )
    recording.transaction(1, 1, 9)
    assert only(recording).tags == {"tasks", "tasks#bulk"}


def test_a_deletion_goes_down_the_foreign_keys(recording: Recording) -> None:
    recording.sql("DELETE FROM users WHERE id = ?", (7,), at=0)
    assert only(recording).tags == {"users", "tasks", tasks_of(recording, 7), "notes", "notes#bulk"}


def test_writes_to_ignored_columns_alone_change_nothing(recording: Recording) -> None:
    ignored = frozenset({("tasks", "title")})
    request = recording.request(recording.route("GET", "/tasks"), 0)
    recording.sql("UPDATE tasks SET title = ? WHERE user_id = ?", ("x", 7), at=0, request=request)
    recording.image(1, "tasks", "update", {"user_id": 7, "title": "y"}, {"user_id": 7, "title": "x"}, "title")
    recording.transaction(1, 1, 9)
    trace = recording.trace()
    assert writers_of(trace) == {request}
    assert writers_of(trace, ignored=ignored) == set()
    assert [write.tags for write in written_by(trace, SETS, ignored=ignored)] == [frozenset()]


def test_a_transaction_without_an_end_stays_open(recording: Recording) -> None:
    recording.sql("DELETE FROM tasks WHERE user_id = ?", (7,), at=2, transaction=1)
    recording.sql("SELECT 1", at=50)
    write = only(recording)
    assert (write.began, write.ended, write.committed) == (2 * MS, 51 * MS, False)


def test_a_new_key_moves_the_rows_that_point_to_it(recording: Recording) -> None:
    recording.schema = SchemaSeen(
        foreign_keys=(ForeignKey("tasks", ("user_id",), "users", ("id",), "", "CASCADE"),)
    )
    recording.sql("UPDATE users SET name = ? WHERE id = ?", ("Ann", 7), at=0)
    assert "tasks" not in only(recording).tags
    recording = Recording()
    recording.schema = SchemaSeen(
        foreign_keys=(ForeignKey("tasks", ("user_id",), "users", ("id",), "", "CASCADE"),)
    )
    recording.sql("UPDATE users SET id = ? WHERE id = ?", (8, 7), at=0)
    assert only(recording).tags >= {"users", "tasks", "tasks#bulk"}
