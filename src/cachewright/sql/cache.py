"""Facts by statement text: each text is looked up in a microsecond and parsed once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from hashlib import blake2b
from threading import Lock
from typing import Generic, TypeVar

from cachewright.sql.facts import UNKNOWN, StatementFacts
from cachewright.sql.names import Schema

SchemaProvider = Callable[[], Mapping[str, Collection[str]]]

LONG_TEXT = 8192
"""Characters above which a text is remembered by its digest."""

_K = TypeVar("_K")
_V = TypeVar("_V")


class _Generations(Generic[_K, _V]):
    """A bounded map that forgets what was not used lately.

    Two generations; the older one is dropped when the younger is full. Reads take no lock: a lost
    promotion costs one more parse, never a wrong answer.
    """

    def __init__(self, limit: int) -> None:
        self._half = max(1, limit // 2)
        self._young: dict[_K, _V] = {}
        self._old: dict[_K, _V] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: _K) -> _V | None:
        found = self._young.get(key)
        if found is None and (found := self._old.get(key)) is not None:
            self.put(key, found)
        return found

    def put(self, key: _K, value: _V) -> None:
        with self._lock:
            self._old.pop(key, None)
            if len(self._young) >= self._half and key not in self._young:
                self._old, self._young = self._young, {}
            self._young[key] = value

    def clear(self) -> None:
        with self._lock:
            self._young, self._old = {}, {}


def _digest(sql: str) -> str:
    return blake2b(sql.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


class Facts:
    """The facts of statements, remembered by their text.

    `schema_provider` gives the declared tables and their columns, and is asked at each parse; when it
    knows other tables than before, what was remembered is forgotten, for names may resolve otherwise.
    `limit` bounds the number of texts (5000 by default). Texts that differ only in comments and white
    space are parsed once. Safe for use from several threads.
    """

    def __init__(self, schema_provider: SchemaProvider, limit: int = 5000) -> None:
        self._provider = schema_provider
        self._by_text: _Generations[tuple[str, str, str], StatementFacts] = _Generations(limit)
        self._by_shape: _Generations[tuple[object, ...], StatementFacts] = _Generations(limit)
        self._tables: frozenset[str] = frozenset()

    def __len__(self) -> int:
        """Count the texts remembered."""
        return len(self._by_text)

    def of(self, sql: str, dialect: str, paramstyle: str) -> StatementFacts:
        """Give the facts of one text; `dialect` as SQLAlchemy names it, `paramstyle` as the DBAPI does.

        Never raises: what is not understood is `unknown`.
        """
        key = (sql if len(sql) <= LONG_TEXT else _digest(sql), dialect, paramstyle)
        found = self._by_text.get(key)
        if found is None:
            found = self._parse(sql, dialect, paramstyle)
            self._by_text.put(key, found)
        return found

    def _parse(self, sql: str, dialect: str, paramstyle: str) -> StatementFacts:
        from cachewright.sql.parse import parse_script
        from cachewright.sql.script import script

        try:
            declared = self._provider()
            self._renew(frozenset(declared))
            text = script(sql, paramstyle, dialect=dialect)
            shape = (text, dialect, paramstyle)
            found = self._by_shape.get(shape)
            if found is None:
                found = parse_script(text, dialect, paramstyle, Schema(declared))
                if len(sql) <= LONG_TEXT:
                    self._by_shape.put(shape, found)
        except Exception:  # noqa: BLE001 - an application's statement must run whatever we make of it
            return UNKNOWN
        return found

    def _renew(self, tables: frozenset[str]) -> None:
        if tables != self._tables:
            self._tables = tables
            self._by_text.clear()
            self._by_shape.clear()
