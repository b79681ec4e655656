"""The schema of a trace's file, and how its cells that hold more than one thing are written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from cachewright.evidence.trace import ForeignKey, SchemaSeen

#: Marks the file as a trace (`PRAGMA application_id`): "cwtr".
APPLICATION_ID = 0x63777472

SCHEMA = """
CREATE TABLE meta (
    -- What is said once: application, recorded_at (UTC), declared_identity and schema (JSON), dropped (events),
    -- sampled (share of the keys), left_out (requests that sampling left out), clock (of the host, since it
    -- booted), wall_at_zero (wall time in seconds when that clock stood at zero), key_check (equal where hashes
    -- were made with one key), parts (JSON list of [recording, worker, part] that this file holds). Where it is no
    -- recording: source, and unknown (JSON list of what that could not tell: sql, binds, digests, reads, identity,
    -- durations, times; cells that would hold it mean nothing).
    name text PRIMARY KEY,
    value text NOT NULL
) WITHOUT ROWID;

CREATE TABLE route (
    -- A route of the application and one of its methods.
    id integer PRIMARY KEY,
    method text NOT NULL,
    template text NOT NULL,     -- the path as the outside writes it: /api/tasks/{task_id}
    endpoint text NOT NULL,     -- module and name of the function
    params text NOT NULL,       -- JSON list of [name, where, type, required]
    credentials text NOT NULL   -- JSON list of what its security schemes read: header:authorization
);

CREATE TABLE names (
    -- A list of names that many rows share: of values, of reads, of columns.
    id integer PRIMARY KEY,
    list text NOT NULL          -- JSON
);

CREATE TABLE value (
    -- A value that many rows share. Hashes are keyed; the key is not kept.
    id integer PRIMARY KEY,
    kind text NOT NULL,         -- n null, b boolean, i integer, f fraction, s text, d time, u UUID, x other
    exact text NOT NULL,        -- equal for equal texts
    loose text                  -- equal for values that meet in a tag; null where there is no such form
);

CREATE TABLE clear (
    -- Values of parameters that may be shown.
    name text NOT NULL,         -- query.status
    exact text NOT NULL,        -- `value.exact`
    text text NOT NULL,
    PRIMARY KEY (name, exact)
) WITHOUT ROWID;

CREATE TABLE request (
    id integer PRIMARY KEY,
    route integer,              -- `route.id`; null where none was reached
    method text NOT NULL,
    started integer NOT NULL,   -- monotonic ns, as all times here
    entered integer,            -- the route was reached: ns after `started`, null where it was not
    answered integer NOT NULL,  -- the last byte was handed over: ns after `started`
    returned integer NOT NULL,  -- the application was done: ns after `started`
    status integer NOT NULL,
    size integer NOT NULL,      -- bytes of the body
    digest text NOT NULL,       -- of status, content type and body
    credential text,            -- keyed hash of all that may say who asked; null for nothing
    credential_expires real,    -- as its token says: ns of the same clock
    value_names integer NOT NULL,   -- `names.id`
    value_ids text NOT NULL,        -- JSON list of `value.id`, in the order of the names
    reads integer NOT NULL,         -- `names.id`: what the route's code read of the request
    outer_reads integer NOT NULL,   -- `names.id`: what was read before
    cache_control integer NOT NULL, -- `names.id`: directives of the response
    flags integer NOT NULL,     -- 1 Set-Cookie, 2 streamed, 4 background task, 8 raw connection
    worker integer NOT NULL,
    carrier text,               -- where the token stood whose claims are among the values: cookie:session
    ignored integer NOT NULL    -- `names.id`: members of a JSON body that the digest leaves out
);

CREATE TABLE sql_text (
    -- A distinct SQL text; the contents of its literals are hashes.
    id integer PRIMARY KEY,
    sql text NOT NULL,
    dialect text NOT NULL,      -- as SQLAlchemy names it
    paramstyle text NOT NULL
);

CREATE TABLE statement (
    -- One execution.
    id integer PRIMARY KEY,
    request integer,            -- `request.id`; null outside of requests
    txn integer NOT NULL,       -- `txn.id`; 0 under autocommit
    sql_text integer NOT NULL,  -- `sql_text.id`
    started integer NOT NULL,
    ended integer NOT NULL,     -- ns after `started`
    rows integer NOT NULL,      -- as the driver counted them
    many integer NOT NULL,      -- sets of parameters
    flags integer NOT NULL,     -- 1 emitted by a unit of work, 2 failed
    bind_names integer,         -- `names.id`; null where binds go by position
    bind_ids text NOT NULL,     -- JSON list of `value.id`, of the first set
    more_ids text               -- JSON list of such lists, of the other sets; null where none were kept
);

CREATE TABLE image (
    -- A row that a unit of work wrote.
    id integer PRIMARY KEY,
    txn integer NOT NULL,       -- `txn.id`
    table_name text NOT NULL,
    action text NOT NULL,       -- insert, update, delete
    columns integer NOT NULL,   -- `names.id`
    old text,                   -- JSON list of `value.id` (null: not seen) in the order of the columns
    new text,
    changed integer NOT NULL    -- `names.id`
);

CREATE TABLE txn (
    -- The end of a transaction.
    id integer PRIMARY KEY,
    request integer,            -- `request.id`
    began integer NOT NULL,
    ending integer NOT NULL,    -- commit or rollback was sent: ns after `began`
    ended integer NOT NULL,     -- and had returned: ns after `began`
    committed integer NOT NULL
);

CREATE TABLE volatile (
    -- A member of JSON answers that digests leave out.
    route integer NOT NULL,     -- `route.id`; 0 where the operator declared it
    member text NOT NULL,       -- its name
    pairs integer NOT NULL,     -- identical requests a moment apart with no write between
    differed integer NOT NULL,  -- of these, how often it had another value
    PRIMARY KEY (route, member)
) WITHOUT ROWID;
"""

SET_COOKIE, STREAMED, BACKGROUND, ESCAPED = 1, 2, 4, 8
UNIT_OF_WORK, FAILED = 1, 2


def schema_to_json(schema: SchemaSeen) -> str:
    """The tables of an application as they stand in `meta`."""
    return json.dumps(
        {
            "tables": dict(schema.tables),
            "primary_keys": dict(schema.primary_keys),
            "foreign_keys": [
                [key.table, key.columns, key.target, key.target_columns, key.on_delete, key.on_update]
                for key in schema.foreign_keys
            ],
            "inexact_columns": sorted(schema.inexact_columns),
        }
    )


def union_of(schemas: Iterable[SchemaSeen]) -> SchemaSeen:
    """All tables of all; processes of one application may have declared some of them later than others."""
    tables: dict[str, tuple[str, ...]] = {}
    primary_keys: dict[str, tuple[str, ...]] = {}
    foreign_keys: dict[ForeignKey, None] = {}
    inexact: set[tuple[str, str]] = set()
    for schema in schemas:
        tables.update(schema.tables)
        primary_keys.update(schema.primary_keys)
        foreign_keys.update(dict.fromkeys(schema.foreign_keys))
        inexact |= schema.inexact_columns
    return SchemaSeen(tables, primary_keys, tuple(foreign_keys), frozenset(inexact))


def schema_from_json(text: str) -> SchemaSeen:
    """The inverse of `schema_to_json`."""
    found: Mapping[str, Any] = json.loads(text)
    return SchemaSeen(
        tables={name: tuple(columns) for name, columns in found["tables"].items()},
        primary_keys={name: tuple(columns) for name, columns in found["primary_keys"].items()},
        foreign_keys=tuple(
            ForeignKey(table, tuple(columns), target, tuple(target_columns), *actions)
            for table, columns, target, target_columns, *actions in found["foreign_keys"]
        ),
        inexact_columns=frozenset((table, column) for table, column in found["inexact_columns"]),
    )
