"""The promise behind row tags: a row that differs from a pinned value never changes the answer.

Random statements over three small SQLite tables. For each occurrence, rows of its table that no occurrence's pins
admit are changed, removed and added; the answer has to stay the same.
"""

import random
import sqlite3
from collections import Counter

import pytest
from tests.sql.statements import TABLES, Writer

from cachewright.sql.facts import Bind, Literal, Read
from cachewright.sql.parse import parse

VALUES = (0, 1, 2, None)


def _database(dice: random.Random, most: int = 4) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    for table in TABLES:
        connection.execute(f"CREATE TABLE {table} (id INTEGER, x INTEGER, y INTEGER)")
        for _ in range(dice.randrange(most + 1)):
            _add(connection, table, [dice.choice(VALUES) for _ in range(3)])
    return connection


def _add(connection, table, row):
    connection.execute(f"INSERT INTO {table} VALUES (?, ?, ?)", row)


def _answer(connection, sql, binds):
    return Counter(connection.execute(sql, binds).fetchall())


def _matters(read: Read, row, binds) -> bool:
    for column, operand in read.pinned:
        value = binds[operand.key] if isinstance(operand, Bind) else operand.value
        assert isinstance(operand, Bind | Literal)
        if row[TABLES[read.table].index(column)] != value:
            return False
    return True


def _check(seed: int) -> int:
    dice = random.Random(seed)
    writer = Writer(dice)
    sql = writer.statement()
    binds = [dice.randrange(3) for _ in range(sql.count("?"))]
    schema = dice.choice((TABLES, None))
    facts = parse(sql, dialect="sqlite", paramstyle="qmark", schema=schema)
    assert not facts.unknown, sql
    connection = _database(dice)
    before = _answer(connection, sql, binds)
    tried = 0
    for table in TABLES:
        reads = [read for read in facts.reads if read.table == table]
        rowids = [row[0] for row in connection.execute(f"SELECT rowid FROM {table}").fetchall()]
        for _ in range(6):
            connection.execute("SAVEPOINT probe")
            tried += _disturb(connection, dice, reads, (table, rowids), binds)
            after = _answer(connection, sql, binds)
            assert after == before, (seed, sql, binds, table, facts.reads)
            connection.execute("ROLLBACK TO probe")
    connection.close()
    return tried


def _disturb(connection, dice, reads, rows, binds) -> int:
    """Change, remove or add one row that no occurrence of the table may see, before or after."""
    table, rowids = rows
    new = tuple(dice.choice(VALUES) for _ in range(3))
    if any(_matters(read, new, binds) for read in reads):
        new = None
    old_id = dice.choice(rowids) if rowids and dice.random() < 0.7 else None
    if old_id is not None:
        old = connection.execute(f"SELECT * FROM {table} WHERE rowid = ?", (old_id,)).fetchone()
        if any(_matters(read, old, binds) for read in reads):
            return 0
        connection.execute(f"DELETE FROM {table} WHERE rowid = ?", (old_id,))
    if new is not None:
        _add(connection, table, new)
    return int(bool(reads) and (old_id is not None or new is not None))


@pytest.mark.parametrize("block", range(4))
def test_rows_that_differ_from_a_pin_never_change_the_answer(block):
    tried = sum(_check(seed) for seed in range(block * 150, block * 150 + 150))
    assert tried > 200, "the statements have to pin something for this to mean anything"


def test_an_update_touches_only_rows_that_its_pins_admit():
    pinned = 0
    for seed in range(250):
        dice = random.Random(seed)
        sql = Writer(dice).update()
        binds = [dice.randrange(3) for _ in range(sql.count("?"))]
        (write,) = parse(sql, dialect="sqlite", paramstyle="qmark", schema=TABLES).writes
        connection = _database(dice, most=12)
        for row in connection.execute(sql, binds).fetchall():
            assert _matters(Read(write.table, write.pinned, None), row, binds), (seed, sql, binds, write)
            pinned += bool(write.pinned)
        connection.close()
    assert pinned > 20
