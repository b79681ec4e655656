"""The bus comes back by itself, whatever went wrong, and says what it was."""

import asyncio
from contextlib import asynccontextmanager, suppress

import msgspec
from tests.runtime.driving import until

from cachewright.runtime.bus import Bus
from cachewright.runtime.settings import boottime


class Line:
    """A subscription within this process."""

    def __init__(self, *, broken=False):
        self.messages = asyncio.Queue()
        self.closed = False
        self._broken = broken

    async def open(self):
        if self._broken:
            raise ValueError("no such number")

    async def receive(self):
        return await self.messages.get()

    async def ping(self):
        self.messages.put_nowait(None)

    async def aclose(self):
        self.closed = True

    def say(self, *tags):
        self.messages.put_nowait(msgspec.msgpack.encode((b"another", tags)))


@asynccontextmanager
async def listening(lines, on_tags):
    left, gaps = iter(lines), []
    bus = Bus(
        lambda: next(left),
        origin=b"own",
        on_tags=on_tags,
        on_gap=gaps.append,
        silence=30.0,
        clock=boottime,
        dice=lambda: 0.0,
    )
    running = asyncio.ensure_future(bus.run())
    try:
        yield bus, gaps
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def test_a_message_that_breaks_its_receiver_is_logged_and_the_line_opened_anew(caplog):
    lines, heard = [Line(), Line()], []

    def on_tags(tags):
        heard.append(tags)
        if tags == ["bad"]:
            raise RuntimeError("too much for me")

    async with listening(lines, on_tags) as (bus, gaps):
        await until(lambda: bus.alive(boottime()))
        lines[0].say("bad")
        await until(lambda: lines[0].closed and bus.alive(boottime()))
        lines[1].say("good")
        await until(lambda: len(heard) == 2)
    assert heard == [["bad"], ["good"]]
    assert gaps == [True, False]
    assert "too much for me" in caplog.text


async def test_a_line_that_cannot_be_opened_for_an_unknown_reason_is_tried_again(caplog):
    lines = [Line(broken=True), Line(broken=True), Line()]
    async with listening(lines, lambda tags: None) as (bus, gaps):
        await until(lambda: bus.alive(boottime()))
    assert gaps == [True]
    assert [str(record.exc_info[1]) for record in caplog.records] == ["no such number"] * 2
    assert all(line.closed for line in lines)
