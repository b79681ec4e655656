"""A trace read back is the trace written; other files are named for what they are."""

import os
import sqlite3
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cachewright.errors import EvidenceError, TraceVersionError
from cachewright.evidence.trace import (
    TRACE_VERSION,
    ForeignKey,
    ImageSeen,
    ParamSeen,
    RequestSeen,
    RouteSeen,
    SchemaSeen,
    StatementSeen,
    StatementText,
    Trace,
    TransactionSeen,
    Value,
    VolatileSeen,
)
from cachewright.evidence.tracefile import create_trace
from cachewright.evidence.tracereader import read_trace
from cachewright.evidence.tracerows import Shown, meta_of, write_trace
from cachewright.evidence.traceschema import SCHEMA
from cachewright.evidence.tracewriter import TraceWriter

NAMES = st.text(min_size=1, max_size=8)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
HASHES = st.integers(0, 2**64 - 1).map(lambda number: f"h{number:016x}")
VALUES = st.builds(Value, st.sampled_from("nbifsdux"), HASHES, st.none() | HASHES)
MAPPINGS = st.dictionaries(NAMES, VALUES, max_size=4)
POSITIONS = st.lists(VALUES, max_size=4).map(
    lambda values: {str(at): value for at, value in enumerate(values)}
)
TIMES = st.integers(1, 2**60)
BIG = st.integers(0, 2**40)
READS = st.frozensets(NAMES, max_size=3)


@st.composite
def requests(draw, number):
    started = draw(TIMES)
    answered = started + draw(BIG)
    return RequestSeen(
        id=number,
        route=draw(st.none() | st.integers(1, 5)),
        method=draw(st.sampled_from(["GET", "POST"])),
        started=started,
        answered=answered,
        returned=answered + draw(BIG),
        status=draw(st.integers(100, 599)),
        size=draw(BIG),
        digest=draw(HASHES),
        credential=draw(st.none() | HASHES),
        credential_expires=draw(st.none() | st.floats(allow_nan=False)),
        values=draw(MAPPINGS),
        reads=draw(READS),
        outer_reads=draw(READS),
        entered=draw(st.just(0) | BIG.map(lambda after: started + after)),
        set_cookie=draw(st.booleans()),
        cache_control=draw(READS),
        streamed=draw(st.booleans()),
        background=draw(st.booleans()),
        escaped=draw(st.booleans()),
        worker=draw(st.integers(0, 9)),
        carrier=draw(st.none() | st.just("cookie:session")),
        ignored=draw(READS),
    )


@st.composite
def statements(draw, number, owners):
    started = draw(TIMES)
    binds = draw(POSITIONS | MAPPINGS)
    more = tuple(
        {name: draw(VALUES) for name in binds} for _ in range(draw(st.integers(0, 2)) if binds else 0)
    )
    return StatementSeen(
        id=number,
        request=draw(st.sampled_from([None, *owners])),
        transaction=draw(st.integers(0, 4)),
        text=draw(st.integers(1, 4)),
        started=started,
        ended=started + draw(BIG),
        rows=draw(BIG),
        many=draw(st.integers(1, 30)),
        unit_of_work=draw(st.booleans()),
        failed=draw(st.booleans()),
        binds=binds,
        more=more,
    )


@st.composite
def transactions(draw, number, owners):
    began = draw(TIMES)
    ending = began + draw(BIG)
    owner = draw(st.sampled_from([None, *owners]))
    return TransactionSeen(number, owner, began, ending, ending + draw(BIG), committed=draw(st.booleans()))


IMAGES = st.builds(
    ImageSeen,
    transaction=st.integers(1, 4),
    table=NAMES.map(lambda name: name.encode("utf-8", "replace").decode()),
    action=st.sampled_from(["insert", "update", "delete"]),
    old=st.none() | MAPPINGS,
    new=st.none() | MAPPINGS,
    changed=READS,
)
COLUMNS = st.lists(NAMES, max_size=3).map(tuple)
SCHEMAS = st.builds(
    SchemaSeen,
    tables=st.dictionaries(NAMES, COLUMNS, max_size=3),
    primary_keys=st.dictionaries(NAMES, COLUMNS, max_size=3),
    foreign_keys=st.lists(st.builds(ForeignKey, NAMES, COLUMNS, NAMES, COLUMNS, NAMES), max_size=2).map(
        tuple
    ),
    inexact_columns=st.frozensets(st.tuples(NAMES, NAMES), max_size=3),
)
PARAMS = st.lists(st.builds(ParamSeen, NAMES, NAMES, NAMES, st.booleans()), max_size=2).map(tuple)


@st.composite
def traces(draw):
    owners = range(1, draw(st.integers(0, 4)) + 1)
    found = tuple(draw(requests(number)) for number in owners)
    run = tuple(draw(statements(number, owners)) for number in range(1, draw(st.integers(0, 4)) + 1))
    return Trace(
        application=draw(TEXTS),
        recorded_at="2024-01-05T10:00:00+00:00",
        declared_identity=draw(st.dictionaries(NAMES, NAMES, max_size=2)),
        routes=tuple(
            RouteSeen(number, "GET", draw(TEXTS), draw(TEXTS), draw(PARAMS), draw(COLUMNS))
            for number in (1, 2)
        ),
        requests=tuple(sorted(found, key=lambda request: (request.started, request.id))),
        texts={number: StatementText(number, draw(TEXTS), "sqlite", "qmark") for number in (1, 2, 3, 4)},
        statements=tuple(sorted(run, key=lambda statement: (statement.started, statement.id))),
        images=tuple(draw(st.lists(IMAGES, max_size=3))),
        transactions={number: draw(transactions(number, owners)) for number in (1, 2)},
        schema=draw(SCHEMAS),
        clear={name: values for name, values in draw(CLEAR).items() if values},
        dropped=draw(BIG),
        volatile=tuple(VolatileSeen(route, "$.at", draw(BIG), draw(BIG)) for route in (None, 1, 2)),
        sampled=draw(st.floats(0.01, 1)),
        left_out=draw(BIG),
    )


CLEAR = st.dictionaries(TEXTS, st.dictionaries(HASHES, TEXTS, max_size=2), max_size=2)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(trace=traces())
def test_a_trace_read_back_is_the_trace_written(tmp_path, trace):
    path = tmp_path / "t.trace"
    write_trace(path, trace, overwrite=True)
    assert read_trace(path) == trace


def empty(path, **named):
    return TraceWriter(path, meta_of("app", "2024-01-05T10:00:00+00:00", {}), lambda event: [event], **named)


@pytest.fixture
def recorded(tmp_path):
    """A finished trace with enough rows to span many pages."""
    path = tmp_path / "t.trace"
    writer = empty(path)
    for number in range(2_000):
        writer.put(StatementText(number, f"SELECT {number} FROM {'x' * 100}", "sqlite", "qmark"))
    writer.close()
    return path


def test_the_file_is_one_file_of_its_owner(recorded):
    assert [file.name for file in recorded.parent.iterdir()] == [recorded.name]
    assert stat.S_IMODE(recorded.stat().st_mode) == 0o600
    assert len(read_trace(recorded).texts) == 2_000


def test_a_trace_can_be_read_while_it_is_written(tmp_path):
    connection = create_trace(tmp_path / "t.trace", meta_of("app", "now", {"user": "claim:sub"}))
    connection.execute("INSERT INTO sql_text VALUES (1, 'SELECT 1', 'sqlite', 'qmark')")
    trace = read_trace(tmp_path / "t.trace")
    connection.close()
    assert trace.texts[1].sql == "SELECT 1"
    assert trace.declared_identity == {"user": "claim:sub"}


def test_every_table_and_column_of_the_schema_is_described():
    for table in SCHEMA.split("CREATE TABLE ")[1:]:
        name, *columns = table.strip().splitlines()
        assert any("--" in line for line in columns), name


def wrong(path):
    with pytest.raises(EvidenceError) as caught:
        read_trace(path)
    assert str(path) in str(caught.value)
    assert caught.value.hint
    return caught.value


def test_a_missing_file(tmp_path):
    assert "cannot be read" in wrong(tmp_path / "none.trace").message


def test_a_directory_and_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "not a file" in wrong(tmp_path).message
    assert "not a file" in wrong(tmp_path / "pipe").message


def test_an_empty_file(tmp_path):
    (tmp_path / "t").touch()
    assert "empty" in wrong(tmp_path / "t").message


@pytest.mark.parametrize("content", [b"{}", b"SQLite format 4\0" + b"x" * 200, b"\0" * 4096])
def test_a_file_of_another_kind(tmp_path, content):
    (tmp_path / "t").write_bytes(content)
    assert "not a trace" in wrong(tmp_path / "t").message


def test_an_sqlite_file_of_someone_else(tmp_path):
    with sqlite3.connect(tmp_path / "t") as connection:
        connection.execute("CREATE TABLE request (id)")
    connection.close()
    assert "SQLite file, but not a trace" in wrong(tmp_path / "t").message


@pytest.mark.parametrize("share", [0.001, 0.01, 0.3, 0.5, 0.9, 0.999])
def test_a_truncated_file(recorded, share):
    os.truncate(recorded, int(recorded.stat().st_size * share))
    assert "cut short" in wrong(recorded).message


def test_a_damaged_file(recorded):
    content = bytearray(recorded.read_bytes())
    content[8192 : len(content) // 2] = b"\xff" * (len(content) // 2 - 8192)
    recorded.write_bytes(content)
    assert "damaged" in wrong(recorded).message


def test_a_trace_that_lacks_a_table(recorded):
    with sqlite3.connect(recorded) as connection:
        connection.execute("DROP TABLE txn")
    connection.close()
    assert "damaged" in wrong(recorded).message


@pytest.mark.parametrize(("version", "hint"), [(TRACE_VERSION + 1, "newer"), (0, "Record again")])
def test_another_version(recorded, version, hint):
    with sqlite3.connect(recorded) as connection:
        connection.execute(f"PRAGMA user_version={version}")
    connection.close()
    error = wrong(recorded)
    assert isinstance(error, TraceVersionError)
    assert hint in error.hint


def test_nothing_but_a_trace_is_ever_overwritten(tmp_path):
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    for path in (other, tmp_path):
        with pytest.raises(EvidenceError, match="not a trace"):
            empty(path, overwrite=True)
    assert other.read_text() == "mine"


def test_a_trace_is_overwritten_only_when_told(recorded):
    with pytest.raises(EvidenceError, match="already"):
        empty(recorded)
    assert len(read_trace(recorded).texts) == 2_000
    empty(recorded, overwrite=True).close()
    assert read_trace(recorded).texts == {}


def test_a_damaged_trace_may_be_overwritten(recorded):
    os.truncate(recorded, 5_000)
    empty(recorded, overwrite=True).close()
    assert read_trace(recorded).application == "app"


def test_a_place_that_cannot_be_written(tmp_path):
    with pytest.raises(EvidenceError, match="cannot be written"):
        empty(tmp_path / "none" / "t.trace")


def test_what_does_not_fit_the_queue_is_dropped_and_counted(tmp_path):
    writer = empty(tmp_path / "t", limit=3, pause=60)
    for number in range(10):
        writer.put(StatementText(number, "SELECT 1", "sqlite", "qmark"))
    writer.close()
    assert writer.dropped == 7
    trace = read_trace(tmp_path / "t")
    assert (len(trace.texts), trace.dropped) == (3, 7)


def test_an_event_that_fails_is_dropped_and_the_next_is_written(tmp_path, caplog):
    writer = empty(tmp_path / "t")
    writer.put("nonsense")
    writer.put(Shown("query.a", "h1", "x"))
    writer.close()
    trace = read_trace(tmp_path / "t")
    assert (trace.dropped, trace.clear) == (1, {"query.a": {"h1": "x"}})
    assert "part of the trace is lost" in caplog.text


def test_rows_that_cannot_be_written_now_are_written_later(tmp_path, caplog):
    """As when a disk is full for a while."""
    writer = empty(tmp_path / "t", pause=60)
    writer._rows._connection.execute("PRAGMA max_page_count=1")
    for number in range(200):
        writer.put(StatementText(number, f"SELECT {'x' * 500}", "sqlite", "qmark"))
    writer._write(gently=False)
    assert "full" in caplog.text
    assert writer._rows.held >= 200
    writer._rows._connection.execute("PRAGMA max_page_count=100000")
    writer.close()
    assert len(read_trace(tmp_path / "t").texts) == 200


def test_shared_values_and_names_are_written_once(tmp_path):
    value = Value("i", "h1", "h2")
    writer = empty(tmp_path / "t")
    for number in range(1, 100):
        writer.put(StatementSeen(number, None, 0, 1, 5, 6, 0, 1, False, False, {"a": value}))
    writer.close()
    connection = sqlite3.connect(tmp_path / "t")
    counts = [
        connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("value", "names")
    ]
    connection.close()
    assert counts == [1, 1]
    assert read_trace(tmp_path / "t").statements[50].binds == {"a": value}


def test_what_is_shared_is_remembered_within_bounds(tmp_path, monkeypatch):
    monkeypatch.setattr("cachewright.evidence.tracerows._SHARED", 10)
    writer = empty(tmp_path / "t")
    seen = [
        StatementSeen(n, None, 0, 1, n, n, 0, 1, False, False, {f"b{n % 30}": Value("i", f"h{n % 40}", None)})
        for n in range(1, 200)
    ]
    for statement in seen:
        writer.put(statement)
    writer.close()
    assert len(writer._rows._values) <= 10
    assert read_trace(tmp_path / "t").statements == tuple(seen)


def test_the_statement_of_a_request_that_never_ended_belongs_to_none(tmp_path):
    writer = empty(tmp_path / "t")
    writer.put(StatementSeen(1, 99, 3, 1, 5, 6, 0, 1, False, False, {}))
    writer.put(TransactionSeen(3, 99, 4, 6, 7, committed=True))
    writer.close()
    trace = read_trace(tmp_path / "t")
    assert trace.statements[0].request is None
    assert trace.transactions[3].request is None
