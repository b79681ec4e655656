"""The same question of many callers at one moment: asked for all of them once, and after they came."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

_Question = TypeVar("_Question")
_Answer = TypeVar("_Answer")


@dataclass(slots=True, eq=False)
class _Joint(Generic[_Question, _Answer]):
    """A question that is about to go out, and who waits for its answer too; None where it never came."""

    question: _Question
    waiting: list[asyncio.Future[_Answer | None]] = field(default_factory=list)


class Together(Generic[_Question, _Answer]):
    """Asks `ask` for callers on one event loop.

    Nobody is given the answer to a question that went out before he came: it might be older than what he knows,
    even within one turn of the loop, where code blocked it meanwhile. A question that nobody else is asking goes out
    at once; while it is under way those who ask the same are joined until the next turn, and asked for then.
    """

    def __init__(self, ask: Callable[[_Question], Awaitable[_Answer]]) -> None:
        self._ask = ask
        self._under_way: Counter[Hashable] = Counter()
        self._gathering: dict[Hashable, _Joint[_Question, _Answer]] = {}

    async def ask(self, name: Hashable, question: _Question) -> _Answer:
        """The answer to `question`; equal questions have equal names."""
        if name not in self._under_way:
            return await self._alone(name, question)
        joint = self._gathering.get(name)
        if joint is None:
            return await self._lead(name, question)
        if joint.question != question:
            return await self._alone(name, question)
        answer: asyncio.Future[_Answer | None] = asyncio.get_running_loop().create_future()
        joint.waiting.append(answer)
        found = await answer
        return found if found is not None else await self._alone(name, question)

    async def _lead(self, name: Hashable, question: _Question) -> _Answer:
        """Ask for everybody who asks the same before this goes out."""
        joint = self._gathering[name] = _Joint[_Question, _Answer](question)
        found: _Answer | None = None
        try:
            try:
                await asyncio.sleep(0)
            finally:
                del self._gathering[name]
            found = await self._alone(name, question)
        finally:
            for answer in joint.waiting:
                if not answer.done():
                    answer.set_result(found)
        return found

    async def _alone(self, name: Hashable, question: _Question) -> _Answer:
        self._under_way[name] += 1
        try:
            return await self._ask(question)
        finally:
            self._under_way[name] -= 1
            if not self._under_way[name]:
                del self._under_way[name]
