"""How a function's results are cached: by its own words, or as a specification says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from cachewright.spec.semantics import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How loads are spared and what stands in for one that fails. Times are in seconds.

    Past `soft_ttl` an entry is served and loaded anew in the background; with `early` (1.0 is usual) that
    begins a little before, now and then, so that not all readers meet the end (XFetch). With `sliding_until`
    every read gives an entry another TTL, up to that age. For `stale_if_error` after its end an entry stands
    in for a load that failed; `stale_after_invalidation` allows that for one that was invalidated, too. None
    is cached for `negative_ttl` only, where that is given. `single_flight` says who waits for one load, and a
    load that fails is repeated `retries` times. Lifetimes vary by the share `jitter`.
    """

    soft_ttl: float | None = None
    early: float = 0.0
    sliding_until: float | None = None
    stale_if_error: float = 0.0
    stale_after_invalidation: bool = False
    negative_ttl: float | None = None
    single_flight: Literal["process", "fleet"] = "process"
    retries: int = 0
    jitter: float = 0.1

    @property
    def plain(self) -> bool:
        """Whether a hit is nothing but a hit: it causes no load."""
        return self.soft_ttl is None and self.early == 0.0

    def policy(self, ttl: float | None) -> Policy:
        """The policy of an entry that lives `ttl` seconds."""
        return Policy(
            ttl=ttl,
            identity_ttl=0.0,
            jitter=self.jitter,
            soft_ttl=self.soft_ttl,
            early=self.early,
            longest=self.sliding_until,
            stale_if_error=self.stale_if_error,
            stale_after_invalidation=self.stale_after_invalidation,
            negative_ttl=self.negative_ttl,
            single_flight=self.single_flight,
            retries=self.retries,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Specified:
    """One query or computed value of a specification, as functions that produce it need it."""

    name: str
    key: str | None
    tags: tuple[str, ...]
    ttl: float | None
    levels: tuple[str, ...]
    options: LoadOptions = field(default_factory=LoadOptions)
    on: bool = True
