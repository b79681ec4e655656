"""Writes of programs that serve nothing: scripts, workers of task queues, shells."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Engine as SqlEngine
from sqlalchemy.ext.asyncio import AsyncEngine

from cachewright.capture.database import DatabaseWatch
from cachewright.capture.metadata import DeclaredTables
from cachewright.errors import UsageError
from cachewright.integrations.commits import CommitInvalidator, agreed
from cachewright.integrations.sinks import SafeSinks
from cachewright.integrations.writes import DatabaseEyes
from cachewright.runtime.agreement import digest_of
from cachewright.runtime.engine import Engine
from cachewright.runtime.home import Home, Unreachable
from cachewright.runtime.journal import state_directory
from cachewright.runtime.settings import Settings
from cachewright.spec.document import Document, load_spec
from cachewright.spec.tags import bulk_tag
from cachewright.spec.target import Plan, compile_plan
from cachewright.sql.cache import Facts

_SEVERAL = 2


class Watching:
    """What `watch` began; `close`, or the end of a `with` block, ends it."""

    def __init__(
        self, plan: Plan, cache: Engine, dialects: tuple[Any, ...] | None, agreed: Callable[[], bool]
    ) -> None:
        self._cache = cache
        self._tables = DeclaredTables()
        self._home = Home(cache)
        self._process = os.getpid()
        eyes = DatabaseEyes(
            plan,
            Facts(lambda: self._tables().columns),
            self._tables,
            CommitInvalidator(cache),
            escaped=lambda: None,
            agreed=agreed,
        )
        self._watch = DatabaseWatch(
            SafeSinks(eyes, distrust=eyes.lost_sight), time.monotonic_ns, learns=True, dialects=dialects
        )

    def open(self) -> Self:
        """Begin to listen."""
        self._tables.open()
        self._watch.open()
        with suppress(Unreachable):
            self._home.call(_nothing)
        return self

    @property
    def pending(self) -> int:
        """How many tags wait for their invalidation to be delivered."""
        return self._cache.pending

    def close(self) -> None:
        """Stop listening. May be called again."""
        self._watch.close()
        self._tables.close()
        if os.getpid() == self._process:  # the threads of a process are not those of its children
            self._home.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def watch(
    engine: SqlEngine | AsyncEngine | None = None,
    spec: Document | Path | str | None = None,
    *,
    redis_url: str | None = None,
    namespace: str | None = None,
    journal_dir: Path | None = None,
) -> Watching:
    """Invalidate what the writes of this process change, in a program that serves nothing itself.

    `engine` is the one whose writes are seen, None for all engines of the process. `spec` is the specification that
    the application is served with; without one, give its `namespace`: then each write changes whole tables.
    `redis_url` (by default `CACHEWRIGHT_REDIS_URL`) is the server that the cache shares. Call it once, before the
    first write, and in a worker that forks in each child. Invalidations that cannot be delivered are kept in
    `journal_dir`. Raises `SpecError`, and `UsageError` where it is not told what to invalidate.
    """
    url = redis_url or os.environ.get("CACHEWRIGHT_REDIS_URL")
    if url is None:
        raise UsageError(
            "there is no server to tell of writes",
            hint="Give redis_url, or set CACHEWRIGHT_REDIS_URL to the one the application is served with.",
        )
    if isinstance(engine, AsyncEngine):
        engine = engine.sync_engine
    if engine is not None and not isinstance(engine, SqlEngine):
        raise UsageError(
            f"{type(engine).__name__} is no engine of SQLAlchemy", hint="Give what create_engine returned."
        )
    if spec is None:
        if namespace is None:
            raise UsageError(
                "neither a specification nor a namespace says which cache to tell",
                hint='watch(engine, "caching.yaml"), or watch(engine, namespace="shop")',
            )
        plan = _without_specification(namespace)
    else:
        plan = compile_plan(spec if isinstance(spec, Document) else load_spec(spec))
    cache = Engine(
        plan.namespace,
        redis_url=url,
        settings=Settings(workers=_SEVERAL, journal_dir=journal_dir or state_directory()),
        digest=None if spec is None else digest_of(plan.column_sets, plan.ignored_writes, plan.hashed),
    )
    dialects = None if engine is None else (engine.dialect,)
    return Watching(plan, cache, dialects, agreed(cache) if spec is not None else lambda: False).open()


@contextmanager
def invalidator_of(plan: Plan, redis_url: str) -> Iterator[Callable[[frozenset[str]], None]]:
    """What invalidates tags of this plan for a program that listens to no engine of its own."""
    cache = Engine(
        plan.namespace,
        redis_url=redis_url,
        settings=Settings(workers=_SEVERAL, journal_dir=state_directory()),
        digest=digest_of(plan.column_sets, plan.ignored_writes, plan.hashed),
    )
    home, stands, commits = Home(cache), agreed(cache), CommitInvalidator(cache)
    with suppress(Unreachable):
        home.call(_nothing)

    def invalidate(tags: frozenset[str]) -> None:
        coarse = () if stands() else (bulk_tag(tag) for tag in tags if "(" not in tag and "#" not in tag)
        commits.invalidate(tags.union(coarse))

    try:
        yield invalidate
    finally:
        home.close()


def _without_specification(namespace: str) -> Plan:
    return Plan(
        namespace=namespace,
        targets={},
        identity={},
        column_sets={},
        ignored_writes=frozenset(),
        l1_lease=1.0,
        single_host=False,
    )


async def _nothing() -> None:
    """What is asked of a cache that is only to start."""
