"""What this process knows of tokens, what was touched when, and what is held. Safe in any thread."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterable, Mapping

Mint = Callable[[], bytes]


def fresh_token() -> bytes:
    """A new random token of 128 bits."""
    return os.urandom(16)


class LocalTokens:
    """Local copies of tokens, an epoch that every touch advances, and the tags that are held.

    Whoever asks the store for tokens takes a `mark` before the request is sent. An answer is trusted, and a
    load stored, only where `unchanged` still says so afterwards: no invalidation, hold or lost connection
    came between. About `limit` tokens and as many touches are remembered. Past it those tokens are forgotten
    that nobody asked for lately, or all touches; and a floor is raised, so that nothing in flight is trusted.
    """

    def __init__(self, *, limit: int = 100_000) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._known: dict[str, bytes] = {}
        self._older: dict[
            str, bytes
        ] = {}  # tokens that nobody asked for since `_known` began; none is in both
        self._touched: dict[str, int] = {}
        self._held: dict[str, int] = {}
        self._epoch = 0
        self._floor = 0

    def mark(self) -> int:
        """The epoch now; to be taken before a request for tokens is sent."""
        return self._epoch

    def unchanged(self, mark: int, tags: Iterable[str]) -> bool:
        """Whether none of `tags` was touched or forgotten since `mark`, and none is held."""
        with self._lock:
            return self._unchanged(mark, tags)

    def _unchanged(self, mark: int, tags: Iterable[str]) -> bool:
        touched, held = self._touched, self._held
        for tag in tags:
            if touched.get(tag, 0) > mark or tag in held:
                return False
        return mark >= self._floor

    def learn(self, mark: int, tokens: Mapping[str, bytes]) -> int | None:
        """Keep an answer whose request was sent at `mark`, and return the mark under which it may be trusted.

        None where something came between. A tag that carried another token before counts as touched:
        somebody invalidated it and the word has not reached us yet.
        """
        with self._lock:
            if not self._unchanged(mark, tokens):
                return None
            if tokens.items() <= self._known.items():
                return self._epoch
            others = [tag for tag, token in tokens.items() if self._copy(tag) not in {token, None}]
            if others:
                self._touch(others)
            self._room(len(tokens))
            for tag in tokens:
                self._older.pop(tag, None)
            self._known.update(tokens)
            return self._epoch

    def agree(self, tokens: Mapping[str, bytes]) -> bool:
        """Whether every one of these tokens equals the local copy."""
        if tokens.items() <= self._known.items():
            return True
        return all(self._kept(tag, token) for tag, token in tokens.items())

    def _kept(self, tag: str, token: bytes) -> bool:
        """Whether this is among the older tokens: asked for now, it is one of the others again."""
        with self._lock:
            if self._older.get(tag) == token:
                self._known[tag] = self._older.pop(tag)
            return self._known.get(tag) == token

    def known(self, tags: Iterable[str]) -> dict[str, bytes]:
        """The local copies of the tokens of `tags`, of those that have one."""
        return {tag: token for tag in tags if (token := self._copy(tag)) is not None}

    def unknown(self, tags: Iterable[str]) -> list[str]:
        """Those of `tags` that have no local copy."""
        return [tag for tag in tags if self._copy(tag) is None]

    def _copy(self, tag: str) -> bytes | None:
        return self._known.get(tag) or self._older.get(tag)

    def mint(self, tags: Iterable[str], fresh: Mint) -> dict[str, bytes]:
        """The tokens of `tags` where this process is the only one: absent ones are made, one for all of them."""
        wanted = tuple(tags)
        with self._lock:
            self._room(len(wanted))
            known, older, made = self._known, self._older, b""
            for tag in wanted:
                if tag not in known:
                    known[tag] = older.pop(tag, b"") or (made := made or fresh())
            return {tag: known[tag] for tag in wanted}

    def touch(self, tags: Collection[str]) -> int:
        """Forget the tokens of `tags` and advance the epoch; how many of them were known."""
        with self._lock:
            return self._touch(tags)

    def _touch(self, tags: Collection[str]) -> int:
        if len(self._touched) + len(tags) > self._limit:
            self._touched.clear()
            self._raise_floor()
        self._epoch += 1
        self._touched.update(dict.fromkeys(tags, self._epoch))
        return sum((self._known.pop(tag, None) or self._older.pop(tag, None)) is not None for tag in tags)

    def forget(self) -> None:
        """Trust nothing any more, neither copies nor answers under way: messages may have been missed."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        self._raise_floor()
        self._touched.clear()
        self._known, self._older = {}, {}

    def _raise_floor(self) -> None:
        self._epoch += 1
        self._floor = self._epoch

    def _room(self, more: int) -> None:
        """Room for so many more tokens. Answers under way are not trusted: what they must equal may be forgotten."""
        if len(self._known) + more > self._limit // 2:
            self._older = (
                self._known
            )  # before it is emptied: a reader without the lock finds it in one of them
            self._known = {}
            self._raise_floor()

    def hold(self, tags: Collection[str]) -> None:
        """From now on these tags are neither served nor filled here; every hold needs its own `release`."""
        with self._lock:
            for tag in tags:
                self._held[tag] = self._held.get(tag, 0) + 1
            self._touch(tags)

    def release(self, tags: Collection[str]) -> None:
        """Take back one hold of each of these tags."""
        with self._lock:
            for tag in tags:
                left = self._held.get(tag, 0) - 1
                if left > 0:
                    self._held[tag] = left
                else:
                    self._held.pop(tag, None)

    def held(self, tags: Iterable[str]) -> bool:
        """Whether one of `tags` is held."""
        held = self._held
        return bool(held) and any(tag in held for tag in tags)
