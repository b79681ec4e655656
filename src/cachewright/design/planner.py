"""From a trace to a specification: refuse first, then choose, then let a replay decide what is worth it.

Same trace, same time, same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from cachewright.analysis.analyses import findings
from cachewright.analysis.findings import Finding
from cachewright.analysis.study import Profile, profiles, study
from cachewright.analysis.timebound import time_bound
from cachewright.design import remarks, sections
from cachewright.design.budget import Budget, rooms
from cachewright.design.candidates import (
    CLOSE,
    DOUBTS,
    at_the_bar,
    by_changes,
    by_itself,
    by_replay,
    unsafe_method,
)
from cachewright.design.choice import DEFAULT_TTL, Choice
from cachewright.design.decisions import decisions_of
from cachewright.design.estimates import estimated
from cachewright.design.forecast import forecast_of
from cachewright.design.hierarchy import MOST_FREE
from cachewright.design.patterns import key_patterns, tag_text
from cachewright.design.result import Design, NotCached
from cachewright.design.staleness import TRADED, tolerable_lives, traded
from cachewright.evidence.trace import Trace
from cachewright.simulator.curves import ttl_curve
from cachewright.simulator.outcome import Outcome, RouteOutcome
from cachewright.simulator.shapes import by_name, shape_of, streams
from cachewright.simulator.stream import Stream
from cachewright.spec.cache_targets import CacheTarget
from cachewright.spec.document import Document
from cachewright.spec.keys import KeyTemplate, free_text
from cachewright.spec.model import CachingSpecification, Meta
from cachewright.spec.strategy import CacheStrategy, EvictionOverride, StrategyOverride, TtlOverride
from cachewright.spec.target import compile_plan
from cachewright.spec.tenancy import Identity as IdentitySection
from cachewright.spec.words import count

Score = Callable[[CachingSpecification], Outcome]

GENERATOR = "cachewright design"
#: Longer lives, tried where the trace is long enough to show a gain.
LONGER_TTLS = (900, 3600)
#: A longer life must hit so much more often (share of lookups) than the next shorter one.
LEAST_GAIN = 0.01

_COMMON_MODULES = frozenset({"main", "app", "api", "src", "server", "asgi", "wsgi", "application", "backend"})


def design(
    trace: Trace,
    *,
    now: datetime,
    namespace: str | None = None,
    score: Score,
    asked: Collection[str] = (),
    budget: Budget | None = None,
) -> Design:
    """Design a specification for the application that `trace` was recorded from.

    `now` is written into it. `score` replays the trace against a specification; it decides which targets
    are asked for often enough, and how long entries live. Endpoints `asked` for by name are refused only for
    reasons of safety; a doubt about their worth is a warning.
    """
    if trace.unknown:
        name = namespace or _namespace(trace.application)
        return estimated(trace, now=now, namespace=name, generator=GENERATOR)
    allowed = (budget or Budget()).stale
    found = study(trace, by_the_clock=allowed > 0)
    start = Choice(found, namespace or _namespace(trace.application), now, budget=budget or Budget())
    plan = _settle(start, score, asked)
    numbered = findings(found, plan.judged)
    spec = _specification(plan, numbered)
    not_cached = tuple(
        _with_findings(plan.refused[route.subject], numbered)
        for route in found.record.routes
        if route.subject in plan.refused
    )
    return Design(
        spec=spec,
        decisions=decisions_of(plan, spec, numbered),
        assumptions=remarks.assumptions(found, plan.chosen),
        clarifications_needed=remarks.clarifications(found),
        not_cached=(*not_cached, *remarks.never_asked(trace)),
        warnings=(
            *_overruled(plan, asked),
            *_close(plan),
            *remarks.warnings(trace),
            *remarks.spent(plan.budget, plan.shapes),
            *traded({s: plan.lives[s] for s in plan.tolerated}, plan.outcomes, allowed),
        ),
        sources=_sources(trace),
        findings=numbered,
        hit_rates={
            profile.route.subject: round(outcome.hits / outcome.lookups, 4)
            for profile in plan.chosen
            if (outcome := plan.outcomes.get(profile.route.subject)) and outcome.lookups
        },
        shapes={
            name: {**shape, "life": plan.lives[name], "room": plan.rooms[name]}
            for name, shape in by_name(plan.shapes).items()
        },
    )


def _overruled(plan: Choice, asked: Collection[str]) -> Iterator[str]:
    """The doubts about targets that are designed because they were asked for."""
    for profile in plan.chosen:
        subject = profile.route.subject
        if subject not in asked:
            continue
        no = by_itself(profile.standing, plan.found.identity) or by_changes(profile)
        no = no or (by_replay(profile, plan.outcomes[subject]) if subject in plan.outcomes else None)
        if no is not None:
            yield f"{subject}: {no.reason} It is designed because it was asked for by name."


def _close(plan: Choice) -> Iterator[str]:
    """The targets that pay just enough."""
    for subject, outcome in plan.outcomes.items():
        if at_the_bar(outcome) and outcome.lookups:
            yield f"{subject}: a replay hits {outcome.hits / outcome.lookups:.0%} of lookups. {CLOSE}"


def _settle(start: Choice, score: Score, asked: Collection[str]) -> Choice:
    """Refuse until nothing is left to refuse: each refusal may change what the others must share."""
    found = start.found
    refused = {route.subject: no for route in found.record.routes if (no := unsafe_method(route)) is not None}
    for standing in found.standings:
        no = by_itself(standing, found.identity, DOUBTS if standing.route.subject in asked else ())
        if no is not None:
            refused[standing.route.subject] = no
    if start.budget.alone is not None:
        refused.update(
            (s.route.subject, NotCached(s.route.subject, "needs_redis", start.budget.alone))
            for s in found.standings
            if s.route.subject not in refused
        )
    judged: dict[str, Profile] = {}
    while True:
        admitted = {standing.route.subject for standing in found.standings} - refused.keys()
        current = profiles(found, admitted)
        judged.update((profile.route.subject, profile) for profile in current)
        waived = dict.fromkeys(asked, DOUBTS)
        tolerated = _tolerated(start, current)
        for subject in tolerated:
            waived[subject] = waived.get(subject, frozenset()) | TRADED
        fresh = {
            profile.route.subject: no
            for profile in current
            if (no := by_changes(profile, waived.get(profile.route.subject, ()))) is not None
        }
        plan = replace(start, judged=judged, chosen=current, refused=refused, tolerated=tolerated)
        if not fresh and current:
            plan = _lived(plan, score)
            fresh = {
                profile.route.subject: no
                for profile in current
                if (no := _by_replay(plan, profile)) is not None
                and no.code not in waived.get(profile.route.subject, ())
            } or _without_room(plan)
        if not fresh:
            return plan
        refused = {**refused, **fresh}


def _by_replay(plan: Choice, profile: Profile) -> NotCached | None:
    subject = profile.route.subject
    return by_replay(profile, plan.outcomes[subject], tolerated=plan.share_tolerated(subject))


def _tolerated(start: Choice, current: Sequence[Profile]) -> frozenset[str]:
    """The targets that would be refused because nothing tells when they change, where staleness is allowed."""
    if not start.budget.stale:
        return frozenset()
    record = start.found.record
    return frozenset(
        profile.route.subject
        for profile in current
        if profile.changes.unexplained or not time_bound(profile.route, record).separable
    )


def _without_room(plan: Choice) -> dict[str, NotCached]:
    """Targets for which the budget leaves less than one entry."""
    return {
        subject: NotCached(
            subject,
            "no_room",
            f"In {plan.budget.memory} bytes other targets spare more time per byte; one entry takes "
            f"{shape.mean_bytes:.0f}.",
            {"mean_bytes": round(shape.mean_bytes)},
        )
        for subject, shape in plan.shapes.items()
        if plan.budget.memory is not None and plan.rooms[subject] < shape.mean_bytes
    }


def _lived(plan: Choice, score: Score) -> Choice:
    """`plan` with the life and the room of each target's entries, and the replay that speaks for them.

    The default life, longer while the curve gains; where a longer one served anything wrong, the default.
    """
    subjects = [profile.route.subject for profile in plan.chosen]
    document = Document(spec=_specification(plan, ()), positions={})
    reads = streams(plan.found.record.trace, compile_plan(document))
    long_enough = plan.found.record.seconds > DEFAULT_TTL
    lives = {subject: _life(reads[subject]) if long_enough else DEFAULT_TTL for subject in reads}
    plan = replace(plan, lives={**dict.fromkeys(subjects, DEFAULT_TTL), **lives})
    if plan.tolerated:
        plan = replace(plan, lives={**plan.lives, **_lives_tolerated(plan, score)})
    outcomes = _scored(plan, score)
    wrong = {s for s in subjects if outcomes[s].wrong_answers and plan.lives[s] != DEFAULT_TTL}
    wrong -= plan.tolerated
    if wrong:
        plan = replace(plan, lives={**plan.lives, **dict.fromkeys(wrong, DEFAULT_TTL)})
        outcomes = _scored(plan, score)
    found = {subject: shape_of(stream, plan.lives[subject]) for subject, stream in reads.items()}
    return replace(plan, outcomes=outcomes, shapes=found, rooms=rooms(found, plan.budget.memory))


def _lives_tolerated(plan: Choice, score: Score) -> Mapping[str, int]:
    """Lives of the targets that may be out of date."""
    scopes = {p.route.subject: p.scope for p in plan.chosen if p.route.subject in plan.tolerated}

    def replayed(lives: Mapping[str, int]) -> Mapping[str, RouteOutcome]:
        return _scored(replace(plan, lives={**plan.lives, **lives}), score)

    return tolerable_lives(scopes, plan.budget.stale, replayed)


def _life(reads: Stream) -> int:
    """The shortest life that no longer one beats by `LEAST_GAIN`."""
    curve = ttl_curve(reads, (DEFAULT_TTL, *LONGER_TTLS), hold_out=False)
    life = DEFAULT_TTL
    for longer in LONGER_TTLS:
        if curve.at(longer) - curve.at(life) >= LEAST_GAIN:
            life = longer
    return life


def _scored(plan: Choice, score: Score) -> dict[str, RouteOutcome]:
    outcome = score(_specification(plan, ()))
    by_route = {seen.route: seen for seen in outcome.routes}
    return {profile.route.subject: by_route[profile.route.subject] for profile in plan.chosen}


def _specification(plan: Choice, numbered: Sequence[Finding]) -> CachingSpecification:
    identity, trace = plan.found.identity, plan.found.record.trace
    patterns = key_patterns(plan.chosen, tenant=identity.tenant is not None)
    targets = tuple(_target(profile, plan, patterns, numbered) for profile in plan.chosen)
    forecast = forecast_of(plan.outcomes.values())
    uses_user = any("{user_id}" in (target.cache_key_pattern or "") for target in targets)
    return CachingSpecification(
        generator=GENERATOR,
        namespace=plan.namespace,
        meta=Meta(backend_spec=trace.application or None, generated_at=plan.now, sources=_sources(trace)),
        identity=IdentitySection(
            user=identity.user_source if uses_user or identity.declared else None,
            tenant=identity.tenant_source,
        ),
        cache_targets=targets,
        cache_strategy=CacheStrategy(),
        cache_keys=sections.cache_keys(targets),
        invalidation=sections.invalidation(targets, trace.schema),
        metrics=sections.metrics(forecast),
        alerts=sections.alerts(targets, forecast),
        multi_tenant=sections.multi_tenant(tenant=identity.tenant is not None),
        multi_user=sections.multi_user(targets),
        implementation=sections.implementation(targets),
    )


def _target(
    profile: Profile, plan: Choice, patterns: Mapping[str, str], numbered: Sequence[Finding]
) -> CacheTarget:
    subject, load = profile.route.subject, profile.standing.load
    identity = plan.found.identity
    user = identity.user if profile.scope == "user" else None
    life = plan.lives.get(subject, DEFAULT_TTL)
    longer = TtlOverride(duration_seconds=life) if life != DEFAULT_TTL else None
    room = plan.rooms.get(subject) if plan.budget.memory is not None else None
    bounded = None if room is None else EvictionOverride(max_memory_bytes=room)
    if room is None and any(map(free_text, KeyTemplate.parse(patterns[subject]).fields)):
        bounded = EvictionOverride(max_items=max(MOST_FREE, load.keys))
    return CacheTarget(
        endpoint=subject,
        cache_key_pattern=patterns[subject],
        query_frequency=_frequency(load.per_minute),
        avg_query_time_ms=load.database_ms,
        name=subject,
        scope=profile.scope.value,
        levels=("l1", "l2") if plan.budget.redis else ("l1",),
        strategy=StrategyOverride(ttl=longer, eviction_policy=bounded) if longer or bounded else None,
        depends_on=tuple(
            sorted(
                tag_text(template, profile.route.template, user, identity.tenant)
                for template in profile.depends_on
            )
        ),
        max_staleness_seconds=life if subject in plan.tolerated else 0,
        bypass_when=profile.standing.bound.bypass,
        ignored_reads=profile.ignored,
        because=_because(subject, numbered),
    )


def _frequency(per_minute: float) -> str:
    return f"{per_minute:.0f} req/min" if per_minute >= 10 else f"{max(per_minute, 0.01):.2f} req/min"


def _because(subject: str, numbered: Sequence[Finding]) -> tuple[str, ...]:
    return tuple(finding.id for finding in numbered if finding.subject == subject)


def _with_findings(no: NotCached, numbered: Sequence[Finding]) -> NotCached:
    return NotCached(no.endpoint, no.code, no.reason, no.figures, _because(no.endpoint, numbered))


def _sources(trace: Trace) -> tuple[str, ...]:
    name = trace.application or "an application"
    return (f"trace of {name}, recorded {trace.recorded_at}, {count(len(trace.requests), 'request')}",)


def _namespace(application: str) -> str:
    """A namespace from an import path: the first part of it that is no usual word, else the first part."""
    module = application.partition(":")[0]
    parts = [re.sub(r"[^A-Za-z0-9_-]+", "-", part).strip("-_") for part in re.split(r"[./]", module)]
    named = [part for part in parts if part]
    return next((part for part in named if part not in _COMMON_MODULES), named[0] if named else "cachewright")
