"""Whenever a write changes the answer of a query, one of the query's tags is among those of the write.

Random rows, queries and writes on real databases, SQLite and PostgreSQL, with foreign keys that cascade. What a
cache would keep and change is made as the runtime makes it: facts, pins, rows, tags.
"""

import asyncio
import random
import re
import sqlite3
from collections import Counter
from dataclasses import dataclass

import asyncpg
import pytest
from tests.sql.statements import TABLES, Change, Query

from cachewright.spec.tags import (
    NAMESPACE_TAG,
    NULL,
    bulk_tag,
    canonical,
    read_alternatives,
    table_tag,
    write_tags,
)
from cachewright.sql.facts import Bind, Literal
from cachewright.sql.parse import parse
from cachewright.sql.rows import Reference, changed_rows, consequences

SCHEMA = """
CREATE TABLE a (id INTEGER PRIMARY KEY, x INTEGER, y INTEGER);
CREATE TABLE b (id INTEGER, x INTEGER, y INTEGER REFERENCES a (id) ON DELETE SET NULL ON UPDATE SET NULL);
CREATE TABLE c (id INTEGER, x INTEGER, y INTEGER REFERENCES a (id) ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE one (x INTEGER);
"""
REFERENCES = (
    Reference("b", ("y",), "a", ("id",), "SET NULL", "SET NULL"),
    Reference("c", ("y",), "a", ("id",), "CASCADE", "CASCADE"),
)
DECLARED = {**TABLES, "one": ("x",)}
COLUMN_SETS = (("id",), ("x",), ("y",), ("x", "y"), ("id", "x"))
VALUES = (0, 1, 2, None)
WRITES = 6


@dataclass(frozen=True)
class Sent:
    sql: str
    binds: tuple[object, ...]


@dataclass(frozen=True)
class Case:
    """Rows, a query, and writes that are tried one by one; statements with their binds."""

    rows: tuple[tuple[str, tuple[int | None, ...]], ...]
    query: Sent
    writes: tuple[Sent, ...]
    sets: dict[str, frozenset[tuple[str, ...]]]


def case(seed: int, *, postgres: bool) -> Case:
    dice = random.Random(seed)
    ids = dice.sample(range(3), dice.choice((2, 3)))
    rows = [("a", (number, dice.choice(VALUES), dice.choice(VALUES))) for number in ids]
    for table in ("b", "c"):
        rows += [
            (table, (dice.choice(VALUES), dice.choice(VALUES), dice.choice((*ids, None))))
            for _ in range(dice.randrange(2, 7))
        ]
    rows += [("one", (value,)) for value in dice.sample(range(3), 2)]

    def sent(sql: str) -> Sent:
        values = (dice.choice(VALUES[:-1] if dice.random() < 0.9 else VALUES) for _ in range(sql.count("?")))
        binds = tuple(values if postgres else (spelled(value, dice) for value in values))
        return Sent(numbered(sql) if postgres else sql, binds)

    query = sent(Query(dice, postgres=postgres).statement())
    writes = [Change(dice, postgres=postgres).statement() for _ in range(WRITES)]
    if not postgres and " IN " in query.sql:
        writes.append("INSERT INTO one (x) VALUES (?)")
    sets = {table: frozenset(dice.sample(COLUMN_SETS, dice.choice((1, 2, 3)))) for table in TABLES}
    return Case(tuple(rows), query, tuple(map(sent, writes)), sets)


def spelled(value: int | None, dice: random.Random) -> object:
    """One of the ways to write an integer that SQLite stores as the same one."""
    if value is None:
        return None
    return dice.choice(
        (value, value, str(value), f"0{value}", float(value), *([bool(value)] if value < 2 else []))
    )


def value_of(operand, binds, *, bound):
    match operand:
        case Bind(key):
            value = binds[key]
            return bound if value is None else canonical(value)
        case Literal(constant):
            return bound if constant is None else canonical(constant)
    return None


def tags_of_query(facts, given: Case) -> frozenset[str]:
    """What an entry of this answer would hold: for each read the narrowest tags that cover it."""
    tags = {NAMESPACE_TAG}
    for read in facts.reads:
        pinned = {
            column: value
            for column, operand in read.pinned
            if (value := value_of(operand, given.query.binds, bound=None)) is not None
        }
        rows = read_alternatives(read.table, pinned, given.sets) - {table_tag(read.table)}
        tags |= {max(rows, key=len), bulk_tag(read.table)} if rows else {table_tag(read.table)}
    return frozenset(tags)


def tags_of_write(facts, sent: Sent, given: Case) -> frozenset[str]:
    if facts.unknown:
        return frozenset({NAMESPACE_TAG})
    tags: set[str] = set()
    for write in facts.writes:
        rows = changed_rows(write, lambda operand: value_of(operand, sent.binds, bound=NULL))
        for table, changed in ((write.table, rows), *consequences(REFERENCES, write, rows)):
            tags |= write_tags(table, changed, given.sets)
    return frozenset(tags)


@dataclass(frozen=True)
class Answers:
    """What a query answered before, and after each write that the database took."""

    before: Counter[str]
    after: list[tuple[Sent, Counter[str]]]


class Tally:
    """What was seen: the test means something only where answers change, and where tags tell writes apart."""

    def __init__(self) -> None:
        self.changed = self.spared = self.understood = 0

    def check(self, given: Case, answers: Answers, *, dialect: str, paramstyle: str) -> None:
        options = {"dialect": dialect, "paramstyle": paramstyle, "schema": DECLARED}
        asked = parse(given.query.sql, **options)
        if asked.unknown:
            return  # never kept
        self.understood += 1
        mine = tags_of_query(asked, given)
        for sent, after in answers.after:
            wrote = parse(sent.sql, **options)
            theirs = tags_of_write(wrote, sent, given)
            if answers.before != after:
                self.changed += 1
                assert mine & theirs, (given, sent, answers.before, after, mine, theirs)
            elif not mine & theirs:
                self.spared += not {write.table for write in wrote.writes}.isdisjoint(
                    read.table for read in asked.reads
                )


def on_sqlite(given: Case) -> Answers:
    connection = sqlite3.connect(":memory:", isolation_level=None)

    def run(sent: Sent) -> Counter[str]:
        return Counter(map(repr, connection.execute(sent.sql, sent.binds).fetchall()))

    connection.executescript(f"PRAGMA foreign_keys=ON;{SCHEMA}")
    for table, row in given.rows:
        connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
    answers = Answers(run(given.query), [])
    for sent in given.writes:
        connection.execute("BEGIN")
        try:
            run(sent)
            answers.after.append((sent, run(given.query)))
        except sqlite3.IntegrityError:
            pass
        finally:
            connection.execute("ROLLBACK")
    connection.close()
    return answers


@pytest.mark.parametrize("block", range(4))
def test_on_sqlite_no_changed_answer_is_missed(block):
    tally = Tally()
    for seed in range(block * 350, block * 350 + 350):
        given = case(seed, postgres=False)
        tally.check(given, on_sqlite(given), dialect="sqlite", paramstyle="qmark")
    assert tally.understood > 300
    assert tally.changed > 100
    assert tally.spared > 10


def numbered(sql: str) -> str:
    numbers = iter(range(1, 100))
    return re.sub(r"\?", lambda _: f"${next(numbers)}", sql)


async def on_postgres(connection, given: Case) -> Answers:
    async def run(sent: Sent) -> Counter[str]:
        return Counter(map(repr, await connection.fetch(sent.sql, *sent.binds)))

    whole = connection.transaction()
    await whole.start()
    try:
        for table, row in given.rows:
            await run(Sent(numbered(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})"), row))
        answers = Answers(await run(given.query), [])
        for sent in given.writes:
            probe = connection.transaction()
            await probe.start()
            try:
                await run(sent)
                answers.after.append((sent, await run(given.query)))
            except (asyncpg.IntegrityConstraintViolationError, asyncpg.CardinalityViolationError):
                pass
            finally:
                await probe.rollback()
    except asyncpg.FeatureNotSupportedError:  # a FULL JOIN on a condition that cannot be merged
        return Answers(Counter(), [])
    finally:
        await whole.rollback()
    return answers


@pytest.mark.parametrize("block", range(2))
def test_on_postgresql_no_changed_answer_is_missed(block, postgres_server):
    tally = Tally()

    async def run() -> None:
        connection = await asyncpg.connect(postgres_server.uri, statement_cache_size=0)
        try:
            await connection.execute(
                f"CREATE SCHEMA IF NOT EXISTS soundness_{block}; SET search_path = soundness_{block}; {SCHEMA}"
            )
            for seed in range(block * 250, block * 250 + 250):
                given = case(seed, postgres=True)
                answers = await on_postgres(connection, given)
                tally.check(given, answers, dialect="postgresql", paramstyle="numeric_dollar")
        finally:
            await connection.execute(f"DROP SCHEMA IF EXISTS soundness_{block} CASCADE")
            await connection.close()

    asyncio.run(run())
    assert tally.understood > 200
    assert tally.changed > 50
    assert tally.spared > 5
