"""The cache as code uses it: values by key, with tags; the same engine that serves endpoints."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, overload

from cachewright.errors import UsageError
from cachewright.runtime.access import KEYS, Access
from cachewright.runtime.decorated import calls_of, decorate
from cachewright.runtime.deletion import erase, of_tenant, of_user
from cachewright.runtime.engine import Engine
from cachewright.runtime.figures import CacheStats, Health, Sampler, check_health
from cachewright.runtime.home import Home
from cachewright.runtime.journal import state_directory
from cachewright.runtime.loads import UNSET, Loads, Unset
from cachewright.runtime.missing import MISSING, Missing
from cachewright.runtime.naming import Name, collection, lifetime, safe
from cachewright.runtime.options import LoadOptions, Specified
from cachewright.runtime.settings import Settings
from cachewright.spec.keys import UnboundFieldError
from cachewright.spec.tags import NAMESPACE_TAG

if TYPE_CHECKING:
    from cachewright.runtime.bulkhead import Bulkhead
    from cachewright.runtime.server import Server
    from cachewright.runtime.strategies.plans import Plan
    from cachewright.runtime.strategies.resource import Resource
    from cachewright.runtime.strategies.source import Delete, Load, Store
    from cachewright.runtime.strategies.versions import Versions
    from cachewright.spec.document import Document

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")
P = ParamSpec("P")

_LEVELS = ("l1", "l2")
_OPTIONS = LoadOptions()
_NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
#: Servers that can say, alone, in which order the writes of all processes were.
_ONE_SERVER = ("redis://", "rediss://", "unix://")

Ttl = float | Unset | None


class Cache:
    """Values by key, in the memory of this process and in a Redis or Valkey that processes share.

    `redis_url` is that server; without one, entries live in this process alone, and then it must be the only
    worker. `namespace` keeps applications apart on one server. `ttl` (s, None for no expiry) is that of
    entries for which none is given. With `isolation`, a key whose leading segments name a tenant or a user is
    used on behalf of that `principal` only. `secret`, the same for the whole fleet, keys the digests of stored
    entries; `pattern` is the strategy of resources that name none.

    Nothing is connected before the first await, or `async with`. A server that is away makes misses, never
    errors: what fails loudly is an invalidation that could not be delivered. It waits in a file, in the state
    directory of this user or in the `journal_dir` of `settings`, and is delivered later, if need be by another process.
    """

    def __init__(
        self,
        redis_url: str | None = None,
        *,
        namespace: str = "cachewright",
        ttl: float | None = 300.0,
        levels: tuple[str, ...] = _LEVELS,
        isolation: bool = False,
        settings: Settings | None = None,
        secret: bytes = b"",
        bulkhead: Bulkhead | None = None,
        pattern: str = "cache_aside",
        targets: Mapping[str, Specified] | None = None,
    ) -> None:
        if not isinstance(namespace, str) or _NAMESPACE.fullmatch(namespace) is None:
            raise UsageError(
                f"{namespace!r} is no namespace", hint="use letters, digits, `_`, `.` and `-`, as in `shop`"
            )
        self._ttl = lifetime(ttl)
        self._targets = dict(targets or {})
        own = Settings(journal_dir=state_directory()) if settings is None else settings
        self._engine = Engine(namespace, redis_url=redis_url, settings=own, secret=secret)
        self._home = Home(self._engine)
        self._access = Access(
            self._engine,
            Loads(self._engine, bulkhead=bulkhead),
            levels={KEYS: levels, **{name: target.levels for name, target in self._targets.items()}},
            isolation=isolation,
        )
        self._sampler = Sampler()
        self._pattern: Plan | str = pattern
        self._resources: list[Resource[Any, Any]] = []
        self._url = redis_url
        self._order: Server | None = None

    @classmethod
    def from_spec(
        cls,
        spec: Path | str | Document,
        redis_url: str | None = None,
        *,
        workers: int = 1,
        isolation: bool | None = None,
        secret: bytes = b"",
        bulkhead: Bulkhead | None = None,
    ) -> Self:
        """A cache as the specification (a file, or one that was read) says.

        Its namespace, default TTL, levels, sizes and timeouts are those of the specification, and
        `cached(target=NAME)` takes key, tags and TTL of the query or computed value of that name. `isolation`
        is on where the specification declares tenants or users, unless it is given. Raises `SpecError`.
        """
        from cachewright.runtime.specified import isolated, settings_of, specified
        from cachewright.spec.document import Document, load_spec
        from cachewright.spec.target import levels_of

        document = spec if isinstance(spec, Document) else load_spec(spec)
        said = document.spec
        return cls(
            redis_url,
            namespace=said.namespace,
            ttl=said.cache_strategy.ttl.duration_seconds,
            levels=levels_of(said, None),
            isolation=isolated(said) if isolation is None else isolation,
            settings=settings_of(said, workers=workers),
            secret=secret,
            bulkhead=bulkhead,
            pattern=said.cache_strategy.pattern,
            targets=specified(document),
        )

    @property
    def home(self) -> Home:
        """Where it lives."""
        return self._home

    @property
    def engine(self) -> Engine:
        """The core it stands on."""
        return self._engine

    async def __aenter__(self) -> Self:
        self._home.open()
        await self._home.run(_nothing)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Finish deliveries under way, in bounded time, and let go of every connection. May be called again."""
        for resource in self._resources:
            await resource.aclose()
        if self._order is not None:
            await self._order.aclose()
        await self._home.aclose()

    def peek(self, key: str, type_: Any = Any) -> Any | Missing:
        """What this process may answer without asking anybody, in any thread; `MISSING` says nothing of the rest."""
        return self._access.peek(self._access.asked(key), self._access.codec(type_))

    @overload
    async def get(self, key: str) -> Any: ...
    @overload
    async def get(self, key: str, type_: type[T]) -> T | Missing: ...
    @overload
    async def get(self, key: str, type_: Any) -> Any: ...
    async def get(self, key: str, type_: Any = Any) -> Any:
        """The value of `key`, `MISSING` where there is none.

        `type_` is what it was stored as; values of a class come back as that only where it is named. The value
        belongs to the caller. Raises `UsageError`, and `IsolationError` where the principal may not read it.
        """
        access = self._access
        asked, codec = access.asked(key), access.codec(type_)
        found = access.peek(asked, codec)
        if found is not MISSING:
            return found
        return await self._home.run(lambda: access.read(asked, codec))

    async def get_many(self, keys: Collection[str], type_: Any = Any) -> dict[str, Any]:
        """The values of those of `keys` that have one, in few round trips."""
        access = self._access
        wanted = tuple(dict.fromkeys(keys))
        asked, codec = [access.asked(key) for key in wanted], access.codec(type_)
        found = {key: access.peek(one, codec) for key, one in zip(wanted, asked, strict=True)}
        left = [one for key, one in zip(wanted, asked, strict=True) if found[key] is MISSING]
        if left:
            names = [key for key in wanted if found[key] is MISSING]
            values = await self._home.run(lambda: access.read_many(left, codec))
            found.update(zip(names, values, strict=True))
        return {key: value for key, value in found.items() if value is not MISSING}

    async def set(
        self, key: str, value: Any, *, ttl: Ttl = UNSET, tags: Collection[str] = (), type_: Any = UNSET
    ) -> bool:
        """Store `value` for `ttl` seconds (None: no expiry), and whether it was stored.

        Loads of `key` that began before are never served afterwards. `tags` are further names by which the
        entry can be invalidated. `type_` is the value's class unless it is given; values that hold instances of
        classes need it (`list[Task]`). It is not stored while the server is away, nor over the bounds of `Settings`.
        Raises `ValueRefusedError` for a value that its type cannot hold.
        """
        return await self.set_many({key: value}, ttl=ttl, tags=tags, type_=type_) == 1

    async def set_many(
        self,
        entries: Mapping[str, Any],
        *,
        ttl: Ttl = UNSET,
        tags: Collection[str] = (),
        type_: Any = UNSET,
    ) -> int:
        """Store several values, all of them with `ttl` and `tags`; how many were stored."""
        access, seconds = self._access, self._seconds(ttl)
        asked = [(access.asked(key, tags), access.encode(value, type_)) for key, value in entries.items()]
        return await self._home.run(lambda: access.store(asked, seconds)) if asked else 0

    async def delete(self, *keys: str) -> int:
        """Invalidate these keys, everywhere; how many of them were in use.

        Raises `InvalidationPendingError` where that could not be delivered: it is kept and repeated.
        """
        return await self._changed([self._access.asked(key).name.tag for key in keys])

    @overload
    async def get_or_load(
        self,
        key: str,
        load: Callable[[], Awaitable[T]],
        *,
        ttl: Ttl = UNSET,
        tags: Collection[str] = (),
        type_: Any = Any,
        options: LoadOptions = _OPTIONS,
    ) -> T: ...
    @overload
    async def get_or_load(
        self,
        key: str,
        load: Callable[[], T],
        *,
        ttl: Ttl = UNSET,
        tags: Collection[str] = (),
        type_: Any = Any,
        options: LoadOptions = _OPTIONS,
    ) -> T: ...
    async def get_or_load(
        self,
        key: str,
        load: Callable[[], Any],
        *,
        ttl: Ttl = UNSET,
        tags: Collection[str] = (),
        type_: Any = Any,
        options: LoadOptions = _OPTIONS,
    ) -> Any:
        """The value of `key`; where there is none, what `load` returns or its awaitable brings.

        Callers that miss at the same time wait for one load. Once an invalidation of one of `tags` has
        returned, nothing that was loaded before it is served again. A first answer is the same as a later one:
        what the value's type holds. What `load` raises is raised here, and never cached.
        """
        access, seconds = self._access, self._seconds(ttl)
        asked, codec = access.asked(key, tags), access.codec(type_)
        if options.plain:
            found = access.peek(asked, codec)
            if found is not MISSING:
                return found
        policy = options.policy(seconds)
        return await self._home.run_loading(
            lambda ask: access.load(asked, policy, codec, ask), lambda: _result(load)
        )

    async def invalidate(self, *tags: str) -> int:
        """Invalidate whatever holds one of `tags`, in every process; how many tags were in use.

        Tags are those given to entries, those of a specification (`tasks(user_id=7)`, `tasks`), and the scopes
        that keys begin with (`user:7`). Raises `InvalidationPendingError` where it could not be delivered: it
        is kept and repeated, and this process leaves these tags alone meanwhile.
        """
        return await self._changed([safe(tag, "tag") for tag in tags])

    async def invalidate_pattern(self, pattern: str) -> int:
        """Invalidate what belongs to a tenant, a user, or a resource of one of them: `user:7:tasks:*`.

        Nothing is searched: those are tags that such keys hold. Raises `UsageError` for any other shape.
        """
        name = collection(pattern)
        self._access.admit(name)
        return await self._changed([name.key])

    async def invalidate_all(self) -> int:
        """Invalidate every entry of this namespace, and nothing else on the server."""
        return await self._changed([NAMESPACE_TAG])

    async def delete_tenant(self, tenant: object, *, physically: bool = False) -> int:
        """Make whatever belongs to a tenant unreachable, users' entries included; how many tags were in use.

        With `physically` its keys are removed from the server, too, and the result is their number: SCAN and
        UNLINK of exactly its prefixes. For administrators: the principal is not asked.
        """
        return await self._forget(of_tenant(tenant), physically=physically)

    async def delete_user(
        self, user: object, *, tenant: object | None = None, physically: bool = False
    ) -> int:
        """As `delete_tenant`, for a user; with `tenant` for that tenant's user of this id, and no other."""
        return await self._forget(of_user(user, tenant), physically=physically)

    async def _forget(self, name: Name, *, physically: bool) -> int:
        changed = await self._changed([name.key])
        if not physically:
            return changed
        return await self._home.run(lambda: erase(self._engine, name.key))

    async def _changed(self, tags: Collection[str]) -> int:
        return await self._home.run(lambda: self._access.change(tags)) if tags else 0

    async def get_stats(self) -> CacheStats:
        """What was measured in this process, in the shape of a specification's `metrics`; unknown is None."""
        return self._sampler.sample(self._engine)

    async def health(self) -> Health:
        """Whether the cache answers now, and how fast; asks the server once."""
        return await self._home.run(lambda: check_health(self._engine))

    def cached(
        self,
        ttl_seconds: Ttl = UNSET,
        *,
        key: str | None = None,
        tags: Collection[str] = (),
        type_: Any = UNSET,
        target: str | None = None,
        options: LoadOptions | None = None,
    ) -> Callable[[Callable[P, T]], Callable[P, T]]:
        """Cache what a function returns, `async def` or `def`, under a key of its parameters.

        `key` is a pattern over them, such as `"perm:{tenant}:{user.id}"`; without one all of them are the key.
        `tags` may hold them too. `{tenant_id}` and `{user_id}` are the principal's where the function has no
        such parameters. A part without a value of its own, such as a session, is refused by name. `type_` is
        the function's return annotation unless it is given. `target` names a query or computed value of the
        specification, which then says what is not said here.

        A `def` function answers from this process's memory at once; what it misses is looked up by the loop of
        the cache and loaded in the calling thread. Called on a running event loop, it never blocks it: there
        it loads without the cache. Raises `UsageError`.
        """
        said = self._target(target)
        own = replace(
            said,
            key=said.key if key is None else key,
            tags=tuple(tags) or said.tags,
            ttl=said.ttl if isinstance(ttl_seconds, Unset) else lifetime(ttl_seconds),
            options=options or said.options,
        )
        return lambda function: decorate(function, own, type_, self._access, self._home)

    def key_of(self, function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> str:
        """The key under which a decorated function caches this call, to `delete` it, say.

        Raises `UsageError` where it is not decorated, or the call has no key.
        """
        try:
            return calls_of(function).keys.bind(args, kwargs)[0]
        except UnboundFieldError as error:
            raise UsageError(f"the call has no key: `{error.field}` is not known") from None

    def resource(
        self,
        name: str,
        *,
        load: Load[K, V],
        store: Store | None = None,
        delete: Delete | None = None,
        strategy: Plan | str | None = None,
        ttl: Ttl = UNSET,
        **options: Any,
    ) -> Resource[K, V]:
        """What the application loads, stores and deletes by key, by one of the four strategies: see `Resource`.

        `strategy` is the specification's where it is not given, else cache_aside. `options` are the other ones
        of `Resource`. It is closed, and stores what waits, when this cache is.
        """
        from cachewright.runtime.strategies.resource import Resource

        options.setdefault("versions", self._versions())
        made: Resource[K, V] = Resource(
            self,
            name,
            load=load,
            store=store,
            delete=delete,
            strategy=self._pattern if strategy is None else strategy,
            ttl=self._seconds(ttl),
            namespace=self._engine.namespace,
            admit=self._access.asked,
            **options,
        )
        self._resources.append(made)
        return made

    def _versions(self) -> Versions | None:
        """The order of writes of all processes, on the server that they share; None for that of this one."""
        from cachewright.runtime.server import Server
        from cachewright.runtime.strategies.versions import SharedVersions

        if self._url is None or not self._url.startswith(_ONE_SERVER):
            return None
        if self._order is None:
            settings = self._engine.settings
            self._order = Server(self._url, timeout=settings.connect_timeout + settings.read_timeout)
        return SharedVersions(self._order.send, f"{self._engine.namespace}:versions:")

    def _target(self, target: str | None) -> Specified:
        if target is None:
            return Specified(name="", key=None, tags=(), ttl=self._ttl, levels=())
        try:
            return self._targets[target]
        except KeyError:
            known = ", ".join(sorted(self._targets)) or "none"
            raise UsageError(
                f"the specification has no query or computed value {target!r}", hint=f"it names: {known}"
            ) from None

    def _seconds(self, ttl: Ttl) -> float | None:
        return self._ttl if isinstance(ttl, Unset) else lifetime(ttl)


async def _result(load: Callable[[], Any]) -> Any:
    value = load()
    return await value if inspect.isawaitable(value) else value


async def _nothing() -> None:
    """What starts the engine and does no more."""
