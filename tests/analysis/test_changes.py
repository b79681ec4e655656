"""Which changes of an answer a write explains."""

from tests.analysis.builder import MILLISECOND, NEWS, Call, TraceBuilder

from cachewright.analysis.changes import changes, hidden_tables, pairs_of
from cachewright.analysis.exchanges import gather
from cachewright.analysis.journal import journal
from cachewright.evidence.trace import VolatileSeen

RENAME = "UPDATE news SET title=? WHERE news.id = ?"


def _traffic(*steps):
    """Reads of /news as bodies; a tuple (at ms, body) is a read, (at ms, table) with a `!` a committed write."""
    build = TraceBuilder()
    news = build.route("GET", "/news", credentials=())
    write = build.route("POST", "/news", credentials=())
    for at, what in steps:
        if what.startswith("!"):
            sql = (
                [(RENAME, ["x", 1])]
                if what == "!news"
                else [("UPDATE tasks SET title=? WHERE id = ?", ["x", 1])]
            )
            build.add(Call(write, sql=sql, commits=True, status=201), at=at * MILLISECOND)
        else:
            build.add(Call(news, sql=[(NEWS, [])], body=what), at=at * MILLISECOND)
    return build.build()


def _judged(trace):
    record = gather(trace)
    route = next(route for route in record.routes if route.method == "GET")
    writes = journal(trace, {})
    return list(pairs_of(route.exchanges, lambda _: (), lambda _: frozenset({"news"}), writes)), writes


def test_a_write_between_two_reads_explains_a_change():
    pairs, _ = _judged(_traffic((100, "a"), (200, "!news"), (300, "b")))
    assert changes(pairs).explained == 1
    assert not changes(pairs).unexplained


def test_a_write_to_another_table_explains_nothing():
    pairs, _ = _judged(_traffic((100, "a"), (200, "!tasks"), (300, "b")))
    assert len(changes(pairs).unexplained) == 1


def test_a_write_that_overlaps_the_later_read_explains_its_change():
    """Its commit began before the read's SQL ended; by start of the request it would come after the read."""
    pairs, _ = _judged(_traffic((100, "a"), (301, "!news"), (304, "b")))
    assert changes(pairs).explained == 1


def test_a_write_before_both_reads_explains_nothing():
    pairs, _ = _judged(_traffic((100, "!news"), (200, "a"), (300, "b")))
    assert len(changes(pairs).unexplained) == 1


def test_quiet_and_needless_pairs_are_counted_apart():
    pairs, _ = _judged(_traffic((100, "a"), (200, "a"), (300, "!news"), (400, "a")))
    counted = changes(pairs)
    assert (counted.quiet, counted.needless, counted.changed) == (1, 1, 0)
    assert counted.quiet_seconds > 0


def _volatile(differed, *ignored):
    build = TraceBuilder()
    news = build.route("GET", "/news", credentials=())
    build.volatile = (VolatileSeen(news, "$.at", 9, differed),)
    for body, members in enumerate(ignored):
        build.add(Call(news, sql=[(NEWS, [])], body=body, ignored=frozenset(members)))
    return changes(_judged(build.build())[0])


def test_answers_without_the_same_members_are_compared():
    assert len(_volatile(9, {"$.at"}, {"$.at"}).unexplained) == 1


def test_answers_without_different_members_are_not_compared():
    assert _volatile(9, set(), {"$.at"}).pairs == 0


def test_answers_without_a_member_that_is_not_volatile_are_not_compared():
    assert _volatile(8, {"$.at"}, {"$.at"}).pairs == 0


def test_a_table_written_beside_every_unexplained_change_is_proposed_as_hidden():
    """What a trigger that feeds `news` from `tasks` looks like."""
    pairs, writes = _judged(
        _traffic((100, "a"), (200, "a"), (300, "!tasks"), (400, "b"), (500, "b"), (600, "!tasks"), (700, "c"))
    )
    assert hidden_tables(pairs, writes, {"tasks", "users"}) == ("tasks",)


def test_nothing_is_proposed_where_quiet_pairs_saw_the_same_writes():
    pairs, writes = _judged(
        _traffic((100, "a"), (200, "!tasks"), (300, "a"), (350, "a"), (400, "!tasks"), (500, "b"))
    )
    assert hidden_tables(pairs, writes, {"tasks"}) == ()
