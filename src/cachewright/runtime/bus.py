"""Word of invalidations between processes: quick, at most once, and therefore never the guarantee."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

import msgspec

from cachewright.errors import StoreUnavailableError
from cachewright.runtime.settings import Clock

_log = logging.getLogger("cachewright")
_SHORTEST_WAIT = 0.05
_LONGEST_WAIT = 5.0


class _Word(msgspec.Struct, frozen=True, array_like=True):
    origin: bytes
    tags: list[str]
    flights: dict[str, bytes | None] = {}
    stamp: bytes = b""
    heard: bytes = b""


_message = msgspec.msgpack.Decoder(_Word)


class Subscription(Protocol):
    """A line to the bus. Methods raise `StoreUnavailableError`; afterwards it is of no more use."""

    async def open(self) -> None:
        """Subscribe; returns once that is confirmed."""

    async def receive(self) -> bytes | None:
        """Wait for the next message; None for the answer to a `ping`."""

    async def ping(self) -> None:
        """Ask for a sign of life."""

    async def aclose(self) -> None:
        """Let go of the line."""


class Bus:
    """Listens for what other processes invalidated.

    `on_tags` is called for each of their messages, `on_gap` whenever messages may have been missed (also at
    the first subscription, with `first` true). `silence` is how long (s) the line may stay quiet before it
    counts as dead; a PING goes out three times in that span. `on_flights` is told which flights have ended, and how.
    `on_stamp` is told, after `on_tags`, who wants to know that this word was heard, `on_heard` who has heard one.
    """

    def __init__(
        self,
        subscribe: Callable[[], Subscription],
        *,
        origin: bytes,
        on_tags: Callable[[Collection[str]], object],
        on_gap: Callable[[bool], None],
        silence: float,
        clock: Clock,
        dice: Callable[[], float],
        on_flights: Callable[[Mapping[str, bytes | None]], object] = lambda _flights: None,
        on_stamp: Callable[[bytes, bytes], object] = lambda _origin, _stamp: None,
        on_heard: Callable[[bytes, bytes], object] = lambda _stamp, _origin: None,
    ) -> None:
        self._subscribe = subscribe
        self._origin = origin
        self._on_tags = on_tags
        self._on_gap = on_gap
        self._on_flights = on_flights
        self._on_stamp = on_stamp
        self._on_heard = on_heard
        self._silence = max(silence, _SHORTEST_WAIT)
        self._clock = clock
        self._dice = dice
        self._heard: float | None = None
        self._first = True

    def alive(self, now: float) -> bool:
        """Whether the line was heard from within the allowed silence (`now` in boot time, s)."""
        return self._heard is not None and now - self._heard <= self._silence

    async def run(self) -> None:
        """Listen until cancelled; come back by itself however often the server goes away."""
        wait = _SHORTEST_WAIT
        while True:
            lost = False
            try:
                lost = await self._hear_out(self._subscribe())
            except Exception:  # noqa: BLE001 - whatever it was, a process must not stay deaf
                _log.exception(
                    "the invalidation bus failed; in-process copies are validated until it is back"
                )
            if lost:
                wait = _SHORTEST_WAIT
                _log.warning(
                    "the invalidation bus was lost; in-process copies are validated until it is back"
                )
            await asyncio.sleep(wait * (0.5 + self._dice() / 2))
            wait = min(wait * 2, _LONGEST_WAIT)

    async def _hear_out(self, subscription: Subscription) -> bool:
        """Listen until the store is away; whether the line was open before that."""
        try:
            await subscription.open()
            self._opened()
            await self._attend(subscription)
        except StoreUnavailableError:
            return self._heard is not None
        finally:
            self._heard = None
            await subscription.aclose()
        return True

    def _opened(self) -> None:
        self._on_gap(self._first)
        self._first = False
        self._heard = self._clock()

    async def _attend(self, subscription: Subscription) -> None:
        """Listen and ping side by side until either loses the line."""
        listening = asyncio.ensure_future(self._listen(subscription))
        pinging = asyncio.ensure_future(self._ping(subscription))
        try:
            done, _ = await asyncio.wait((listening, pinging), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            listening.cancel()
            pinging.cancel()
            await asyncio.gather(listening, pinging, return_exceptions=True)

    async def _listen(self, subscription: Subscription) -> None:
        while True:
            message = await subscription.receive()
            if message is not None:
                self._received(message)
            self._heard = self._clock()

    def _received(self, message: bytes) -> None:
        try:
            word = _message.decode(message)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self._on_gap(False)  # somebody said something: whatever it was, trust nothing older
            return
        if word.origin == self._origin:
            return
        if word.tags:
            self._on_tags(word.tags)
        if word.flights:
            self._on_flights(word.flights)
        if word.stamp:
            self._on_stamp(word.origin, word.stamp)
        if word.heard:
            self._on_heard(word.heard, word.origin)

    async def _ping(self, subscription: Subscription) -> None:
        while True:
            await asyncio.sleep(self._silence / 3)
            if not self.alive(self._clock()):
                raise StoreUnavailableError("the bus is silent")
            await subscription.ping()
