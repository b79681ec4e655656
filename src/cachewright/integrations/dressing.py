"""What the cache itself says in the headers of answers, as far as the specification asks for it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cachewright.capture.credentials import header_of
from cachewright.integrations.answers import Answer
from cachewright.spec.delivery import Http, TagHeader
from cachewright.spec.directives import directives_of
from cachewright.spec.model import CachingSpecification
from cachewright.spec.semantics import EntryMeta, Reason, Scope
from cachewright.spec.target import Plan, Target

#: An answer that nothing but an invalidation ends is kept by a CDN for so long (s).
LONGEST_SHARED = 86_400
_MOST_TAGS = 64
#: What a 304 has no use for (RFC 9110 §15.4.5).
_OF_BODIES = (b"content-length", b"content-type", b"content-encoding", b"content-language", b"content-range")


Fields = tuple[tuple[bytes, bytes], ...]


def digest_of(namespace: str, tag: str) -> str:
    """A tag as a CDN knows it: short, and it tells nobody what it stands for."""
    return hashlib.blake2b(f"{namespace}:{tag}".encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Dressing:
    """Puts headers on answers; those of the application stay as they are.

    `shared` says in which header a CDN finds the tags of targets on l4, None where there is no such target.
    """

    namespace: str
    http: Http
    shared: TagHeader | None

    def reloads(self, scope: Mapping[str, Any]) -> bool:
        """Whether a request asks for no stored answer, and is listened to (RFC 9111 §5.2.1, §5.4)."""
        if self.http.request_no_cache == "ignore":
            return False
        control = header_of(scope, "cache-control")
        if control is None:
            return "no-cache" in directives_of([header_of(scope, "pragma") or ""])
        return bool(directives_of([control]) & {"no-cache", "no-store", "max-age=0"})

    def bypass(self, target: Target, reason: Reason) -> Fields:
        """What is said of an answer that the cache had no part in, where it does not say so itself."""
        said = f"cachewright; fwd=bypass; detail={reason}".encode()
        own: Fields = ((b"cache-status", said),) if self.http.cache_status else ()
        return (*own, *self._for_nobody_else(target))

    def hit(
        self, scope: Mapping[str, Any], target: Target, answer: Answer, meta: EntryMeta, now: float
    ) -> Answer:
        """A stored answer as it leaves."""
        left = None if meta.expires_at is None else max(0.0, meta.expires_at - now)
        fields = list(self._of_both(scope, target, answer, meta.tokens, left))
        if self.http.age and answer.header(b"age") is None:
            fields.append((b"age", str(int(max(0.0, now - meta.loaded_at))).encode()))
        if self.http.cache_status:
            ttl = "" if left is None else f"; ttl={int(left)}"
            fields.append((b"cache-status", f"cachewright; hit{ttl}".encode()))
        return self._dressed(scope, answer, tuple(fields))

    def load(
        self,
        scope: Mapping[str, Any],
        target: Target,
        answer: Answer,
        *,
        tags: Iterable[str],
        left: float | None,
        reason: Reason,
        stored: bool,
        shared: bool = False,
    ) -> Answer:
        """What the application answered, as it leaves: `stored` or not, loaded for this request or `shared` with it."""
        fields = list(self._of_both(scope, target, answer, tags if stored else None, left))
        if self.http.cache_status:
            forward = {Reason.ABSENT: "uri-miss", Reason.EXPIRED: "stale", Reason.REFRESH: "stale",
                       Reason.REQUESTED: "request", Reason.NOT_ACCEPTED: "uri-miss"}.get(reason, "miss")  # fmt: skip
            kept = "; stored" if stored else ""
            joined = "; collapsed" if shared else ""
            fields.append(
                (b"cache-status", f"cachewright; fwd={forward}{kept}{joined}; detail={reason}".encode())
            )
        return self._dressed(scope, answer, tuple(fields))

    def _of_both(
        self,
        scope: Mapping[str, Any],
        target: Target,
        answer: Answer,
        tags: Iterable[str] | None,
        left: float | None,
    ) -> Iterable[tuple[bytes, bytes]]:
        """A validator; and for a CDN how long it may hold an answer that is stored (`tags`), and what ends it."""
        whole = scope["method"] == "GET" and answer.status == 200
        if self.http.etag and whole and not answer.validated:
            yield b"etag", b'W/"' + hashlib.blake2b(answer.body, digest_size=12).hexdigest().encode() + b'"'
        if answer.header(b"cache-control") is not None:
            return
        if tags is None or self.shared is None or not self._is_shared(target):
            yield from self._for_nobody_else(target)
            return
        names = sorted({digest_of(self.namespace, tag) for tag in tags})
        seconds = int(LONGEST_SHARED if left is None else min(left, LONGEST_SHARED))
        if len(names) > _MOST_TAGS or seconds < 1:
            yield from self._for_nobody_else(target)
            return
        yield b"cache-control", f"public, max-age=0, s-maxage={seconds}".encode()
        yield self.shared.lower().encode(), ("," if self.shared == "Cache-Tag" else " ").join(names).encode()
        for name in sorted({_vary(field) for field in target.key.fields} - {""}):
            yield b"vary", name.encode()

    def _is_shared(self, target: Target) -> bool:
        return self.shared is not None and "l4" in target.levels and target.scope is Scope.PUBLIC

    def _for_nobody_else(self, target: Target) -> Fields:
        """What keeps a CDN from holding an answer by a lifetime of its own, where there is one."""
        if self.shared is None or (target.scope is Scope.PUBLIC and "l4" not in target.levels):
            return ()
        said = b"no-store" if target.scope is Scope.PUBLIC else b"private"
        return ((b"cache-control", said),)

    def _dressed(self, scope: Mapping[str, Any], answer: Answer, fields: Fields) -> Answer:
        """`answer` with more fields; 304 where the request holds what our own tag names (RFC 9110 §13.1.2)."""
        headers = (*answer.headers, *fields)
        etag, asked = dict(fields).get(b"etag"), header_of(scope, "if-none-match")
        if etag is None or asked is None or not _matches(asked, etag.decode("latin-1")):
            return Answer(answer.status, headers, answer.body, answer.session)
        kept = tuple(field for field in headers if field[0].lower() not in _OF_BODIES)
        return Answer(304, kept, b"", answer.session)


def _vary(field: str) -> str:
    """The header that a field of a key stands in, if it does."""
    where, _, name = field.partition(".")
    return name.lower() if where == "header" else "cookie" if where == "cookie" else ""


def _matches(asked: str, etag: str) -> bool:
    """Weak comparison with each of a list of entity tags (RFC 9110 §8.8.3.2)."""
    if asked.strip() == "*":
        return True
    opaque = etag.removeprefix("W/")
    return any(each.strip().removeprefix("W/") == opaque for each in asked.split(","))


def dressing_of(spec: CachingSpecification, plan: Plan) -> Dressing | None:
    """The headers that a specification asks for, None where it asks for none."""
    http, cdn = spec.configuration.http, spec.configuration.cdn
    shared = any("l4" in target.levels for target in plan.targets.values())
    if http == Http() and not shared:
        return None
    return Dressing(plan.namespace, http, cdn.tag_header if shared else None)
