"""Tag templates: which columns, and when none."""

from tests.analysis.builder import (
    DETAIL,
    INSERT,
    LIST,
    SCHEMA,
    SELECT_USER,
    Call,
    TodoTraffic,
    TraceBuilder,
)

from cachewright.analysis.study import profiles, study
from cachewright.evidence.trace import SchemaSeen


def _templates(trace):
    found = study(trace)
    subjects = {standing.route.subject for standing in found.standings}
    return {p.route.subject: [str(t) for t in p.depends_on] for p in profiles(found, subjects)}


def test_lists_depend_on_their_owner_and_details_on_their_row():
    templates = _templates(TodoTraffic().run(600).build())
    assert templates["GET /api/tasks"] == ["tasks(owner_id={claim.sub})", "users(id={claim.sub})"]
    assert templates["GET /api/tasks/{task_id}"] == ["tasks(id={path.task_id})", "users(id={claim.sub})"]
    assert templates["GET /api/tasks/stats"] == ["tasks(owner_id={claim.sub})", "users(id={claim.sub})"]
    assert templates["GET /news"] == ["news"]


def test_an_occurrence_that_nothing_binds_widens_to_the_table():
    build = TraceBuilder()
    route = build.route("GET", "/api/tasks")
    for n in range(40):
        sql = [(SELECT_USER, [n % 4]), (LIST, [n % 4, 3, 0])]
        if n == 20:
            sql.append(("SELECT count(tasks.id) AS n FROM tasks", []))
        build.add(Call(route, claims={"sub": str(n % 4)}, credential=str(n % 4), sql=sql))
    assert _templates(build.build())["GET /api/tasks"] == ["tasks", "users(id={claim.sub})"]


def test_columns_that_compare_loosely_pin_nothing():
    schema = SchemaSeen(
        SCHEMA.tables, SCHEMA.primary_keys, SCHEMA.foreign_keys, frozenset({("tasks", "owner_id")})
    )
    build = TraceBuilder(schema)
    route = build.route("GET", "/api/tasks")
    for n in range(40):
        build.add(Call(route, claims={"sub": str(n % 4)}, credential=str(n % 4), sql=[(LIST, [n % 4, 3, 0])]))
    assert _templates(build.build())["GET /api/tasks"] == ["tasks"]


def test_a_column_that_writers_cannot_pin_is_not_used():
    """Every insert leaves the id to the database: a tag by id would make each of them a bulk change."""
    build = TraceBuilder()
    detail = build.route("GET", "/api/tasks/{task_id}", ("path", "task_id", "int"))
    post = build.route("POST", "/api/tasks")
    for n in range(60):
        user = n % 4
        who = {"claims": {"sub": str(user)}, "credential": str(user)}
        build.add(Call(detail, values={"path.task_id": n % 7}, sql=[(DETAIL, [n % 7, user])], **who))
        build.add(Call(post, sql=[(INSERT, [user, "t", "open"])], commits=True, status=201, **who))
    assert _templates(build.build())["GET /api/tasks/{task_id}"] == ["tasks(owner_id={claim.sub})"]
