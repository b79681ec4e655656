"""How servers and process differ from what the specification says of them. Told, never changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cachewright.runtime.settings import Settings
from cachewright.runtime.stores.facts import ServerFacts
from cachewright.spec.configuration import Redis

_EVICTS = (
    "Unlimited memory ends with the machine's: set maxmemory and allkeys-lru or allkeys-lfu on the server."
)


@dataclass(frozen=True, slots=True)
class Drift:
    """A field of the specification, what it says, what was found, and what that means."""

    field: str
    specified: Any
    found: Any
    advice: str


def drift_of(redis: Redis, settings: Settings, servers: Sequence[ServerFacts]) -> list[Drift]:
    """What differs. What a server does not tell is no difference."""
    return [*_process(redis, settings), *(one for facts in servers for one in _server(redis, facts))]


def _process(redis: Redis, settings: Settings) -> Iterator[Drift]:
    for field, specified, found in (
        ("socket_timeout_ms", redis.socket_timeout_ms, round(settings.read_timeout * 1000)),
        (
            "socket_connect_timeout_ms",
            redis.socket_connect_timeout_ms,
            round(settings.connect_timeout * 1000),
        ),
        ("max_connections", redis.max_connections, settings.max_connections),
    ):
        if specified != found:
            yield Drift(_place(field), specified, found, "This process was started with other settings.")


def _server(redis: Redis, facts: ServerFacts) -> Iterator[Drift]:
    policy, limit = facts.maxmemory_policy, facts.maxmemory_bytes
    if redis.maxmemory_policy is not None and policy not in (None, redis.maxmemory_policy):
        yield Drift(
            _place("maxmemory_policy"), redis.maxmemory_policy, policy, "Another policy evicts other entries."
        )
    if redis.maxmemory_bytes is not None and limit not in (None, redis.maxmemory_bytes):
        yield Drift(
            _place("maxmemory_bytes"),
            redis.maxmemory_bytes,
            limit or "unlimited",
            "The forecast of hits was made for another size.",
        )
    if limit == 0 and redis.maxmemory_bytes is None:
        yield Drift(_place("maxmemory_bytes"), None, "unlimited", _EVICTS)
    if limit and policy == "noeviction" and redis.maxmemory_policy is None:
        yield Drift(
            _place("maxmemory_policy"),
            None,
            policy,
            "A full server refuses to store; invalidations still work.",
        )
    if facts.cluster is not None and facts.cluster is not redis.cluster.enabled:
        yield Drift(
            _place("cluster.enabled"), redis.cluster.enabled, facts.cluster, "Keys are placed otherwise."
        )
    yield from _persistence(redis, facts)


def _persistence(redis: Redis, facts: ServerFacts) -> Iterator[Drift]:
    if facts.save is None or facts.appendonly is None:
        return
    found = "aof" if facts.appendonly else "rdb" if facts.save else "none"
    specified = redis.persistence.strategy if redis.persistence.enabled else "none"
    if found != specified:
        yield Drift(
            _place("persistence.strategy"),
            specified,
            found,
            "A server that comes back with an old file knows old tokens; they are replaced when it is noticed.",
        )


def _place(field: str) -> str:
    return f"configuration.redis.{field}"
