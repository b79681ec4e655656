"""What a database counted beside a recording: who else writes, what was not recorded, and how much of it all."""

from dataclasses import replace

import psycopg
import pytest
from tests.analysis.builder import TodoTraffic

from cachewright.design.result import Design
from cachewright.design.server_load import with_server_load
from cachewright.errors import EvidenceError, SurroundingsError
from cachewright.evidence.readers.server_load import Counted, counted_by, counts_of
from cachewright.spec.cache_targets import CacheTarget
from cachewright.spec.model import CachingSpecification
from cachewright.sql.shape import shape


@pytest.fixture(scope="module")
def trace():
    return TodoTraffic().run(60).build()


@pytest.fixture(scope="module")
def found():
    target = CacheTarget(endpoint="GET /news", name="GET /news", depends_on=("news",))
    return Design(spec=CachingSpecification(namespace="todo", cache_targets=(target,)))


def test_spelling_and_values_do_not_matter():
    spellings = [
        ("SELECT a FROM t WHERE b = %(b)s AND c IN (%(c_1)s, %(c_2)s)", "pyformat"),
        ("select a\nfrom T where b = $1 and c in ($2) -- of a driver", "numeric_dollar"),
        ("SELECT a FROM t WHERE b = 'x' AND c IN (1, 2, 3)", "numeric_dollar"),
        ("SELECT a FROM t WHERE b = $1::VARCHAR AND c IN ($2::INTEGER, $3)", "numeric_dollar"),
    ]
    shapes = {shape(sql, dialect="postgresql", paramstyle=style) for sql, style in spellings}
    assert len(shapes) == 1
    assert shape("SELECT a FROM t WHERE c = 1", dialect="postgresql", paramstyle="pyformat") not in shapes
    assert shape("SELECT ((FROM WHERE", dialect="postgresql", paramstyle="pyformat") is None


def test_a_writer_that_was_not_recorded_is_named_with_what_it_makes_stale(found, trace):
    told = with_server_load(found, trace, [Counted("UPDATE news SET title = $1 WHERE id = $2", 1200, 30.0)])
    (warning,) = [each for each in told.warnings if "another program writes" in each]
    assert warning.startswith("news was written to 1,200 times")
    assert "GET /news" in warning


def test_what_was_recorded_is_no_other_writer_and_counts_as_covered(found, trace):
    texts = [text.sql for text in trace.texts.values()]
    rows = [Counted(sql.lower(), 10, 10.0) for sql in texts]
    told = with_server_load(found, trace, [*rows, Counted("SELECT oid FROM pg_class", 1, 1e6)])
    assert not [each for each in told.warnings if "another program" in each]
    assert any("make up 100%" in each for each in told.warnings)


def test_expensive_queries_that_were_not_recorded_are_shown_without_their_data(found, trace):
    secret = Counted("SELECT name FROM users WHERE email = 'ada@lovelace.example' ORDER BY name", 5, 900.0)
    told = with_server_load(found, trace, [secret, Counted(next(iter(trace.texts.values())).sql, 1, 100.0)])
    (warning,) = [each for each in told.warnings if "was not recorded:" in each]
    assert warning.startswith("90% of the database's time")
    assert "lovelace" not in warning
    assert "SELECT name FROM users" in warning


@pytest.mark.parametrize("header", ["total_exec_time", "total_time"])
def test_an_export_is_read(tmp_path, header):
    file = tmp_path / "statements.csv"
    file.write_text(f'userid,query,calls,{header}\n10,"SELECT 1, ""x""\nFROM t",7,12.5\n')
    assert counts_of(str(file)) == (Counted('SELECT 1, "x"\nFROM t', 7, 12.5),)


@pytest.mark.parametrize(
    "content", ["", "a,b\n1,2\n", "query,calls\nSELECT,x\n", "query,calls,total_time\nS,many,1\n"]
)
def test_what_is_none_is_refused_with_how_to_export_it(tmp_path, content):
    file = tmp_path / "statements.csv"
    file.write_text(content)
    with pytest.raises(EvidenceError) as refused:
        counts_of(str(file))
    assert "COPY (SELECT query" in str(refused.value.hint)


def test_a_server_that_is_not_there_shows_no_password():
    with pytest.raises(SurroundingsError) as refused:
        counted_by("postgresql+psycopg://ada:s3cret@127.0.0.1:1/none")
    assert "s3cret" not in f"{refused.value} {refused.value.hint}"


def test_a_real_server_tells_what_it_ran(postgres_server, found, trace):
    with postgres_server.database() as name:
        with psycopg.connect(postgres_server.url(name).render_as_string(), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION pg_stat_statements")
            connection.execute("CREATE TABLE news (id integer, title text)")
            for number in range(3):
                connection.execute("INSERT INTO news VALUES (%s, %s)", (number, "x"))
        rows = counted_by(postgres_server.url(name, "psycopg").render_as_string(hide_password=False))
    inserts = [row for row in rows if row.sql.startswith("INSERT INTO news")]
    assert [row.calls for row in inserts] == [3]
    told = with_server_load(found, replace(trace), rows)
    assert any(warning.startswith("news was written to 3 times") for warning in told.warnings)
