"""What any source of requests tells of one of them, and the lines that could not be read."""

from __future__ import annotations

from dataclasses import dataclass, field

#: Lines that are shown of those that were skipped.
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Query:
    """A statement that a request ran: its text, the database's kind, its beginning after the request's, seconds."""

    sql: str
    system: str
    after: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Visit:
    """One request as a log has it; what the log does not say is None.

    `at` is when it began (seconds since the epoch), `target` path and query as they were sent, `who` all that
    tells clients apart, `digest` what the answer's body was made of. `certain` says that `who` is a credential,
    and not only an address. `route` is the template, where the source knows it.
    """

    at: float | None
    method: str
    target: str
    status: int
    size: int = 0
    seconds: float | None = None
    who: str | None = None
    certain: bool = False
    digest: bytes | None = None
    set_cookie: bool = False
    cache_control: frozenset[str] = frozenset()
    route: str | None = None
    queries: tuple[Query, ...] = ()


@dataclass(slots=True)
class Skipped:
    """Lines that hold no request: how many, the first few by file and number, and why."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, place: str, reason: str) -> None:
        """Count one line; of the first few the place is kept, never the text, which may hold a secret."""
        self.count += 1
        if len(self.first) < _SHOWN:
            self.first.append(f"{place}: {reason}")
