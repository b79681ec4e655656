import pytest

from cachewright.sql.names import Schema, table_name


@pytest.mark.parametrize(
    ("schema", "name", "expected"),
    [
        (None, "Users", "users"),
        ("public", "users", "users"),
        ("main", "users", "users"),
        ("Audit", "Log", "audit.log"),
    ],
)
def test_a_table_has_one_name(schema, name, expected):
    assert table_name(schema, name) == expected


def test_a_declared_table_is_found_however_it_is_spelled():
    schema = Schema({"users": ["ID"], "audit.log": ["id"], "public.plans": [], "a.twin": [], "b.twin": []})
    assert schema.resolve("", "USERS") == "users"
    assert schema.resolve("tenant7", "users") == "users"
    assert schema.resolve("", "log") == "audit.log"
    assert schema.resolve("public", "plans") == "plans"
    assert schema.resolve("", "twin") == "twin"
    assert schema.resolve("b", "twin") == "b.twin"
    assert schema.resolve("x", "unheard_of") == "x.unheard_of"
    assert schema.columns("users") == {"id"}
    assert schema.columns("unheard_of") is None
