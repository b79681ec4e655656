"""What differs between two specifications field by field, where nothing has words of its own for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cachewright.spec.cache_targets import CacheTarget
from cachewright.spec.change import Change, Risk
from cachewright.spec.executed import DESCRIPTIVE, pattern_of
from cachewright.spec.model import CachingSpecification
from cachewright.spec.overlay import IDENTITIES
from cachewright.spec.problems import spelt
from cachewright.spec.section import Path, Section
from cachewright.spec.target import target_name

#: Sections that are compared in words of their own; the rest is listed field by field.
_IN_WORDS = ("namespace", "enabled", "identity", "consistency", "cache_targets", "multi_tenant", "multi_user")
#: Fields of an endpoint's target that have words of their own, or that say nothing.
_SPOKEN_OF = frozenset(
    {"endpoint", "name", "scope", "cache_key_pattern", "depends_on", "bypass_when", "ignored_reads", "because",
     "max_staleness_seconds", "allow_stale_after_invalidation", "levels", "mode", "single_flight"}
)  # fmt: skip
#: Lists of texts whose order means something.
_ORDERED = frozenset({"levels"})


def of_targets(before: CachingSpecification, after: CachingSpecification) -> Iterator[Change]:
    """What else a target says; of queries and computed values, everything."""
    was, now = ({target_name(item): item for item in spec.cache_targets} for spec in (before, after))
    for name, item in now.items():
        old = was.get(name)
        if old is None:
            if item.endpoint is None:
                effect = "cached now, where code says so"
                yield Change("low", name, "added", None, item.cache_key_pattern, effect)
            continue
        yield from _of_target(name, old, item)
        if old.strategy != item.strategy:
            yield from _of_strategy(name, (before, old), (after, item))
    for name, item in was.items():
        if name not in now and item.endpoint is None:
            yield Change("medium", name, "removed", item.cache_key_pattern, None, "each call loads")


def _of_target(name: str, old: CacheTarget, new: CacheTarget) -> Iterator[Change]:
    for field in type(new).model_fields:
        before, after = _ordered(field, getattr(old, field)), _ordered(field, getattr(new, field))
        if before == after or field == "strategy" or (new.endpoint is not None and field in _SPOKEN_OF):
            continue
        relaxed = field == "authorization" and after == "target"
        effect = "access is no longer proven for each key" if relaxed else _effect_of(field)
        risk: Risk = "high" if relaxed or field in _SPOKEN_OF else "low"
        yield Change(risk, name, field, _plain(before), _plain(after), effect)


def _of_strategy(
    name: str, old: tuple[CachingSpecification, CacheTarget], new: tuple[CachingSpecification, CacheTarget]
) -> Iterator[Change]:
    """What a target's own strategy makes different for it; the lifetime of an endpoint is spoken of elsewhere."""
    (before, was), (after, now) = old, new
    everybodys = [
        (each.what, each.before, each.after)
        for each in _fields(before.cache_strategy, after.cache_strategy, ("strategy",))
    ]
    for change in _fields(before.strategy_of(was), after.strategy_of(now), ("strategy",)):
        if (change.what, change.before, change.after) in everybodys:
            continue
        if now.endpoint is None or change.what != "strategy.ttl.duration_seconds":
            yield Change("low", name, change.what, change.before, change.after, "entries are kept otherwise")


def _effect_of(field: str) -> str:
    return {
        "percent": "the target is on for another share of its keys",
        "refresh": "entries are loaded anew at other times",
    }.get(
        field,
        "entries are found, kept or invalidated otherwise" if field in _SPOKEN_OF else "for people to read",
    )


def of_sections(before: CachingSpecification, after: CachingSpecification) -> Iterator[Change]:
    """What has no words of its own: each field that differs, each item of a list that is new, other or gone."""
    for name in type(after).model_fields:
        if name not in _IN_WORDS:
            yield from _compared(getattr(before, name), getattr(after, name), (name,), name)


def _fields(before: Section, after: Section, path: Path, shown: str | None = None) -> Iterator[Change]:
    shown = spelt(path) if shown is None else shown
    for name in type(after).model_fields:
        yield from _compared(getattr(before, name), getattr(after, name), (*path, name), f"{shown}.{name}")


def _compared(before: Any, after: Any, path: Path, shown: str) -> Iterator[Change]:
    was, now = _ordered(str(path[-1]), before), _ordered(str(path[-1]), after)
    if was == now:
        return
    if isinstance(before, Section) and isinstance(after, Section):
        yield from _fields(before, after, path, shown)
    elif _sections(before) or _sections(after):
        yield from _items(before, after, path, shown)
    else:
        yield _change(path, shown, _plain(was), _plain(now), less=_is_less(now))


def _items(before: tuple[Any, ...], after: tuple[Any, ...], path: Path, shown: str) -> Iterator[Change]:
    """Items that are new, other or gone, whatever their order."""
    was, now = list(map(_canonical, before)), list(map(_canonical, after))
    gone = [item for item, plain in zip(before, was, strict=True) if plain not in now]
    for index, item in enumerate(after):
        if now[index] in was:
            continue
        name = _identity(item)
        old = next((each for each in gone if name is not None and _identity(each) == name), None)
        if old is None:
            yield _change((*path, index), f"{shown}[{name or index}]", None, _plain(item), less=False)
        else:
            gone.remove(old)
            yield from _fields(old, item, (*path, index), f"{shown}[{name}]")
    for index, item in enumerate(before):
        if item in gone:
            yield _change(
                (*path, index), f"{shown}[{_identity(item) or index}]", _plain(item), None, less=True
            )


def _change(path: Path, shown: str, before: Any, after: Any, *, less: bool) -> Change:
    """Less that invalidates or alarms is worth a look."""
    pattern = pattern_of(path)
    if any(pattern == name or pattern.startswith((f"{name}.", f"{name}[")) for name in DESCRIPTIVE):
        return Change("none", str(path[0]), shown, before, after, "for people to read")
    risk: Risk = "medium" if less and path[0] in ("invalidation", "alerts") else "low"
    return Change(risk, str(path[0]), shown, before, after, "nothing else is known to follow")


def _is_less(value: Any) -> bool:
    return value is None or value is False or value in ((), [])


def _identity(item: Section) -> str | None:
    found = next((value for name in IDENTITIES if (value := getattr(item, name, None)) is not None), None)
    return None if found is None else str(found)


def _sections(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and isinstance(value[0], Section)


def _ordered(field: str, value: Any) -> Any:
    """`value`; a list of texts whose order means nothing in one order."""
    if isinstance(value, tuple) and field not in _ORDERED and all(isinstance(each, str) for each in value):
        return tuple(sorted(value))
    return value


def _canonical(item: Section) -> dict[str, Any]:
    """An item of a list, equal for all orders that mean the same."""
    return {name: _ordered(name, getattr(item, name)) for name in type(item).model_fields}


def _plain(value: Any) -> Any:
    dumped = value.model_dump(mode="json") if isinstance(value, Section) else value
    if isinstance(dumped, Mapping):
        return dict(dumped)
    return list(dumped) if isinstance(dumped, tuple) else dumped
