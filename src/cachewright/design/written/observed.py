"""What was observed of a cache that runs, or of its database, and what follows for a design."""

from __future__ import annotations

from cachewright.design.result import Decision
from cachewright.design.written.choices import Said
from cachewright.request.model import AskedStrategy, Inputs, ttl_of
from cachewright.spec.observing import Metrics
from cachewright.spec.strategy import CacheStrategy

#: From this share on memory counts as full: more, not as much (#22).
CROWDED = 0.8
#: Under this hit rate a cache is looked into (#21).
LOW = 0.5
_SHORTEST = 60


def relieved(strategy: CacheStrategy, inputs: Inputs, said: Said) -> CacheStrategy:
    """`strategy` with the mildest change that needs less memory, where memory was seen to be full.

    What the request itself says of compression and lifetimes stays. One step at a time: its effect is measured
    before the next.
    """
    observed = inputs.observed
    if observed is None:
        return strategy
    _doubt_hits(observed, said)
    full = _fullness(observed, strategy)
    if full is None:
        return strategy
    plain = strategy.model_dump()
    asked = inputs.cache_strategy or AskedStrategy()
    seconds = strategy.ttl.duration_seconds
    if not strategy.compression.enabled and asked.compression is None and asked.compression_enabled is None:
        algorithm = plain["compression"]["algorithm"]
        compression = {"enabled": True, "algorithm": "gzip" if algorithm == "none" else algorithm}
        plain["compression"] = {**plain["compression"], **compression}
        choice, why = "compression: enabled", "Compressed entries need less of it"
    elif seconds is not None and seconds > _SHORTEST and ttl_of(inputs.cache_strategy) is None:
        shorter = max(_SHORTEST, seconds // 2)
        plain["ttl"] = {**_within(plain["ttl"], shorter), "duration_seconds": shorter}
        choice, why = f"ttl: {shorter} s", f"Entries that live {shorter} s instead of {seconds} s are fewer"
    else:
        said.warnings.append(
            f"{full}, and lifetimes and compression are as small as they get: give more room, or cache less."
        )
        return strategy
    said.decisions.append(Decision("cache_strategy", choice, f"{full}. {why}; measure before the next step."))
    return CacheStrategy.model_validate(plain)


def _within(ttl: dict[str, object], longest: int) -> dict[str, object]:
    """The other lifetimes, none of them past the new one."""
    soft = ttl.get("soft_duration_seconds")
    return {**ttl, "soft_duration_seconds": min(soft, longest - 1)} if isinstance(soft, int) else ttl


def _fullness(observed: Metrics, strategy: CacheStrategy) -> str | None:
    """How full memory was seen to be, None where there is room."""
    size, pressure = observed.cache_size, observed.health.memory_pressure
    most = size.max_memory_bytes or strategy.eviction_policy.max_memory_bytes
    if size.memory_used_bytes is not None and most and size.memory_used_bytes > CROWDED * most:
        return f"{size.memory_used_bytes / most:.0%} of {most} bytes were seen in use"
    if pressure in ("high", "critical"):
        return f"Memory pressure was seen to be {pressure}"
    return None


def _doubt_hits(observed: Metrics, said: Said) -> None:
    rate = observed.performance.hit_rate
    if rate is not None and rate < LOW:
        said.warnings.append(
            f"A hit rate of {rate:.0%} was observed, under one half: `cachewright review` says which targets miss and "
            "why, and a recording which are worth it."
        )
