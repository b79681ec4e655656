"""What changes for users when one specification follows another, the most dangerous first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cachewright.spec.change import RISKS, Change, Risk
from cachewright.spec.document import Document
from cachewright.spec.fieldwise import of_sections, of_targets
from cachewright.spec.model import CachingSpecification
from cachewright.spec.semantics import Scope
from cachewright.spec.target import Plan, Target, compile_plan

_WIDTH = {Scope.CREDENTIAL: 0, Scope.USER: 1, Scope.TENANT: 2, Scope.PUBLIC: 3}


@dataclass(frozen=True, slots=True)
class Difference:
    """All changes. `cold` are targets that start empty by themselves; `new_namespace` are reasons to choose one.

    Without a new namespace, the new version could meet what the old one has stored, or not hear of its writes
    while both run.
    """

    changes: tuple[Change, ...]
    cold: tuple[str, ...]
    new_namespace: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The difference as plain data."""
        return {
            "changes": [change.to_json() for change in self.changes],
            "cold_cache": {
                "needed": bool(self.new_namespace),
                "because": list(self.new_namespace),
                "targets": list(self.cold),
            },
        }


def difference(before: Document, after: Document) -> Difference:
    """What follows from replacing `before` by `after`. Raises `SpecError` for one that cannot be executed."""
    old, new = compile_plan(before), compile_plan(after)
    changes = [
        *_overall(before.spec, after.spec),
        *_targets(old, new),
        *of_targets(before.spec, after.spec),
        *of_sections(before.spec, after.spec),
    ]
    ranked = sorted(changes, key=lambda change: RISKS.index(change.risk))
    moved = before.spec.namespace != after.spec.namespace
    kept = [(old.targets[place], target) for place, target in new.targets.items() if place in old.targets]
    return Difference(
        tuple(ranked),
        tuple(target.name for was, target in kept if moved or _starts_empty(was, target)),
        () if moved else tuple(_reasons_for_a_namespace(before.spec, after.spec, old, new)),
    )


def _starts_empty(old: Target, new: Target) -> bool:
    """Whether entries of the old version are not found, or lack a tag that is asked for."""
    return old.key.source != new.key.source or bool(set(_tags(new)) - set(_tags(old)))


def _reasons_for_a_namespace(
    before: CachingSpecification, after: CachingSpecification, old: Plan, new: Plan
) -> Iterator[str]:
    if before.identity != after.identity:
        yield "ids come from another place: the same key may mean somebody else"
    tables = {
        table
        for table in {*old.column_sets, *new.column_sets}
        if old.column_sets.get(table) != new.column_sets.get(table)
    } | {table for table, _ in old.hashed ^ new.hashed}
    if tables:
        listed = ", ".join(sorted(tables))
        yield f"tags of {listed} have other columns: while both versions run, writes of one may miss the other"
    for place, target in new.targets.items():
        was = old.targets.get(place)
        if was is not None and not _starts_empty(was, target) and _kept_what_is_bypassed(was, target):
            yield f"{target.name}: answers that are now left out are already kept"


def _kept_what_is_bypassed(old: Target, new: Target) -> bool:
    sources = {condition.source for condition in old.bypass}
    return any(condition.source not in sources for condition in new.bypass)


def _overall(before: CachingSpecification, after: CachingSpecification) -> Iterator[Change]:
    if before.namespace != after.namespace:
        effect = "every entry is left behind: all start empty"
        yield Change("medium", "namespace", "namespace", before.namespace, after.namespace, effect)
    if before.enabled != after.enabled:
        effect = "the cache is on" if after.enabled else "nothing is cached: the database answers everything"
        yield Change("medium", "enabled", "enabled", before.enabled, after.enabled, effect)
    for name in ("user", "tenant"):
        was, now = getattr(before.identity, name), getattr(after.identity, name)
        if was != now:
            effect = f"who a {name} is, is read from another place"
            yield Change("high", "identity", f"identity.{name}", was, now, effect)
    for section in ("multi_tenant", "multi_user"):
        for name in ("enabled", "isolation"):
            was, now = getattr(getattr(before, section), name), getattr(getattr(after, section), name)
            if was != now:
                effect = "entries are told apart" if now else "entries are no longer told apart by it"
                yield Change("low" if now else "high", section, f"{section}.{name}", was, now, effect)
    yield from _consistency(before, after)


def _consistency(before: CachingSpecification, after: CachingSpecification) -> Iterator[Change]:
    was, now = before.consistency, after.consistency
    dropped = sorted(set(now.ignore_writes) - set(was.ignore_writes))
    if dropped:
        effect = f"writes to {', '.join(dropped)} no longer invalidate: answers that show them stay stale"
        yield Change(
            "high", "consistency", "ignore_writes", list(was.ignore_writes), list(now.ignore_writes), effect
        )
    elif was.ignore_writes != now.ignore_writes:
        effect = "more writes invalidate"
        yield Change(
            "low", "consistency", "ignore_writes", list(was.ignore_writes), list(now.ignore_writes), effect
        )
    for name, words in (
        ("lease_ms", "ms a copy in another process may lag"),
        ("identity_ttl_seconds", "s until an accepted credential is checked again"),
    ):
        old, new = getattr(was, name), getattr(now, name)
        if old != new:
            yield Change("medium" if new > old else "low", "consistency", name, old, new, f"{new} {words}")
    for name, words in (
        ("strict", "an invalidation waits for the other processes"),
        ("crash_safe", "a writer that dies between commit and invalidation leaves nothing stale"),
        ("single_host", "Scheme and Host are left out of keys"),
    ):
        old, new = getattr(was, name), getattr(now, name)
        if old != new:
            safer = new is not (name == "single_host")
            effect = words if new else f"no longer: {words}"
            yield Change("low" if safer else "medium", "consistency", name, old, new, effect)
    if was.write_ack != now.write_ack:
        safer = now.write_ack == "hold"
        effect = "writes are answered after their invalidation" if safer else "writes no longer wait"
        yield Change(
            "low" if safer else "medium", "consistency", "write_ack", was.write_ack, now.write_ack, effect
        )


def _targets(old: Plan, new: Plan) -> Iterator[Change]:
    for place, target in old.targets.items():
        if place not in new.targets:
            effect = "no longer cached: each request loads"
            yield Change("medium", target.name, "removed", target.key.source, None, effect)
    for place, target in new.targets.items():
        was = old.targets.get(place)
        if was is None:
            effect = f"cached now, shared by {_sharers(target.scope)}"
            risk: Risk = "medium" if target.scope is Scope.PUBLIC else "low"
            yield Change(risk, target.name, "added", None, target.key.source, effect)
        else:
            yield from _who(was, target)
            yield from _how_fresh(was, target)
            yield from _how_kept(was, target)


def _sharers(scope: Scope) -> str:
    return "everybody" if scope is Scope.PUBLIC else f"one {scope.value}"


def _who(old: Target, new: Target) -> Iterator[Change]:
    if old.scope is not new.scope:
        wider = _WIDTH[new.scope] > _WIDTH[old.scope]
        effect = f"an entry was for {_sharers(old.scope)}, and is for {_sharers(new.scope)}"
        yield Change("high" if wider else "low", new.name, "scope", old.scope.value, new.scope.value, effect)
    if old.key.source != new.key.source:
        lost = [name for name in old.key.fields if name not in new.key.fields]
        effect = (
            f"requests that differ in {', '.join(lost)} share an answer"
            if lost
            else "entries stand under other keys; the target starts empty"
        )
        yield Change("high" if lost else "low", new.name, "key", old.key.source, new.key.source, effect)
    for what, was, now, effect in (
        ("bypass_when", _sources(old), _sources(new), "these requests are answered from the cache now"),
        (
            "ignored_reads",
            sorted(new.ignored_reads),
            sorted(old.ignored_reads),
            "it may decide the answer unseen",
        ),
    ):
        lost = [item for item in was if item not in now]
        before, after = (was, now) if what == "bypass_when" else (now, was)
        if lost:
            yield Change("high", new.name, what, before, after, f"{', '.join(lost)}: {effect}")
        elif was != now:
            yield Change("low", new.name, what, before, after, "fewer answers are kept")


def _how_fresh(old: Target, new: Target) -> Iterator[Change]:
    was, now = _tags(old), _tags(new)
    lost = [tag for tag in was if tag not in now]
    uncovered = [tag for tag in lost if tag.partition("(")[0] not in {each.partition("(")[0] for each in now}]
    if uncovered:
        effect = f"a write to {', '.join(uncovered)} no longer invalidates it"
        yield Change("high", new.name, "depends_on", was, now, effect)
    elif was != now:
        effect = "other writes invalidate it" if lost else "more writes invalidate it; it starts empty"
        yield Change("medium" if lost else "low", new.name, "depends_on", was, now, effect)
    stale, fresh = old.max_staleness or 0, new.max_staleness or 0
    if stale != fresh:
        effect = f"answers may be {fresh:g} s out of date" if fresh else "answers are never out of date"
        risk: Risk = "medium" if fresh > stale else "low"
        yield Change(risk, new.name, "max_staleness_seconds", stale, fresh, effect)
    if old.policy.ttl != new.policy.ttl:
        longer = new.policy.ttl is None or (old.policy.ttl is not None and new.policy.ttl > old.policy.ttl)
        effect = "what no tag can see stays longer" if longer else "entries are loaded more often"
        risk = "medium" if longer and (fresh or not now) else "low"
        yield Change(risk, new.name, "ttl_seconds", _whole(old.policy.ttl), _whole(new.policy.ttl), effect)
    if old.policy.stale_after_invalidation != new.policy.stale_after_invalidation:
        on = new.policy.stale_after_invalidation
        effect = "while the application fails, invalidated answers are served" if on else "failures are shown"
        what = "allow_stale_after_invalidation"
        yield Change("medium" if on else "low", new.name, what, not on, on, effect)


def _how_kept(old: Target, new: Target) -> Iterator[Change]:
    for what, was, now, effect in (
        ("levels", list(old.levels), list(new.levels), "entries lie elsewhere"),
        ("mode", old.policy.mode, new.policy.mode, f"the target is {new.policy.mode}"),
        (
            "single_flight",
            old.policy.single_flight,
            new.policy.single_flight,
            "concurrent misses load otherwise",
        ),
    ):
        if was != now:
            shared = what == "levels" and "l4" in now and "l4" not in was
            risk: Risk = "medium" if shared or what == "mode" else "low"
            told = "copies outside are only as fresh as their purge" if shared else effect
            yield Change(risk, new.name, what, was, now, told)


def _whole(seconds: float | None) -> float | None:
    return int(seconds) if seconds is not None and seconds.is_integer() else seconds


def _tags(target: Target) -> list[str]:
    return sorted(map(str, target.depends_on))


def _sources(target: Target) -> list[str]:
    return sorted(condition.source for condition in target.bypass)


def worst(changes: Iterable[Change]) -> Risk:
    """The greatest risk among them; none where there are none."""
    found: Sequence[int] = [RISKS.index(change.risk) for change in changes]
    return RISKS[min(found, default=len(RISKS) - 1)]
