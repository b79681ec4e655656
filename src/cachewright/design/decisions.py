"""Every choice of a design with its reason and the findings that led to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cachewright.analysis.findings import Finding
from cachewright.analysis.study import Profile
from cachewright.design import remarks
from cachewright.design.choice import DEFAULT_TTL, Choice
from cachewright.design.forecast import ALARM, forecast_of
from cachewright.design.result import Decision
from cachewright.spec.model import CachingSpecification


def decisions_of(
    plan: Choice, spec: CachingSpecification, numbered: Sequence[Finding]
) -> tuple[Decision, ...]:
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
        decisions.append(Decision(subject, f"ttl: {life} s", _life(plan, profile, life), ids("changes")))
        if (shape := plan.shapes.get(subject)) is not None:
            room = plan.rooms[subject]
            choice = f"max_memory_bytes: {room}" if plan.budget.memory is not None else f"room: {room} bytes"
            decisions.append(Decision(subject, choice, remarks.room_reason(shape, room), ids("workload")))
    return (*decisions, *_alarm(plan, numbered))


def _alarm(plan: Choice, numbered: Sequence[Finding]) -> Iterator[Decision]:
    """Where the alarm of the hit rate stands, with the traffic that its forecast rests on."""
    forecast = forecast_of(plan.outcomes.values())
    if forecast is not None:
        traffic = (f.id for f in numbered if f.code == "workload" and f.subject in plan.outcomes)
        choice = f"low_hit_rate.threshold: {forecast.alarm}"
        yield Decision(ALARM, choice, forecast.reason, tuple(traffic))


def _life(plan: Choice, profile: Profile, life: int) -> str:
    allowed = plan.share_tolerated(profile.route.subject)
    if allowed is None:
        return remarks.life_reason(profile, life)
    share = plan.outcomes[profile.route.subject].wrong_share or 0.0
    return (
        f"Nothing tells when it changes. Of the lives that were tried, {life} s is the longest of which no more than "
        f"{allowed:.2%} of the hits are out of date; a replay has {share:.2%}."
    )
