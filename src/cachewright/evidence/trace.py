"""What was seen, as values. A trace is a list of these; `tracefile` keeps them in one SQLite file.

Nothing personal is in it: values of parameters, claims, binds and columns are keyed hashes (`h` and 16 hex
digits; the key is random per recording and is not kept), bodies are digests, credentials are keyed hashes.
A parameter value is kept in clear only where its type is an enumeration or a boolean, or where at least three
credentials used it. Times are nanoseconds of one monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

TRACE_VERSION = 2

Hash = str
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Value:
    """A value as the trace knows it.

    `exact` is equal for equal texts; `loose` for values that meet in a tag (see `spec.tags.canonical`), None
    where there is no such form. `kind`: `n` null, `b` boolean, `i` integer, `f` fraction, `s` text, `d` date
    or time (all spellings of one moment have one `exact`), `u` UUID, `x` bytes or other.
    """

    kind: str
    exact: Hash
    loose: Hash | None


@dataclass(frozen=True, slots=True)
class ParamSeen:
    """A declared parameter of a route: where it stands (`path`, `query`, `header`, `cookie`) and its type."""

    name: str
    where: str
    type: str
    required: bool


@dataclass(frozen=True, slots=True)
class RouteSeen:
    """A route of the application: its template as the outside sees it, and what it declares to read.

    `credentials` are the parts of a request that its security schemes read (`header:authorization`).
    """

    id: int
    method: str
    template: str
    endpoint: str
    params: tuple[ParamSeen, ...]
    credentials: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RequestSeen:
    """One request, whole.

    `values` are by the names of key patterns (`path.id`, `query.page` with defaults filled in, `claim.sub`,
    `header.accept-language` where the application read it). `credential` is None where there was none;
    `credential_expires` is the end its token names, in nanoseconds of the trace's clock.
    `digest`, `set_cookie`, `cache_control` and `streamed` are of what the route answered; where none was
    reached, of the response as it left. `answered` is when the last byte of the body was handed over,
    `returned` when the application was done. `carrier` is where the token stood whose claims are among the
    values (`header:authorization`, `cookie:NAME`), None where there was none. `ignored` are the members of a
    JSON body that its digest leaves out: digests that left out others cannot be compared.
    """

    id: int
    route: int | None
    method: str
    started: int
    answered: int
    returned: int
    status: int
    size: int
    digest: Hash
    credential: Hash | None
    credential_expires: float | None
    values: Mapping[str, Value]
    reads: frozenset[str]
    outer_reads: frozenset[str]
    entered: int
    set_cookie: bool
    cache_control: frozenset[str]
    streamed: bool
    background: bool
    escaped: bool
    worker: int
    carrier: str | None = None
    ignored: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class StatementText:
    """A distinct SQL text, with what is needed to parse it.

    In the place of a string literal's content stands the hash of it that meets the `loose` of equal values.
    """

    id: int
    sql: str
    dialect: str
    paramstyle: str


@dataclass(frozen=True, slots=True)
class StatementSeen:
    """One execution: binds by position (or name), the first set of parameters where there were `many`.

    `more` are the other sets, in their order; there are none where they were too many to keep.
    `request` is None where no recorded request ran it. `transaction` is 0 under autocommit; such a statement
    is committed when it ended, and has no `TransactionSeen`.
    """

    id: int
    request: int | None
    transaction: int
    text: int
    started: int
    ended: int
    rows: int
    many: int
    unit_of_work: bool
    failed: bool
    binds: Mapping[str, Value]
    more: tuple[Mapping[str, Value], ...] = ()

    @property
    def sets(self) -> tuple[Mapping[str, Value], ...] | None:
        """All sets of parameters, None where some were not kept."""
        return (self.binds, *self.more) if len(self.more) >= self.many - 1 else None


@dataclass(frozen=True, slots=True)
class ImageSeen:
    """A row written by a flush. Columns that are missing were not seen, or have no `loose` form."""

    transaction: int
    table: str
    action: Literal["insert", "update", "delete"]
    old: Mapping[str, Value] | None
    new: Mapping[str, Value] | None
    changed: frozenset[str]


@dataclass(frozen=True, slots=True)
class TransactionSeen:
    """The end of a transaction: the driver's commit or rollback started and returned."""

    id: int
    request: int | None
    began: int
    ending: int
    ended: int
    committed: bool


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """`table.columns` reference `target`; its actions as declared (`CASCADE`, `SET NULL`, …) or empty."""

    table: str
    columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...]
    on_delete: str
    on_update: str = ""


@dataclass(frozen=True, slots=True)
class SchemaSeen:
    """The tables the application's metadata declares: columns, primary keys, foreign keys."""

    tables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    primary_keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    foreign_keys: tuple[ForeignKey, ...] = ()
    inexact_columns: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class VolatileSeen:
    """A member of JSON answers that digests leave out.

    Declared by the operator (`route` None, no pairs), or found: of `pairs` of identical requests a moment apart
    with no write between, `differed` had different values there. It may be ignored only while that is all of them.
    """

    route: int | None
    member: str
    pairs: int
    differed: int

    @property
    def trusted(self) -> bool:
        """Whether nothing speaks against leaving it out."""
        return self.route is None or 0 < self.pairs == self.differed


@dataclass(frozen=True, slots=True)
class Trace:
    """One recording. `clear` holds values that may be shown: `clear["query.due"][exact] = "overdue"`.

    `sampled` is the share of the keys whose histories were kept, `left_out` the number of requests that were
    not; requests that wrote were always kept. `unknown` is what the source could not tell, where that is no
    recording (`source` names it): `sql` (or `binds` of it), `digests`, `reads`, `identity`, `durations`, `times`.
    `weights` says for how many requests of the recording one stands, by its number, where a large recording was
    thinned when it was read; all others stand for themselves. `derived` remembers what was worked out from it.
    """

    application: str
    recorded_at: str
    declared_identity: Mapping[str, str]
    routes: tuple[RouteSeen, ...]
    requests: tuple[RequestSeen, ...]
    texts: Mapping[int, StatementText]
    statements: tuple[StatementSeen, ...]
    images: tuple[ImageSeen, ...]
    transactions: Mapping[int, TransactionSeen]
    schema: SchemaSeen
    clear: Mapping[str, Mapping[Hash, str]]
    dropped: int
    volatile: tuple[VolatileSeen, ...] = ()
    sampled: float = 1.0
    left_out: int = 0
    unknown: frozenset[str] = frozenset()
    source: str = ""
    weights: Mapping[int, float] = field(default_factory=dict)
    derived: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, name: Hashable, work: Callable[[], _Result]) -> _Result:
        """What `work` makes of this trace, which never changes: it is done once for each name."""
        if name not in self.derived:
            self.derived[name] = work()
        found: _Result = self.derived[name]
        return found

    def weight(self, request: int) -> float:
        """For how many requests of the recording this one stands."""
        return self.weights.get(request, 1.0)

    def comparable(self) -> Callable[[RequestSeen], bool]:
        """What tells whether the digest of a request leaves out only what may be left out."""
        trusted = {(seen.route, seen.member) for seen in self.volatile if seen.trusted}

        def is_comparable(request: RequestSeen) -> bool:
            return all(
                (None, member) in trusted or (request.route, member) in trusted for member in request.ignored
            )

        return is_comparable
