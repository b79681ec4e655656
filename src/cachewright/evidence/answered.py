"""What a route answers, noted as its messages pass by."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any

from cachewright.evidence.hashing import Hasher
from cachewright.evidence.volatile import LONGEST_BODY
from cachewright.spec.directives import directives_of, varied

Message = MutableMapping[str, Any]
_MOST_DIRECTIVES = 16


class Answered:
    """What a route answers, as its messages pass by."""

    __slots__ = ("bodies", "body", "cache_control", "head", "set_cookie", "status", "stream", "varied")

    def __init__(self, hasher: Hasher, *, keeps_body: bool = False) -> None:
        self.head = b""
        self.body: bytes | None = b"" if keeps_body else None
        self.stream = hasher.stream()
        self.status = 0
        self.bodies = 0
        self.set_cookie = False
        self.cache_control: frozenset[str] = frozenset()
        self.varied: frozenset[str] = frozenset()

    def saw(self, message: Message) -> None:
        """A message of the route passed by."""
        match message["type"]:
            case "http.response.start":
                self.started(message["status"], message.get("headers", ()))
            case "http.response.body":
                self.bodies += 1
                body = message.get("body", b"")
                self.stream.update(body)
                if self.body is not None:
                    self.body = self.body + body if len(self.body) + len(body) <= LONGEST_BODY else None
            case "http.response.pathsend" | "http.response.zerocopysend":  # a file that the server will send
                self.bodies += 2

    def started(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Status and headers are known."""
        self.status = status
        content_type = b""
        control: list[str] = []
        vary: list[str] = []
        for name, value in headers:
            match name.lower():
                case b"content-type":
                    content_type = value
                case b"set-cookie":
                    self.set_cookie = True
                case b"cache-control":
                    control.append(value.decode("latin-1"))
                case b"vary":
                    vary.append(value.decode("latin-1"))
        self.cache_control = frozenset(sorted(directives_of(control))[:_MOST_DIRECTIVES])
        self.varied = varied(vary)
        if b"json" not in content_type:
            self.body = None
        self.head = b"%d\n%s\n" % (status, content_type)
        self.stream.update(self.head)
