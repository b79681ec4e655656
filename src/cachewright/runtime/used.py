"""What caches in code gave to an answer on its way: it depends on what these values depend on, and ends with them.

A value that comes out of a cache ran no SQL that could be seen, so that nothing else tells what the answer rests on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cachewright.spec.lifetimes import ends_at
from cachewright.spec.semantics import EntryMeta

if TYPE_CHECKING:
    from cachewright.runtime.engine import Engine


@dataclass(slots=True, eq=False)
class Used:
    """The values that were used for one answer, which `engine` may keep.

    `tokens` are those that their tags had before they were loaded, `until` is when the first of them ends (wall s).
    `untold` says that the answer rests on something of which that is not known: an absent value, one that somebody
    else was loading, or one whose changes `engine` does not hear of.
    """

    engine: Engine
    tokens: dict[str, bytes] = field(default_factory=dict)
    until: float = math.inf
    untold: bool = False

    def value(self, engine: Engine, tokens: Mapping[str, bytes], until: float | None) -> None:
        """Note a value of `engine` that holds these tokens and ends then (wall s, None for never)."""
        agreed = all(self.tokens.setdefault(tag, token) == token for tag, token in tokens.items())
        self.untold = self.untold or not agreed or not self._hears(engine)
        if until is not None:
            self.until = min(self.until, until)

    def _hears(self, engine: Engine) -> bool:
        """Whether invalidations in `engine` are invalidations here."""
        own = self.engine
        return engine is own or (engine.namespace == own.namespace and engine.url == own.url is not None)


USED: ContextVar[Used | None] = ContextVar("cachewright_used", default=None)
#: What is being answered in this process.
_UNDER_WAY: set[Used] = set()


@contextmanager
def accounted(engine: Engine) -> Iterator[None]:
    """Note what caches in code give to the answer that is made here; one inside of another is one of them."""
    outer, used = USED.get(), Used(engine)
    if outer is not None:
        outer.untold = True
    before = USED.set(used)
    _UNDER_WAY.add(used)
    try:
        yield
    finally:
        _UNDER_WAY.discard(used)
        USED.reset(before)


def note(engine: Engine, meta: EntryMeta | None) -> None:
    """Note that an entry of `engine` was used."""
    used = USED.get()
    if used is None:
        untold()
    elif meta is not None:
        used.value(engine, meta.tokens, ends_at(meta))  # type: ignore[arg-type]  # of bytes here


def untold() -> None:
    """Note that what is being answered rests on something that nobody can account for.

    In a thread or a task that no answer is known to come from, that may be any of those under way.
    """
    used = USED.get()
    for each in tuple(_UNDER_WAY) if used is None else (used,):
        each.untold = True
