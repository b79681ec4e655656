"""Reading the catalogue of a database: a few SELECTs on a connection that nobody has used yet."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from cachewright.sql.catalogue import Catalogue, Relation, Routine, Trigger
from cachewright.sql.names import table_name
from cachewright.sql.rows import Reference

Rows = Sequence[Sequence[Any]]
Ask = Callable[[str], Rows]

#: What `OF_USERS` stands for: the schemas that do not come with the database.
_OF_USERS = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"

_RELATIONS = """
SELECT n.nspname, c.relname, CASE c.relkind WHEN 'v' THEN pg_get_viewdef(c.oid) END, pn.nspname, p.relname,
  c.relkind = 'f'
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_inherits i ON i.inhrelid = c.oid LEFT JOIN pg_class p ON p.oid = i.inhparent
LEFT JOIN pg_namespace pn ON pn.oid = p.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND OF_USERS
"""
_ROUTINES = """
SELECT n.nspname, p.proname, CASE WHEN p.prosqlbody IS NULL THEN p.prosrc
  ELSE pg_get_function_sqlbody(p.oid) END, l.lanname, p.provolatile = 'v', e.objid IS NOT NULL
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
LEFT JOIN pg_depend e ON e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e'
WHERE p.prokind <> 'a' AND OF_USERS
"""
_BUILTIN = "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace"
_TRIGGERS = """
SELECT n.nspname, c.relname, p.proname::text FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND OF_USERS
UNION ALL
SELECT n.nspname, c.relname, pg_get_ruledef(r.oid) FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE r.ev_type <> '1' AND OF_USERS
"""
_REFERENCES = """
SELECT n.nspname, c.relname, tn.nspname, t.relname, k.confdeltype::text, k.confupdtype::text,
  (SELECT string_agg(a.attname, ',' ORDER BY x.place) FROM unnest(k.conkey) WITH ORDINALITY x(number, place)
    JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = x.number),
  (SELECT string_agg(a.attname, ',' ORDER BY x.place) FROM unnest(k.confkey) WITH ORDINALITY x(number, place)
    JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = x.number)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class t ON t.oid = k.confrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0 AND OF_USERS
"""
#: All but the types whose values are equal when their texts are, case, padding and spellings of numbers apart.
_LOOSE = """
SELECT n.nspname, c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_type b ON b.oid = t.typbasetype LEFT JOIN pg_collation o ON o.oid = a.attcollation
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'f') AND OF_USERS
AND NOT (COALESCE(b.typname, t.typname) IN ('int2', 'int4', 'int8', 'text', 'varchar', 'bpchar', 'name',
  'citext', 'uuid', 'bool') OR COALESCE(b.typtype, t.typtype) = 'e')
OR NOT o.collisdeterministic AND a.attnum > 0 AND OF_USERS
"""
_POLICIES = """
SELECT n.nspname, c.relname, pg_get_expr(p.polqual, p.polrelid) FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_policy p ON p.polrelid = c.oid
WHERE c.relrowsecurity AND row_security_active(c.oid) AND OF_USERS
"""
_ACTIONS = {"c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}


def read_catalogue(dialect: str, ask: Ask) -> Catalogue | None:
    """The catalogue of the database that `ask` sends a query to; None for kinds of databases not known here."""
    match dialect:
        case "postgresql":
            return _of_postgresql(lambda query: ask(query.replace("OF_USERS", _OF_USERS)))
        case "sqlite":
            return _of_sqlite(ask)
    return None


def _of_postgresql(ask: Ask) -> Catalogue:
    related = ask(_RELATIONS)
    parents = {table_name(s, t): table_name(ps, p) for s, t, _, ps, p, _ in related if p is not None}
    return Catalogue(
        relations=tuple(
            Relation(name, definition, _root(name, parents), elsewhere=bool(foreign))
            for schema, relation, definition, *_, foreign in related
            for name in [table_name(schema, relation)]
        ),
        routines=tuple(
            Routine(name.lower(), body or "", language, bool(writes), bool(shipped))
            for _, name, body, language, writes, shipped in ask(_ROUTINES)
        ),
        triggers=tuple(Trigger(table_name(schema, table), body) for schema, table, body in ask(_TRIGGERS)),
        references=tuple(
            Reference(
                table=table_name(schema, table),
                columns=tuple(columns.lower().split(",")),
                target=table_name(target_schema, target),
                target_columns=tuple(target_columns.lower().split(",")),
                on_delete=_ACTIONS.get(deleted, ""),
                on_update=_ACTIONS.get(updated, ""),
            )
            for schema, table, target_schema, target, deleted, updated, columns, target_columns in ask(
                _REFERENCES
            )
        ),
        loose=_columns(ask(_LOOSE)),
        policies=tuple((table_name(schema, table), text or "") for schema, table, text in ask(_POLICIES)),
        builtin=frozenset(name.lower() for (name,) in ask(_BUILTIN)),
        dialect="postgresql",
    )


def _root(name: str, parents: dict[str, str]) -> str | None:
    root, steps = parents.get(name), 0
    while root in parents and steps < len(parents):
        root, steps = parents[root], steps + 1
    return root


def _columns(rows: Rows) -> frozenset[tuple[str, str]]:
    return frozenset((table_name(schema, table), column.lower()) for schema, table, column in rows)


_SQLITE = "SELECT type, name, tbl_name, sql FROM {}.sqlite_master WHERE type IN ('table', 'view', 'trigger')"
_VIRTUAL = re.compile(r"\s*create\s+virtual\s+table\b.*?\busing\s+[\"\[`]?(\w+)", re.IGNORECASE | re.DOTALL)
#: Modules of virtual tables that hold what was written into them, or into the table they name.
_INDEXES = frozenset({"fts3", "fts4", "fts5", "rtree", "rtree_i32", "geopoly"})
_SQLITE_REFERENCES = """
SELECT m.name, k.id, k."from", k."table",
  COALESCE(k."to", (SELECT p.name FROM pragma_table_info(k."table") p WHERE p.pk = k.seq + 1)),
  k.on_delete, k.on_update
FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) k WHERE m.type = 'table' ORDER BY m.name, k.id, k.seq
"""


def _of_sqlite(ask: Ask) -> Catalogue:
    schemas = [str(row[1]) for row in ask("PRAGMA database_list")]
    found = [
        (schema, *row)
        for schema in schemas
        for row in ask(_SQLITE.format('"' + schema.replace('"', '""') + '"'))
    ]
    return Catalogue(
        relations=tuple(
            _sqlite_relation(schema, kind, name, sql or "")
            for schema, kind, name, _, sql in found
            if kind != "trigger"
        ),
        triggers=tuple(
            Trigger(_sqlite_name(schema, table), sql or "")
            for schema, kind, _, table, sql in found
            if kind == "trigger"
        ),
        references=tuple(_sqlite_references(ask(_SQLITE_REFERENCES))),
        dialect="sqlite",
    )


def _sqlite_name(schema: str, name: str) -> str:
    """A temporary relation hides whatever has its name in any file."""
    return table_name("" if schema == "temp" else schema, name)


def _sqlite_relation(schema: str, kind: str, name: str, sql: str) -> Relation:
    virtual = _VIRTUAL.match(sql)
    indexed = virtual is not None and virtual[1].lower() in _INDEXES
    return Relation(
        _sqlite_name(schema, name),
        sql if kind == "view" or indexed else None,
        elsewhere=schema == "temp" or (virtual is not None and not indexed),
        indexed=indexed,
    )


def _sqlite_references(rows: Rows) -> Iterable[Reference]:
    keys: dict[tuple[str, int], list[Sequence[Any]]] = {}
    for row in rows:
        keys.setdefault((row[0], row[1]), []).append(row)
    for (table, _), parts in keys.items():
        _, _, _, target, _, deleted, updated = parts[0]
        yield Reference(
            table=table.lower(),
            columns=tuple(str(part[2]).lower() for part in parts),
            target=target.lower(),
            target_columns=tuple(str(part[4] or "").lower() for part in parts),
            on_delete=deleted.upper(),
            on_update=updated.upper(),
        )
