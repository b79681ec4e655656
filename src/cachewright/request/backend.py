"""What documents say of a backend: endpoints, tables, targets for times, prohibitions. Plain values, all optional."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from cachewright.evidence.trace import ForeignKey

_PLACE = re.compile(r"(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) /[^\s?#]*")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an endpoint; `values` counts those it allows, None where they are not listed."""

    name: str
    where: str
    values: int | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint as a document describes it.

    `secured` is None where nothing is said. `secrets` are members of its answer that are secrets, `moving` those
    that change with the clock, `tables` those that the document says it reads or writes.
    """

    method: str
    path: str
    parameters: tuple[Parameter, ...] = ()
    secured: bool | None = None
    secrets: tuple[str, ...] = ()
    moving: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    tenants: bool = False
    per_minute: float | None = None
    source: str = ""

    @property
    def subject(self) -> str:
        """Method and path."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its columns, its primary key and what its columns refer to."""

    name: str
    columns: tuple[str, ...] = ()
    primary_key: tuple[str, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """A sentence that bounds a response time: milliseconds, percentile (None: mean or not said), the words."""

    milliseconds: float
    percentile: int | None
    text: str
    source: str


@dataclass(frozen=True, slots=True)
class Prohibition:
    """What a project forbids: `redis` or `caching`, in its own words."""

    what: str
    quote: str
    source: str


@dataclass(frozen=True, slots=True)
class Access:
    """How the logic of a backend reads one resource: by which filters and orders, with which members that move."""

    resource: str
    filters: tuple[str, ...] = ()
    moving: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True, slots=True)
class Reminder:
    """A job of the backend that reminds of a resource at a time of day, as `HH:MM` in `zone`."""

    time: str
    zone: str = "UTC"
    source: str = ""


@dataclass(frozen=True, slots=True)
class Backend:
    """Everything that documents say, joined; `sources` are the documents that were used, `warnings` what failed."""

    endpoints: tuple[Endpoint, ...] = ()
    tables: tuple[Table, ...] = ()
    limits: tuple[TimeLimit, ...] = ()
    prohibitions: tuple[Prohibition, ...] = ()
    accesses: tuple[Access, ...] = ()
    reminders: tuple[Reminder, ...] = ()
    sources: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def places(self) -> tuple[Endpoint, ...]:
        """The endpoints whose method and path a specification can name."""
        return tuple(one for one in self.endpoints if _PLACE.fullmatch(one.subject))

    def endpoint(self, method: str, path: str) -> Endpoint | None:
        """The endpoint of this place; parameters may have other names."""
        shape = _shape(path)
        return next(
            (one for one in self.endpoints if one.method == method and _shape(one.path) == shape), None
        )

    def table(self, name: str) -> Table | None:
        """The table of this name, in any case."""
        return next((one for one in self.tables if one.name.lower() == name.lower()), None)


def joined(parts: Iterable[Backend]) -> Backend:
    """One backend of several documents; of an endpoint or a table that two describe, the first counts."""
    found = list(parts)
    endpoints: dict[tuple[str, str], Endpoint] = {}
    tables: dict[str, Table] = {}
    for part in found:
        for endpoint in part.endpoints:
            place = (endpoint.method, _shape(endpoint.path))
            endpoints[place] = _both(endpoints[place], endpoint) if place in endpoints else endpoint
        for table in part.tables:
            tables.setdefault(table.name.lower(), table)
    return Backend(
        tuple(endpoints.values()),
        tuple(tables.values()),
        tuple(dict.fromkeys(limit for part in found for limit in part.limits)),
        tuple(dict.fromkeys(one for part in found for one in part.prohibitions)),
        tuple(dict.fromkeys(one for part in found for one in part.accesses)),
        tuple(dict.fromkeys(one for part in found for one in part.reminders)),
        tuple(dict.fromkeys(one for part in found for one in part.sources)),
        tuple(dict.fromkeys(one for part in found for one in part.warnings)),
    )


def _both(first: Endpoint, second: Endpoint) -> Endpoint:
    """What two documents say of one endpoint: all parameters, all secrets, the stricter word on security."""
    known = {parameter.name for parameter in first.parameters}
    more = tuple(one for one in second.parameters if one.name not in known and one.where != "path")
    secured = first.secured if second.secured is None else bool(first.secured) or second.secured
    return replace(
        first,
        parameters=first.parameters + more,
        secured=secured,
        secrets=tuple(dict.fromkeys(first.secrets + second.secrets)),
        moving=tuple(dict.fromkeys(first.moving + second.moving)),
        tables=tuple(dict.fromkeys(first.tables + second.tables)),
        tenants=first.tenants or second.tenants,
        per_minute=first.per_minute if first.per_minute is not None else second.per_minute,
    )


def _shape(path: str) -> str:
    return "/".join("{}" if part.startswith("{") else part for part in path.rstrip("/").split("/")) or "/"
