"""Old and new values of the rows a flush writes, in the form the database was given them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from sqlalchemy import Column, Table, inspect
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import InstanceState, attributes
from sqlalchemy.orm.base import PASSIVE_NO_INITIALIZE
from sqlalchemy.sql import ClauseElement

from cachewright.capture.events import UNKNOWN, Action, RowImage
from cachewright.sql.names import table_name


def images_of_flush(written: Iterable[tuple[str, Any]], dialect: Dialect) -> list[RowImage]:
    """The images of these objects, one for each table they are mapped to.

    To be called in `after_flush`, while attribute histories still tell old from new.
    """
    return [
        image
        for action, item in written
        for image in _images(cast("Action", action), cast("InstanceState[Any]", inspect(item)), dialect)
    ]


def _images(action: Action, state: InstanceState[Any], dialect: Dialect) -> Iterable[RowImage]:
    mapper = state.mapper
    for table in mapper.tables:
        if not isinstance(table, Table):
            continue
        old: dict[str, Any] = {}
        new: dict[str, Any] = {}
        changed: set[str] = set()
        for column in table.columns:
            before, after = _column(action, state, column)
            name = column.name.lower()
            old[name] = _bound(before, column, dialect)
            new[name] = _bound(after, column, dialect)
            if before is UNKNOWN or after is UNKNOWN or before is not after:
                changed.add(name)
        yield RowImage(
            table=table_name(table.schema, table.name),
            action=action,
            old=None if action == "insert" else old,
            new=None if action == "delete" else new,
            changed=frozenset(changed if action == "update" else old),
        )


def _column(action: Action, state: InstanceState[Any], column: Column[Any]) -> tuple[Any, Any]:
    """(old, new) of one column; the same object where a flush left it alone."""
    try:
        key = state.mapper.get_property_by_column(column).key
    except Exception:  # noqa: BLE001 - a column that is not mapped raises one of several errors
        return UNKNOWN, UNKNOWN
    history = attributes.get_state_history(state, key, PASSIVE_NO_INITIALIZE)
    if action == "insert":
        value = history.added[0] if history.added else _unset(state, key, column)
        return value, value
    if not history.has_changes() and _set_by_flush(state, column):
        return UNKNOWN, UNKNOWN
    unchanged = history.unchanged[0] if history.unchanged else UNKNOWN
    old = history.deleted[0] if history.deleted else unchanged
    new = history.added[0] if history.added else unchanged
    if history.added and not history.deleted and not history.unchanged:
        old = UNKNOWN
    return old, new


def _set_by_flush(state: InstanceState[Any], column: Column[Any]) -> bool:
    """Whether an update may have given the column a value that no history tells of."""
    return (
        column.onupdate is not None
        or column.server_onupdate is not None
        or column.computed is not None
        or column is state.mapper.version_id_col
    )


def _unset(state: InstanceState[Any], key: str, column: Column[Any]) -> Any:
    """What an insert wrote to a column the object was given no value for."""
    if key in state.dict:
        return state.dict[key]
    generated = column.server_default is not None or column.default is not None or column.primary_key
    return UNKNOWN if generated or column.computed is not None or column.identity is not None else None


def _bound(value: Any, column: Column[Any], dialect: Dialect) -> Any:
    """`value` as the driver would be given it: what SQL compares is that, not the Python object."""
    if value is UNKNOWN or isinstance(value, ClauseElement):
        return UNKNOWN
    if value is None:
        return None
    processor = column.type.dialect_impl(dialect).bind_processor(dialect)
    if processor is None:
        return value
    try:
        return processor(value)
    except Exception:  # noqa: BLE001 - a type's own code; what it cannot bind was not written either
        return UNKNOWN
