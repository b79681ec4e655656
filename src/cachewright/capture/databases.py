"""The catalogues of the databases that engines lead to, read before their connections are used."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.engine import Dialect

from cachewright.capture.catalogue import read_catalogue
from cachewright.capture.context import Clock
from cachewright.sql.catalogue import Relation, Surmise
from cachewright.sql.names import table_name

_log = logging.getLogger("cachewright")

#: A catalogue that somebody else changed is noticed after this time (ns), with the next connection.
_AGAIN = 60 * 1_000_000_000
_TEMPORARY = re.compile(
    r"\bcreate\s+(?:or\s+replace\s+)?(?:(?:local|global)\s+)?temp(?:orary)?\s+(?:recursive\s+)?(?:table|view)\s+"
    r"(?:if\s+not\s+exists\s+)?([^\s(;]+)",
    re.IGNORECASE,
)


@dataclass(slots=True)
class _Known:
    dialect: Dialect  # kept alive: its identity is the key
    surmise: Surmise | None
    read: int
    reading: bool = False


class Databases:
    """What is known of each database; an engine is told by its dialect, which is its own."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[int, _Known] = {}
        self._temporary: frozenset[str] = frozenset()

    def of(self, dialect: Dialect) -> Surmise | None:
        """What the catalogue says, as far as it was read."""
        known = self._known.get(id(dialect))
        return None if known is None else known.surmise

    def is_blind(self, dialect: Dialect) -> bool:
        """Whether somebody is just reading a catalogue of which nothing is known yet, or that has changed."""
        known = self._known.get(id(dialect))
        return known is not None and known.reading

    def forget(self) -> None:
        """A definition changed: catalogues are read again with the next connections."""
        for known in self._known.values():
            known.read = -_AGAIN

    def note_temporary(self, sql: str) -> None:
        """A temporary table or view is its connection's own, and may hide another: its name tells nothing any more."""
        self._temporary |= {
            table_name("", name.rpartition(".")[2].strip('"`[]')) for name in _TEMPORARY.findall(sql)
        }

    def learn(self, dialect: Dialect, connection: Callable[[], Any]) -> None:
        """Read the catalogue if it is time, on a connection of the pool that is in no transaction."""
        now = self._clock()
        known = self._known.get(id(dialect))
        if known is not None and now - known.read < _AGAIN:
            return
        before = None if known is None else known.surmise
        news = known is None or known.read == -_AGAIN
        known = self._known[id(dialect)] = _Known(dialect, before, now, reading=news)
        lent = connection()
        try:
            catalogue = read_catalogue(dialect.name, lambda query: _asked(lent, query))
            if catalogue is not None and self._temporary:
                hidden = tuple(Relation(name, elsewhere=True) for name in sorted(self._temporary))
                catalogue = replace(catalogue, relations=(*catalogue.relations, *hidden))
            if catalogue is not None and (before is None or catalogue != before.catalogue):
                known.surmise = Surmise(catalogue)
        except Exception:  # noqa: BLE001 - a database that keeps its catalogue to itself
            _log.warning("the catalogue of the database could not be read", exc_info=True)
            known.surmise = None
        finally:
            known.reading = False
            dialect.do_rollback(lent)


def _asked(connection: Any, query: str) -> list[Any]:
    cursor = connection.cursor()
    try:
        cursor.execute(query)
        return list(cursor.fetchall())
    finally:
        cursor.close()
