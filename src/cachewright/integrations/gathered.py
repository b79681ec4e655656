"""The figures of all workers of one machine, added up from the files that they write."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cachewright.runtime.figures import Gauges, Status
from cachewright.runtime.stats import merge

_WORST: Sequence[Status] = ("healthy", "degraded", "down")


def worker_figures(directory: Path | None, own: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The figures of every worker that ever wrote to `directory`, `own` ones fresh; `alive` says who still runs."""
    found: list[Mapping[str, Any]] = [{**own, "pid": os.getpid(), "alive": True}]
    if directory is not None:
        found.extend(_others(directory))
    return sorted(found, key=lambda figures: int(figures["pid"]))


def _others(directory: Path) -> Iterator[Mapping[str, Any]]:
    for path in directory.glob("*.json"):
        if not path.stem.isdigit() or int(path.stem) == os.getpid():
            continue
        try:
            figures = json.loads(path.read_text())
        except (OSError, ValueError):  # being removed, or not of ours
            continue
        if isinstance(figures, dict) and {"cache", "targets"} <= figures.keys():
            yield {**figures, "pid": int(path.stem), "alive": _runs(int(path.stem))}


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def hot_keys(workers: Sequence[Mapping[str, Any]], most: int = 20) -> list[dict[str, Any]]:
    """The keys that are asked for most, over the workers that run: each has its share of what all were asked."""
    running = [one for one in workers if one["alive"] and one.get("hot_keys")]
    whole = sum(one["hot_lookups"] for one in running)
    found: dict[str, dict[str, Any]] = {}
    for one in running:
        for hot in one["hot_keys"]:
            kept = found.setdefault(hot["key"], {"key": hot["key"], "target": hot["target"], "share": 0.0})
            kept["share"] += hot["share"] * one["hot_lookups"] / whole
    hottest = sorted(found.values(), key=lambda hot: (-hot["share"], hot["key"]))[:most]
    return [{**hot, "share": round(hot["share"], 4)} for hot in hottest]


def ahead(workers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What loading ahead cost and brought in the workers that run; it rests where it rests in all of them."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for one in workers:
        for account in one.get("ahead", ()) if one["alive"] else ():
            found.setdefault(account["name"], []).append(account)
    return [
        {
            "name": name,
            "state": "running" if any(one["state"] == "running" for one in accounts) else "resting",
            **{what: sum(one[what] for one in accounts) for what in ("total", "refused", "loads")},
            "gained": _sum_of_known(one["gained"] for one in accounts),
        }
        for name, accounts in sorted(found.items())
    ]


def _sum_of_known(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def together(workers: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], Gauges]:
    """What all of them counted, in the shape of one snapshot, and the gauges of those that run."""
    counted = merge([{**one["cache"], "targets": one["targets"]} for one in workers])
    gauges = [Gauges(**one["gauges"]) for one in workers if one["alive"] and "gauges" in one]
    return counted, Gauges(
        items=sum(one.items for one in gauges),
        bytes=sum(one.bytes for one in gauges),
        max_items=sum(one.max_items for one in gauges),
        max_bytes=sum(one.max_bytes for one in gauges),
        open_lines=sum(one.open_lines for one in gauges),
        lines=sum(one.lines for one in gauges),
        status=max((one.status for one in gauges), key=_WORST.index, default="down"),
    )
