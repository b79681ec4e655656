"""Putting a cache into an application that knows nothing of it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from starlette.middleware import Middleware

from cachewright.capture.appimport import root_of
from cachewright.capture.asgi import ASGIApp, Receive, Scope, Send, Watched
from cachewright.capture.context import RequestContext
from cachewright.capture.database import DatabaseWatch
from cachewright.capture.metadata import DeclaredTables
from cachewright.capture.sink import SqlSink
from cachewright.errors import ApplicationError, SurroundingsError
from cachewright.integrations.admin import DESK, Admin, checked_token
from cachewright.integrations.binding import Binder
from cachewright.integrations.bound import Bindings
from cachewright.integrations.commits import CommitInvalidator, agreed
from cachewright.integrations.comparing import Comparisons, RecentWrites
from cachewright.integrations.counting import DatabaseCount
from cachewright.integrations.desk import Desk
from cachewright.integrations.dressing import dressing_of
from cachewright.integrations.early import Early
from cachewright.integrations.edge import Edge
from cachewright.integrations.holding import answering_last
from cachewright.integrations.opentelemetry import observe
from cachewright.integrations.operating import OnAlarm, Operating
from cachewright.integrations.parts import Parts, taint
from cachewright.integrations.purging import Purges, on_l4
from cachewright.integrations.recall import Likeness
from cachewright.integrations.sinks import SafeSinks
from cachewright.integrations.statistics import StatisticsFile
from cachewright.integrations.warmth import Identity, Warmth, checked_loaders, checked_url, named
from cachewright.integrations.writes import DatabaseEyes
from cachewright.runtime.agreement import digest_of
from cachewright.runtime.alarms.sinks import Webhook
from cachewright.runtime.engine import Engine
from cachewright.runtime.journal import state_directory
from cachewright.runtime.sealing import sealing_named, sealing_of
from cachewright.runtime.settings import Sealing, SealingKey, Settings
from cachewright.runtime.tiers import with_tiers
from cachewright.runtime.warming.jobs import jobs_of
from cachewright.runtime.warming.warmer import Loader, Warmer
from cachewright.spec.document import Document, load_spec
from cachewright.spec.executed import unexecuted
from cachewright.spec.model import CachingSpecification
from cachewright.spec.problems import spelt
from cachewright.spec.semantics import hard_limit
from cachewright.spec.target import Plan, compile_plan
from cachewright.sql.cache import Facts

_log = logging.getLogger("cachewright")

Mode = Literal["live", "shadow", "off"]
_SEVERAL = 2
_MOST_NAMED = 6
_FINISH_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What an installation is told besides its specification.

    `secret` keys all hashes and is one per fleet; without it each process draws its own and shares no
    acceptance. `at_its_word` is for `verify` (see `exchange.Parts`). Each worker writes its figures to
    `stats_dir` every second, and touches a file in `ready_dir` when the application has started. `workers` that
    are not known (None) count as several. In `journal_dir` invalidations that could not be delivered survive the
    process; by default that is `cachewright` in the user's directory for state. Targets of level l3 have their files
    in `cache_dir`, by default `cachewright` in the user's directory for caches. In mode `shadow` nothing is served and
    every would-be hit is compared with the answer; in mode `live` that share of hits which `audit` says. What is found
    goes to the file `findings`. With an `admin_token` the
    administrator's door stands open to whoever sends it. Alarms go to `webhook` and to `on_alarm`.
    Figures are put on `meter`, one of OpenTelemetry's.
    `loaders` and `warm_as` are what warming works with, `warm_url` is where users reach the application.
    """

    redis_url: str | None = None
    workers: int | None = None
    secret: bytes | None = None
    mode: Mode = "live"
    audit: float = 0.0
    findings: Path | None = None
    at_its_word: bool = False
    stats_dir: Path | None = None
    ready_dir: Path | None = None
    journal_dir: Path | None = None
    cache_dir: Path | None = None
    keys: tuple[SealingKey, ...] = ()
    sealing: Sealing | None = None
    admin_token: str | None = None
    webhook: Webhook | None = None
    on_alarm: OnAlarm | None = None
    meter: Any | None = None
    loaders: Mapping[str, Loader] | None = None
    warm_as: Identity | None = None
    warm_url: str | None = None

    def __post_init__(self) -> None:
        checked_token(self.admin_token)
        checked_loaders(self.loaders)
        checked_url(self.warm_url)


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
            settings=_settings(document.spec, plan, self._surroundings),
            secret=self._surroundings.secret or b"",
            digest=digest_of(plan.column_sets, plan.ignored_writes),
        )
        operating = self._operating = Operating(
            self.cache,
            document.spec,
            plan,
            webhook=self._surroundings.webhook,
            on_alarm=self._surroundings.on_alarm,
            directory=self._surroundings.stats_dir,
        )
        self._warmer = self._warmed(self.cache, plan, document.spec)
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

    def _warmed(self, cache: Engine, plan: Plan, spec: CachingSpecification) -> Warmer:
        around = self._surroundings
        warmth = Warmth(
            self, plan, state=lambda: self._state, base_url=around.warm_url, warm_as=around.warm_as
        )
        return Warmer(
            cache,
            jobs_of(spec.cache_warming),
            loaders=around.loaders or {},
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
        counts = {"targets": targets, "cache": counted, "database": self._count.snapshot()}
        compared = {} if self._comparisons is None else self._comparisons.figures()
        return {**counts, **told, "warming": warming, "compared": compared}

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
            if self._holds:
                await answering_last(self._app, scope, receive, send)
            else:
                await self._app(scope, receive, send)

    async def _start(self) -> None:
        self._started = True
        if self._tables is not None:
            self._tables.open()
        self._watch.open()
        if self.cache is not None:
            await self.cache.start()
        if self._operating is not None:
            self._operating.start()
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


def _settings(spec: CachingSpecification, plan: Plan, around: Surroundings) -> Settings:
    redis = spec.configuration.redis
    compression = spec.cache_strategy.compression
    defaults = Settings()
    lifetimes = [hard_limit(target.policy) for target in plan.targets.values()]
    settings = Settings(
        workers=_SEVERAL if around.workers is None else around.workers,
        journal_dir=None if around.redis_url is None else around.journal_dir or state_directory(),
        read_timeout=redis.socket_timeout_ms / 1000,
        connect_timeout=redis.socket_connect_timeout_ms / 1000,
        max_connections=redis.max_connections or defaults.max_connections,
        l1_items=spec.max_items or defaults.l1_items,
        l1_bytes=spec.max_memory_bytes or defaults.l1_bytes,
        l1_lease=plan.l1_lease,
        strict=spec.consistency.strict,
        crash_safe=spec.consistency.crash_safe,
        compression=compression.algorithm if compression.enabled else "none",
        compression_threshold=compression.threshold_bytes,
        sealing=sealing_named(around.sealing, around.keys),
        keys=around.keys,
        longest_ttl=None
        if None in lifetimes
        else max((ttl for ttl in lifetimes if ttl is not None), default=None),
    )
    return with_tiers(settings, spec, around.cache_dir)


def _share(one_in: str | None) -> float:
    """The share of hits that "1 in so many" means."""
    return 1 / int(one_in) if one_in and one_in.isdigit() and int(one_in) > 0 else 0.0


def from_environment(environ: dict[str, str], load: Callable[[str, bool], ASGIApp]) -> Installed:
    """The application that `CACHEWRIGHT_*` variables describe; `load` imports it by name (and factory flag)."""
    spec = environ.get("CACHEWRIGHT_SPEC")
    modes: dict[str | None, Mode] = {"off": "off", "shadow": "shadow"}
    mode = modes.get(environ.get("CACHEWRIGHT_MODE"), "live")
    findings = environ.get("CACHEWRIGHT_FINDINGS")
    stats, ready = environ.get("CACHEWRIGHT_STATS_DIR"), environ.get("CACHEWRIGHT_READY_DIR")
    journal, files = environ.get("CACHEWRIGHT_JOURNAL_DIR"), environ.get("CACHEWRIGHT_CACHE_DIR")
    secret, workers = environ.get("CACHEWRIGHT_SECRET"), environ.get("CACHEWRIGHT_WORKERS")
    sealing, keys = sealing_of(environ)
    around = Surroundings(
        redis_url=environ.get("CACHEWRIGHT_REDIS_URL") or None,
        workers=int(workers) if workers else None,
        secret=secret.encode() if secret else None,
        mode=mode,
        audit=_share(environ.get("CACHEWRIGHT_AUDIT")),
        findings=Path(findings) if findings else None,
        stats_dir=Path(stats) if stats else None,
        ready_dir=Path(ready) if ready else None,
        journal_dir=Path(journal) if journal else None,
        cache_dir=Path(files) if files else None,
        keys=keys,
        sealing=sealing,
        admin_token=environ.get("CACHEWRIGHT_ADMIN_TOKEN") or None,
        webhook=_webhook(environ),
        meter=_meter(environ),
        loaders=named(environ.get("CACHEWRIGHT_LOADERS")),
        warm_as=named(environ.get("CACHEWRIGHT_WARM_AS")),
        warm_url=environ.get("CACHEWRIGHT_WARM_URL") or None,
    )
    document = load_spec(Path(spec)) if spec else None
    app = load(environ.get("CACHEWRIGHT_APP", ""), environ.get("CACHEWRIGHT_FACTORY") == "1")
    return Installed(app, document, around)


def _webhook(environ: dict[str, str]) -> Webhook | None:
    url = environ.get("CACHEWRIGHT_ALARM_WEBHOOK")
    return Webhook(url, environ.get("CACHEWRIGHT_ALARM_SECRET", "").encode()) if url else None


def _meter(environ: dict[str, str]) -> Any | None:
    """The process's own meter, where that is asked for. Raises `SurroundingsError` where the API is missing."""
    if environ.get("CACHEWRIGHT_OTEL") != "1":
        return None
    try:
        from opentelemetry.metrics import get_meter
    except ModuleNotFoundError:
        raise SurroundingsError(
            "opentelemetry-api is not installed", hint="pip install 'cachewright[otel]'"
        ) from None
    return get_meter("cachewright")
