"""The whole analysis of a trace: each route for itself, then all routes together against the writes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass

from cachewright.analysis import timebound, workload
from cachewright.analysis.changes import Changes, Pair, changes, hidden_tables, pairs_of
from cachewright.analysis.dependencies import Reader, depends_on, learned_by
from cachewright.analysis.exchanges import Exchange, Record, RouteEvidence, gather
from cachewright.analysis.identity import Identity, identity_of, variant
from cachewright.analysis.journal import Journal, journal
from cachewright.analysis.reads import RouteReads, is_credential, reads_of_route
from cachewright.analysis.scope import ScopeChoice, ScopeEvidence, choose_scope, key_fields, key_of
from cachewright.analysis.sources import BoundSpot, bound_spots
from cachewright.evidence.dependencies import UNKNOWN_TABLE
from cachewright.evidence.trace import Trace
from cachewright.spec.identity import TOKEN_CLAIMS
from cachewright.spec.keys import ANONYMOUS
from cachewright.spec.learning import Learning
from cachewright.spec.semantics import Scope
from cachewright.spec.tags import TagTemplate, column_sets

_LEAST_QUIET = 30


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """One route for itself: its traffic, its clock, its reads, its scope.

    `steady` are the requests that no clock decides, `answers` those of them that a cache could hold under the
    scope; `spots` are the sources of their SQL.
    """

    route: RouteEvidence
    load: workload.Workload
    bound: timebound.TimeBound
    reads: RouteReads
    scope: ScopeChoice
    steady: tuple[Exchange, ...]
    answers: tuple[Exchange, ...]
    spots: tuple[BoundSpot, ...]

    @property
    def opaque(self) -> bool:
        """Whether some SQL of its answers could not be understood, so that no tag covers it."""
        return any(spot.spot.table == UNKNOWN_TABLE for spot in self.spots)


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """One route beside all others.

    Its scope, what its key holds, what it depends on, whether its changes are explained. `hidden` are
    tables that may feed it behind the application's back.
    """

    standing: Standing
    scope: Scope
    fields: tuple[str, ...]
    ignored: tuple[str, ...]
    depends_on: tuple[TagTemplate, ...]
    changes: Changes
    principals: int
    hidden: tuple[str, ...] = ()

    @property
    def route(self) -> RouteEvidence:
        """The route itself."""
        return self.standing.route


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """What every GET route shows by itself, and who the users are."""

    record: Record
    identity: Identity
    standings: tuple[Standing, ...]


def study(trace: Trace, *, by_the_clock: bool = False) -> Study:
    """Analyse `trace`, as far as its routes can be judged one by one.

    With `by_the_clock`, routes of which no parameter tells what the clock decides are judged like others.
    """
    record = gather(trace)
    readable = [route for route in record.routes if route.method == "GET"]
    bounds = {route.subject: timebound.time_bound(route, record) for route in readable}
    if by_the_clock:
        bounds = {s: bound if bound.separable else timebound.TimeBound() for s, bound in bounds.items()}
    steady = {route.subject: _steady(route, bounds[route.subject]) for route in readable}
    identity = identity_of(
        record, (spot for route in readable for spot in bound_spots(_filled(steady[route.subject])))
    )
    tables = journal(trace, {})
    return Study(
        record,
        identity,
        tuple(
            _standing(route, bounds[route.subject], identity, tables, record.seconds) for route in readable
        ),
    )


def profiles(found: Study, admitted: Collection[str]) -> tuple[Profile, ...]:
    """Judge the `admitted` routes together.

    The column sets of one decide what the writes of all must show.
    """
    standings = [standing for standing in found.standings if standing.route.subject in admitted]
    trace = found.record.trace
    readers = [Reader(standing.route.subject, standing.answers, standing.spots) for standing in standings]
    templates = depends_on(readers, trace)
    sets = column_sets(template for templates_of in templates.values() for template in templates_of)
    writes = journal(trace, sets)
    return tuple(
        _profile(standing, templates[standing.route.subject], writes, found.identity)
        for standing in standings
    )


def _steady(route: RouteEvidence, bound: timebound.TimeBound) -> tuple[Exchange, ...]:
    return tuple(exchange for exchange in route.exchanges if exchange.request.id not in bound.requests)


def _filled(exchanges: Sequence[Exchange]) -> tuple[Exchange, ...]:
    return tuple(exchange for exchange in exchanges if exchange.fillable)


def _standing(
    route: RouteEvidence,
    bound: timebound.TimeBound,
    identity: Identity,
    tables: Journal,
    seconds: float,
) -> Standing:
    steady = _steady(route, bound)
    reads = reads_of_route(route, identity)
    filled = _filled(steady)
    secret = _secrets(route, identity)
    spots = bound_spots(filled, principal=identity.user, barred=secret)
    scope = choose_scope(ScopeEvidence(route, steady, spots, reads, identity, tables))
    answers = tuple(exchange for exchange in filled if owner_of(exchange, scope.scope, identity) is not None)
    barred = secret | _barred(answers, scope.scope)
    return Standing(
        route=route,
        load=workload.workload(route, seconds, key_fields(route, reads)),
        bound=bound,
        reads=reads,
        scope=scope,
        steady=steady,
        answers=answers,
        spots=bound_spots(answers, principal=identity.user, barred=barred),
    )


def _barred(answers: Sequence[Exchange], scope: Scope) -> frozenset[str]:
    """Claims that no tag of this scope may hold: a token's own where tokens share an entry, in public all."""
    claims = {name for exchange in answers for name in exchange.loose if name.startswith("claim.")}
    match scope:
        case Scope.CREDENTIAL:
            return frozenset()
        case Scope.PUBLIC:
            return frozenset(claims | {"user_id", "tenant_id"})
    return frozenset(name for name in claims if name.partition(".")[2] in TOKEN_CLAIMS)


def _secrets(route: RouteEvidence, identity: Identity) -> frozenset[str]:
    """What may be a credential in clear, which no tag ever holds; the ids of scopes are none."""
    return frozenset(
        name
        for name in route.names("header", "cookie", "query")
        if name not in (identity.user, identity.tenant)
        and is_credential(name.replace(".", ":", 1), route.seen)
    )


def owner_of(exchange: Exchange, scope: Scope, identity: Identity) -> Hashable | None:
    """Who shares the entry that this answer would become; None where it would not be kept."""
    match scope:
        case Scope.PUBLIC:
            return ()
        case Scope.CREDENTIAL:
            return exchange.request.credential or ANONYMOUS
        case Scope.USER:
            user = identity.user_of(exchange)
        case Scope.TENANT:
            user = identity.tenant_of(exchange)
    if user is None or (identity.tenant is not None and identity.tenant_of(exchange) is None):
        return None
    return (identity.tenant_of(exchange), user, variant(exchange))


@dataclass(frozen=True, slots=True, eq=False)
class _Attempt:
    """One way to keep the answers of a route: under this scope, with these fields in the key."""

    scope: Scope
    fields: tuple[str, ...]
    ignored: tuple[str, ...]
    pairs: tuple[Pair, ...]


def _profile(
    standing: Standing, templates: tuple[TagTemplate, ...], writes: Journal, identity: Identity
) -> Profile:
    reads = standing.reads
    fields = key_fields(standing.route, reads)
    bound_tags = tags_of(templates)

    def attempt(scope: Scope, fields: tuple[str, ...], ignored: tuple[str, ...]) -> _Attempt:
        def whole_key(exchange: Exchange) -> Hashable | None:
            owner = owner_of(exchange, scope, identity)
            return None if owner is None else (owner, key_of(exchange, fields))

        return _Attempt(
            scope, fields, ignored, tuple(pairs_of(standing.steady, whole_key, bound_tags, writes))
        )

    scope = Scope.CREDENTIAL if reads.outer_keyed else standing.scope.scope
    chosen = attempt(scope, fields, reads.doubtful)
    for again in _narrower(chosen, attempt):
        counted = changes(again.pairs)
        if not counted.unexplained and counted.quiet >= _LEAST_QUIET:
            chosen = again
            break
    counted = changes(chosen.pairs)
    return Profile(
        standing=standing,
        scope=chosen.scope,
        fields=chosen.fields,
        ignored=chosen.ignored,
        depends_on=templates,
        changes=counted,
        principals=len({_principal(exchange, chosen.scope, identity) for exchange in standing.answers}),
        hidden=_hidden(chosen.pairs, counted, writes, standing),
    )


def _narrower(
    first: _Attempt, attempt: Callable[[Scope, tuple[str, ...], tuple[str, ...]], _Attempt]
) -> Iterator[_Attempt]:
    """Narrower ways to keep the answers, where each unexplained change may be one between two keys."""
    unexplained = [pair for pair in first.pairs if pair.unexplained]
    if not unexplained:
        return
    keyable = [read for read in first.ignored if ":" in read]
    fields = tuple(read.replace(":", ".", 1) for read in keyable)
    if fields and all(key_of(pair.before, fields) != key_of(pair.after, fields) for pair in unexplained):
        rest = tuple(read for read in first.ignored if read not in keyable)
        yield attempt(Scope.CREDENTIAL, tuple(dict.fromkeys([*first.fields, *fields])), rest)
    if first.scope is not Scope.CREDENTIAL and all(
        pair.before.request.credential != pair.after.request.credential for pair in unexplained
    ):
        yield attempt(Scope.CREDENTIAL, first.fields, first.ignored)


def tags_of(templates: Sequence[TagTemplate]) -> Callable[[Exchange], frozenset[str]]:
    """What tells the tags of an answer that would be kept under these templates."""
    known: dict[int, frozenset[str]] = {}
    bulk = Learning.of(templates).bulk

    def of(exchange: Exchange) -> frozenset[str]:
        number = exchange.request.id
        if number not in known:
            bound = {tag for item in templates if not item.learned for tag in item.bind(exchange.loose)}
            known[number] = frozenset({*bound, *bulk, *learned_by(exchange, templates)})
        return known[number]

    return of


def _principal(exchange: Exchange, scope: Scope, identity: Identity) -> str | None:
    match scope:
        case Scope.USER:
            return identity.user_of(exchange)
        case Scope.TENANT:
            return identity.tenant_of(exchange)
    return exchange.request.credential


def _hidden(pairs: Sequence[Pair], counted: Changes, writes: Journal, standing: Standing) -> tuple[str, ...]:
    if not counted.unexplained:
        return ()
    read = {spot.spot.table for spot in standing.spots}
    written = {tag for tag in writes.lines if not set(tag) & set("(#*") and tag not in read}
    return hidden_tables(pairs, writes, written)
