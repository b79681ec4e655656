"""A way to a server that can be made slow, or swallow everything, without anybody being told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Proxy:
    """Passes bytes on to a port of this machine, the answers after `delay` (s); nothing at all while `swallows`.

    `asked` is what went there, in the pieces in which it came.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self.delay = 0.0
        self.swallows = False
        self.connections = 0
        self.asked: list[bytes] = []
        self.url = ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Proxy"]:
        tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            tasks[asyncio.current_task()] = writer
            behind, before = await asyncio.open_connection("127.0.0.1", self._target)
            there = asyncio.create_task(self._pass(reader, before, answers=False))
            back = asyncio.create_task(self._pass(behind, writer, answers=True))
            try:
                await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (there, back):
                    task.cancel()
                await asyncio.gather(there, back, return_exceptions=True)
                for end in (before, writer):
                    end.transport.abort()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for writer in tasks.values():
                writer.transport.abort()
            await asyncio.gather(*tasks)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        loop, waiting = asyncio.get_running_loop(), asyncio.Queue[tuple[float, bytes]]()

        async def write() -> None:
            while True:
                due, data = await waiting.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                if not self.swallows:
                    writer.write(data)

        writing = asyncio.create_task(write())
        try:
            with suppress(ConnectionError):
                while data := await reader.read(65536):
                    if not answers:
                        self.asked.append(data)
                    waiting.put_nowait((loop.time() + (self.delay if answers else 0.0), data))
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
