"""The four strategies, as values: how writes of a resource reach the database and the cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cachewright.errors import UsageError


@dataclass(frozen=True, slots=True)
class CacheThrough:
    """Reads load on a miss. A write stores, and once that has committed the entry is loaded anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheAside:
    """Reads load on a miss. A write stores, then invalidates.

    `populate_on_write` loads the entry anew after a write: the application writes to cache and database (C7).
    """

    populate_on_write: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteThrough:
    """A write stores, then puts its value into the cache, unless a newer one was committed meanwhile (C9).

    Which is newer says the version of what was stored (`Versioning`), or a counter (`counted`): then `store` is
    called with `(key, value, version)` and must refuse a version that is not higher than the row's by returning
    False. Without either nobody knows, and the entry is loaded anew from the database.
    """

    counted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteBack:
    """A write is kept in a journal, returns, and is stored in the background (C41).

    `journal` is a directory on a local disk, or the URL of a Redis that is persistent and evicts nothing.
    Writes are stored once one has waited `interval` seconds or `batch` keys wait, `at_once` at a time. A store
    that fails is tried again after `first_retry` seconds, up to `longest_retry`, until it succeeds. At most
    `limit` keys wait; a write beyond that is held up for `patience` seconds, then refused. `aclose` takes up to
    `drain` seconds to store what waits; the rest stays in the journal for the next process.
    """

    journal: Path | str
    batch: int = 100
    interval: float = 1.0
    at_once: int = 8
    limit: int = 10_000
    patience: float = 5.0
    first_retry: float = 0.1
    longest_retry: float = 30.0
    drain: float = 10.0

    def __post_init__(self) -> None:
        counts = {"batch": self.batch, "at_once": self.at_once, "limit": self.limit}
        times = {"first_retry": self.first_retry, "longest_retry": self.longest_retry}
        for name, figure in {**counts, **times}.items():
            if figure <= 0:
                raise UsageError(f"{name} of a write-back must be more than 0, not {figure}")


Plan = CacheThrough | CacheAside | WriteThrough | WriteBack
PlanName = Literal["cache_through", "cache_aside", "write_through"]


def plan_of(plan: Plan | str) -> Plan:
    """The strategy of that name, as a specification writes it. Raises `UsageError`."""
    match plan:
        case CacheThrough() | CacheAside() | WriteThrough() | WriteBack():
            return plan
        case "cache_through":
            return CacheThrough()
        case "cache_aside":
            return CacheAside()
        case "write_through":
            return WriteThrough()
        case "write_back":
            raise UsageError(
                "write_back needs to be told where accepted writes are kept until they are stored",
                hint="give strategy=WriteBack(journal=…), a directory on a local disk or a persistent Redis",
            )
        case _:
            raise UsageError(
                f"there is no strategy {plan!r}",
                hint="there are cache_through, cache_aside, write_through and write_back",
            )
