"""A trace seen from its routes.

Every request with the SQL it ran, the values it showed and what it read of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from cachewright.evidence.dependencies import ReadSeen, facts_of, reads_of, writers_of
from cachewright.evidence.trace import RequestSeen, RouteSeen, StatementSeen, Trace
from cachewright.sql.facts import StatementFacts

#: Answers that say nothing of the data: who may ask, how much, or that something broke.
_NO_ANSWER = frozenset({401, 403, 408, 422, 429})


@dataclass(frozen=True, slots=True)
class ReadRun:
    """One table occurrence of one executed statement: the text, its position in the text, what it pinned."""

    text: int
    index: int
    read: ReadSeen


@dataclass(frozen=True, slots=True, eq=False)
class Exchange:
    """One request and its answer.

    `loose` and `exact` are the hashes of its values by name, absent and null ones left out. `first` and
    `last` bound its SQL (monotonic ns); a request without SQL is bounded by its own start and end. `early`
    says that it read, or held a transaction open, before its route was reached: what was read may be older
    than the tokens. `vague` says that its digest leaves out a member which was not always volatile.
    """

    request: RequestSeen
    statements: tuple[StatementSeen, ...]
    reads: tuple[ReadRun, ...]
    loose: Mapping[str, str]
    exact: Mapping[str, str]
    wrote: bool
    early: bool
    first: int
    last: int
    vague: bool = False

    @property
    def fillable(self) -> bool:
        """Whether the runtime may keep this answer, whatever it depends on."""
        seen = self.request
        return (
            seen.status == 200
            and not (
                self.wrote
                or self.early
                or seen.background
                or seen.set_cookie
                or seen.streamed
                or seen.escaped
            )
            and "no-store" not in seen.cache_control
        )

    @property
    def comparable(self) -> bool:
        """Whether the answer speaks of the data at all, so that a change of it is a change of the data."""
        return not self.vague and self.request.status < 500 and self.request.status not in _NO_ANSWER

    @property
    def milliseconds(self) -> float:
        """From the request's start to its last byte."""
        return (self.request.answered - self.request.started) / 1e6


@dataclass(frozen=True, slots=True, eq=False)
class RouteEvidence:
    """All requests of one method and template, in the order in which they started."""

    method: str
    template: str
    seen: RouteSeen
    exchanges: tuple[Exchange, ...]

    @property
    def subject(self) -> str:
        """The route's name in findings: `GET /api/tasks`."""
        return f"{self.method} {self.template}"

    @property
    def filled(self) -> tuple[Exchange, ...]:
        """The answers that a cache could hold."""
        return tuple(exchange for exchange in self.exchanges if exchange.fillable)

    def names(self, *places: str) -> tuple[str, ...]:
        """The names of all values that stand in one of `places` (`path`, `query`): declared ones first."""
        declared = [f"{param.where}.{param.name}" for param in self.seen.params if param.where in places]
        shown = {
            name
            for exchange in self.exchanges
            for name in exchange.request.values
            if name.partition(".")[0] in places
        }
        return tuple(dict.fromkeys([*declared, *sorted(shown)]))


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """A trace made ready for analysis. `seconds` is its length."""

    trace: Trace
    facts: Mapping[int, StatementFacts]
    routes: tuple[RouteEvidence, ...]
    seconds: float


def gather(trace: Trace) -> Record:
    """Join requests, statements and routes of `trace`; parses every SQL text once or twice (1 ms each)."""
    routes = {route.id: route for route in trace.routes}
    build = _builder(trace)
    grouped: dict[tuple[str, str], list[RequestSeen]] = defaultdict(list)
    first: dict[tuple[str, str], RouteSeen] = {}
    for request in sorted(trace.requests, key=lambda seen: (seen.started, seen.id)):
        route = routes.get(request.route) if request.route is not None else None
        if route is not None:
            place = (route.template, request.method)
            first.setdefault(place, route)
            grouped[place].append(request)
    moments = [moment for request in trace.requests for moment in (request.started, request.returned)]
    return Record(
        trace=trace,
        facts=facts_of(trace),
        routes=tuple(
            RouteEvidence(
                method, template, first[template, method], tuple(map(build, grouped[template, method]))
            )
            for template, method in sorted(grouped)
        ),
        seconds=(max(moments) - min(moments)) / 1e9 if moments else 0.0,
    )


def _builder(trace: Trace) -> Callable[[RequestSeen], Exchange]:
    reads = reads_of(trace)
    writers = writers_of(trace)
    comparable = trace.comparable()
    statements: dict[int, list[StatementSeen]] = defaultdict(list)
    for statement in trace.statements:
        if statement.request is not None:
            statements[statement.request].append(statement)

    def build(request: RequestSeen) -> Exchange:
        ran = tuple(statements.get(request.id, ()))
        present = {name: value for name, value in request.values.items() if value.kind != "n"}
        return Exchange(
            request=request,
            statements=ran,
            reads=tuple(_runs(ran, reads)),
            loose={name: value.loose for name, value in present.items() if value.loose is not None},
            exact={name: value.exact for name, value in present.items()},
            wrote=request.id in writers,
            early=any(_before(statement, request, trace) for statement in ran),
            first=min((statement.started for statement in ran), default=request.started),
            last=max((statement.ended for statement in ran), default=request.returned),
            vague=not comparable(request),
        )

    return build


def _before(statement: StatementSeen, request: RequestSeen, trace: Trace) -> bool:
    transaction = trace.transactions.get(statement.transaction)
    began = statement.started if transaction is None else min(statement.started, transaction.began)
    return began < request.entered


def _runs(
    statements: Iterable[StatementSeen], reads: Mapping[int, tuple[ReadSeen, ...]]
) -> Iterable[ReadRun]:
    for statement in statements:
        for index, read in enumerate(reads.get(statement.id, ())):
            yield ReadRun(statement.text, index, read)
