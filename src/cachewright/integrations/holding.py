"""`write_ack: hold`: the answer to a write leaves when the application has returned.

FastAPI ends `yield` dependencies, and with them many a transaction, after the answer was sent. Who reads again at once
may then be answered from before the write, with and without a cache. Held back until the application has returned,
its background tasks included, the answer comes after the commit.
"""

from __future__ import annotations

from cachewright.capture.asgi import ASGIApp, Message, Receive, Scope, Send

_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


async def answering_last(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Run `app`; the end of its answer to a request that may write leaves after it has returned.

    An answer in one piece is held as a whole. One that is streamed is passed on, all but its last piece.
    """
    if scope["type"] != "http" or scope["method"] in _SAFE:
        await app(scope, receive, send)
        return
    held: list[Message] = []

    async def holding(message: Message) -> None:
        ends = message["type"] == "http.response.body" and not message.get("more_body", False)
        if message["type"] == "http.response.start" or ends:
            held.append(message)
            return
        for earlier in held:
            await send(earlier)
        held.clear()
        await send(message)

    try:
        await app(scope, receive, holding)
    finally:
        for message in held:
            await send(message)
