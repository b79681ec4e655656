"""The store behind a URL: one server, sentinels that name it, or a cluster.

`redis://` and `rediss://` (also `valkey://`, `valkeys://`, `unix://`) name one server, or one of a cluster: it tells.
`redis+sentinel://host:port,host:port/service` names sentinels; user and password before them are those of the
servers, `?sentinel_username=` and `?sentinel_password=` those of the sentinels, `?db=` the database.
`redis+cluster://host:port,host:port` names some servers of a cluster. `rediss+…` speaks TLS to all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from urllib.parse import parse_qsl, urlencode, urlsplit

from cachewright.errors import SurroundingsError
from cachewright.runtime.settings import Clock, Settings
from cachewright.runtime.stats import Stats
from cachewright.runtime.stores.cluster import Cluster
from cachewright.runtime.stores.connection import Wire
from cachewright.runtime.stores.redis import RedisStore
from cachewright.runtime.stores.sentinel import Sentinels
from cachewright.runtime.stores.servers import OneServer, Servers
from cachewright.runtime.tokens import Mint

Address = tuple[str, int]

_PORTS = {"": 6379, "cluster": 6379, "sentinel": 26379}
_HINT = (
    "redis://host:port/db, rediss:// for TLS, unix:///path, "
    "redis+sentinel://host:port,host:port/service, or redis+cluster://host:port,host:port"
)


@dataclass(frozen=True, slots=True)
class Location:
    """What a URL says. `kind` is `sentinel`, `cluster`, or empty for one server, whose URL is `plain`."""

    kind: str
    plain: str
    scheme: str
    user: str
    addresses: tuple[Address, ...]
    service: str
    query: tuple[tuple[str, str], ...]

    def url(self, host: str, port: int) -> str:
        """The URL of one server at this address, with the credentials and options of this one."""
        return self._url(self.user, host, port, [pair for pair in self.query if not _is_sentinels(pair[0])])

    def sentinel_url(self, host: str, port: int) -> str:
        """The URL of one sentinel."""
        own = {name.removeprefix("sentinel_"): value for name, value in self.query if _is_sentinels(name)}
        shared = [(name, value) for name, value in self.query if name.startswith("ssl_")]
        return self._url("", host, port, [*shared, *own.items()])

    def _url(self, user: str, host: str, port: int, query: list[tuple[str, str]]) -> str:
        place = f"[{host}]" if ":" in host else host
        asked = f"?{urlencode(query)}" if query else ""
        return f"{self.scheme}://{user}{place}:{port}{asked}"


def _is_sentinels(name: str) -> bool:
    return name.startswith("sentinel_")


def locate(url: str) -> Location:
    """Read a URL. Raises `SurroundingsError`, which never shows its password."""
    scheme, _, kind = url.partition("://")[0].partition("+")
    scheme = {"valkey": "redis", "valkeys": "rediss"}.get(scheme, scheme)
    if scheme not in {"redis", "rediss", "unix"} or kind not in _PORTS or (kind and scheme == "unix"):
        raise _unknown(url)
    rest = url.partition("://")[2]
    user, at, netloc = rest.partition("/")[0].partition("?")[0].rpartition("@")
    addresses: tuple[Address, ...] = ()
    try:
        parts = urlsplit(f"{scheme}://host/{rest.partition('/')[2]}" if "/" in rest else f"{scheme}://{rest}")
        if scheme != "unix":
            addresses = tuple(_address(each, _PORTS[kind]) for each in netloc.split(",") if each)
    except ValueError as error:
        raise _unknown(url) from error
    service = parts.path.strip("/")
    if (kind == "sentinel" and not service) or (kind and not addresses):
        raise _unknown(url)
    return Location(
        kind, f"{scheme}://{rest}", scheme, user + at, addresses, service, tuple(parse_qsl(parts.query))
    )


def _address(text: str, port: int) -> Address:
    parts = urlsplit(f"//{text}")
    if parts.hostname is None:
        raise ValueError(text)
    return parts.hostname, parts.port or port


def _unknown(url: str) -> SurroundingsError:
    return SurroundingsError(f"{shown(url)} is not the address of a Redis", hint=_HINT)


def shown(url: str) -> str:
    """`url` without user name, password and options."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"


def connect(
    url: str,
    namespace: str,
    settings: Settings,
    *,
    origin: bytes,
    clock: Clock,
    stats: Stats,
    mint: Mint,
) -> RedisStore:
    """A store of `namespace` on the servers of `url`, for the running event loop; nothing is sent yet.

    `origin` names this process on the bus, `clock` is boot time (s), `mint` makes tokens. Raises
    `SurroundingsError` for a URL that is none, or where a package is missing.
    """
    if find_spec("hiredis") is None:
        raise SurroundingsError("hiredis is not installed", hint="pip install 'cachewright[redis]'")
    place = locate(url)
    try:
        servers = servers_of(
            place, lambda one: Wire(one, settings, clock=clock, stats=stats), settings, clock
        )
    except ValueError as error:
        raise _unknown(url) from error
    return RedisStore(servers, namespace, settings, origin=origin, clock=clock, stats=stats, mint=mint)


def servers_of(place: Location, wire: Callable[[str], Wire], settings: Settings, clock: Clock) -> Servers:
    """The servers at `place`; `wire` makes the line to one URL."""

    def cluster() -> Servers:
        return Cluster(
            place.addresses,
            lambda host, port: wire(place.url(host, port)),
            clock=clock,
            interval=settings.topology_interval,
        )

    match place.kind:
        case "cluster":
            return cluster()
        case "sentinel":
            return Sentinels(
                place.service,
                [wire(place.sentinel_url(*address)) for address in place.addresses],
                lambda host, port: wire(place.url(host, port)),
                settings=settings,
                clock=clock,
            )
        case _:
            return OneServer(wire(place.plain), cluster, interval=settings.topology_interval)
