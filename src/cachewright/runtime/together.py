"""The same question of many callers at one moment: asked once, and after all of them asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

_Question = TypeVar("_Question")
_Answer = TypeVar("_Answer")


@dataclass(slots=True, eq=False)
class _Joint(Generic[_Question, _Answer]):
    """A question of this moment, and who waits for its answer too; None where it never came."""

    question: _Question
    waiting: list[asyncio.Future[_Answer | None]] = field(default_factory=list)


class Together(Generic[_Question, _Answer]):
    """Asks `ask` for callers on one event loop.

    Nobody is given the answer to a question that went out before what the caller knows: it might be older. A moment
    is one turn of the loop: whatever arrived from elsewhere and is known in it arrived before it, and so before the
    question went out. What is known in this process alone has to be part of the name.
    """

    def __init__(self, ask: Callable[[_Question], Awaitable[_Answer]]) -> None:
        self._ask = ask
        self._under_way = 0
        self._gathering: dict[Hashable, _Joint[_Question, _Answer]] = {}

    async def ask(self, name: Hashable, question: _Question) -> _Answer:
        """The answer to `question`; equal questions have equal names."""
        if not self._under_way:
            return await self._alone(question)
        joint = self._gathering.get(name)
        if joint is None:
            return await self._lead(name, question)
        if joint.question != question:
            return await self._alone(question)
        answer: asyncio.Future[_Answer | None] = asyncio.get_running_loop().create_future()
        joint.waiting.append(answer)
        found = await answer
        return found if found is not None else await self._alone(question)

    async def _lead(self, name: Hashable, question: _Question) -> _Answer:
        """Ask for everybody who asks the same in this moment."""
        if not self._gathering:  # before it goes out: whoever hears of what came later comes after this
            asyncio.get_running_loop().call_soon(self._gathering.clear)
        joint: _Joint[_Question, _Answer] = _Joint(question)
        self._gathering[name] = joint
        found: _Answer | None = None
        try:
            found = await self._alone(question)
        finally:
            if self._gathering.get(name) is joint:
                del self._gathering[name]
            for answer in joint.waiting:
                if not answer.done():
                    answer.set_result(found)
        return found

    async def _alone(self, question: _Question) -> _Answer:
        self._under_way += 1
        try:
            return await self._ask(question)
        finally:
            self._under_way -= 1
