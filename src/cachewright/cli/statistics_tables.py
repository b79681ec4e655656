"""The figures of a running application as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from cachewright.cli.tables import UNKNOWN, milliseconds, percent, table, texts

_MOST_KEYS = 10
#: Columns from which on the names of targets have room beside all figures.
_WIDE = 110
_STYLES = {"healthy": "green", "degraded": "yellow", "down": "red"}


def figures(stats: Mapping[str, Any], width: int) -> list[RenderableType]:
    """Everything that fits a screen of so many columns: the state, the alarms, the targets."""
    shown: list[RenderableType] = [_state(stats), *(_alarm(alarm) for alarm in stats["alarms"])]
    if refusals := stats["counters"]["refusals"]:
        counts = ", ".join(f"{code} {count:,}" for code, count in sorted(refusals.items()))
        shown.append(Text(f"the server has refused commands: {counts}", style="yellow"))
    if off := sorted(
        {name for worker in stats["workers"] if worker["alive"] for name in worker["off"] or ()}
    ):
        shown.append(Text(f"switched off: {', '.join(off)}", style="yellow"))
    shown += ["", _targets(stats["targets"], whole=width >= _WIDE)]
    if stats["hot_keys"]:
        shown += ["", _hot_keys(stats["hot_keys"])]
    if stats["warming"] or stats["ahead"]:
        shown += ["", _warming(stats["warming"], stats["ahead"])]
    return shown


def _state(stats: Mapping[str, Any]) -> Text:
    metrics = stats["metrics"]
    performance, size, health = metrics["performance"], metrics["cache_size"], metrics["health"]
    alive = sum(1 for worker in stats["workers"] if worker["alive"])
    said = Text(f"{stats['namespace']}  ")
    said.append(health["cache_status"], style=_STYLES.get(health["cache_status"], ""))
    predicted = stats["forecast"]["hit_rate"]
    against = "" if predicted is None else f" (forecast {percent(predicted)})"
    said.append(
        f"  {alive} workers  hit rate {percent(performance['hit_rate'])}{against}"
        f"  hits {milliseconds(performance['avg_response_time_with_cache_ms'])} ms"
        f"  loads {milliseconds(performance['avg_response_time_without_cache_ms'])} ms"
        f"  memory {size['memory_used_bytes'] / 2**20:,.1f} of {size['max_memory_bytes'] / 2**20:,.0f} MiB"
        f" ({health['memory_pressure']})"
    )
    if health["connection_pool_status"] is not None:
        said.append(f"  connections {health['connection_pool_status']}")
    return said


def _alarm(alarm: Mapping[str, Any]) -> Text:
    from cachewright.runtime.alarms.sinks import figure

    style = "red" if alarm["severity"] == "critical" else "yellow"
    return Text(
        f"alarm {alarm['name']}: {figure(alarm['value'], alarm['unit'])}"
        f" (threshold {figure(alarm['threshold'], alarm['unit'])}); see {alarm['runbook']}",
        style=style,
    )


def _targets(targets: Mapping[str, Mapping[str, Any]], *, whole: bool) -> RenderableType:
    """The targets; what became of loads and misses too, where the `whole` of it fits beside their names."""
    numbers = ("lookups", "hit rate", "hit ms", "load ms")
    more = ("fills", "not stored", "most frequent miss") if whole else ()
    made = table("", "target", *numbers, *more, right=(*numbers, *more[:2]))
    for name, own in sorted(targets.items(), key=lambda item: -item[1]["lookups"]):
        hits = sum(own["hits"].values())
        cells = [
            f"{own['lookups']:,}",
            percent(hits / own["lookups"] if own["lookups"] else None),
            milliseconds(_mean(own["hit_seconds"])),
            milliseconds(_mean(own["load_seconds"])),
        ]
        if whole:
            cells += [
                f"{own['fills']:,}",
                f"{sum(own['refused'].values()):,}",
                max(own["misses"], key=own["misses"].__getitem__, default=UNKNOWN),
            ]
        made.add_row(Text(name), *cells)
    return made


def servers(found: Mapping[str, Any]) -> list[RenderableType]:
    """The servers, and where they differ from the specification."""
    numbers = ("memory MiB", "of MiB", "ops/s", "hit rate", "evicted", "clients")
    made = table("", "server", "policy", *numbers, right=numbers)
    for one in found["servers"]:
        made.add_row(
            Text(f"{one['role'] or UNKNOWN} {one['version'] or ''}".strip()),
            one["maxmemory_policy"] or UNKNOWN,
            _mebibytes(one["used_bytes"]),
            "unlimited" if one["maxmemory_bytes"] == 0 else _mebibytes(one["maxmemory_bytes"]),
            _number(one["operations_per_second"]),
            percent(one["hit_rate"]),
            _number(one["evicted"]),
            _number(one["clients"]),
        )
    rows = ((one["field"], str(one["specified"]), str(one["found"]), one["advice"]) for one in found["drift"])
    differs = texts("Differs from the specification", ("field", "specified", "found", "advice"), rows)
    return [made, "", differs] if found["drift"] else [made]


def targets(found: Iterable[Mapping[str, Any]]) -> RenderableType:
    """What is cached, and what is switched off or cannot be."""
    made = table("", "target", "scope", "levels", "ttl s", "state", right=("ttl s",))
    for one in found:
        state = "switched off" if one["switched_off"] else one["problem"] or one["mode"]
        ttl = UNKNOWN if one["ttl_seconds"] is None else f"{one['ttl_seconds']:,.0f}"
        made.add_row(Text(one["name"]), one["scope"], ", ".join(one["levels"]), ttl, Text(state))
    return made


def _mebibytes(count: int | None) -> str:
    return UNKNOWN if count is None else f"{count / 2**20:,.1f}"


def _number(count: int | None) -> str:
    return UNKNOWN if count is None else f"{count:,}"


def _hot_keys(keys: Sequence[Mapping[str, Any]]) -> RenderableType:
    made = table("", "hot key", "target", "of all lookups", right=("of all lookups",))
    for one in keys[:_MOST_KEYS]:
        made.add_row(Text(one["key"], overflow="fold"), Text(one["target"]), percent(one["share"]))
    return made


def _warming(jobs: Iterable[Mapping[str, Any]], ahead: Iterable[Mapping[str, Any]]) -> RenderableType:
    made = table("", "warming", "state", "loaded", "failed", "", right=("loaded", "failed"))
    for job in jobs:
        said = "; ".join(job["problems"])
        if job["state"] == "running" and job["eta_seconds"] is not None:
            said = f"{job['rate']:.1f} /s, {job['eta_seconds']:.0f} s left"
        made.add_row(
            job["job"], job["state"], f"{job['done']:,} of {job['total']:,}", f"{job['failed']:,}", Text(said)
        )
    for one in ahead:
        gained = "gain not measured yet" if one["gained"] is None else f"{one['gained']:,.0f} hits gained"
        said = f"{gained} by {one['loads']:,} loads lately"
        made.add_row(one["name"], one["state"], f"{one['total']:,}", "", Text(said))
    return made


def _mean(durations: Mapping[str, Any]) -> float | None:
    return durations["seconds"] * 1000 / durations["count"] if durations["count"] else None
