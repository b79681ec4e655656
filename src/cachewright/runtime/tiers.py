"""What a specification says of tiers: who leaves memory first, how much a target may hold, when there are files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cachewright.runtime.settings import Bounds, Settings
from cachewright.spec.model import CachingSpecification
from cachewright.spec.target import levels_of, target_name


def with_tiers(settings: Settings, spec: CachingSpecification, files: Path | None = None) -> Settings:
    """`settings` with the eviction, the sweep and the files of `spec`.

    The files stand in `files`, by default in the user's directory for caches, and only where a target asks for l3.
    """
    levels = {level for item in (None, *spec.cache_targets) for level in levels_of(spec, item)}
    return replace(
        settings,
        l1_eviction=spec.cache_strategy.eviction_policy.type,
        l1_targets=dict(_bounds(settings, spec)),
        sweep_interval=float(spec.configuration.in_memory.cleanup_interval_seconds),
        l3_dir=(files or _cache_directory()) if "l3" in levels else None,
    )


def _bounds(settings: Settings, spec: CachingSpecification) -> Iterator[tuple[str, Bounds]]:
    """The targets that say something of their own on eviction; what they leave open is as for all."""
    for item in spec.cache_targets:
        if item.strategy is not None and item.strategy.eviction_policy is not None:
            own = spec.strategy_of(item).eviction_policy
            items, size = own.max_items or settings.l1_items, own.max_memory_bytes or settings.l1_bytes
            yield target_name(item), Bounds(items, size, own.type)


def _cache_directory() -> Path:
    """Where programs of this user keep what can be made again (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cachewright"
