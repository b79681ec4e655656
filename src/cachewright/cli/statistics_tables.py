"""The figures of a running application as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from cachewright.cli.tables import UNKNOWN, milliseconds, percent, table

_MOST_KEYS = 10
_STYLES = {"healthy": "green", "degraded": "yellow", "down": "red"}


def figures(stats: Mapping[str, Any]) -> list[RenderableType]:
    """Everything that fits a screen: the state, the alarms, the targets."""
    shown: list[RenderableType] = [_state(stats), *(_alarm(alarm) for alarm in stats["alarms"])]
    shown += ["", _targets(stats["targets"])]
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
    return said


def _alarm(alarm: Mapping[str, Any]) -> Text:
    from cachewright.runtime.alarms.sinks import figure

    style = "red" if alarm["severity"] == "critical" else "yellow"
    return Text(
        f"alarm {alarm['name']}: {figure(alarm['value'], alarm['unit'])}"
        f" (threshold {figure(alarm['threshold'], alarm['unit'])}); see {alarm['runbook']}",
        style=style,
    )


def _targets(targets: Mapping[str, Mapping[str, Any]]) -> RenderableType:
    numbers = ("lookups", "hit rate", "hit ms", "load ms", "fills", "not stored")
    made = table("", "target", *numbers, "most frequent miss", right=numbers)
    for name, own in sorted(targets.items(), key=lambda item: -item[1]["lookups"]):
        hits = sum(own["hits"].values())
        made.add_row(
            Text(name),
            f"{own['lookups']:,}",
            percent(hits / own["lookups"] if own["lookups"] else None),
            milliseconds(_mean(own["hit_seconds"])),
            milliseconds(_mean(own["load_seconds"])),
            f"{own['fills']:,}",
            f"{sum(own['refused'].values()):,}",
            max(own["misses"], key=own["misses"].__getitem__, default=UNKNOWN),
        )
    return made


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
