"""The promise behind row tags: a row that differs from a pinned value never changes the answer.

Random statements over three small SQLite tables. For each occurrence, rows of its table that no occurrence's pins
admit are changed, removed and added; the answer has to stay the same.
"""

import random
import sqlite3
from collections import Counter

import pytest

from cachewright.sql.facts import Bind, Literal, Read
from cachewright.sql.parse import parse

TABLES = {"a": ("id", "x", "y"), "b": ("id", "x", "y"), "c": ("id", "x", "y")}
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


class Writer:
    """Writes one random SELECT; the caller binds its placeholders as they stand."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.aliases = 0

    def statement(self) -> str:
        pick = self.dice.random()
        if pick < 0.1:
            return f"{self.select('id', 'x')} UNION ALL {self.select('y', 'x')}"
        if pick < 0.2:
            return f"WITH q AS ({self.select('id')}) SELECT count(*), max(q.id) FROM q JOIN b AS z ON z.id = q.id"
        if pick < 0.3:
            return f"SELECT d.id, z.x FROM ({self.select('id')}) AS d LEFT JOIN c AS z ON z.id = d.id AND {self.bound('z')}"
        if pick < 0.4:
            return self.bare()
        return self.select()

    def bare(self) -> str:
        """Columns without a table, and select aliases that SQLite lets WHERE use."""
        alias = self.dice.choice(("w", "x"))
        names = [self.dice.choice(("w", "x", "y", "y")) for _ in range(2)]
        return f"SELECT id + 1 AS {alias}, 5 AS w FROM {self.dice.choice('abc')} WHERE {names[0]} = ? AND {names[1]} = ?"

    def update(self) -> str:
        """An UPDATE that changes nothing and returns the rows it met."""
        target, name = self.table()
        sources, names = self.sources((), 0)
        parts = [self.edge(names, name), self.bound(self.dice.choice((name, *names)))]
        condition = f" {self.dice.choice(('AND', 'AND', 'OR'))} ".join(parts)
        return f"UPDATE {target} SET id = {name}.id FROM {sources} WHERE {condition} RETURNING id, x, y"

    def select(self, *columns: str, outer: tuple[str, ...] = (), depth: int = 0) -> str:
        sources, names = self.sources(outer, depth)
        if columns:
            wanted = [f"{names[0]}.{column} AS {column}" for column in columns]
        else:
            wanted = [f"{self.column(names)} AS c0", f"{self.column(names)} AS c1"]
        if not columns and depth == 0 and self.dice.random() < 0.25:
            wanted.append(f"({self.scalar(names)}) AS c2")
        if not columns and depth == 0 and self.dice.random() < 0.15:
            wanted = ["count(*) AS c0", f"sum({self.column(names)}) AS c1"]
        where = f" WHERE {self.condition(names, outer, depth)}" if self.dice.random() < 0.9 else ""
        return f"SELECT {', '.join(wanted)} FROM {sources}{where}"

    def scalar(self, outer) -> str:
        sources, names = self.sources(outer, 1)
        return f"SELECT count(*) FROM {sources} WHERE {self.condition(names, outer, 1)}"

    def sources(self, outer, depth) -> tuple[str, tuple[str, ...]]:
        text, first = self.table()
        names = [first]
        for _ in range(self.dice.choice((0, 0, 1, 1, 2) if depth == 0 else (0, 0, 1))):
            kind = self.dice.choice(
                ("JOIN", "LEFT JOIN", "LEFT JOIN", ",", "nested", "RIGHT JOIN", "FULL JOIN")
            )
            if kind == "nested":
                one, name = self.table()
                other, other_name = self.table()
                within = f"{self.edge((name,), other_name)}{self.maybe(other_name)}"
                outside = f"{self.edge(tuple(names), self.dice.choice((name, other_name)))}"
                side = self.dice.choice(("LEFT JOIN", "JOIN"))
                text = f"{text} {side} ({one} {self.dice.choice(('JOIN', 'LEFT JOIN'))} {other} ON {within}) ON {outside}"
                names += [name, other_name]
            elif kind == ",":
                other, name = self.table()
                text = f"{text} CROSS JOIN {other}"
                names.append(name)
            else:
                other, name = self.table()
                condition = f"{self.edge(tuple(names), name)}{self.maybe(self.dice.choice([*names, name]))}"
                text = f"{text} {kind} {other} ON {condition}"
                names.append(name)
        return text, tuple(names)

    def maybe(self, name) -> str:
        return f" AND {self.bound(name)}" if self.dice.random() < 0.4 else ""

    def edge(self, names, name) -> str:
        sides = [f"{name}.{self.dice.choice('xy')}", f"{self.dice.choice(names)}.{self.dice.choice('xy')}"]
        self.dice.shuffle(sides)
        operator = self.dice.choices(("=", "<", "IS"), (8, 1, 1))[0]
        return f" {operator} ".join(sides)

    def condition(self, names, outer, depth) -> str:
        parts = [self.part(names, outer, depth) for _ in range(self.dice.choice((1, 2, 2, 3)))]
        text = parts[0]
        for each in parts[1:]:
            text = f"{text} {self.dice.choices(('AND', 'OR'), (6, 1))[0]} {each}"
        return text

    def part(self, names, outer, depth) -> str:
        pick = self.dice.random()
        if pick < 0.45:
            return self.bound(self.dice.choice(names))
        if pick < 0.6:
            return self.edge(names, self.dice.choice(names))
        if pick < 0.7 and outer:
            return self.edge(outer, self.dice.choice(names))
        if pick < 0.75 and outer:
            return self.bound(self.dice.choice(outer))
        if pick < 0.85 and depth < 2:
            inner = self.select("x", outer=(*names, *outer), depth=depth + 1)
            form = self.dice.choice(("EXISTS ({})", "NOT EXISTS ({})", f"{self.column(names)} IN ({{}})"))
            return form.format(inner)
        column = self.column(names)
        odd = (
            "NOT {} = ?",
            "{} + 0 = ?",
            "{} > ?",
            "({} = ? OR 1 = 0)",
            "{} IS ?",
            "{} IN (?, 1)",
            "coalesce({}, 0) = ?",
        )
        return self.dice.choice(odd).format(column)

    def bound(self, name) -> str:
        form = self.dice.choice(("{} = ?", "{} = ?", "? = {}", "({} = (?))", "{} IN (?)", "{} = 1"))
        return form.format(f"{name}.{self.dice.choice('xy')}")

    def column(self, names) -> str:
        return f"{self.dice.choice(names)}.{self.dice.choice(('id', 'x', 'y'))}"

    def table(self) -> tuple[str, str]:
        self.aliases += 1
        return f"{self.dice.choice('abc')} AS t{self.aliases}", f"t{self.aliases}"


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
