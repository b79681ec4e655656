"""Writes that were seen are counted by what they told; writes that nobody saw show by what they did."""

from tests.analysis.builder import MILLISECOND, NEWS, Call, TraceBuilder

from cachewright.analysis.coverage import TableWrites, coverage

RENAME = ("UPDATE news SET title=? WHERE news.id = ?", ["x", 1])


def recorded(changes, *, seen, images=()):
    """A page of news that is read three times after each change of it; `seen` changes leave a write behind."""
    build = TraceBuilder()
    news = build.route("GET", "/news", credentials=())
    write = build.route("POST", "/news", credentials=())
    for turn in range(changes):
        if seen:
            build.add(Call(write, sql=[RENAME], images=images, commits=True, status=201))
        for _ in range(3):
            build.add(Call(news, sql=[(NEWS, [])], body=turn))
    return build.build()


def test_changes_with_a_write_before_them_are_covered():
    found = coverage(recorded(8, seen=True))
    assert found.complete
    assert found.tables == (TableWrites("news", by_row=8, as_a_whole=0, outside=0),)


def test_changes_that_nothing_explains_are_writes_that_nobody_saw():
    found = coverage(recorded(8, seen=False))
    assert not found.complete
    (missed,) = found.unseen
    assert (missed.route, missed.changes, missed.tables) == ("GET /news", 7, ("news",))


def test_a_table_whose_writes_lie_beside_every_change_is_suspected():
    """As where a trigger on tasks writes the news."""
    build = TraceBuilder()
    news = build.route("GET", "/news", credentials=())
    write = build.route("POST", "/tasks", credentials=())
    for turn in range(40):
        if turn % 4 == 0:
            sql = [("UPDATE tasks SET title=? WHERE id = ?", ["x", 1])]
            build.add(Call(write, sql=sql, commits=True, status=201), at=(100 * turn + 50) * MILLISECOND)
        build.add(Call(news, sql=[(NEWS, [])], body=turn // 4), at=(100 * turn + 100) * MILLISECOND)
    (missed,) = coverage(build.build()).unseen
    assert missed.suspects == ("tasks",)


def test_a_statement_without_rows_writes_a_table_as_a_whole():
    build = TraceBuilder()
    write = build.route("POST", "/news", credentials=())
    build.add(Call(write, sql=[("DELETE FROM news WHERE title LIKE ?", ["a%"])], commits=True))
    assert coverage(build.build()).tables == (TableWrites("news", by_row=0, as_a_whole=1, outside=0),)
