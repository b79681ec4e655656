"""Tokens of many records in memory, held once where they are equal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cachewright.runtime.codec import Entry
from cachewright.runtime.stores.records import Record

#: Distinct sets of tokens that are held once, and distinct tags and tokens in them.
_SHARED_SETS = 512
_SHARED_WORDS = 2048


class SharedTokens:
    """One object for what is equal: whole sets of tokens, and the tags and tokens in them.

    It forgets everything once it has seen too much; what is wide meets again at once.
    """

    def __init__(self) -> None:
        self._sets: dict[tuple[bytes, ...], Mapping[str, bytes]] = {}
        self._tags: dict[str, str] = {}
        self._tokens: dict[bytes, bytes] = {}

    def record(self, record: Record) -> Record:
        """`record` with shared tokens."""
        tokens = self._same(record.tokens)
        if tokens is record.tokens:
            return record
        if isinstance(record, Entry):
            return replace(record, tokens=tokens, meta=replace(record.meta, tokens=tokens))
        return replace(record, tokens=tokens, acceptance=replace(record.acceptance, tokens=tokens))

    def _same(self, tokens: Mapping[str, bytes]) -> Mapping[str, bytes]:
        key = tuple(tokens.values())
        known = self._sets.get(key)
        if known == tokens:
            return known
        if len(self._sets) >= _SHARED_SETS:
            self._sets.clear()
        if max(len(self._tags), len(self._tokens)) >= _SHARED_WORDS:
            self._tags.clear()
            self._tokens.clear()
        tag_of, token_of = self._tags.setdefault, self._tokens.setdefault
        made = {tag_of(tag, tag): token_of(token, token) for tag, token in tokens.items()}
        self._sets[tuple(made.values())] = made
        return made
