"""The whole analysis of a trace: each route for itself, then all routes together against the writes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cachewright.analysis import timebound, workload
from cachewright.analysis.changes import Changes, Pair, changes, hidden_tables, pairs_of
from cachewright.analysis.dependencies import Reader, depends_on
from cachewright.analysis.exchanges import Exchange, Record, RouteEvidence, gather
from cachewright.analysis.findings import Finding, Observation, numbered
from cachewright.analysis.identity import Identity, identity_of, tenant_like, variant
from cachewright.analysis.journal import Journal, journal
from cachewright.analysis.reads import RouteReads, reads_of_route
from cachewright.analysis.scope import ScopeChoice, ScopeEvidence, choose_scope, key_fields, key_of
from cachewright.analysis.sources import BoundSpot, bound_spots
from cachewright.evidence.dependencies import UNKNOWN_TABLE
from cachewright.evidence.trace import Trace
from cachewright.spec.identity import TOKEN_CLAIMS
from cachewright.spec.keys import ANONYMOUS
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
    """One route beside all others: its scope, what its key holds, what it depends on, whether its changes are
    explained. `hidden` are tables that may feed it behind the application's back."""

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


def study(trace: Trace) -> Study:
    """Analyse `trace`, as far as its routes can be judged one by one."""
    record = gather(trace)
    readable = [route for route in record.routes if route.method == "GET"]
    bounds = {route.subject: timebound.time_bound(route, record) for route in readable}
    steady = {route.subject: _steady(route, bounds[route.subject]) for route in readable}
    identity = identity_of(
        record, (spot for route in readable for spot in bound_spots(_filled(steady[route.subject])))
    )
    tables = journal(trace, {})
    return Study(
        record,
        identity,
        tuple(
            _standing(route, bounds[route.subject], steady[route.subject], identity, tables, record.seconds)
            for route in readable
        ),
    )


def profiles(found: Study, admitted: Collection[str]) -> tuple[Profile, ...]:
    """Judge the `admitted` routes together: the column sets of one decide what the writes of all must show."""
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
    steady: tuple[Exchange, ...],
    identity: Identity,
    tables: Journal,
    seconds: float,
) -> Standing:
    reads = reads_of_route(route, identity)
    filled = _filled(steady)
    spots = bound_spots(filled, principal=identity.user)
    scope = choose_scope(ScopeEvidence(route, steady, spots, reads, identity, tables))
    answers = tuple(exchange for exchange in filled if _owner(exchange, scope.scope, identity) is not None)
    barred = _barred(answers, scope.scope)
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
    """Claims that no tag of this scope may hold: a token's own where tokens share an entry, all in public."""
    claims = {name for exchange in answers for name in exchange.loose if name.startswith("claim.")}
    match scope:
        case Scope.CREDENTIAL:
            return frozenset()
        case Scope.PUBLIC:
            return frozenset(claims | {"user_id", "tenant_id"})
    return frozenset(name for name in claims if name.partition(".")[2] in TOKEN_CLAIMS)


def _owner(exchange: Exchange, scope: Scope, identity: Identity) -> Hashable | None:
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
    tags_of = _tags_of(templates)

    def attempt(scope: Scope, fields: tuple[str, ...], ignored: tuple[str, ...]) -> _Attempt:
        def whole_key(exchange: Exchange) -> Hashable | None:
            owner = _owner(exchange, scope, identity)
            return None if owner is None else (owner, key_of(exchange, fields))

        return _Attempt(scope, fields, ignored, tuple(pairs_of(standing.steady, whole_key, tags_of, writes)))

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


def _tags_of(templates: Sequence[TagTemplate]) -> Callable[[Exchange], frozenset[str]]:
    known: dict[int, frozenset[str]] = {}

    def tags_of(exchange: Exchange) -> frozenset[str]:
        number = exchange.request.id
        if number not in known:
            known[number] = frozenset(tag for template in templates for tag in template.bind(exchange.loose))
        return known[number]

    return tags_of


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


# findings


def _about_workload(profile: Profile) -> Iterator[Observation]:
    return workload.observations(profile.route, profile.standing.load)


def _about_time(profile: Profile) -> Iterator[Observation]:
    return timebound.observations(profile.route, profile.standing.bound)


def _about_reads(profile: Profile) -> Iterator[Observation]:
    reads, subject = profile.standing.reads, profile.route.subject
    keyed = sorted(
        {*reads.keyed, *reads.outer_keyed, *profile.fields} - {*profile.route.names("path", "query")}
    )
    if keyed:
        yield Observation(
            "keyed_reads", subject, f"Its answers may depend on {', '.join(keyed)}: part of the key."
        )
    if profile.ignored:
        text = f"Middleware reads {', '.join(profile.ignored)}; no answer ever depended on it."
        yield Observation("ignored_reads", subject, text, {"requests": profile.standing.load.requests})


def _about_scope(profile: Profile) -> Iterator[Observation]:
    yield from profile.standing.scope.observations
    if profile.scope is not profile.standing.scope.scope:
        text = (
            "Answers of different credentials (or read headers) differ with no write between: one entry each."
        )
        yield Observation("scope_narrowed", profile.route.subject, text)


def _about_dependencies(profile: Profile) -> Iterator[Observation]:
    names = ", ".join(map(str, profile.depends_on)) or "nothing"
    text = f"Over the whole request it reads {names}."
    yield Observation("dependencies", profile.route.subject, text, {"tags": len(profile.depends_on)})


def _about_changes(profile: Profile) -> Iterator[Observation]:
    seen, subject = profile.changes, profile.route.subject
    figures = {
        "changes": seen.changed,
        "explained": seen.explained,
        "quiet": seen.quiet,
        "needless": seen.needless,
    }
    text = (
        f"{seen.changed} changes of an answer, {seen.explained} explained by a write that was seen; "
        f"{seen.quiet} times nothing was written and nothing changed ({seen.quiet_seconds:.0f} s in all)."
    )
    yield Observation("changes", subject, text, figures)
    if seen.unexplained:
        first = seen.unexplained[0]
        yield Observation(
            "unexplained_change",
            subject,
            f"{len(seen.unexplained)} changes that no seen write explains, first between requests "
            f"{first.before.request.id} and {first.after.request.id}.",
            {"unexplained": len(seen.unexplained)},
        )
    if profile.hidden:
        text = (
            f"Every unexplained change goes with a write to {', '.join(profile.hidden)}: look for a trigger."
        )
        yield Observation("hidden_dependency", subject, text)


def _about_writes(profile: Profile) -> Iterator[Observation]:
    share = profile.standing.load.wrote
    if share:
        text = f"{share:.0%} of its answers also wrote; only the others are kept."
        yield Observation("writes_on_read", profile.route.subject, text, {"share": share})


ANALYSES: tuple[Callable[[Profile], Iterator[Observation]], ...] = (
    _about_workload,
    _about_time,
    _about_reads,
    _about_scope,
    _about_dependencies,
    _about_changes,
    _about_writes,
)


def findings(found: Study, judged: Mapping[str, Profile]) -> tuple[Finding, ...]:
    """Everything that was found, numbered by route and analysis; routes that were not judged show what they can."""
    observations: list[Observation] = list(tenant_like(found.record, found.identity))
    for standing in found.standings:
        subject = standing.route.subject
        profile = judged.get(subject) or _unjudged(standing)
        analyses = ANALYSES if subject in judged else ANALYSES[:4]
        observations.extend(item for analysis in analyses for item in analysis(profile))
    return numbered(observations)


def _unjudged(standing: Standing) -> Profile:
    nothing = changes(())
    fields = key_fields(standing.route, standing.reads)
    return Profile(standing, standing.scope.scope, fields, (), (), nothing, 0)
