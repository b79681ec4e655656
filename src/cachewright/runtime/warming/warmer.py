"""The warmer of one process: runs jobs in the background, slowly, and never in anybody's way."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import Context
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from cachewright.errors import CachewrightError, StoreUnavailableError, UsageError
from cachewright.runtime.engine import Engine
from cachewright.runtime.settings import Clock
from cachewright.runtime.tasks import Tasks
from cachewright.runtime.warming.jobs import ON_STARTUP, Job, spread
from cachewright.runtime.warming.progress import Progress
from cachewright.runtime.warming.timetable import due_after, is_open
from cachewright.spec.warming import TOP_USERS, WarmupQuery

AT_ONCE = 2
#: The loader that says who the most active users are: called with `most`, it returns ids, or mappings with `user`
#: and `tenant`, the most active first.
ACTIVE_USERS = "active_users"
#: For how long (s) a job belongs to the process that took it; one that dies is taken over after that.
_CLAIM_SECONDS = 600.0
_MOST_LOADS = 100_000
_LOOKS, _LOOK_SECONDS = 100, 0.1
_log = logging.getLogger("cachewright")


@dataclass(frozen=True, slots=True)
class WarmRequest:
    """A GET of the application to warm with: `path` with its query string, and headers that say who asks.

    `scheme` and `root_path` are those under which somebody asked for it before; None: what is declared.
    """

    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    scheme: str | None = None
    root_path: str = ""


#: Loads something (by calling a cached function), or says which requests do.
Loader = Callable[..., Any]
#: Sends a request through the application; why nothing was stored, None where it was.
Send = Callable[[WarmRequest], Awaitable[str | None]]
#: The requests that a query for a target stands for.
Requests = Callable[[str, Mapping[str, Any]], Iterable[WarmRequest]]
Load = Callable[[], Awaitable[str | None]]


class Warmer:
    """Runs `jobs`. A query names one of `loaders`, else a target, whose requests `requests` tells and `send` sends.

    At most `at_once` loads run together, and each place rests for as long as its load took: warming takes no more
    than half of what it could. One process of a fleet runs a job. `wall` tells wall seconds.
    """

    def __init__(
        self,
        engine: Engine,
        jobs: tuple[Job, ...],
        *,
        loaders: Mapping[str, Loader],
        send: Send,
        requests: Requests,
        threshold: float,
        wall: Clock,
        at_once: int = AT_ONCE,
    ) -> None:
        self._engine = engine
        self._jobs = {job.name: job for job in jobs}
        self._loaders = loaders
        self._send = send
        self._requests = requests
        self._wall = wall
        self._at_once = at_once
        self._threshold = threshold
        self._progress = {job.name: Progress(job.name, threshold) for job in jobs}
        self._tasks = Tasks()
        self._running: set[str] = set()

    @property
    def names(self) -> tuple[str, ...]:
        """The jobs there are."""
        return tuple(self._jobs)

    def progress(self) -> list[dict[str, Any]]:
        """How far each job has come in this process; the last run counts."""
        return [one.as_dict(self._wall()) for one in self._progress.values()]

    def start(self) -> None:
        """Begin in the background, on the running loop: the application is ready whatever becomes of it.

        Nothing of the request that may have started the application clings to what is warmed.
        """
        for job in self._jobs.values():
            if job.schedule is not None:
                self._tasks.spawn(self._by_schedule(job), context=Context())
        if ON_STARTUP in self._jobs:
            self._tasks.spawn(self._claimed(self._jobs[ON_STARTUP], "start"), context=Context())

    async def aclose(self, patience: float) -> None:
        """Stop what is under way."""
        await self._tasks.end(patience)

    def begin(self, name: str) -> bool:
        """Run a job now, in the background; False where it runs already."""
        if name in self._running:
            return False
        self._progress[name] = Progress(name, self._threshold)
        self._tasks.spawn(self.run(self._jobs[name]), context=Context())
        return True

    async def run(self, job: Job) -> Progress:
        """Run a job to its end; what fails is counted and logged, and stops nothing."""
        if job.name in self._running:
            return self._progress[job.name]
        self._running.add(job.name)
        progress = self._progress[job.name] = Progress(job.name, self._threshold, began=self._wall())
        try:
            loads = [load for query in job.queries for load in await self._loads(query, progress)]
            progress.total = len(loads) + progress.failed + progress.done
            await self._all(loads, progress)
        finally:
            self._running.discard(job.name)
            progress.ended = self._wall()
        level = logging.INFO if progress.state == "done" else logging.WARNING
        _log.log(
            level,
            "warming %s %s: %d of %d loaded%s",
            job.name,
            progress.state,
            progress.done,
            progress.total,
            "".join(f"; {problem}" for problem in progress.problems),
        )
        return progress

    async def _all(self, loads: list[Load], progress: Progress) -> None:
        left = iter(loads)

        async def work() -> None:
            for load in left:
                began = perf_counter()
                progress.loaded(await _outcome(load))
                await asyncio.sleep(perf_counter() - began)

        await asyncio.gather(*(work() for _ in range(self._at_once)))

    async def _loads(self, query: WarmupQuery, progress: Progress) -> list[Load]:
        """The loads of one query; a query that cannot be understood is a failed load."""
        try:
            found = [
                load
                for params in spread(query.params)
                for load in await self._of(query.name, params, progress)
            ]
        except Exception as error:  # noqa: BLE001 - a loader is the application's
            progress.loaded(f"{query.name}: {_said(error)}")
            return []
        if query.expected_results is not None and len(found) < query.expected_results:
            progress.loaded(f"{query.name}: {len(found)} results, {query.expected_results} expected")
        return found[:_MOST_LOADS]

    async def _of(self, name: str, params: dict[str, Any], progress: Progress) -> list[Load]:
        """The requests that a target or a loader stands for; a loader that returned none has loaded by itself."""
        if TOP_USERS in params:
            return [
                load for own in await self._for_users(params) for load in await self._of(name, own, progress)
            ]
        loader = self._loaders.get(name)
        requests = self._requests(name, params) if loader is None else await _called(loader, params)
        if requests is None:
            progress.loaded(None)
            return []
        return [self._sending(request) for request in requests]

    async def _for_users(self, params: dict[str, Any]) -> list[dict[str, Any]]:
        """The same parameters on behalf of each of the most active users. Raises `UsageError`."""
        active = self._loaders.get(ACTIVE_USERS)
        if active is None:
            raise UsageError(
                "who the most active users are is not known", hint=f"register a loader named {ACTIVE_USERS}"
            )
        most = params[TOP_USERS]
        others = {name: value for name, value in params.items() if name != TOP_USERS}
        users = list(await _returned(active, {"most": most}) or ())[:most]
        return [{**others, **(user if isinstance(user, Mapping) else {"user": user})} for user in users]

    def _sending(self, request: WarmRequest) -> Load:
        return lambda: self._send(request)

    async def _by_schedule(self, job: Job) -> None:
        assert job.schedule is not None
        while True:
            now = self._now()
            due = due_after(job.schedule, job.window, now)
            await asyncio.sleep((due - now).total_seconds())
            if is_open(job.window, self._now()):
                await self._claimed(job, due.isoformat())

    async def _claimed(self, job: Job, turn: str) -> None:
        """Run a job unless another process of the fleet has taken this turn of it."""
        await self._hearing()
        store = self._engine.store
        if store is not None:
            try:
                taken = await store.claim(f"w:{job.name}:{turn}", os.urandom(8), _CLAIM_SECONDS)
            except StoreUnavailableError:
                return  # without a store there is nothing to warm
            if taken is not None:
                return
        try:
            await self.run(job)
        except Exception:  # noqa: BLE001 - a job that fails must not end the schedule
            _log.exception("warming %s failed", job.name)

    async def _hearing(self) -> None:
        """Wait a while for the bus: what is loaded before word of invalidations can come is not stored."""
        for _ in range(_LOOKS):
            if self._engine.hears:
                return
            await asyncio.sleep(_LOOK_SECONDS)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._wall(), UTC)


async def _called(loader: Loader, params: dict[str, Any]) -> Iterable[WarmRequest] | None:
    found = await _returned(loader, params)
    return None if found is None else list(found)


async def _returned(loader: Loader, params: dict[str, Any]) -> Any:
    if inspect.iscoroutinefunction(loader):
        found = await loader(**params)
    else:
        found = await asyncio.to_thread(loader, **params)
        if inspect.isawaitable(found):
            found = await found
    return found


async def _outcome(load: Load) -> str | None:
    try:
        return await load()
    except Exception as error:  # noqa: BLE001 - the application's own failures are counted here
        return _said(error)


def _said(error: Exception) -> str:
    """What an error says without the values it may hold."""
    return error.message if isinstance(error, CachewrightError) else type(error).__name__
