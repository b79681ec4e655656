"""What a server says of itself: its load, its memory, and how it is configured. Asked, never set (C19)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachewright.errors import StoreUnavailableError

if TYPE_CHECKING:
    from cachewright.runtime.stores.line import Command, Reply

#: `+info +config|get` beside the commands of the protocol; without them the facts are unknown.
QUESTIONS: tuple[Command, ...] = (
    ("INFO",),
    ("CONFIG", "GET", "maxmemory"),
    ("CONFIG", "GET", "maxmemory-policy"),
    ("CONFIG", "GET", "save"),
    ("CONFIG", "GET", "appendonly"),
)


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """One server. What it does not tell, or does not allow to be asked, is None."""

    version: str | None = None
    role: str | None = None
    uptime_seconds: int | None = None
    clients: int | None = None
    operations_per_second: int | None = None
    used_bytes: int | None = None
    maxmemory_bytes: int | None = None
    maxmemory_policy: str | None = None
    hits: int | None = None
    misses: int | None = None
    evicted: int | None = None
    expired: int | None = None
    save: str | None = None
    appendonly: bool | None = None
    cluster: bool | None = None

    @property
    def hit_rate(self) -> float | None:
        """Of all that use the server, not of us alone."""
        asked = (self.hits or 0) + (self.misses or 0)
        return None if self.hits is None or not asked else self.hits / asked


def facts_of(replies: Sequence[Reply]) -> ServerFacts:
    """The facts in the answers to `QUESTIONS`. Raises `StoreUnavailableError` where there are fewer."""
    if len(replies) != len(QUESTIONS):
        raise StoreUnavailableError("the server answered fewer questions than it was asked")
    info, *settings = replies
    said = _info(info)
    config = {name: value for reply in settings for name, value in _pairs(reply)}
    limit = config.get("maxmemory", said.get("maxmemory"))
    appendonly = config.get("appendonly")
    return ServerFacts(
        version=said.get("valkey_version") or said.get("redis_version"),
        role=said.get("role"),
        uptime_seconds=_whole(said.get("uptime_in_seconds")),
        clients=_whole(said.get("connected_clients")),
        operations_per_second=_whole(said.get("instantaneous_ops_per_sec")),
        used_bytes=_whole(said.get("used_memory")),
        maxmemory_bytes=_whole(limit),
        maxmemory_policy=config.get("maxmemory-policy", said.get("maxmemory_policy")),
        hits=_whole(said.get("keyspace_hits")),
        misses=_whole(said.get("keyspace_misses")),
        evicted=_whole(said.get("evicted_keys")),
        expired=_whole(said.get("expired_keys")),
        save=config.get("save"),
        appendonly=None if appendonly is None else appendonly == "yes",
        cluster=None if "cluster_enabled" not in said else said["cluster_enabled"] == "1",
    )


def _info(reply: Reply) -> Mapping[str, str]:
    if not isinstance(reply, bytes):
        return {}
    lines = (line.partition(":") for line in reply.decode("utf-8", "replace").splitlines())
    return {name: value.strip() for name, colon, value in lines if colon}


def _pairs(reply: Reply) -> list[tuple[str, str]]:
    if not isinstance(reply, list) or not all(isinstance(part, bytes) for part in reply):
        return []
    texts = [part.decode("utf-8", "replace") for part in reply]
    return list(zip(texts[::2], texts[1::2], strict=False))


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None
