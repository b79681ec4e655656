"""A trace made ready for a plan: what each request would ask the cache for, and whether its load may be kept.

Keys are bound with exact hashes and tags with loose ones, so a replay needs no value in clear.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Literal

from cachewright.errors import NotEnoughEvidenceError
from cachewright.evidence.dependencies import (
    EVERYTHING,
    ReadSeen,
    WriteSeen,
    reads_of,
    writers_of,
    written_by,
)
from cachewright.evidence.trace import RequestSeen, RouteSeen, StatementSeen, Trace
from cachewright.spec.filling import LoadFacts
from cachewright.spec.grounds import ground_of
from cachewright.spec.identity import variant_claims
from cachewright.spec.keys import ANONYMOUS, UnboundFieldError
from cachewright.spec.learning import NOTHING
from cachewright.spec.semantics import Reason, Scope
from cachewright.spec.tags import TagTemplate, bulk_tag, column_sets, read_alternatives, table_tag
from cachewright.spec.target import Plan, Target

Key = tuple[str, ...]

_NANOSECONDS = 1_000_000_000
_SHARED_BY_ACCEPTANCE = frozenset({Scope.USER, Scope.TENANT})


@dataclass(frozen=True, slots=True)
class Lookup:
    """One request that asks the cache.

    `at` is when it asks (ns); `tags` are predicted for it, and `learned` are those its load shows; `watched` are
    the tags that stand for exactly what its recorded load read; `credential_seconds` is what is left of the
    credential at `at`. It stands for `weight` lookups of the recording. `entry_tags` are those of an entry that its
    load fills, `own_tags` what the acceptance of its credential holds beyond them, `all_tags` both. Its acceptance is
    for its key, or for its `ground`, and then rests on `ground_tags`: what the security of the route reads of the
    path is not known here.
    """

    request: RequestSeen
    route: RouteSeen
    target: Target
    at: int
    key: Key
    tags: tuple[str, ...]
    user: str | None
    variant: bytes | None
    needs_acceptance: bool
    credential_seconds: float | None
    facts: LoadFacts
    watched: frozenset[str]
    tables: frozenset[str]
    statements: tuple[StatementSeen, ...]
    weight: float = 1.0
    learned: tuple[str, ...] = ()
    entry_tags: tuple[str, ...] = ()
    own_tags: tuple[str, ...] = ()
    all_tags: tuple[str, ...] = ()
    ground: Key | None = None
    ground_tags: tuple[str, ...] = ()

    @property
    def accepted_as(self) -> Key:
        """What its credential has to be accepted for."""
        return self.key if self.ground is None else self.ground

    @property
    def accepted_tags(self) -> tuple[str, ...]:
        """The tags of an acceptance that its load brings."""
        if self.ground is None:
            return self.all_tags
        return tuple(dict.fromkeys((*self.ground_tags, *self.learned, *self.own_tags)))

    @property
    def read_until(self) -> int:
        """When the last statement of the recorded load returned (ns)."""
        return max((statement.ended for statement in self.statements), default=self.request.returned)


@dataclass(frozen=True, slots=True)
class Prepared:
    """All lookups in the order in which they ask, and all writes in the order in which they end.

    `logouts` set a cookie, which ends what their credential was accepted for. `bypassed` says why other
    requests of a target ask nothing; it and `statements` are by number of request. `felt` are the writes as the
    lookups feel them: those that change one of `tags`, which are all tags of all lookups, with such tags alone.
    """

    lookups: tuple[Lookup, ...]
    writes: tuple[WriteSeen, ...]
    felt: tuple[WriteSeen, ...]
    logouts: tuple[RequestSeen, ...]
    bypassed: Mapping[int, Reason]
    statements: Mapping[int, tuple[StatementSeen, ...]]
    tags: frozenset[str]

    def under(self, plan: Plan) -> Prepared:
        """The same lookups under the policies of `plan`, all else of which is as it was."""
        targets = {target.name: in_hashes(target) for target in plan.targets.values()}
        if all(lookup.target.policy == targets[lookup.target.name].policy for lookup in self.lookups):
            return self
        lookups = (replace(lookup, target=targets[lookup.target.name]) for lookup in self.lookups)
        return replace(self, lookups=tuple(lookups))


def prepare(trace: Trace, plan: Plan) -> Prepared:
    """Bind every request of `trace` to its target in `plan`. Raises `NotEnoughEvidenceError` without any."""
    if not trace.requests:
        raise NotEnoughEvidenceError("the trace holds no requests", hint="record some traffic first")
    known: list[tuple[Plan, Prepared]] = trace.once("prepared", list)
    if not known or not _same_but_for_policies(known[0][0], plan):
        known[:] = [(plan, _Binder(trace, plan).prepared())]
    return known[0][1].under(plan)


def _same_but_for_policies(one: Plan, other: Plan) -> bool:
    """Whether two plans bind every request alike."""
    if one.targets.keys() != other.targets.keys():
        return False
    targets = {
        place: replace(target, policy=one.targets[place].policy) for place, target in other.targets.items()
    }
    return replace(other, targets=targets) == one


def in_hashes(target: Target) -> Target:
    """`target` with tag templates that a trace can bind.

    A constant in a template is in clear and cannot be compared with a hash, so its column is left out; that
    only widens the tag.
    """
    return replace(target, depends_on=tuple(_without_constants(template) for template in target.depends_on))


def _without_constants(template: TagTemplate) -> TagTemplate:
    return TagTemplate(
        template.table,
        tuple((column, source) for column, source in template.columns if source.name or source.learned),
    )


@dataclass(frozen=True, slots=True)
class _Asked:
    """What requests with the same values ask for."""

    key: Key
    tags: tuple[str, ...]
    user: str | None
    variant: bytes | None
    ground: Key | None
    ground_tags: tuple[str, ...]


class _Binder:
    """What all requests of a trace share while they are bound."""

    def __init__(self, trace: Trace, plan: Plan) -> None:
        self._trace = trace
        self._plan = plan
        self._targets = {place: in_hashes(target) for place, target in plan.targets.items()}
        self._bare = {t.name: replace(t, depends_on=(), learning=NOTHING) for t in self._targets.values()}
        self._routes = {route.id: route for route in trace.routes}
        self._sets = column_sets(tag for target in self._targets.values() for tag in target.depends_on)
        self._reads = reads_of(trace)
        self._writers = writers_of(trace, ignored=plan.ignored_writes)
        self._bypassed: dict[int, Reason] = {}
        self._known: dict[tuple[str, int, str | None], _Asked | Reason] = {}
        self._covering: dict[tuple[object, ...], frozenset[str]] = {}
        by_request: dict[int, list[StatementSeen]] = defaultdict(list)
        unowned: list[StatementSeen] = []
        for statement in trace.statements:
            if statement.request is not None:
                by_request[statement.request].append(statement)
            elif statement.id in self._reads:
                unowned.append(statement)
        self._statements = {number: tuple(found) for number, found in by_request.items()}
        unowned.sort(key=lambda statement: statement.started)
        self._unowned_starts = [statement.started for statement in unowned]
        self._unowned_ends = list(accumulate((statement.ended for statement in unowned), max))

    def prepared(self) -> Prepared:
        lookups = sorted(self._lookups(), key=lambda lookup: (lookup.at, lookup.request.id))
        writes = written_by(self._trace, self._sets, ignored=self._plan.ignored_writes)
        writes += [_unseen(request) for request in self._trace.requests if request.escaped]
        logouts = (r for r in self._trace.requests if r.set_cookie and r.credential is not None)
        held = frozenset().union(*(lookup.all_tags for lookup in lookups), {EVERYTHING})
        held |= {tag for target in self._targets.values() for tag in target.learning.guards}
        felt = (replace(write, tags=write.tags & held) for write in writes if not write.tags.isdisjoint(held))
        return Prepared(
            tuple(lookups),
            tuple(writes),
            tuple(felt),
            tuple(logouts),
            self._bypassed,
            self._statements,
            held,
        )

    def _lookups(self) -> Iterator[Lookup]:
        for request in self._trace.requests:
            route = self._routes.get(request.route) if request.route is not None else None
            target = self._targets.get((request.method, route.template)) if route else None
            if route is None or target is None:
                continue
            found = self._lookup(request, route, target)
            if isinstance(found, Reason):
                self._bypassed[request.id] = found
            else:
                yield found

    def _lookup(self, request: RequestSeen, route: RouteSeen, target: Target) -> Lookup | Reason:
        asked = self._asked(request, target)
        if isinstance(asked, Reason):
            return asked
        at = _asks_at(request)
        statements = self._statements.get(request.id, ())
        reads = [read for statement in statements for read in self._reads.get(statement.id, ())]
        covered = [(read, self._alternatives(read)) for read in reads]
        facts = self._facts(request, route, target, [tags for _, tags in covered], statements)
        shared = target.scope in _SHARED_BY_ACCEPTANCE
        learned = target.learning.learned(asked.tags, facts.reads)
        entry_tags = (*asked.tags, *learned)
        own_tags = (f"cred:{request.credential}",) if shared else ()
        return Lookup(
            request=request,
            route=route,
            target=target,
            at=at,
            key=asked.key,
            tags=asked.tags,
            user=asked.user,
            variant=asked.variant,
            needs_acceptance=shared,
            credential_seconds=_credential_seconds(request, at),
            facts=facts,
            watched=_watched(covered),
            tables=frozenset(read.table for read in reads),
            statements=statements,
            weight=self._trace.weight(request.id),
            learned=learned,
            entry_tags=entry_tags,
            own_tags=own_tags,
            all_tags=tuple(dict.fromkeys((*entry_tags, *own_tags))),
            ground=asked.ground,
            ground_tags=asked.ground_tags,
        )

    def _asked(self, request: RequestSeen, target: Target) -> _Asked | Reason:
        """What it asks for; the same for all requests that share their values, which a trace keeps once."""
        same = (target.name, id(request.values), request.credential)
        found = self._known.get(same)
        if found is None:
            found = self._known[same] = self._bound(request, target)
        return found

    def _bound(self, request: RequestSeen, target: Target) -> _Asked | Reason:
        if target.bypassed(self._clear(request)):
            return Reason.BYPASS_CONDITION
        if target.problem is not None:
            return Reason.UNBOUND_KEY
        exact = self._values(request, "exact")
        try:
            bound = self._bare[target.name].bind(exact)
        except UnboundFieldError:
            return Reason.UNBOUND_KEY
        shared = target.scope in _SHARED_BY_ACCEPTANCE
        if shared and request.credential is None:
            return Reason.UNBOUND_KEY
        loose = self._values(request, "loose")
        ground = ground_of(target, exact, loose) if shared and target.authorization == "target" else None
        return _Asked(
            key=self._full_key(bound.key, request),
            tags=tuple(dict.fromkeys((*bound.tags, *target.data_tags(loose)))),
            user=exact.get("user_id"),
            variant=_variant(request, target.scope, self._plan.identity.get("user_id")),
            ground=None if ground is None else self._full_key(ground.name, request),
            ground_tags=() if ground is None else ground.tags,
        )

    def _alternatives(self, read: ReadSeen) -> frozenset[str]:
        """The tags any one of which covers this read."""
        same = (read.table, *read.pinned.items())
        found = self._covering.get(same)
        if found is None:
            found = self._covering[same] = read_alternatives(read.table, read.pinned, self._sets)
        return found

    def _full_key(self, key: str, request: RequestSeen) -> Key:
        host = request.values.get("host")
        if self._plan.single_host or host is None:
            return (key,)
        return (host.exact, key)

    def _values(self, request: RequestSeen, form: Literal["exact", "loose"]) -> dict[str, Any]:
        """The request's values as hashes of one form; a null, or a value without that form, is None."""
        values: dict[str, Any] = {
            name: None if value.kind == "n" else getattr(value, form)
            for name, value in request.values.items()
        }
        values["cred"] = request.credential or ANONYMOUS
        return self._plan.identify(values)

    def _clear(self, request: RequestSeen) -> dict[str, Any]:
        """Values as conditions compare them; one that the trace does not tell equals no constant."""
        return {
            name: self._trace.clear.get(name, {}).get(value.exact, value.exact)
            for name, value in request.values.items()
            if value.kind != "n"
        }

    def _facts(
        self,
        request: RequestSeen,
        route: RouteSeen,
        target: Target,
        reads: Collection[Collection[str]],
        statements: Iterable[StatementSeen],
    ) -> LoadFacts:
        at = _asks_at(request)
        began = [self._trace.transactions.get(statement.transaction) for statement in statements]
        return LoadFacts(
            status=request.status,
            size=request.size,
            scope=target.scope,
            set_cookie=request.set_cookie,
            cache_control=request.cache_control,
            streamed=request.streamed,
            wrote=request.id in self._writers,
            background=request.background,
            early_sql=any(statement.started < at for statement in statements),
            snapshot=any(transaction is not None and transaction.began < at for transaction in began),
            unowned_sql=request.escaped or self._met_unowned(request),
            reads=reads,
            unkeyed=_unkeyed(request, route, target, self._plan.identity),
        )

    def _met_unowned(self, request: RequestSeen) -> bool:
        """Whether SQL of no request ran during this one: it may have been this one's."""
        before = bisect_right(self._unowned_starts, request.answered)
        return before > 0 and self._unowned_ends[before - 1] >= _asks_at(request)


def _asks_at(request: RequestSeen) -> int:
    return request.entered or request.started


def _credential_seconds(request: RequestSeen, at: int) -> float | None:
    expires = request.credential_expires
    return None if expires is None else max(0.0, (expires - at) / _NANOSECONDS)


def _variant(request: RequestSeen, scope: Scope, user: str | None) -> bytes | None:
    """The digest of the claims that entries of this scope are compared by, None where there are none."""
    claims = {name.removeprefix("claim.") for name in request.values if name.startswith("claim.")}
    said = [(name, request.values[f"claim.{name}"].exact) for name in variant_claims(claims, scope, user)]
    return hashlib.blake2b(repr(said).encode(), digest_size=16).digest() if said else None


def _unkeyed(
    request: RequestSeen, route: RouteSeen, target: Target, identity: Mapping[str, str]
) -> frozenset[str]:
    """What the application read of the request that neither key, scope nor specification accounts for."""
    declared = {f"{param.where}:{param.name}" for param in route.params}
    return target.unkeyed(
        identity,
        reads=request.reads,
        outer_reads=request.outer_reads,
        declared=declared,
        credentials=route.credentials,
        token=request.carrier,
    )


def _unseen(request: RequestSeen) -> WriteSeen:
    """What a raw connection may have written: anything, at any moment of the request."""
    return WriteSeen(
        0,
        frozenset({EVERYTHING}),
        request.started,
        request.started,
        request.returned,
        committed=True,
        request=request.id,
    )


def _watched(reads: Iterable[tuple[ReadSeen, frozenset[str]]]) -> frozenset[str]:
    """The narrowest tags that cover these reads: a write that changes none of them left their rows alone."""
    found: set[str] = set()
    for read, tags in reads:
        rows = tags - {table_tag(read.table)}
        found |= {*rows, bulk_tag(read.table)} if rows else {table_tag(read.table)}
    return frozenset(found)
