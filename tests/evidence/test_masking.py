"""SQL keeps its shape and loses its data."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachewright.evidence.hashing import Hasher
from cachewright.evidence.masking import masked
from cachewright.sql.parse import parse

HASHER = Hasher(b"k" * 32)


def mask(sql, dialect="sqlite", paramstyle="qmark"):
    return masked(sql, dialect, paramstyle, HASHER.literal)


def test_literals_become_hashes_that_meet_values_of_columns():
    assert (
        mask("SELECT * FROM t WHERE a = 'Ada'")
        == f"SELECT * FROM t WHERE a = '{HASHER.column('ada ').loose}'"
    )


@pytest.mark.parametrize(
    ("sql", "dialect"),
    [
        ("SELECT 'secret'", "sqlite"),
        ("SELECT 'it''s a secret'", "sqlite"),
        ('SELECT * FROM t WHERE a = "secret@x.org"', "sqlite"),
        ('SELECT * FROM t WHERE a = "secret"', "mysql"),
        (r"SELECT 'a\'secret'", "mysql"),
        (r"SELECT E'a\'secret'", "postgresql"),
        ("SELECT $x$ secret $x$", "postgresql"),
        ("SELECT 1 -- secret", "postgresql"),
        ("SELECT /* secret /* secret */ secret */ 1", "postgresql"),
        ("SELECT 1 /*! secret */", "mysql"),
        ("SELECT N'secret'", "mssql"),
        ("SELECT 'secret", "sqlite"),
        ("SELECT json_extract(a, '$.secret') FROM t", "sqlite"),
        ("SELECT set_config('app.tenant', 'secret', true)", "postgresql"),
        ("SELECT my_set_config('secret')", "postgresql"),
    ],
)
def test_nothing_of_a_literal_or_a_comment_stays(sql, dialect):
    assert "secret" in sql
    assert "secret" not in mask(sql, dialect)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT date('now', '-7 days', 'start of month'), strftime('%Y-%m', t.a) FROM t",
        "SELECT date_trunc('day', now()) FROM t",
        "SELECT * FROM t WHERE a LIKE '%' || ? || '%' ESCAPE '/'",
        "SELECT coalesce(a, '') FROM t LIMIT 20",
        'SELECT "t"."a b" FROM "t"',
        "SELECT set_config('app.tenant', ?, true), current_setting('app.tenant')",
    ],
)
def test_words_of_the_language_stay(sql):
    assert mask(sql) == sql


@pytest.mark.parametrize(
    ("dialect", "sql", "secret"),
    [
        ("postgresql", "SELECT a FROM t WHERE price = 12345678901.5", "12345678901"),
        ("postgresql", "SELECT a FROM t WHERE lat > 52.5200066 AND lat < 52.5300066", "5200066"),
        ("mysql", "SELECT 0x73336372 FROM t", "73336372"),
        ("postgresql", "SELECT $$not closed", "not closed"),
        ("postgresql", "SELECT $body$not closed", "not closed"),
    ],
)
def test_data_that_stands_in_code_is_hidden_too(dialect, sql, secret):
    hidden = mask(sql, dialect, "numeric_dollar")
    assert secret not in hidden
    assert hidden.startswith("SELECT ")
    assert mask(sql, dialect, "numeric_dollar") == hidden


@pytest.mark.parametrize("sql", ["SELECT a$b$c, $1 FROM t WHERE x = 1.25", "SELECT 0x1F, 100000.5, $1, $2"])
def test_short_numbers_and_placeholders_stay(sql):
    assert mask(sql, "postgresql", "numeric_dollar") == sql


def test_long_numbers_become_others_of_the_same_length():
    found = mask("SELECT * FROM t WHERE phone = 4915112345678 AND a = 17 AND b = t.c1234567")
    assert "4915112345678" not in found
    assert len(found) == len("SELECT * FROM t WHERE phone = 4915112345678 AND a = 17 AND b = t.c1234567")
    assert "a = 17 AND b = t.c1234567" in found


def test_hexadecimal_and_bit_literals_stay_what_they_are():
    assert "736563" not in mask("SELECT X'736563726574'")
    assert parse(
        mask("SELECT a FROM t WHERE b = X'736563726574'"), dialect="sqlite", paramstyle="qmark", schema={}
    ).reads


@pytest.mark.parametrize("text", ["'%s'", "'a %s b'", "/* %s */ 'x'"])
def test_placeholders_keep_their_positions_even_in_literals_of_printf_styles(text):
    sql = f"SELECT a FROM t WHERE x = {text} AND y = %s"
    facts = parse(mask(sql, "mysql", "format"), dialect="mysql", paramstyle="format", schema={})
    pinned = dict(facts.reads[0].pinned)
    assert pinned["y"].key == 1, "the driver counts the one in the literal"


@pytest.mark.parametrize(
    ("sql", "dialect", "paramstyle"),
    [
        ("SELECT a FROM t WHERE b = 'x' AND c = ?", "sqlite", "qmark"),
        ("UPDATE t SET a = 'x' WHERE b = %(b)s", "postgresql", "pyformat"),
        ("INSERT INTO t (a, b) VALUES ('x', $1::int)", "postgresql", "numeric_dollar"),
        ("DELETE FROM t WHERE a IN ('x', 'y') /* why */ AND b = :b", "oracle", "named"),
        ("SELECT a FROM t WHERE b > now() - INTERVAL '3 days' AND c = 'x'", "postgresql", "pyformat"),
        ("SELECT data ->> '$.a' FROM t WHERE b = ?", "sqlite", "qmark"),
    ],
)
def test_masked_statements_say_the_same_of_tables_and_columns(sql, dialect, paramstyle):
    before = parse(sql, dialect=dialect, paramstyle=paramstyle, schema={})
    after = parse(mask(sql, dialect, paramstyle), dialect=dialect, paramstyle=paramstyle, schema={})
    assert not before.unknown
    assert _shape(after) == _shape(before)


def _shape(facts):
    reads = [(read.table, [column for column, _ in read.pinned], read.columns) for read in facts.reads]
    writes = [(write.table, write.action, [column for column, _ in write.pinned]) for write in facts.writes]
    return facts.unknown, reads, writes, facts.nondeterministic


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="'\\"), min_size=8))
def test_masking_is_stable_and_hides_any_text(text):
    sql = f"SELECT * FROM t WHERE a = 'zq{text}zq'"
    assert f"zq{text}zq" not in mask(sql)
    assert mask(sql) == mask(sql)
