"""Everything that was found, as findings: a visible list of analyses, each a function of one profile."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping

from cachewright.analysis import hotkeys, over_scoped, own_writes, queries, rhythm, timebound, workload
from cachewright.analysis.changes import changes
from cachewright.analysis.exchanges import Exchange
from cachewright.analysis.findings import Finding, Observation, numbered
from cachewright.analysis.hours import Hours
from cachewright.analysis.identity import Identity, tenant_like
from cachewright.analysis.journal import journal
from cachewright.analysis.scope import key_fields, key_of
from cachewright.analysis.study import Profile, Standing, Study, owner_of, tags_of
from cachewright.spec.semantics import Scope
from cachewright.spec.tags import column_sets


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


def _about_volatile(profile: Profile) -> Iterator[Observation]:
    ignored = {member for exchange in profile.route.exchanges for member in exchange.request.ignored}
    if ignored:
        text = (
            f"Its answers are compared without {', '.join(sorted(ignored))}: declared volatile, or different in every"
            " pair of identical requests a moment apart. Cached answers repeat what they held."
        )
        yield Observation("volatile_members", profile.route.subject, text, {"members": len(ignored)})


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
    _about_volatile,
)


def findings(found: Study, judged: Mapping[str, Profile]) -> tuple[Finding, ...]:
    """Everything that was found, numbered by route and analysis.

    Routes that were not judged show what they can.
    """
    observations: list[Observation] = list(tenant_like(found.record, found.identity))
    trace = found.record.trace
    hours = Hours(trace)
    sets = column_sets(template for profile in judged.values() for template in profile.depends_on)
    writes = journal(trace, sets)
    for standing in found.standings:
        subject = standing.route.subject
        profile = judged.get(subject) or _unjudged(standing)
        analyses = ANALYSES if subject in judged else ANALYSES[:4]
        observations.extend(item for analysis in analyses for item in analysis(profile))
        whole_key = _whole_key(profile, found.identity)
        observations.extend(hotkeys.observations(standing.route, whole_key, trace))
        observations.extend(rhythm.observations(standing.route, whole_key, trace, hours))
        observations.extend(queries.observations(standing.route, trace))
        if subject in judged:
            observations.extend(_about_sharing(profile, found.identity))
            tags = tags_of(profile.depends_on)
            observations.extend(own_writes.observations(standing.route, tags, writes, trace))
    return numbered(observations)


def _about_sharing(profile: Profile, identity: Identity) -> Iterator[Observation]:
    if profile.scope is Scope.PUBLIC:
        return iter(())
    return over_scoped.observations(
        profile.route.subject,
        profile.standing.answers,
        lambda exchange: owner_of(exchange, profile.scope, identity),
        lambda exchange: key_of(exchange, profile.fields),
    )


def _whole_key(profile: Profile, identity: Identity) -> Callable[[Exchange], Hashable]:
    """What tells the entries of a route apart, None for an answer that would not be kept."""

    def whole_key(exchange: Exchange) -> Hashable:
        owner = owner_of(exchange, profile.scope, identity)
        return None if owner is None else (owner, key_of(exchange, profile.fields))

    return whole_key


def _unjudged(standing: Standing) -> Profile:
    nothing = changes(())
    fields = key_fields(standing.route, standing.reads)
    return Profile(standing, standing.scope.scope, fields, (), (), nothing, 0)
