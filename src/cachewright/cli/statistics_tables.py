"""The figures of a running application as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from cachewright.cli.tables import UNKNOWN, milliseconds, percent, table

_STYLES = {"healthy": "green", "degraded": "yellow", "down": "red"}


def figures(stats: Mapping[str, Any]) -> list[RenderableType]:
    """Everything that fits a screen: the state, the alarms, the targets."""
    shown: list[RenderableType] = [_state(stats), *(_alarm(alarm) for alarm in stats["alarms"])]
    return [*shown, "", _targets(stats["targets"])]


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
    style = "red" if alarm["severity"] == "critical" else "yellow"
    return Text(
        f"alarm {alarm['name']}: {alarm['value']:.4g} (threshold {alarm['threshold']:g}); see {alarm['runbook']}",
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


def _mean(durations: Mapping[str, Any]) -> float | None:
    return durations["seconds"] * 1000 / durations["count"] if durations["count"] else None
