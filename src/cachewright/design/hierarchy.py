"""Which level, function and lifetime suit which kind of data: the one table of it (C1, A25)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cachewright.request.model import DataKind, Volatility
from cachewright.spec.cache_targets import Role
from cachewright.spec.strategy import Level


@dataclass(frozen=True, slots=True)
class Kind:
    """What suits one kind of data; `words` in a path or name tell it."""

    levels: tuple[Level, ...]
    role: Role
    volatility: Volatility
    words: str = ""


#: l1 fast and small, l2 shared, l3 large; a shared level stands behind a fast one.
KINDS: Mapping[DataKind, Kind] = {
    "session": Kind(("l1",), "session", "high"),
    "hot": Kind(("l1", "l2"), "application", "high"),
    "list": Kind(("l1", "l2"), "application", "medium"),
    "single": Kind(("l1", "l2"), "application", "medium"),
    "profile": Kind(("l1", "l2"), "application", "medium", r"profiles?|me|account|preferences|user"),
    "search": Kind(("l2", "l3"), "query", "medium", r"search|find|query|lookup"),
    "statistics": Kind(
        ("l2", "l3"),
        "query",
        "low",
        r"stat(?:s|istics)?|reports?|summary|analytics|aggregates?|counts?|metrics",
    ),
    "logs": Kind(
        ("l3",),
        "query",
        "low",
        r"logs?|histor(?:y|ies)|audit|activit(?:y|ies)|events|archive|datasets?|exports?",
    ),
    "static": Kind(
        ("l1", "l2"),
        "application",
        "none",
        r"config(?:uration)?|settings|constants|countries|currencies|categories",
    ),
}

#: Lifetimes in seconds by how often the data changes (#73-#76): the middle of each band that the request advises.
LIFETIMES: Mapping[Volatility, int | None] = {"high": 60, "medium": 300, "low": 3600, "none": None}
BANDS: Mapping[Volatility, str] = {
    "high": "30-60 s",
    "medium": "5-15 min",
    "low": "1-24 h",
    "none": "no expiration",
}
#: Entries of a target whose keys hold what anybody can make up, such as a search (CW032).
MOST_FREE = 1000
_OFTEN, _SELDOM = 300.0, 86_400.0


def kind_of(name: str, *, single: bool) -> DataKind:
    """The kind of data that a path or the name of a value speaks of."""
    words = set(re.split(r"[^a-z]+", re.sub(r"\{[^}]*\}", "", name).lower()))
    for kind in ("search", "statistics", "logs", "static", "profile"):
        if any(re.fullmatch(KINDS[kind].words, word) for word in words if word):
            return kind
    return "single" if single else "list"


def volatility_of(seconds_between_changes: float) -> Volatility:
    """How often data changes, as one word; more changes never give a longer lifetime (#402)."""
    if seconds_between_changes < _OFTEN:
        return "high"
    return "medium" if seconds_between_changes < _SELDOM else "low"
