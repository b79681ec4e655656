"""From a trace to a specification: refuse first, then choose, then let a replay decide what is worth it.

Same trace, same time, same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cachewright.analysis.analyses import findings
from cachewright.analysis.findings import Finding
from cachewright.analysis.study import Profile, Study, profiles, study
from cachewright.design import remarks, sections
from cachewright.design.candidates import DOUBTS, by_changes, by_itself, by_replay, unsafe_method
from cachewright.design.estimates import estimated
from cachewright.design.patterns import key_patterns, tag_text
from cachewright.design.result import Decision, Design, NotCached
from cachewright.evidence.trace import Trace
from cachewright.simulator.outcome import Outcome, RouteOutcome
from cachewright.spec.cache_targets import CacheTarget
from cachewright.spec.model import CachingSpecification, Meta
from cachewright.spec.strategy import CacheStrategy, StrategyOverride, TtlOverride
from cachewright.spec.tenancy import Identity as IdentitySection

Score = Callable[[CachingSpecification], Outcome]

GENERATOR = "cachewright design"
DEFAULT_TTL = 300
#: Longer lives, tried where the trace is long enough to show a gain.
LONGER_TTLS = (900, 3600)
#: A longer life must hit so much more often (share of lookups) than the next shorter one.
LEAST_GAIN = 0.01

_COMMON_MODULES = frozenset({"main", "app", "api", "src", "server", "asgi", "wsgi", "application", "backend"})


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """A choice under way.

    The profiles that are still in, the lives of their entries, the reasons of the others.
    """

    found: Study
    namespace: str
    now: datetime
    judged: Mapping[str, Profile] = field(default_factory=dict)
    chosen: tuple[Profile, ...] = ()
    refused: Mapping[str, NotCached] = field(default_factory=dict)
    outcomes: Mapping[str, RouteOutcome] = field(default_factory=dict)
    lives: Mapping[str, int] = field(default_factory=dict)


def design(
    trace: Trace,
    *,
    now: datetime,
    namespace: str | None = None,
    score: Score,
    asked: Collection[str] = (),
) -> Design:
    """Design a specification for the application that `trace` was recorded from.

    `now` is written into it. `score` replays the trace against a specification; it decides which targets
    are asked for often enough, and how long entries live. Endpoints `asked` for by name are refused only for
    reasons of safety; a doubt about their worth is a warning.
    """
    if trace.unknown:
        name = namespace or _namespace(trace.application)
        return estimated(trace, now=now, namespace=name, generator=GENERATOR)
    found = study(trace)
    plan = _settle(found, namespace or _namespace(trace.application), now, score, asked)
    numbered = findings(found, plan.judged)
    spec = _specification(plan, numbered)
    not_cached = tuple(
        _with_findings(plan.refused[route.subject], numbered)
        for route in found.record.routes
        if route.subject in plan.refused
    )
    return Design(
        spec=spec,
        decisions=_decisions(plan, spec, numbered),
        assumptions=remarks.assumptions(found, plan.chosen),
        clarifications_needed=remarks.clarifications(found),
        not_cached=(*not_cached, *remarks.never_asked(trace)),
        warnings=(*_overruled(plan, asked), *remarks.warnings(trace)),
        sources=_sources(trace),
        findings=numbered,
        hit_rates={
            profile.route.subject: round(outcome.hits / outcome.lookups, 4)
            for profile in plan.chosen
            if (outcome := plan.outcomes.get(profile.route.subject)) and outcome.lookups
        },
    )


def _overruled(plan: _Plan, asked: Collection[str]) -> Iterator[str]:
    """The doubts about targets that are designed because they were asked for."""
    for profile in plan.chosen:
        subject = profile.route.subject
        if subject not in asked:
            continue
        no = by_itself(profile.standing, plan.found.identity) or by_changes(profile)
        no = no or (by_replay(profile, plan.outcomes[subject]) if subject in plan.outcomes else None)
        if no is not None:
            yield f"{subject}: {no.reason} It is designed because it was asked for by name."


def _settle(found: Study, namespace: str, now: datetime, score: Score, asked: Collection[str]) -> _Plan:
    """Refuse until nothing is left to refuse: each refusal may change what the others must share."""
    refused = {route.subject: no for route in found.record.routes if (no := unsafe_method(route)) is not None}
    for standing in found.standings:
        no = by_itself(standing, found.identity, DOUBTS if standing.route.subject in asked else ())
        if no is not None:
            refused[standing.route.subject] = no
    judged: dict[str, Profile] = {}
    while True:
        admitted = {standing.route.subject for standing in found.standings} - refused.keys()
        current = profiles(found, admitted)
        judged.update((profile.route.subject, profile) for profile in current)
        waived = dict.fromkeys(asked, DOUBTS)
        fresh = {
            profile.route.subject: no
            for profile in current
            if (no := by_changes(profile, waived.get(profile.route.subject, ()))) is not None
        }
        plan = _Plan(found, namespace, now, judged, current, refused)
        if not fresh and current:
            plan = _lived(plan, score)
            fresh = {
                profile.route.subject: no
                for profile in current
                if (no := by_replay(profile, plan.outcomes[profile.route.subject])) is not None
                and no.code not in waived.get(profile.route.subject, ())
            }
        if not fresh:
            return plan
        refused = {**refused, **fresh}


def _lived(plan: _Plan, score: Score) -> _Plan:
    """`plan` with the life of each target's entries.

    The default, longer while that gains and nothing is wrong.
    """
    subjects = [profile.route.subject for profile in plan.chosen]
    lives = dict.fromkeys(subjects, DEFAULT_TTL)
    best = _scored(plan, lives, score)
    for life in LONGER_TTLS:
        if plan.found.record.seconds <= DEFAULT_TTL:
            break
        tried = _scored(plan, dict.fromkeys(subjects, life), score)
        for subject in subjects:
            gained = tried[subject].hits - best[subject].hits
            if not tried[subject].wrong_answers and gained >= max(1, LEAST_GAIN * tried[subject].lookups):
                lives[subject] = life
                best[subject] = tried[subject]
    return _Plan(plan.found, plan.namespace, plan.now, plan.judged, plan.chosen, plan.refused, best, lives)


def _scored(plan: _Plan, lives: Mapping[str, int], score: Score) -> dict[str, RouteOutcome]:
    trial = _Plan(plan.found, plan.namespace, plan.now, plan.judged, plan.chosen, plan.refused, {}, lives)
    outcome = score(_specification(trial, ()))
    by_route = {seen.route: seen for seen in outcome.routes}
    return {profile.route.subject: by_route[profile.route.subject] for profile in plan.chosen}


def _specification(plan: _Plan, numbered: Sequence[Finding]) -> CachingSpecification:
    identity, trace = plan.found.identity, plan.found.record.trace
    patterns = key_patterns(plan.chosen, tenant=identity.tenant is not None)
    targets = tuple(_target(profile, plan, patterns, numbered) for profile in plan.chosen)
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
        alerts=sections.alerts(),
        multi_tenant=sections.multi_tenant(tenant=identity.tenant is not None),
        multi_user=sections.multi_user(targets),
        implementation=sections.implementation(targets),
    )


def _target(
    profile: Profile, plan: _Plan, patterns: Mapping[str, str], numbered: Sequence[Finding]
) -> CacheTarget:
    subject, load = profile.route.subject, profile.standing.load
    identity = plan.found.identity
    user = identity.user if profile.scope == "user" else None
    life = plan.lives.get(subject, DEFAULT_TTL)
    longer = StrategyOverride(ttl=TtlOverride(duration_seconds=life)) if life != DEFAULT_TTL else None
    return CacheTarget(
        endpoint=subject,
        cache_key_pattern=patterns[subject],
        query_frequency=_frequency(load.per_minute),
        avg_query_time_ms=load.database_ms,
        name=subject,
        scope=profile.scope.value,
        levels=("l1", "l2"),
        strategy=longer,
        depends_on=tuple(
            sorted(
                tag_text(template, profile.route.template, user, identity.tenant)
                for template in profile.depends_on
            )
        ),
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


def _decisions(plan: _Plan, spec: CachingSpecification, numbered: Sequence[Finding]) -> tuple[Decision, ...]:
    """Scope, dependencies, key and life of every target, each with the findings that led to it."""
    by_code: dict[tuple[str, str], list[str]] = {}
    for finding in numbered:
        by_code.setdefault((finding.subject, finding.code.partition("_")[0]), []).append(finding.id)
    texts = {finding.id: finding.text for finding in numbered}
    decisions: list[Decision] = []
    for target, profile in zip(spec.cache_targets, plan.chosen, strict=True):
        subject = profile.route.subject

        def ids(code: str, subject: str = subject) -> tuple[str, ...]:
            return tuple(by_code.get((subject, code), ()))

        def said(code: str) -> str:
            return " ".join(texts[number] for number in ids(code))

        decisions.append(Decision(subject, f"scope: {target.scope}", said("scope"), ids("scope")))
        tags = ", ".join(target.depends_on)
        decisions.append(Decision(subject, f"depends_on: {tags}", said("dependencies"), ids("dependencies")))
        decisions.append(
            Decision(
                subject,
                f"cache_key_pattern: {target.cache_key_pattern}",
                "All parameters stand in the key.",
                ids("keyed"),
            )
        )
        if target.bypass_when:
            bypass = " or ".join(target.bypass_when)
            decisions.append(Decision(subject, f"bypass_when: {bypass}", said("time"), ids("time")))
        if target.ignored_reads:
            ignored = ", ".join(target.ignored_reads)
            decisions.append(Decision(subject, f"ignored_reads: {ignored}", said("ignored"), ids("ignored")))
        life = plan.lives.get(subject, DEFAULT_TTL)
        decisions.append(
            Decision(subject, f"ttl: {life} s", remarks.life_reason(profile, life), ids("changes"))
        )
    return tuple(decisions)


def _sources(trace: Trace) -> tuple[str, ...]:
    name = trace.application or "an application"
    return (f"trace of {name}, recorded {trace.recorded_at}, {len(trace.requests)} requests",)


def _namespace(application: str) -> str:
    """A namespace from an import path: the first part of it that is no usual word, else the first part."""
    module = application.partition(":")[0]
    parts = [re.sub(r"[^A-Za-z0-9_-]+", "-", part).strip("-_") for part in re.split(r"[./]", module)]
    named = [part for part in parts if part]
    return next((part for part in named if part not in _COMMON_MODULES), named[0] if named else "cachewright")
