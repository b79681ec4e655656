"""What a driver's own connection says about its transaction, whatever SQLAlchemy believes.

A driver may commit each statement by itself (`autocommit` in `connect_args`, SQLite's `isolation_level=None`),
and a transaction may begin or end in plain text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_IDLE = 0  # PQTRANS_IDLE of libpq
_IN_TRANSACTION = 1  # SERVER_STATUS_IN_TRANS of MySQL
_READS = re.compile(r"\s*(?:select|values|explain|pragma)\b", re.IGNORECASE)


def in_transaction(connection: Any, sql: str) -> bool | None:
    """Whether a transaction is open on a DBAPI connection after it ran `sql`; None where it does not tell."""
    driver = getattr(connection, "driver_connection", None) or connection
    try:
        return _told_by(driver, sql)
    except Exception:  # noqa: BLE001 - a connection that was lost, or a driver nobody has heard of
        return None


def _told_by(driver: Any, sql: str) -> bool | None:
    if callable(asked := getattr(driver, "is_in_transaction", None)):  # asyncpg
        return bool(asked())
    if isinstance(status := getattr(getattr(driver, "info", None), "transaction_status", None), int):
        return status != _IDLE  # psycopg, psycopg2
    if isinstance(found := getattr(driver, "in_transaction", None), bool):  # sqlite3, aiosqlite
        # its reads are outside of any transaction until something is written
        return None if not found and _READS.match(sql) else found
    if isinstance(status := getattr(driver, "server_status", None), int):  # PyMySQL, aiomysql
        return bool(status & _IN_TRANSACTION)
    return False if getattr(driver, "autocommit", None) is True else None


class Lent:
    """A driver's connection in the hands of the application; `committed` is called after each of its commits."""

    __slots__ = ("_committed", "_connection")

    def __init__(self, connection: Any, committed: Callable[[], None]) -> None:
        object.__setattr__(self, "_connection", connection)
        object.__setattr__(self, "_committed", committed)

    def commit(self) -> None:
        """See DBAPI."""
        try:
            self._connection.commit()
        finally:  # one that raised may have happened
            self._committed()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._connection, name, value)
