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
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cachewright.spec.identity import carried

_HASHES = 2.0**64
#: A key with more than this share of its route's budget is thinned in time.
_HOT = 0.1
_STRETCHES = 400
_LEAST_IN_STRETCH = 25
_PRINCIPALS = ("claim.sub",)
_READS = frozenset({"GET", "HEAD"})
#: Keys whose numbers are remembered while a recording is read.
_REMEMBERED = 500_000

Whole = npt.NDArray[np.int64]
Real = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _Readers:
    """The requests that may be left out, as columns: by request, and by key.

    `place` is where the key of a request stands among `keys`, `counts` (how often it is asked for) and `routes`.
    """

    ids: Whole
    started: Whole
    place: Whole
    keys: npt.NDArray[np.uint64]
    counts: Whole
    routes: Whole


def thin(connection: sqlite3.Connection, most: int) -> Mapping[int, float]:
    """Let `connection` show about `most` reading requests of a trace, with all that wrote.

    The result says for how many requests each of them stands; it is empty, and nothing is left out, where the
    trace holds no more than that.
    """
    (requests,) = connection.execute("SELECT count(*) FROM request").fetchone()
    if requests <= most:
        return {}
    writers = _writers(connection)
    readers = _readers(connection, writers)
    weights = _weights(readers, most)
    if np.all(weights > 0):
        return {}
    kept = np.flatnonzero(weights)
    found = dict(zip(readers.ids[kept].tolist(), weights[kept].tolist(), strict=True))
    _show(connection, found, writers)
    return found


def _readers(connection: sqlite3.Connection, writers: frozenset[int]) -> _Readers:
    """Read the recording once."""
    private = _private(connection)
    parts = _KeyParts(connection)
    ids, routes, started, keys = array("q"), array("q"), array("q"), array("Q")
    known: dict[tuple[int, int, str, str | None], int] = {}
    for number, route, method, began, names, values, credential in connection.execute(
        "SELECT id, ifnull(route, 0), method, started, value_names, value_ids, credential FROM request"
    ):
        if method not in _READS or number in writers:
            continue
        same = route, names, values, credential if route in private else None
        key = known.get(same)
        if key is None:
            if len(known) >= _REMEMBERED:
                known.clear()
            key = known[same] = parts.key(*same)
        ids.append(number)
        routes.append(route)
        started.append(began)
        keys.append(key)
    distinct, first, place, counts = np.unique(
        np.asarray(keys), return_index=True, return_inverse=True, return_counts=True
    )
    return _Readers(
        ids=np.asarray(ids),
        started=np.asarray(started),
        place=place,
        keys=distinct,
        counts=counts,
        routes=np.asarray(routes)[first],
    )


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


def _weights(readers: _Readers, most: int) -> Real:
    """For how many requests each one stands, 0 for those that are left out."""
    weights = np.zeros(len(readers.ids))
    of_key = np.zeros(len(readers.keys))
    for route, budget in _budgets(readers, most).items():
        here = np.flatnonzero(readers.routes == route)
        counts = readers.counts[here]
        slope, hot, every = _chance(counts, budget)
        chances = np.minimum(1.0, slope * counts)
        drawn = (counts <= hot) & (readers.keys[here] < chances * _HASHES)
        of_key[here[drawn]] = 1 / chances[drawn]
        for key in here[counts > hot].tolist():
            found = np.flatnonzero(readers.place == key)
            weights[found] = _in_stretches(readers, found, int(readers.keys[key]), every)
    cold = of_key[readers.place]
    return np.where(cold > 0, cold, weights)


def _budgets(readers: _Readers, most: int) -> dict[int, float]:
    """How many requests of each route may be kept: all of the rare routes, an equal share of the others."""
    left, budgets = float(most), {}
    totals: dict[int, int] = defaultdict(int)
    for route in np.unique(readers.routes).tolist():
        totals[route] = int(readers.counts[readers.routes == route].sum())
    waiting = sorted(totals, key=lambda route: (totals[route], route))
    for number, route in enumerate(waiting):
        budgets[route] = min(float(totals[route]), left / (len(waiting) - number))
        left -= budgets[route]
    return budgets


def _in_stretches(readers: _Readers, found: Whole, key: int, every: int) -> Real:
    """What the requests of a hot key stand for, of which one stretch of time in `every` is kept.

    Stretches are so long that the key is asked for often within one.
    """
    begin, end = int(readers.started.min()), int(readers.started.max())
    pieces = min(_STRETCHES, max(2 * every, len(found) // _LEAST_IN_STRETCH))
    stretch = (readers.started[found] - begin) * pieces // max(1, end - begin)
    kept = (stretch + key % every) % every == 0
    order = np.lexsort((readers.ids[found], readers.started[found]))
    in_time = order[kept[order]]
    first = np.zeros(len(found), dtype=bool)
    if every > 1:
        first[in_time[np.flatnonzero(np.diff(stretch[in_time], prepend=-1))]] = True
    inner = int(kept.sum()) - int(first.sum())
    if not inner:
        return np.where(kept, len(found) / max(1, int(first.sum())), 0.0)
    return np.where(first, 1.0, np.where(kept, (len(found) - int(first.sum())) / inner, 0.0))


def _chance(counts: Whole, budget: float) -> tuple[float, float, int]:
    """The chance of a key for each of its requests; from which count on a key is hot, and its stretches."""
    total = int(counts.sum())
    if budget >= total:
        return 1.0, float(total), 1
    hot = max(1.0, _HOT * budget)
    heavy = int(counts[counts > hot].sum())
    every = max(1, -int(-2 * heavy // budget)) if heavy else 1
    rest = counts[counts <= hot]
    room = budget - heavy / every
    low, high = 0.0, 1.0
    for _ in range(60):
        slope = (low + high) / 2
        if float((rest * np.minimum(1.0, slope * rest)).sum()) > room:
            high = slope
        else:
            low = slope
    return low, hot, every


def _show(connection: sqlite3.Connection, weights: Mapping[int, float], writers: frozenset[int]) -> None:
    """Let the rows of everything else disappear behind views of the same names."""
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("CREATE TEMP TABLE kept (id integer PRIMARY KEY)")
    connection.executemany("INSERT INTO kept VALUES (?)", ((number,) for number in weights))
    connection.executemany("INSERT OR IGNORE INTO kept VALUES (?)", ((number,) for number in writers))
    connection.execute(
        "INSERT OR IGNORE INTO kept SELECT id FROM main.request WHERE method NOT IN ('GET', 'HEAD')"
    )
    connection.execute("CREATE TEMP VIEW request AS SELECT * FROM main.request WHERE id IN kept")
    for table in ("statement", "txn"):
        connection.execute(
            f"CREATE TEMP VIEW {table} AS SELECT * FROM main.{table} WHERE request IS NULL OR request IN kept"  # noqa: S608 - our own names
        )
