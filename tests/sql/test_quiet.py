"""What certainly writes nothing is told apart without a parser; all else counts as a write."""

import pytest

from cachewright.sql.quiet import writes_nothing


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a.id, count(*) FROM a WHERE a.id IN (?, ?) AND lower(a.x) = 'update me' FOR UPDATE",
        "WITH x AS (SELECT 1) SELECT * FROM x -- DELETE FROM t",
        "(SELECT 1) UNION (SELECT 2)",
        "SELECT tasks.id, CAST(x AS VARCHAR(3)) FROM tasks WHERE EXISTS (SELECT 1) AND date('now') > due",
        "VALUES (1, 2)",
        "BEGIN",
        "SAVEPOINT sa_savepoint_1",
        "PRAGMA foreign_keys",
        "SELECT 1;",
        "SET LOCAL statement_timeout = 5",
    ],
)
def test_reads(sql):
    assert writes_nothing(sql, dialect="sqlite", paramstyle="qmark")


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t VALUES (1)",
        "UPDATE t SET a = 1",
        "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x",
        "SELECT refresh_totals()",
        "SELECT shop.refresh_totals ()",
        'SELECT "refresh"(1)',
        "SELECT a INTO b FROM t",
        "SELECT 1; DROP TABLE t",
        "CALL p()",
        "EXPLAIN ANALYZE DELETE FROM t",
        "COMMIT PREPARED 'x'",
        "COPY t FROM stdin",
        "SELECT '' || f('x')",
    ],
)
def test_what_may_write(sql):
    assert not writes_nothing(sql, dialect="postgresql", paramstyle="pyformat")


def test_a_quote_that_mysql_escapes_hides_no_call():
    assert not writes_nothing(r"SELECT '\'', f('x')", dialect="mysql", paramstyle="format")
    assert not writes_nothing("SELECT 1 /*! , f(1) */", dialect="mysql", paramstyle="format")


def test_an_unknown_style_of_parameters_may_hide_anything():
    assert not writes_nothing("SELECT 1", dialect="sqlite", paramstyle="emoji")
