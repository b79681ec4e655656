"""Putting a cache into an application that knows nothing of it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import random
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from starlette.middleware import Middleware

from cachewright.capture.appimport import root_of
from cachewright.capture.asgi import ASGIApp, Receive, Scope, Send, Watched
from cachewright.capture.context import RequestContext
from cachewright.capture.database import DatabaseWatch
from cachewright.capture.metadata import DeclaredTables
from cachewright.capture.sink import SqlSink
from cachewright.errors import ApplicationError
from cachewright.integrations.admin import DESK, Admin
from cachewright.integrations.binding import Binder
from cachewright.integrations.bound import Bindings
from cachewright.integrations.commits import CommitInvalidator, agreed
from cachewright.integrations.comparing import Comparisons, RecentWrites
from cachewright.integrations.counting import DatabaseCount
from cachewright.integrations.desk import Desk
from cachewright.integrations.dressing import dressing_of
from cachewright.integrations.early import Early
from cachewright.integrations.edge import Edge
from cachewright.integrations.foresight import Foresight
from cachewright.integrations.holding import answering_last
from cachewright.integrations.opentelemetry import observe
from cachewright.integrations.operating import Operating
from cachewright.integrations.parts import Parts, taint
from cachewright.integrations.purging import Purges, on_l4
from cachewright.integrations.recall import Likeness
from cachewright.integrations.sinks import SafeSinks
from cachewright.integrations.statistics import StatisticsFile
from cachewright.integrations.surroundings import Surroundings, settings_of, surroundings_of
from cachewright.integrations.warmth import Warmth
from cachewright.integrations.writes import DatabaseEyes
from cachewright.runtime.agreement import digest_of
from cachewright.runtime.engine import Engine
from cachewright.runtime.used import accounted
from cachewright.runtime.warming.jobs import jobs_of
from cachewright.runtime.warming.warmer import Warmer
from cachewright.spec.document import Document, load_spec
from cachewright.spec.executed import unexecuted
from cachewright.spec.model import CachingSpecification
from cachewright.spec.problems import spelt
from cachewright.spec.target import Plan, compile_plan
from cachewright.sql.cache import Facts

_log = logging.getLogger("cachewright")

_MOST_NAMED = 6
_FINISH_SECONDS = 1.0


def install(app: Any, spec: Document | Path | str, **surroundings: Any) -> Any:
    """Make the Starlette or FastAPI application `app` cached as `spec` says, and return it.

    Call it after the application has added its own middleware and before its first request. Keyword arguments
    are those of `Surroundings`. Raises `SpecError` when the specification cannot be understood, and
    `ApplicationError` when the application has been started already: it would not notice.
    """
    around = Surroundings(**surroundings)
    document = spec if isinstance(spec, Document) else load_spec(spec)
    root = root_of(app)
    if getattr(root, "middleware_stack", None) is not None:
        raise ApplicationError(
            "the application has been started already",
            hint="Call install where the application is built, before its first request.",
        )
    root.user_middleware.insert(0, Middleware(_Around, root=root, document=document, surroundings=around))
    return app


class _Around:
    """The middleware form of `Installed`, outermost in its application."""

    def __init__(self, app: ASGIApp, root: Any, document: Document, surroundings: Surroundings) -> None:
        self._installed = Installed(app, document, surroundings, root=root)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._installed(scope, receive, send)


class Installed:
    """An application with its cache around it: the ASGI application that is served."""

    def __init__(
        self, app: ASGIApp, document: Document | None, surroundings: Surroundings, *, root: Any | None = None
    ) -> None:
        self.cache: Engine | None = None
        self._surroundings = surroundings
        self._count = DatabaseCount()
        self._tables: DeclaredTables | None = None
        self._purges: Purges | None = None
        self._app = app
        self._started = False
        self._holds = False
        root = root if root is not None else root_of(app)
        self.plan: Plan | None = None
        self._comparisons: Comparisons | None = None
        self._operating: Operating | None = None
        self._desk: Desk | None = None
        self._warmer: Warmer | None = None
        self._foresight: Foresight | None = None
        self._state: Mapping[str, Any] = {}
        token = surroundings.admin_token
        self._admin = Admin(token, lambda: self._desk) if token else None
        sink: SqlSink = self._count
        if document is not None and surroundings.mode != "off":
            self._app, sink = self._cached(app, root, document)
        self._watch = DatabaseWatch(sink, time.monotonic_ns, learns=self.cache is not None)
        if surroundings.meter is not None and self.cache is not None:
            observe(surroundings.meter, self.figures)
        self._statistics = StatisticsFile(surroundings.stats_dir, self.figures)

    def _cached(self, app: ASGIApp, root: Any, document: Document) -> tuple[Watched, SqlSink]:
        plan = self.plan = compile_plan(document)
        self._holds = document.spec.consistency.write_ack == "hold"
        _say_unexecuted(document.spec)
        for target in plan.targets.values():
            if target.problem is not None and not self._surroundings.at_its_word:
                _log.warning("%s is not cached: %s", target.name, target.problem)
        cache = self.cache = Engine(
            plan.namespace,
            redis_url=self._surroundings.redis_url,
            settings=settings_of(document.spec, plan, self._surroundings),
            secret=self._surroundings.secret or b"",
            digest=digest_of(plan.column_sets, plan.ignored_writes, plan.hashed),
        )
        operating = self._operating = Operating(
            self.cache,
            document.spec,
            plan,
            webhook=self._surroundings.webhook,
            on_alarm=self._surroundings.on_alarm,
            directory=self._surroundings.stats_dir,
        )
        warmth = Warmth(
            self,
            plan,
            state=lambda: self._state,
            base_url=self._surroundings.warm_url,
            warm_as=self._surroundings.warm_as,
        )
        self._warmer = self._warmed(self.cache, warmth, document.spec)
        if not self._surroundings.at_its_word:
            self._foresight = Foresight(
                document.spec.cache_warming,
                plan,
                warmth.ask,
                clock=time.monotonic,
                wall=time.time,
                held=self.cache.tokens.held,
                warm_as=self._surroundings.warm_as,
            )
            self.cache.tell(self._foresight.invalidated)
        self._desk = Desk(
            self.cache, plan, operating, self.figures, self._surroundings.stats_dir, warmer=self._warmer
        )
        tables = self._tables = DeclaredTables()
        loading: set[RequestContext] = set()
        eyes = DatabaseEyes(
            plan,
            Facts(lambda: tables().columns),
            tables,
            CommitInvalidator(self.cache),
            agreed=agreed(self.cache),
            escaped=partial(taint, loading),
        )
        secret = self._surroundings.secret or os.urandom(32)
        secret = hashlib.blake2b(secret, digest_size=32).digest()
        binder = Binder(plan, secret, lambda: watched.credentials)
        parts = Parts(
            plan=plan,
            cache=self.cache,
            binder=binder,
            eyes=eyes,
            wall=lambda: cache.now,
            clock=time.monotonic_ns,
            dice=random.random,
            at_its_word=self._surroundings.at_its_word,
            loading=loading,
            switches=operating.switches,
            dressing=None if self._surroundings.at_its_word else dressing_of(document.spec, plan),
            onlooker=self._foresight,
        )
        cdn = document.spec.configuration.cdn
        if cdn.purge_url is not None and not parts.at_its_word:
            token = os.environ.get(cdn.token_env_var) if cdn.token_env_var else None
            self._purges = Purges(cdn, plan.namespace, token, wanted=on_l4(plan))
            self.cache.tell(self._purges.told)
        writes = RecentWrites(parts.wall)
        comparisons = self._comparisons = Comparisons(
            parts,
            writes,
            shadow=self._surroundings.mode == "shadow",
            audit=self._surroundings.audit,
            path=self._surroundings.findings,
        )
        bindings = Bindings(binder, Likeness(secret, binder.headers, lambda: watched.credentials))
        watched = Watched(
            app,
            Edge(parts, bindings, comparisons),
            clock=time.monotonic_ns,
            root=root,
            shortcut=None if parts.at_its_word else Early(parts, bindings, comparisons),
        )
        return watched, SafeSinks(self._count, writes, eyes, distrust=eyes.lost_sight)

    def _warmed(self, cache: Engine, warmth: Warmth, spec: CachingSpecification) -> Warmer:
        return Warmer(
            cache,
            jobs_of(spec.cache_warming),
            loaders=self._surroundings.loaders or {},
            send=warmth.send,
            requests=warmth.requests,
            threshold=spec.cache_warming.monitoring.progress_threshold,
            wall=time.time,
        )

    def figures(self) -> dict[str, Any]:
        """What this process has counted: `targets` by name, the `cache`'s own counters, the `database`'s work."""
        counted = self.cache.stats.snapshot() if self.cache is not None else {"targets": {}}
        targets = counted.pop("targets")
        told = {} if self._operating is None else self._operating.figures()
        warming = [] if self._warmer is None else self._warmer.progress()
        foreseen = {} if self._foresight is None else self._foresight.figures()
        counts = {"targets": targets, "cache": counted, "database": self._count.snapshot()}
        compared = {} if self._comparisons is None else self._comparisons.figures()
        return {**counts, **told, "warming": warming, "compared": compared, **foreseen}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application (ASGI)."""
        if not self._started:
            await self._start()
            if scope["type"] != "lifespan" and self._warmer is not None:
                self._warmer.start()
        if scope["type"] == "lifespan":
            self._state = scope.get("state", {})
            await self._app(scope, receive, self._lifespan(send))
        elif self._admin is not None and self._admin.serves(scope):
            await self._admin(scope, receive, send)
        else:
            if self._desk is not None:
                scope[DESK] = self._desk
            app = partial(answering_last, self._app) if self._holds else self._app
            if self.cache is None:
                await app(scope, receive, send)
            else:
                with accounted(self.cache):
                    await app(scope, receive, send)

    async def _start(self) -> None:
        self._started = True
        if self._tables is not None:
            self._tables.open()
        self._watch.open()
        if self.cache is not None:
            await self.cache.start()
            if self._surroundings.at_its_word and self.cache.agreement is not None:
                await self.cache.agreement.settled()  # what is compared before that would be no cached answer
        if self._operating is not None:
            self._operating.start()
        if self._foresight is not None:
            self._foresight.start()
        self._statistics.start()

    def _lifespan(self, send: Send) -> Send:
        async def passing(message: Any) -> None:
            if message["type"] == "lifespan.startup.complete" and self._surroundings.ready_dir is not None:
                (self._surroundings.ready_dir / str(os.getpid())).touch()
            if message["type"] == "lifespan.startup.complete" and self._warmer is not None:
                self._warmer.start()
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                await self.aclose()
            await send(message)

        return passing

    async def aclose(self) -> None:
        """Write the last figures, close the cache, stop listening. The application itself is left alone.

        The database is listened to until the end: what commits while the cache is closing goes to its journal.
        """
        if not self._started:
            return
        self._started = False
        await self._statistics.aclose()
        if self._comparisons is not None:
            self._comparisons.close()
        if self._warmer is not None:
            await self._warmer.aclose(_FINISH_SECONDS)
        if self._foresight is not None:
            await self._foresight.aclose(_FINISH_SECONDS)
        if self._operating is not None:
            await self._operating.aclose()
        if isinstance(self._app, Watched):
            self._app.close()
        if self.cache is not None:
            await self.cache.aclose()
        if self._purges is not None:
            await asyncio.to_thread(self._purges.close)
        self._watch.close()
        if self._tables is not None:
            self._tables.close()


def _say_unexecuted(spec: CachingSpecification) -> None:
    fields = [spelt(path) for path, _ in unexecuted(spec)]
    if fields:
        shown = ", ".join(fields[:_MOST_NAMED]) + (", …" if len(fields) > _MOST_NAMED else "")
        _log.info("not executed yet (%d; `cachewright check --all` names them): %s", len(fields), shown)


def from_environment(environ: dict[str, str], load: Callable[[str, bool], ASGIApp]) -> Installed:
    """The application that `CACHEWRIGHT_*` variables describe; `load` imports it by name (and factory flag)."""
    spec = environ.get("CACHEWRIGHT_SPEC")
    around = surroundings_of(environ)
    document = load_spec(Path(spec)) if spec else None
    app = load(environ.get("CACHEWRIGHT_APP", ""), environ.get("CACHEWRIGHT_FACTORY") == "1")
    return Installed(app, document, around)
