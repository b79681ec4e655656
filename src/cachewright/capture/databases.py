"""The catalogues of the databases that engines lead to, read before their connections are used."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Dialect

from cachewright.capture.catalogue import read_catalogue
from cachewright.capture.context import Clock
from cachewright.sql.catalogue import Surmise

_log = logging.getLogger("cachewright")

#: A catalogue that somebody else changed is noticed after this time (ns), with the next connection.
_AGAIN = 60 * 1_000_000_000


@dataclass(slots=True)
class _Known:
    dialect: Dialect  # kept alive: its identity is the key
    surmise: Surmise | None
    read: int


class Databases:
    """What is known of each database; an engine is told by its dialect, which is its own."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[int, _Known] = {}

    def of(self, dialect: Dialect) -> Surmise | None:
        """What the catalogue says, as far as it was read."""
        known = self._known.get(id(dialect))
        return None if known is None else known.surmise

    def forget(self) -> None:
        """A definition changed: catalogues are read again with the next connections."""
        for known in self._known.values():
            known.read = -_AGAIN

    def learn(self, dialect: Dialect, connection: Callable[[], Any]) -> None:
        """Read the catalogue if it is time, on a connection of the pool that is in no transaction."""
        now = self._clock()
        known = self._known.get(id(dialect))
        if known is not None and now - known.read < _AGAIN:
            return
        before = None if known is None else known.surmise
        known = self._known[id(dialect)] = _Known(dialect, before, now)
        lent = connection()
        try:
            catalogue = read_catalogue(dialect.name, lambda query: _asked(lent, query))
            if catalogue is not None and (before is None or catalogue != before.catalogue):
                known.surmise = Surmise(catalogue)
        except Exception:  # noqa: BLE001 - a database that keeps its catalogue to itself
            _log.warning("the catalogue of the database could not be read", exc_info=True)
            known.surmise = None
        finally:
            dialect.do_rollback(lent)


def _asked(connection: Any, query: str) -> list[Any]:
    cursor = connection.cursor()
    try:
        cursor.execute(query)
        return list(cursor.fetchall())
    finally:
        cursor.close()
