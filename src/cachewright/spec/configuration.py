"""The stores: addresses, limits and timeouts. Read at run time, never applied to a server (C19)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from cachewright.spec.delivery import Cdn, Http
from cachewright.spec.section import (
    Ext,
    Flag,
    HostPort,
    Port,
    Positive,
    Section,
    Text,
    VariableName,
    Whole,
    Writes,
    reject,
)
from cachewright.spec.strategy import Algorithm

PersistenceStrategy = Literal["rdb", "aof", "none"]
Routing = Literal["hash_slots", "hash_tags", "proxy"]
MaxmemoryPolicy = Literal[
    "noeviction",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
]
CLUSTER_SLOTS = 16384


class Persistence(Section):
    """How the server keeps data on disk; compared with the server, never set."""

    enabled: Flag = False
    """Whether it does."""
    strategy: PersistenceStrategy = "none"
    """rdb snapshots, aof a log of commands."""
    save_interval_seconds: Positive | None = None
    """Seconds between snapshots."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.enabled and self.strategy == "none":
            raise reject(
                "persistence is enabled with strategy none",
                hint="choose rdb or aof, or set `enabled: false`",
                at=("strategy",),
            )
        return self


def _only_slots(value: int) -> int:
    if value != CLUSTER_SLOTS:
        raise reject(
            f"slots is {value}", hint=f"a Redis Cluster always has {CLUSTER_SLOTS} hash slots: leave it out"
        )
    return value


class Cluster(Section):
    """A Redis or Valkey Cluster."""

    enabled: Flag = False
    """Whether the server is a cluster."""
    slots: Annotated[
        int,
        Field(strict=True),
        AfterValidator(_only_slots),
        WithJsonSchema({"const": CLUSTER_SLOTS, "type": "integer"}),
    ] = CLUSTER_SLOTS
    """Always 16384 (C36)."""
    replicas: tuple[HostPort, ...] = ()
    """Addresses `host:port` of replicas."""
    nodes: Ext[tuple[HostPort, ...]] = ()
    """Addresses `host:port` of masters to start from."""
    routing: Ext[Routing] = "hash_tags"
    """hash_tags keeps one tenant's or user's keys in one slot; proxy has a single address."""


class Tls(Section):
    """An encrypted connection."""

    writes: ClassVar[Writes] = "changed"

    enabled: Ext[Flag] = False
    """Whether the connection is encrypted."""
    ca_file: Ext[Text | None] = None
    """The file of trusted authorities; the system's where null."""
    cert_file: Ext[Text | None] = None
    """The file of the client's certificate."""
    key_file: Ext[Text | None] = None
    """The file of the client's private key."""
    check_hostname: Ext[Flag] = True
    """Whether the certificate must name the host."""


class Sentinel(Section):
    """Sentinels that know the master."""

    writes: ClassVar[Writes] = "changed"

    service_name: Ext[Text]
    """The master's name."""
    nodes: Ext[Annotated[tuple[HostPort, ...], Field(min_length=1)]]
    """Addresses `host:port` of sentinels."""
    username: Ext[Text | None] = None
    """The user at the sentinels."""
    password_env_var: Ext[VariableName | None] = None
    """The variable that holds the sentinels' password."""


class ReplicaReads(Section):
    """Reads from replicas; off unless switched on, since they break read-your-writes (C37)."""

    writes: ClassVar[Writes] = "changed"

    enabled: Ext[Flag] = False
    """Whether replicas are read."""
    max_lag_ms: Ext[Positive | None] = None
    """Milliseconds a replica may lag."""

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.enabled and self.max_lag_ms is None:
            raise reject(
                "replica_reads needs max_lag_ms",
                hint="the bound on how stale an answer may be",
                at=("enabled",),
            )
        return self


class Redis(Section):
    """The Redis or Valkey server of level l2."""

    host: Text = "localhost"
    """The host's name or address."""
    port: Port = 6379
    """The port."""
    db_index: Whole = 0
    """The database; a cluster has only 0 (C36)."""
    password_env_var: VariableName | None = None
    """The NAME of the variable that holds the password; a secret never stands in a specification."""
    pool_size: Positive = 10
    """Connections kept open by one process."""
    socket_timeout_ms: Positive = 50
    """Milliseconds a command may take; then the application answers without the cache."""
    socket_connect_timeout_ms: Positive = 100
    """Milliseconds a connection may take."""
    max_connections: Positive = 50
    """The most connections of one process, at least pool_size."""
    retry_on_timeout: Flag = False
    """Whether a read is repeated after a timeout."""
    persistence: Persistence = Persistence()
    """How the server keeps data on disk."""
    cluster: Cluster = Cluster()
    """A cluster instead of a single server."""
    url_env_var: Ext[VariableName | None] = None
    """The NAME of the variable that holds the whole URL; it beats host, port and db_index (C38)."""
    username: Ext[Text | None] = None
    """The user (ACL)."""
    client_name: Ext[Text | None] = None
    """The name shown in the server's list of clients."""
    tls: Ext[Tls | None] = None
    """An encrypted connection."""
    sentinel: Ext[Sentinel | None] = None
    """Sentinels that know the master."""
    replica_reads: Ext[ReplicaReads | None] = None
    """Reads from replicas."""
    maxmemory_bytes: Ext[Positive | None] = None
    """The server's memory limit; compared with the server, never set (C19)."""
    maxmemory_policy: Ext[MaxmemoryPolicy | None] = None
    """The server's eviction policy; compared with the server, never set (C18)."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.cluster.enabled and self.db_index != 0:
            raise reject(f"db_index is {self.db_index}, but a cluster has only database 0", at=("db_index",))
        if self.cluster.enabled and self.sentinel is not None:
            raise reject("a server is a cluster or watched by sentinels, not both", at=("sentinel",))
        if self.max_connections < self.pool_size:
            raise reject(
                f"max_connections is {self.max_connections}, less than pool_size ({self.pool_size})",
                at=("max_connections" if "max_connections" in self.model_fields_set else "pool_size",),
            )
        return self


class MemoryCompression(Section):
    """Compression in memory. Null: as `cache_strategy.compression`, which wins (C20)."""

    enabled: Flag | None = None
    """Whether entries are compressed."""
    algorithm: Algorithm | None = None
    """snappy is fast, gzip is small."""
    min_size_bytes: Whole | None = None
    """The same fact as `threshold_bytes`."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.enabled and self.algorithm == "none":
            raise reject(
                "compression is enabled with algorithm none", hint="choose snappy or gzip", at=("algorithm",)
            )
        return self


class InMemory(Section):
    """The memory of level l1, for each process. Null: as `cache_strategy`, which wins (C20)."""

    max_items: Positive | None = None
    """The same fact as `eviction_policy.max_items`."""
    max_memory_mb: Positive | None = None
    """The same fact as `eviction_policy.max_memory_bytes`, in units of 1024 x 1024 bytes."""
    cleanup_interval_seconds: Positive = 60
    """Seconds between two removals of expired entries."""
    compression: MemoryCompression = MemoryCompression()
    """Compression in memory."""


class Configuration(Section):
    """The stores."""

    redis: Redis = Redis()
    """Level l2."""
    in_memory: InMemory = InMemory()
    """Level l1."""
    http: Ext[Http] = Http()
    """Headers of the cache's own."""
    cdn: Ext[Cdn] = Cdn()
    """Level l4."""
