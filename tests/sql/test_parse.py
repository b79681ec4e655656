"""What is read off single statements, case by case."""

import pytest

from cachewright.sql.facts import HARMLESS, Bind, Literal, Read, StatementFacts
from cachewright.sql.functions import KNOWN
from cachewright.sql.parse import parse

SCHEMA = {
    "users": ["id", "name", "team_id"],
    "tasks": ["id", "user_id", "title", "done", "due"],
    "tags": ["id", "label"],
    "task_tags": ["task_id", "tag_id"],
    "audit.log": ["id", "actor"],
}

STYLES = {"sqlite": "qmark", "postgresql": "numeric_dollar", "mysql": "format", "mssql": "qmark"}


def facts(sql, dialect="sqlite", *, schema=None, style=None) -> StatementFacts:
    return parse(sql, dialect=dialect, paramstyle=style or STYLES[dialect], schema=schema)


def pins(pinned) -> dict:
    """Pins with binds as bare keys and literals as `=value`."""
    return {column: op.key if isinstance(op, Bind) else f"={op.value}" for column, op in pinned}


def in_order(occurrences) -> list:
    return sorted(occurrences, key=lambda each: (each[0], sorted(each[1].items())))


def reads(sql, dialect="sqlite", *, schema=None) -> list:
    found = facts(sql, dialect, schema=schema)
    assert not found.unknown, sql
    return in_order((read.table, pins(read.pinned)) for read in found.reads)


PINNED = [
    # equalities
    ("SELECT * FROM t WHERE x = ?", [("t", {"x": 0})]),
    ("SELECT * FROM t WHERE ? = x AND y = 'a' AND z = -3", [("t", {"x": 0, "y": "=a", "z": "=-3"})]),
    ("SELECT * FROM t WHERE (x = (?)) AND ((y = ?) AND z > ?)", [("t", {"x": 0, "y": 1})]),
    ("SELECT * FROM t WHERE x IN (?)", [("t", {"x": 0})]),
    ("SELECT * FROM t WHERE x = ? AND x = ?", [("t", {"x": 0})]),
    ("SELECT * FROM t WHERE active = true", [("t", {"active": "=True"})]),
    ("SELECT * FROM t WHERE x = ? ORDER BY y LIMIT ? OFFSET ?", [("t", {"x": 0})]),
    ("SELECT x, count(*) FROM t WHERE x = ? GROUP BY x HAVING y = ?", [("t", {"x": 0})]),
    # what pins nothing
    ("SELECT * FROM t WHERE x = ? OR y = ?", [("t", {})]),
    ("SELECT * FROM t WHERE NOT x = ?", [("t", {})]),
    ("SELECT * FROM t WHERE x <> ? AND y > ? AND z BETWEEN ? AND ?", [("t", {})]),
    ("SELECT * FROM t WHERE lower(x) = ? AND y || 'a' = ? AND CAST(z AS TEXT) = ?", [("t", {})]),
    ("SELECT * FROM t WHERE x COLLATE NOCASE = ? AND y = ? COLLATE NOCASE", [("t", {})]),
    ("SELECT * FROM t WHERE x LIKE ? AND y GLOB ?", [("t", {})]),
    ("SELECT * FROM t WHERE x IN (?, ?) AND y NOT IN (?)", [("t", {})]),
    ("SELECT * FROM t WHERE x IS ? AND y IS NOT DISTINCT FROM ? AND z IS NULL", [("t", {})]),
    ("SELECT * FROM t WHERE x = NULL AND y = 1.5", [("t", {})]),
    ("SELECT * FROM t WHERE x = ? + 1 AND y = abs(?)", [("t", {})]),
    ("SELECT * FROM t WHERE (x, y) = (?, ?)", [("t", {})]),
    ("SELECT * FROM t WHERE x = CAST(? AS INTEGER)", [("t", {})]),
    ("SELECT * FROM t WHERE rowid = ?", [("t", {})]),
    ("SELECT lower(mail) AS m FROM t WHERE m = ?", [("t", {})]),
    ("SELECT * FROM t WHERE x = 'back\\slash'", [("t", {})]),
    ("SELECT CASE WHEN x = ? THEN 1 END FROM t", [("t", {})]),
    # joins
    ("SELECT * FROM a JOIN b ON a.x = b.y WHERE a.x = ?", [("a", {"x": 0}), ("b", {"y": 0})]),
    ("SELECT * FROM a, b WHERE b.y = ? AND a.x = b.y", [("a", {"x": 0}), ("b", {"y": 0})]),
    ("SELECT * FROM a JOIN b ON a.x = b.y AND b.z = ?", [("a", {}), ("b", {"z": 0})]),
    ("SELECT * FROM a JOIN b ON a.x = b.y OR b.z = ?", [("a", {}), ("b", {})]),
    (
        "SELECT * FROM a JOIN b ON a.x = b.y JOIN c ON c.z = b.y WHERE a.x = ?",
        [("a", {"x": 0}), ("b", {"y": 0}), ("c", {"z": 0})],
    ),
    ("SELECT * FROM a LEFT JOIN b ON b.y = a.x WHERE a.x = ?", [("a", {"x": 0}), ("b", {"y": 0})]),
    ("SELECT * FROM a LEFT JOIN b ON b.y = a.x WHERE b.y = ?", [("a", {}), ("b", {"y": 0})]),
    ("SELECT * FROM a LEFT JOIN b ON b.y = a.x AND a.x = ?", [("a", {}), ("b", {})]),
    ("SELECT * FROM a LEFT JOIN b ON b.y = a.x AND b.z = ?", [("a", {}), ("b", {})]),
    ("SELECT * FROM a RIGHT JOIN b ON b.y = a.x WHERE a.x = ?", [("a", {"x": 0}), ("b", {})]),
    ("SELECT * FROM a FULL JOIN b ON b.y = a.x AND a.z = ?", [("a", {}), ("b", {})]),
    (
        "SELECT * FROM a LEFT JOIN (b JOIN c ON b.k = c.k) ON b.y = a.x WHERE a.x = ?",
        [("a", {"x": 0}), ("b", {"y": 0}), ("c", {})],
    ),
    (
        "SELECT * FROM a LEFT JOIN (b JOIN c ON b.k = c.k) ON b.k = a.x WHERE a.x = ?",
        [("a", {"x": 0}), ("b", {"k": 0}), ("c", {"k": 0})],
    ),
    ("SELECT * FROM a JOIN b USING (id) WHERE id = ?", [("a", {}), ("b", {})]),
    ("SELECT * FROM a NATURAL JOIN b WHERE x = ?", [("a", {}), ("b", {})]),
    ("SELECT * FROM t AS p JOIN t AS q ON p.x = q.y WHERE p.x = ?", [("t", {"x": 0}), ("t", {"y": 0})]),
    ("SELECT * FROM t AS p JOIN t AS q ON p.id = q.parent WHERE p.x = ?", [("t", {}), ("t", {"x": 0})]),
    ("SELECT * FROM t CROSS JOIN u WHERE t.x = ?", [("t", {"x": 0}), ("u", {})]),
    ("SELECT * FROM a JOIN b ON a.x = b.y WHERE z = ?", [("a", {}), ("b", {})]),
    # subqueries
    (
        "SELECT * FROM a WHERE a.x = ? AND EXISTS (SELECT 1 FROM b WHERE b.y = a.x AND b.z = ?)",
        [("a", {"x": 0}), ("b", {"y": 0, "z": 1})],
    ),
    ("SELECT * FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.z = ?)", [("a", {}), ("b", {"z": 0})]),
    ("SELECT * FROM a WHERE EXISTS (SELECT 1 FROM b WHERE a.x = ?)", [("a", {}), ("b", {})]),
    ("SELECT * FROM a WHERE EXISTS (SELECT 1 FROM b WHERE x = ?)", [("a", {}), ("b", {})]),
    ("SELECT * FROM a WHERE a.x IN (SELECT b.y FROM b WHERE b.z = ?)", [("a", {}), ("b", {"z": 0})]),
    ("SELECT * FROM a WHERE a.x = (SELECT b.y FROM b WHERE b.z = ?)", [("a", {}), ("b", {"z": 0})]),
    (
        "SELECT (SELECT count(*) FROM b WHERE b.a_id = a.id) FROM a WHERE a.id = ?",
        [("a", {"id": 0}), ("b", {"a_id": 0})],
    ),
    ("SELECT * FROM (SELECT * FROM a WHERE a.x = ?) AS d WHERE d.y = ?", [("a", {"x": 0})]),
    ("SELECT * FROM (SELECT x FROM a) AS d JOIN b ON b.y = d.x WHERE d.x = ?", [("a", {}), ("b", {})]),
    ("SELECT x FROM a WHERE a.x = ? UNION SELECT y FROM b WHERE b.y = ?", [("a", {"x": 0}), ("b", {"y": 1})]),
    ("(SELECT x FROM a WHERE x = ?) EXCEPT SELECT y FROM b", [("a", {"x": 0}), ("b", {})]),
    ("VALUES (1)", []),
    # common table expressions
    (
        "WITH q AS (SELECT * FROM a WHERE a.x = ?) SELECT * FROM q JOIN b ON b.y = q.x",
        [("a", {"x": 0}), ("b", {})],
    ),
    ("WITH a AS (SELECT * FROM t WHERE x = ?) SELECT * FROM a WHERE a.x = ?", [("t", {"x": 0})]),
    (
        "WITH RECURSIVE q AS (SELECT * FROM t WHERE t.id = ? UNION ALL SELECT t.* FROM t JOIN q ON t.p = q.id) SELECT * FROM q",
        [("t", {}), ("t", {})],
    ),
    (
        "WITH q AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM q JOIN t ON t.x = ?) SELECT * FROM q",
        [("q", {}), ("t", {})],
    ),
    ("WITH users AS (SELECT * FROM main.users WHERE id = ?) SELECT * FROM users", [("users", {"id": 0})]),
    # names
    ('SELECT * FROM "Users" AS "U" WHERE "U"."Id" = ?', [("users", {"id": 0})]),
    ("SELECT * FROM [my table] WHERE [the id] = ?", [("my table", {"the id": 0})]),
    ("SELECT * FROM main.t WHERE x = ?", [("t", {"x": 0})]),
    ("SELECT * FROM other.t WHERE x = ?", [("other.t", {"x": 0})]),
    ("SELECT * FROM t AS a (p, q) WHERE a.p = ?", [("t", {})]),
    ("SELECT * FROM json_each(?) AS j, t WHERE t.x = ?", [("t", {"x": 1})]),
]


@pytest.mark.parametrize(("sql", "expected"), PINNED, ids=[sql for sql, _ in PINNED])
def test_pins_of_each_occurrence(sql, expected):
    assert reads(sql) == in_order(expected)


@pytest.mark.parametrize(
    ("dialect", "sql", "expected"),
    [
        ("postgresql", "SELECT * FROM t WHERE x = $2::VARCHAR AND y = $1", [("t", {"x": 1, "y": 0})]),
        ("postgresql", "SELECT * FROM t WHERE x = $1::VARCHAR(3) AND y = $2::DATE AND z = $3::mood", [("t", {})]),
        ("postgresql", "SELECT * FROM t WHERE x::int = $1 AND y = ANY ($2::INTEGER[])", [("t", {})]),
        ("postgresql", "SELECT * FROM public.t WHERE x = $1 AND y ILIKE $2", [("t", {"x": 0})]),
        ("postgresql", "SELECT * FROM a LEFT JOIN LATERAL (SELECT * FROM b WHERE b.y = a.x) l ON true WHERE a.x = $1", [("a", {"x": 0}), ("b", {"y": 0})]),
        ("mysql", "SELECT * FROM t WHERE `x` = %s AND y <=> %s", [("t", {"x": 0})]),
        ("mysql", "SELECT * FROM t WHERE a = %s XOR b = %s AND c = %s", [("t", {})]),
        ("mysql", "SELECT * FROM t WHERE a = '50%%' AND b = '%s' AND c = %s", [("t", {"c": 1})]),
        ("mysql", "SELECT * FROM a STRAIGHT_JOIN b ON a.x = b.y WHERE a.x = %s", [("a", {"x": 0}), ("b", {})]),
        ("mysql", "SELECT * FROM t WHERE a = %s || b = %s", [("t", {})]),
        ("mysql", "SELECT * FROM t WHERE id IN %s", [("t", {})]),
    ],
)  # fmt: skip
def test_pins_in_other_dialects(dialect, sql, expected):
    assert reads(sql, dialect) == expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT title FROM users JOIN tasks ON user_id = users.id WHERE team_id = ?", [("tasks", {}), ("users", {"team_id": 0})]),
        ("SELECT 1 FROM users JOIN tasks ON user_id = users.id WHERE users.id = ?", [("tasks", {"user_id": 0}), ("users", {"id": 0})]),
        ("SELECT 1 FROM users JOIN tasks ON user_id = users.id WHERE id = ?", [("tasks", {}), ("users", {})]),
        ("SELECT 1 FROM users WHERE EXISTS (SELECT 1 FROM tasks WHERE user_id = ?)", [("tasks", {"user_id": 0}), ("users", {})]),
        ("SELECT 1 FROM users WHERE users.id = ? AND EXISTS (SELECT 1 FROM tasks WHERE due = team_id)", [("tasks", {}), ("users", {"id": 0})]),
        ("SELECT 1 FROM users WHERE undeclared = ?", [("users", {})]),
        ("SELECT 1 FROM log WHERE actor = ?", [("audit.log", {"actor": 0})]),
        ("SELECT 1 FROM tenant7.tasks WHERE user_id = ?", [("tasks", {"user_id": 0})]),
        ("SELECT 1 FROM tasks JOIN unheard_of ON 1 = 1 WHERE done = ?", [("tasks", {"done": 0}), ("unheard_of", {})]),
        ("SELECT 1 FROM tasks JOIN unheard_of ON 1 = 1 WHERE colour = ?", [("tasks", {}), ("unheard_of", {})]),
    ],
)  # fmt: skip
def test_bare_columns_are_attributed_by_the_schema(sql, expected):
    assert reads(sql, schema=SCHEMA) == expected


def test_a_copied_pin_tells_its_way():
    found = facts("SELECT 1 FROM a JOIN b ON a.x = b.y LEFT JOIN c ON c.z = b.y WHERE a.x = ?")
    ways = {read.table: read.via for read in found.reads}
    assert ways == {"a": (), "b": (("y", (("a", "x"),)),), "c": (("z", (("a", "x"), ("b", "y"))),)}


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT t.a, u.b FROM t JOIN u ON t.i = u.j WHERE t.c = ? ORDER BY t.d", {"t": {"a", "i", "c", "d"}, "u": {"b", "j"}}),
        ("SELECT * FROM t JOIN u ON t.i = u.j", {"t": None, "u": None}),
        ("SELECT t.*, u.b FROM t JOIN u ON t.i = u.j", {"t": None, "u": {"b", "j"}}),
        ("SELECT count(*) FROM t WHERE t.c = ?", {"t": {"c"}}),
        ("SELECT a FROM t JOIN u ON t.i = u.j", {"t": {"a", "i"}, "u": {"a", "j"}}),
        ("SELECT a FROM t JOIN u USING (i)", {"t": {"a", "i"}, "u": {"a", "i"}}),
        ("SELECT a FROM t NATURAL JOIN u", {"t": None, "u": None}),
        ("SELECT t FROM t", {"t": None}),
        ("SELECT t.a FROM t WHERE EXISTS (SELECT * FROM u WHERE u.j = t.i)", {"t": {"a", "i"}, "u": {"j"}}),
    ],
)  # fmt: skip
def test_touched_columns(sql, expected):
    found = {read.table: read.columns for read in facts(sql).reads}
    assert found == {
        table: None if columns is None else frozenset(columns) for table, columns in expected.items()
    }


def written(sql, dialect="sqlite", *, schema=None) -> list:
    found = facts(sql, dialect, schema=schema)
    assert not found.unknown, sql
    return [
        (
            write.table,
            write.action,
            "whole" if write.whole else pins(write.pinned),
            {column: None if op is None else pins([(column, op)])[column] for column, op in write.assigned},
        )
        for write in found.writes
    ]


WRITES = [
    ("sqlite", "UPDATE t SET a = ?, b = b + 1 WHERE id = ? AND c > ?", [("t", "update", {"id": 1}, {"a": 0, "b": None})]),
    ("sqlite", "UPDATE t SET a = ?", [("t", "update", "whole", {"a": 0})]),
    ("sqlite", "UPDATE t SET a = ? WHERE id IN (?, ?)", [("t", "update", "whole", {"a": 0})]),
    ("sqlite", "UPDATE t SET a = NULL WHERE t.id = ?", [("t", "update", {"id": 0}, {"a": "=None"})]),
    ("sqlite", "UPDATE t AS x SET a = u.b FROM u WHERE x.id = u.t_id AND u.t_id = ?", [("t", "update", {"id": 0}, {"a": None})]),
    ("sqlite", "DELETE FROM t WHERE id = ?", [("t", "delete", {"id": 0}, {})]),
    ("sqlite", "DELETE FROM t WHERE id IN (SELECT x FROM u WHERE y = ?)", [("t", "delete", "whole", {})]),
    ("sqlite", "DELETE FROM t", [("t", "delete", "whole", {})]),
    ("sqlite", "REPLACE INTO t (a) VALUES (?)", [("t", "any", "whole", {})]),
    ("sqlite", "INSERT OR REPLACE INTO t (a) VALUES (?)", [("t", "any", "whole", {})]),
    ("sqlite", "INSERT INTO t (a) VALUES (?) ON CONFLICT (a) DO UPDATE SET b = excluded.b", [("t", "any", "whole", {})]),
    ("sqlite", "INSERT INTO t (a) SELECT b FROM u", [("t", "insert", "whole", {})]),
    ("sqlite", "INSERT INTO t VALUES (?, ?)", [("t", "insert", "whole", {})]),
    ("sqlite", "WITH t AS (SELECT 1 AS a) INSERT INTO t (a) SELECT a FROM t", [("t", "insert", "whole", {})]),
    ("mysql", "REPLACE t (a) VALUES (%s)", [("t", "any", "whole", {})]),
    ("mysql", "INSERT INTO t (a) VALUES (%s) ON DUPLICATE KEY UPDATE a = 1", [("t", "any", "whole", {})]),
    ("mysql", "INSERT IGNORE INTO t (a) VALUES (%s)", [("t", "insert", "whole", {})]),
    ("mysql", "DELETE a FROM a JOIN b ON a.x = b.y WHERE b.y = %s", [("a", "delete", {"x": 0}, {})]),
    ("mysql", "DELETE a, b FROM a JOIN b ON a.x = b.y WHERE b.y = %s", [("a", "delete", {"x": 0}, {}), ("b", "delete", {"y": 0}, {})]),
    ("mysql", "DELETE FROM a, b USING a JOIN b ON a.x = b.y WHERE a.x = %s", [("a", "delete", {"x": 0}, {}), ("b", "delete", {"y": 0}, {})]),
    ("mysql", "UPDATE a JOIN b ON a.x = b.y SET a.v = %s WHERE b.y = %s", [("a", "update", {"x": 1}, {"v": 0})]),
    ("mysql", "UPDATE a JOIN b ON a.x = b.y SET v = %s", [("a", "update", "whole", {}), ("b", "update", "whole", {})]),
    ("postgresql", "UPDATE t SET (a, b) = (1, 2) WHERE id = $1", [("t", "update", "whole", {})]),
    ("postgresql", "DELETE FROM t USING u WHERE t.id = u.t_id AND u.t_id = $1 RETURNING *", [("t", "delete", {"id": 0}, {})]),
    ("postgresql", "WITH gone AS (DELETE FROM t WHERE id = $1 RETURNING *) SELECT * FROM gone", [("t", "delete", {"id": 0}, {})]),
    ("postgresql", "WITH x AS (UPDATE t SET a = 1 WHERE id = $1 RETURNING id) INSERT INTO u (i) SELECT id FROM x", [("u", "insert", "whole", {}), ("t", "update", {"id": 0}, {"a": "=1"})]),
    ("postgresql", "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET a = 1", [("t", "any", "whole", {})]),
    ("mssql", "UPDATE x SET a = 1 FROM t AS x WHERE x.id = ?", [("t", "update", {"id": 0}, {"a": "=1"})]),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "sql", "expected"), WRITES, ids=[sql for _, sql, _ in WRITES])
def test_writes(dialect, sql, expected):
    assert written(sql, dialect) == expected


_MANY_VALUES = (
    "INSERT INTO t (a, b) SELECT p0::VARCHAR, p1::DATE FROM (VALUES ($1::VARCHAR, $2, 0), ($3, $4, 1)) "
    "AS imp_sen(p0, p1, sen_counter) ORDER BY sen_counter RETURNING t.id"
)


@pytest.mark.parametrize(
    ("dialect", "sql", "expected"),
    [
        ("sqlite", "INSERT INTO t (a, b) VALUES (?, lower(?))", [{"a": Bind(0), "b": None}]),
        ("sqlite", "INSERT INTO t (a) VALUES (?), ('x')", [{"a": Bind(0)}, {"a": Literal("x")}]),
        ("sqlite", "INSERT INTO t (a) VALUES (?) ON CONFLICT DO NOTHING", [{"a": Bind(0)}]),
        ("sqlite", "INSERT INTO t DEFAULT VALUES", [{}]),
        ("mysql", "INSERT INTO t SET a = %s, b = 2", [{"a": Bind(0), "b": Literal(2)}]),
        (
            "postgresql",
            _MANY_VALUES,
            [{"a": Bind(0), "b": None}, {"a": Bind(2), "b": None}],
        ),
    ],
)
def test_inserted_rows(dialect, sql, expected):
    (write,) = facts(sql, dialect).writes
    assert [dict(row) for row in write.value_sets] == expected
    assert (write.action, write.whole) == ("insert", False)


def test_an_insert_of_very_many_rows_is_whole():
    (write,) = facts(f"INSERT INTO t (a) VALUES {', '.join(['(?)'] * 300)}").writes
    assert write.whole
    assert write.value_sets == ()


def test_what_a_writing_statement_reads_is_read_and_its_target_is_not():
    assert reads("INSERT INTO t (a) SELECT b FROM u WHERE u.c = ?") == [("u", {"c": 0})]
    assert reads("UPDATE t SET a = (SELECT max(v) FROM w) FROM u WHERE u.c = ?") == [
        ("u", {"c": 0}),
        ("w", {}),
    ]
    assert reads("DELETE FROM t USING u, v WHERE t.i = u.i AND u.i = $1", "postgresql") == [
        ("u", {"i": 0}),
        ("v", {}),
    ]
    assert reads("DELETE FROM t WHERE id = ?") == []


@pytest.mark.parametrize(
    "sql",
    [
        "BEGIN", "BEGIN IMMEDIATE", "COMMIT", "ROLLBACK TO SAVEPOINT x", "SAVEPOINT sa_1", "RELEASE SAVEPOINT sa_1",
        "SET search_path TO app", "SHOW TABLES", "PRAGMA table_info('t')", "PRAGMA main.foreign_keys", "PRAGMA foreign_keys=ON",
        "EXPLAIN QUERY PLAN SELECT 1", "EXPLAIN DELETE FROM t", "DESCRIBE t", "", "-- nothing", "BEGIN; SET x = 1;",
        "START TRANSACTION READ ONLY", "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
    ],
)  # fmt: skip
def test_harmless(sql):
    assert facts(sql) == HARMLESS


@pytest.mark.parametrize(
    "sql",
    [
        "CALL refresh(?)", "TRUNCATE t", "CREATE TABLE t (a INT)", "DROP TABLE t", "ALTER TABLE t ADD b INT", "VACUUM",
        "SELEC * FROM t", "SELECT * FROM", "SELECT a INTO b FROM t", "EXPLAIN ANALYZE DELETE FROM t", "DO $$ x $$",
        "EXPLAIN (VERBOSE, ANALYZE) SELECT 1", "SET x = (SELECT f())", "PRAGMA case_sensitive_like = 1", "COPY t FROM 'x'",
        "SELECT 1; DROP TABLE t", "BEGIN DELETE FROM t", "COMMIT PREPARED 'x'", "EXECUTE p(1)", "GRANT ALL ON t TO u",
        "SELECT 'open", "ATTACH 'x' AS y", "?", "DELETE t", "UPDATE f(1) SET a = 1",
    ],
)  # fmt: skip
def test_unknown(sql):
    assert facts(sql).unknown


def test_mysql_comments_that_run_are_unknown():
    assert facts("SELECT 1 /*! UNION SELECT a FROM t */", "mysql").unknown
    assert not facts("SELECT 1 /* UNION SELECT a FROM t */", "mysql").unknown


def test_an_unknown_parameter_style_is_unknown_and_does_not_raise():
    assert facts("SELECT 1", style="no such style").unknown


def test_several_statements_are_joined():
    found = facts(
        "SELECT 1 FROM t WHERE x = ?; DELETE FROM u WHERE y = ?; SELECT 2 FROM v FOR UPDATE",
        "postgresql",
        style="qmark",
    )
    assert [read.table for read in found.reads] == ["t", "v"]
    assert [(write.table, pins(write.pinned)) for write in found.writes] == [("u", {"y": 1})]


@pytest.mark.parametrize(
    ("dialect", "sql", "expected"),
    [
        ("postgresql", "SELECT now(), gen_random_uuid() FROM t WHERE x = current_user", {"current_timestamp", "uuid", "current_user"}),
        ("postgresql", "SELECT a FROM t WHERE b > 'today'::date", {"'today'"}),
        ("postgresql", "SELECT a FROM t WHERE b = current_setting('app.user')", {"current_setting"}),
        ("postgresql", "SELECT nextval('s'), clock_timestamp()", {"nextval", "clock_timestamp"}),
        ("sqlite", "SELECT date('now'), random() FROM t", {"'now'", "rand"}),
        ("sqlite", "SELECT datetime() FROM t", {"datetime"}),
        ("sqlite", "SELECT date(a), lower(b) FROM t WHERE c = 'today'", set()),
        ("mysql", "SELECT now(), rand(), @x FROM t", {"now", "rand", "@x"}),
        ("postgresql", "SELECT a FROM t FOR UPDATE SKIP LOCKED", {"skip locked"}),
        ("postgresql", "SELECT a FROM t FOR UPDATE NOWAIT", set()),
        ("postgresql", "SELECT * FROM pg_stat_activity, information_schema.tables", {"pg_stat_activity", "tables"}),
    ],
)  # fmt: skip
def test_nondeterminism(dialect, sql, expected):
    assert set(facts(sql, dialect).nondeterministic) == expected


def test_functions_nobody_knows_are_named():
    assert facts("SELECT price_for(a), lower(b), json_extract(c, '$.x') FROM t, shop_rows(3)").opaque == (
        "price_for",
        "shop_rows",
    )


@pytest.mark.parametrize(
    "name", ["search", "json_orders", "st_report", "lo_get", "ts_rewrite", "score", "top_k"]
)
@pytest.mark.parametrize("dialect", ["postgresql", "sqlite", "mysql"])
def test_a_function_may_be_the_applications_own_though_some_database_has_one_of_its_name(dialect, name):
    assert facts(f"SELECT {name}(a, b) FROM t", dialect).opaque == (name,)


@pytest.mark.parametrize("dialect", ["postgresql", "sqlite", "mysql"])
def test_what_comes_with_a_database_is_known_whatever_the_parser_makes_of_it(dialect):
    for name in sorted(KNOWN):
        for arguments in ("", "a", "a, b", "a, b, c"):
            found = facts(f"SELECT {name}({arguments}) FROM t", dialect)
            assert found.unknown or not found.opaque, (name, arguments)


@pytest.mark.parametrize(
    "expression",
    ["a || b", "a ~ 'x'", "a @> b", "a ->> 'x'", "a::int", "a IN (1, 2)", "EXISTS (SELECT 1)", "a @@ plainto_tsquery('x')",
     "CASE a WHEN 1 THEN 2 END", "array_agg(a ORDER BY b)", "a AT TIME ZONE 'UTC'", "row_number() OVER (ORDER BY a)",
     "a = ANY(ARRAY[1])", "json_agg(t)", "json_build_object('a', 1)", "NOT a AND b OR c", "substring(a FROM 1 FOR 2)"],
)  # fmt: skip
def test_operators_are_no_functions_of_the_application(expression):
    found = facts(f"SELECT {expression} FROM t", "postgresql")
    assert not found.unknown
    assert not found.opaque


def test_a_table_in_the_place_of_a_list_is_read_whole():
    found = facts(
        "SELECT a FROM t WHERE b IN u AND c = ?", "sqlite", schema={"t": ("a", "b", "c"), "u": ("x",)}
    )
    assert [(read.table, pins(read.pinned)) for read in found.reads] == [("t", {"c": 0}), ("u", {})]
    assert [
        read.table for read in facts("WITH u AS (SELECT 1) SELECT a FROM t WHERE b IN u", "sqlite").reads
    ] == ["t"]


def test_compared_values():
    found = facts(
        "SELECT a FROM t WHERE a >= ? AND date(b) = ? AND c BETWEEN ? AND ? AND d IN (?, 7) AND e LIKE 'x' AND f < datetime(?, '-1 day')"
    )
    assert found.time_binds == (*map(Bind, range(5)), Literal(7), Literal("x"), Bind(5))
    assert set(found.predicate_binds) == {
        ("t", "a", Bind(0)), ("t", "b", Bind(1)), ("t", "c", Bind(2)), ("t", "c", Bind(3)),
        ("t", "d", Bind(4)), ("t", "d", Literal(7)), ("t", "e", Literal("x")), ("t", "f", Bind(5)),
    }  # fmt: skip


def test_assignments_are_no_comparisons():
    found = facts("UPDATE t SET a = ? WHERE b = ?")
    assert found.predicate_binds == (("t", "b", Bind(1)),)
    assert facts("INSERT INTO t (a) VALUES (?) ON CONFLICT (a) DO UPDATE SET b = ?").time_binds == ()


def test_a_read_is_hashable_and_its_pins_are_sorted():
    (read,) = facts("SELECT 1 FROM t WHERE b = ? AND a = ?").reads
    assert read == Read("t", (("a", Bind(1)), ("b", Bind(0))), frozenset({"a", "b"}))
    assert hash(read)
