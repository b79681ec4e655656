"""Fewer requests of a large recording, chosen so that shares of it can still be told.

Whole histories of some keys are kept, each key with a chance that grows with how often it is asked for, and
its requests stand for as many as that chance says (Poisson sampling, the Horvitz-Thompson estimator). So no
single key decides a figure: plain sampling of keys erred by 0.27 in hit rate where one page had a third of the
requests. Of keys that alone would fill the budget some stretches of time are kept; the first request of a
stretch counts for itself only, since what was kept before it is not known. Requests that may have written
are all kept: what they invalidate concerns everybody.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cachewright.spec.identity import carried

_HASHES = 2**64
#: A key with more than this share of its route's budget is thinned in time.
_HOT = 0.1
_STRETCHES = 400
_LEAST_IN_STRETCH = 25
_PRINCIPALS = ("claim.sub",)
_READS = frozenset({"GET", "HEAD"})


@dataclass(slots=True)
class _Keys:
    """The key of every request that may be left out, and how often each key is asked for, by route."""

    ids: array[int] = field(default_factory=lambda: array("q"))
    routes: array[int] = field(default_factory=lambda: array("q"))
    started: array[int] = field(default_factory=lambda: array("q"))
    keys: array[int] = field(default_factory=lambda: array("Q"))
    counts: dict[int, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))


def thin(connection: sqlite3.Connection, most: int) -> Mapping[int, float]:
    """Let `connection` show about `most` reading requests of a trace, with all that wrote.

    The result says for how many requests each of them stands; it is empty, and nothing is left out, where the
    trace holds no more than that.
    """
    (requests,) = connection.execute("SELECT count(*) FROM request").fetchone()
    if requests <= most:
        return {}
    keys = _keys_of(connection)
    weights = dict(_kept(keys, _budgets(keys, most)))
    if len(weights) == len(keys.ids):
        return {}
    _show(connection, weights)
    return weights


def _keys_of(connection: sqlite3.Connection) -> _Keys:
    """Read the recording once."""
    writers = _writers(connection)
    private = _private(connection)
    parts = _KeyParts(connection)
    found = _Keys()
    for number, route, method, started, names, ids, credential in connection.execute(
        "SELECT id, route, method, started, value_names, value_ids, credential FROM request ORDER BY started, id"
    ):
        if number in writers or method not in _READS:
            continue
        key = parts.key(route or 0, names, ids, credential if route in private else None)
        found.ids.append(number)
        found.routes.append(route or 0)
        found.started.append(started)
        found.keys.append(key)
        found.counts[route or 0][key] += 1
    return found


def _writers(connection: sqlite3.Connection) -> frozenset[int]:
    """Requests that ran something else than a SELECT, or wrote rows, or whose SQL nobody saw."""
    return frozenset(
        number
        for (number,) in connection.execute(
            "SELECT request FROM statement JOIN sql_text ON sql_text.id = sql_text"
            " WHERE request IS NOT NULL AND upper(substr(ltrim(sql), 1, 6)) <> 'SELECT'"
            " UNION SELECT request FROM txn WHERE id IN (SELECT txn FROM image) AND request IS NOT NULL"
            " UNION SELECT id FROM request WHERE flags & 8"
        )
    )


def _private(connection: sqlite3.Connection) -> frozenset[int]:
    """Routes whose answers may depend on who asks."""
    names = {number: json.loads(text) for number, text in connection.execute("SELECT id, list FROM names")}
    schemes = {
        number: tuple(json.loads(text))
        for number, text in connection.execute("SELECT id, credentials FROM route")
    }
    seen = connection.execute("SELECT DISTINCT route, reads FROM request WHERE route IS NOT NULL")
    return frozenset(
        route for route, reads in seen if schemes.get(route) or carried(names[reads], schemes.get(route, ()))
    )


class _KeyParts:
    """The values of a request that make its key: those of path and query, and who asked."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._first: dict[str, int] = {}
        self._same = {
            number: first
            for number, exact in connection.execute("SELECT id, exact FROM value ORDER BY id")
            if (first := self._first.setdefault(exact, number)) != number
        }
        self._first.clear()
        self._places: dict[int, tuple[tuple[int, ...], int | None]] = {}
        for number, text in connection.execute("SELECT id, list FROM names"):
            listed = json.loads(text)
            named = sorted(name for name in listed if str(name).startswith(("path.", "query.")))
            principal = next((listed.index(name) for name in _PRINCIPALS if name in listed), None)
            self._places[number] = tuple(listed.index(name) for name in named), principal

    def key(self, route: int, names: int, ids: str, credential: str | None) -> int:
        """The key as a number that is the same whenever this file is read."""
        numbers = ids[1:-1].split(",")
        places, principal = self._places[names]
        parts = [self._one(numbers[place]) for place in places]
        if credential is not None:
            parts.append(credential if principal is None else self._one(numbers[principal]))
        text = f"{route}\n{parts}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")

    def _one(self, number: str) -> str:
        if not self._same or not number.isdecimal():
            return number
        return str(self._same.get(int(number), number))


def _budgets(keys: _Keys, most: int) -> dict[int, float]:
    """How many requests of each route may be kept: all of the rare routes, an equal share of the others."""
    left, budgets = float(most), {}
    waiting = sorted(keys.counts, key=lambda route: (keys.counts[route].total(), route))
    for number, route in enumerate(waiting):
        budgets[route] = min(float(keys.counts[route].total()), left / (len(waiting) - number))
        left -= budgets[route]
    return budgets


def _kept(keys: _Keys, budgets: Mapping[int, float]) -> Iterator[tuple[int, float]]:
    """The requests that are kept, with how many each stands for."""
    chances = {route: _chance(keys.counts[route], budget) for route, budget in budgets.items()}
    stretches = _Stretches(min(keys.started, default=0), max(keys.started, default=0))
    first: dict[int, bool] = {}
    of_hot: dict[int, Counter[bool]] = defaultdict(Counter)
    for number, route, started, key in zip(keys.ids, keys.routes, keys.started, keys.keys, strict=True):
        count, (_, hot, every) = keys.counts[route][key], chances[route]
        if count > hot and (begins := stretches.begins(key, count, started, every)) is not None:
            first[number] = begins
            of_hot[key][begins] += 1
    for number, route, key in zip(keys.ids, keys.routes, keys.keys, strict=True):
        count, (slope, hot, _) = keys.counts[route][key], chances[route]
        chance = min(1.0, slope * count)
        if number in first:
            inner = of_hot[key][False]
            yield (
                number,
                1.0
                if first[number] and inner
                else (count - of_hot[key][True] * bool(inner)) / (inner or of_hot[key][True]),
            )
        elif count <= hot and key < chance * _HASHES:
            yield number, 1 / chance


class _Stretches:
    """Stretches of time, for each hot key so long that it is asked for often within one."""

    def __init__(self, begin: int, end: int) -> None:
        self._begin, self._span = begin, max(1, end - begin)
        self._last: dict[int, int] = {}

    def begins(self, key: int, count: int, started: int, every: int) -> bool | None:
        """Whether this request is the first of a stretch that is kept; None where its stretch is not."""
        pieces = min(_STRETCHES, max(2 * every, count // _LEAST_IN_STRETCH))
        stretch = (started - self._begin) * pieces // self._span
        if (stretch + key) % every:
            return None
        first = every > 1 and self._last.get(key) != stretch
        self._last[key] = stretch
        return first


def _chance(counts: Counter[int], budget: float) -> tuple[float, float, int]:
    """The chance of a key for each of its requests; from which count on a key is hot, and its stretches."""
    total = counts.total()
    if budget >= total:
        return 1.0, float(total), 1
    hot = max(1.0, _HOT * budget)
    sizes = Counter(counts.values())
    heavy = sum(size * keys for size, keys in sizes.items() if size > hot)
    every = max(1, -int(-2 * heavy // budget)) if heavy else 1
    rest = {size: keys for size, keys in sizes.items() if size <= hot}
    room = budget - heavy / every
    low, high = 0.0, 1.0
    for _ in range(60):
        slope = (low + high) / 2
        if sum(size * keys * min(1.0, slope * size) for size, keys in rest.items()) > room:
            high = slope
        else:
            low = slope
    return low, hot, every


def _show(connection: sqlite3.Connection, weights: Mapping[int, float]) -> None:
    """Let the rows of everything else disappear behind views of the same names."""
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("CREATE TEMP TABLE kept (id integer PRIMARY KEY)")
    connection.executemany("INSERT INTO kept VALUES (?)", ((number,) for number in weights))
    writers = _writers(connection)
    connection.executemany("INSERT OR IGNORE INTO kept VALUES (?)", ((number,) for number in writers))
    connection.execute(
        "INSERT OR IGNORE INTO kept SELECT id FROM main.request WHERE method NOT IN ('GET', 'HEAD')"
    )
    connection.execute("CREATE TEMP VIEW request AS SELECT * FROM main.request WHERE id IN kept")
    for table in ("statement", "txn"):
        connection.execute(
            f"CREATE TEMP VIEW {table} AS SELECT * FROM main.{table} WHERE request IS NULL OR request IN kept"  # noqa: S608 - our own names
        )
