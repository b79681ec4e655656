"""A response held back until it is whole, so that it can be filled before its last byte leaves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from cachewright.capture.asgi import Message, Scope, Send

_encoder = msgspec.msgpack.Encoder()


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """A whole response, as the route itself gave it.

    `session` says that the route looked into its session: the middleware that keeps it adds to such answers.
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    session: bool = False

    def header(self, name: bytes) -> bytes | None:
        """The first header of this (lower-case) name."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    def fields(self, name: bytes) -> list[str]:
        """All header fields of this (lower-case) name, as text."""
        return [value.decode("latin-1") for key, value in self.headers if key.lower() == name]

    @property
    def validated(self) -> bool:
        """Whether the application gives validators, and so compares them with a request's conditions itself."""
        return self.header(b"etag") is not None or self.header(b"last-modified") is not None

    def pack(self) -> bytes:
        """Its bytes as the payload of an entry."""
        return _encoder.encode(self)

    @classmethod
    def unpack(cls, payload: bytes) -> Answer:
        """The answer of an entry's payload. Raises `msgspec.DecodeError`."""
        return _decoder.decode(payload)

    def after(self, scope: Scope) -> Answer:
        """The answer, with what the route did to `scope` before it gave it."""
        looked = getattr(scope.get("session"), "accessed", False)
        return msgspec.structs.replace(self, session=True) if looked else self

    def repeat(self, scope: Scope) -> None:
        """Do to `scope` what the route did before it gave this answer."""
        if self.session:
            look = getattr(scope.get("session"), "mark_accessed", None)
            if look is not None:
                look()

    async def send(self, send: Send) -> None:
        """Send it: two messages."""
        await send({"type": "http.response.start", "status": self.status, "headers": list(self.headers)})
        await send({"type": "http.response.body", "body": self.body})


_decoder = msgspec.msgpack.Decoder(Answer)


@dataclass(slots=True)
class HeldBack:
    """A `send` that calls `whole` with the response before passing on its last message.

    What `whole` returns is sent instead, if it is anything. A response in several messages, or one that does
    not say how long it is, is a stream: it is passed on as it comes, and `whole` is never called. `begun` says
    whether anything was passed on.
    """

    _send: Send
    _whole: Callable[[Answer], Awaitable[Answer | None]]
    streamed: bool = False
    begun: bool = False
    _start: Message | None = None

    async def __call__(self, message: Message) -> None:
        """Take one message of the application's response."""
        kind = message["type"]
        if kind == "http.response.start" and not self.streamed:
            self.streamed = bool(message.get("trailers")) or not any(
                key.lower() == b"content-length" for key, _ in message.get("headers", ())
            )
            if not self.streamed:
                self._start = message
                return
        start, self._start = self._start, None
        if start is not None:
            if kind == "http.response.body" and not message.get("more_body", False):
                headers = tuple((bytes(key), bytes(value)) for key, value in start.get("headers", ()))
                instead = await self._whole(Answer(start["status"], headers, bytes(message.get("body", b""))))
                if instead is not None:
                    self.begun = True
                    await instead.send(self._send)
                    return
            else:
                self.streamed = True
            self.begun = True
            await self._send(start)
        self.begun = True
        await self._send(message)
