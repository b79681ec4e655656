"""The event loop a cache lives on, and the ways to it from other loops and from threads without one.

Connections belong to one loop. Whoever first awaits the cache gives it his; where the first call comes from a
thread without a loop, a thread with a loop of its own is started. Everybody else has his work done there, and
loads where he is: a load needs its caller's loop, thread and context.
"""

from __future__ import annotations

import asyncio
import math
import queue
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError as FutureCancelledError
from concurrent.futures import Future
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from cachewright.runtime.engine import Engine
from cachewright.runtime.forking import start_anew_in_children

T = TypeVar("T")
L = TypeVar("L")

#: How long (s) a caller waits for the loop to take its work up: that loop may be waiting for this thread.
_PATIENCE = 1.0
#: How often (s) whoever waits looks whether that loop still runs.
_LOOK_SECONDS = 0.1
_CLOSE_SECONDS = 2.0
_LISTENING_SECONDS = 0.002


class Unreachable(Exception):  # noqa: N818 - a fact for callers inside the runtime, who load without the cache
    """The loop did not take the work up in time."""


class Ended(Unreachable):
    """The loop ended before the work was done: the next one may do it."""


class Home:
    """Starts an engine where it is first used, and runs work there."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._patience = engine.settings.flight_patience + _PATIENCE
        self._reset()
        start_anew_in_children(self._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._start: asyncio.Task[None] | None = None
        self._started = False
        self._moved = False
        self._closed = False

    def open(self) -> None:
        """Allow starting again after `aclose`."""
        self._closed = False

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """The result of `work`, run where the engine lives; in place where it needs no connection.

        In place too, and then without the store, where that loop ends meanwhile or does not take the work up.
        """
        here = asyncio.get_running_loop()
        if self._closed:
            return await work()
        home = self._claim(here)
        if home is here:
            return await (work() if self._started else self._at_home(work))
        if not self._engine.shared:
            return await work()
        try:
            return await self._abroad(work, home)
        except Unreachable:
            return await work()

    async def _abroad(self, work: Callable[[], Awaitable[T]], home: asyncio.AbstractEventLoop) -> T:
        """The result of `work`, run on another thread's loop. Raises `Unreachable`."""
        taken_up: list[bool] = []

        async def visited() -> T:
            taken_up.append(True)
            return await self._at_home(work)

        future = asyncio.wrap_future(_submitted(visited, home))
        patience = asyncio.get_running_loop().time() + _PATIENCE
        try:
            while not (await asyncio.wait((future,), timeout=_LOOK_SECONDS))[0]:
                late = not taken_up and asyncio.get_running_loop().time() >= patience
                if late or self._alive() is not home:
                    raise Unreachable
        finally:
            if self._alive() is home:
                future.cancel()
        if future.cancelled():  # not by the caller: that loop ends, and its tasks with it
            raise Unreachable
        return future.result()

    async def run_loading(
        self, work: Callable[[Callable[[], Awaitable[L]]], Awaitable[T]], load: Callable[[], Awaitable[L]]
    ) -> T:
        """The result of `work`, which is given a way to run `load` on the caller's loop."""
        here = asyncio.get_running_loop()

        async def ask() -> L:
            if asyncio.get_running_loop() is here:
                return await load()
            try:
                return await asyncio.wrap_future(_submitted(partial(_awaited, load), here))
            except Unreachable:  # the caller's loop was closed: nobody waits for this load any more
                raise asyncio.CancelledError from None

        return await self.run(lambda: work(ask))

    def call(self, work: Callable[[], Awaitable[T]]) -> T:
        """The result of `work`, for a thread that runs no event loop. Raises `Unreachable`."""
        while True:
            visit: _Visit[T, None] = _Visit(_nothing, self._patience)
            try:
                return visit.result(self._send(visit, work))
            except Ended:
                continue  # each such work may be done twice

    def call_loading(
        self, work: Callable[[Callable[[], Awaitable[L]]], Awaitable[T]], load: Callable[[], L]
    ) -> T:
        """As `call`; `work` is given a way to run `load` in the calling thread."""
        visit: _Visit[T, L] = _Visit(load, self._patience)
        return visit.result(self._send(visit, lambda: work(visit.ask)))

    def _send(self, visit: _Visit[T, L], work: Callable[[], Awaitable[T]]) -> Future[T]:
        async def visited() -> T:
            _visiting.set(visit)
            visit.orders.put(_TAKEN_UP)
            return await self._at_home(work)

        home = self._claim(None)
        visit.alive = lambda: self._alive() is home
        future = _submitted(visited, home)
        future.add_done_callback(lambda _: visit.orders.put(_DONE))
        return future

    async def _at_home(self, work: Callable[[], Awaitable[T]]) -> T:
        if not self._started and not self._closed:
            await self._started_here(asyncio.get_running_loop())
        return await work()

    async def _started_here(self, home: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            start = self._start
            if start is None or start.get_loop() is not home:
                start = self._start = home.create_task(self._begin())
        await asyncio.shield(start)
        self._started = self._loop is home

    async def _begin(self) -> None:
        if self._moved:
            await self._engine.aclose()
        await self._engine.start()
        if self._engine.shared:
            await self._hearing()

    async def _hearing(self) -> None:
        """Wait a moment for the bus: what is loaded before word can come is not stored."""
        settings, loop = self._engine.settings, asyncio.get_running_loop()
        deadline = loop.time() + settings.connect_timeout + settings.read_timeout
        while not self._engine.hears and loop.time() < deadline:  # noqa: ASYNC110 - the bus has nothing to wait for
            await asyncio.sleep(_LISTENING_SECONDS)

    def _claim(self, here: asyncio.AbstractEventLoop | None) -> asyncio.AbstractEventLoop:
        """The loop of the engine: the one it has, else `here`, else that of a thread of its own."""
        if (loop := self._alive()) is not None:
            return loop
        with self._lock:
            if (loop := self._alive()) is not None:
                return loop
            self._moved = self._loop is not None
            self._started, self._start, self._thread = False, None, None
            if here is None:
                here, self._thread = _thread()
            self._loop = here
            return here

    def _alive(self) -> asyncio.AbstractEventLoop | None:
        """The loop of the engine while it runs; a fork takes threads away, and a program ends its loops."""
        loop, thread = self._loop, self._thread
        if loop is None or not (loop.is_running() if thread is None else thread.is_alive()):
            return None
        return loop

    async def aclose(self) -> None:
        """Close the engine where it lives, and end the thread if it was ours. May be called again."""
        self._closed = True
        loop, thread = self._release()
        here = asyncio.get_running_loop()
        if loop is None or loop is here or loop.is_closed() or not loop.is_running():
            await self._engine.aclose()
            return
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._engine.aclose(), loop))
        if thread is not None:
            await asyncio.to_thread(_end, loop, thread)

    def close(self) -> None:
        """As `aclose`, for a thread that runs no event loop."""
        self._closed = True
        loop, thread = self._release()
        if loop is None or loop.is_closed() or not loop.is_running():
            asyncio.run(self._engine.aclose())
            return
        asyncio.run_coroutine_threadsafe(self._engine.aclose(), loop).result()
        if thread is not None:
            _end(loop, thread)

    def _release(self) -> tuple[asyncio.AbstractEventLoop | None, threading.Thread | None]:
        with self._lock:
            found = self._loop, self._thread
            self._loop = self._thread = self._start = None
            self._started = False
            return found


def _thread() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=_serve, args=(loop,), name="cachewright-home", daemon=True)
    thread.start()
    return loop, thread


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def _end(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    loop.call_soon_threadsafe(loop.stop)
    thread.join(_CLOSE_SECONDS)


def _submitted(work: Callable[[], Coroutine[Any, Any, T]], loop: asyncio.AbstractEventLoop) -> Future[T]:
    """`work` as a task of that loop. Raises `Unreachable` where it was closed."""
    coroutine = work()
    try:
        return asyncio.run_coroutine_threadsafe(coroutine, loop)
    except RuntimeError:
        coroutine.close()
        raise Ended from None


async def _awaited(load: Callable[[], Awaitable[L]]) -> L:
    return await load()


def _nothing() -> None:
    """What a call loads that loads nothing."""


_TAKEN_UP = object()
_DONE = object()


@dataclass(frozen=True, slots=True)
class _Order(Generic[L]):
    """A load that the loop wants from the visiting thread."""

    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[tuple[L | None, Exception | None]]

    def deliver(self, value: L | None, error: Exception | None) -> None:
        self.loop.call_soon_threadsafe(_settle, self.answer, (value, error))

    def refuse(self) -> None:
        self.loop.call_soon_threadsafe(self.answer.cancel)


def _settle(future: asyncio.Future[Any], outcome: Any) -> None:
    if not future.done():
        future.set_result(outcome)


class _Visit(Generic[T, L]):
    """One call from a thread: what the loop has to say to it, in order."""

    def __init__(self, load: Callable[[], L], patience: float) -> None:
        self.orders: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.alive: Callable[[], bool] = lambda: True
        self._load = load
        self._patience = patience
        self._lock = threading.Lock()
        self._over = False

    async def ask(self) -> L:
        """Have the visiting thread load, and wait for it on the loop; a refresh in the background has its own."""
        loop = asyncio.get_running_loop()
        order: _Order[L] = _Order(loop, loop.create_future())
        if _visiting.get() is not self or not self._put(order):
            return await asyncio.to_thread(self._load)
        value, error = await order.answer
        if error is not None:
            raise error
        return value  # type: ignore[return-value] # without an error it is what the load returned

    def _put(self, order: _Order[L]) -> bool:
        with self._lock:
            if not self._over:
                self.orders.put(order)
            return not self._over

    def result(self, future: Future[T]) -> T:
        """Load when asked to, until the work is done."""
        try:
            self.orders.get(timeout=_PATIENCE)
            while not future.done():
                order = self._next()
                if isinstance(order, _Order):
                    _obey(order, self._load)
        except queue.Empty:
            if not self.alive():
                raise Ended from None
            future.cancel()
            raise Unreachable from None
        finally:
            self._leave()
        try:
            return future.result()
        except FutureCancelledError:
            raise Ended from None

    def _next(self) -> Any:
        """The next word of the loop. Raises `queue.Empty` where none comes in time, or that loop has ended."""
        looks = math.ceil(self._patience / _LOOK_SECONDS)
        for _ in range(looks):
            with suppress(queue.Empty):
                return self.orders.get(timeout=_LOOK_SECONDS)
            if not self.alive():
                break
        raise queue.Empty

    def _leave(self) -> None:
        with self._lock:
            self._over = True
        while not self.orders.empty():
            order = self.orders.get()
            if isinstance(order, _Order):
                order.refuse()


_visiting: ContextVar[_Visit[Any, Any] | None] = ContextVar("cachewright_visiting", default=None)


def _obey(order: _Order[L], load: Callable[[], L]) -> None:
    try:
        value = load()
    except Exception as error:  # noqa: BLE001 - it is raised again where the load was asked for
        order.deliver(None, error)
    except BaseException:
        order.refuse()
        raise
    else:
        order.deliver(value, None)


def on_loop() -> bool:
    """Whether the calling thread runs an event loop, and must not be blocked."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
