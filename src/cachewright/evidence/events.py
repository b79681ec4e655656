"""What the recorder hands to the writer's thread: what was seen, with its values; never written as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cachewright.capture.events import RowImage
from cachewright.capture.routes import Route
from cachewright.evidence.trace import Hash, TransactionSeen


@dataclass(slots=True)
class Asked:
    """A request that is over. `scope` is as the route saw it, where it was reached.

    `head` is what the digest holds before the body; `body` is the JSON it answered, where it may have volatile
    members.
    """

    id: int
    route: Route | None
    path_params: Mapping[str, Any]
    scope: Mapping[str, Any]
    started: int
    entered: int
    answered: int
    returned: int
    status: int
    size: int
    digest: Hash
    reads: frozenset[str]
    outer_reads: frozenset[str]
    set_cookie: bool
    cache_control: frozenset[str]
    streamed: bool
    background: bool
    escaped: bool
    head: bytes = b""
    body: bytes | None = None


Parameters = Mapping[str, Any] | Sequence[Any]


@dataclass(slots=True)
class Ran:
    """A statement; `parameters` are its first set, `more` the others; their long values are replaced by `Long`."""

    request: int | None
    transaction: int
    sql: str
    dialect: str
    paramstyle: str
    parameters: Parameters
    more: Sequence[Parameters]
    many: int
    started: int
    ended: int
    rows: int
    unit_of_work: bool
    failed: bool


@dataclass(slots=True)
class Flushed:
    """Rows that a unit of work wrote."""

    transaction: int
    images: Sequence[RowImage]


@dataclass(slots=True)
class Routed:
    """Routes of the application."""

    routes: Sequence[Route]


@dataclass(slots=True)
class Whole:
    """A request that is over with what it ran: kept or left out as one, unless it is `kept` anyway."""

    asked: Asked
    ran: Sequence[Ran | Flushed | TransactionSeen]
    kept: bool


Event = Asked | Ran | Flushed | TransactionSeen | Routed | Whole
