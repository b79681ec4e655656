"""Equal questions of one moment go out once, and never before the last of their callers asked."""

import asyncio

import pytest

from cachewright.runtime.together import Together


class Oracle:
    """Answers with how many questions it was asked before, once it is allowed to."""

    def __init__(self):
        self.asked = []
        self.free = asyncio.Event()

    async def __call__(self, question):
        self.asked.append(question)
        number = len(self.asked)
        await self.free.wait()
        return number


async def started(*calls):
    tasks = [asyncio.ensure_future(call) for call in calls]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def test_the_first_goes_out_at_once_and_those_of_one_moment_once():
    oracle = Oracle()
    together = Together(oracle)
    (first,) = await started(together.ask("a", "a"))
    assert oracle.asked == ["a"]
    others = await started(*[together.ask("a", "a") for _ in range(10)], together.ask("b", "b"))
    assert oracle.asked == ["a", "b", "a"]
    oracle.free.set()
    assert await first == 1
    assert await asyncio.gather(*others) == [3] * 10 + [2]


async def test_nobody_joins_a_question_that_went_out_before():
    oracle = Oracle()
    together = Together(oracle)
    one = await started(together.ask("a", "a"))
    two = await started(together.ask("a", "a"))
    three = await started(together.ask("a", "a"))
    oracle.free.set()
    assert await asyncio.gather(*one, *two, *three) == [1, 2, 3]


async def test_other_questions_of_the_same_name_go_out_alone():
    oracle = Oracle()
    together = Together(oracle)
    await started(together.ask("a", "a"))
    tasks = await started(together.ask("a", "x"), together.ask("a", "y"))
    oracle.free.set()
    assert sorted(oracle.asked) == ["a", "x", "y"]
    assert sorted(await asyncio.gather(*tasks)) == [2, 3]


@pytest.mark.parametrize("passes", range(3))
async def test_a_leader_that_is_cancelled_leaves_nobody_without_an_answer(passes):
    oracle = Oracle()
    together = Together(oracle)
    await started(together.ask("a", "a"))
    tasks = [asyncio.ensure_future(together.ask("a", "a")) for _ in range(5)]
    for _ in range(passes):
        await asyncio.sleep(0)
    tasks[0].cancel()
    oracle.free.set()
    outcomes = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5.0)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert all(isinstance(outcome, int) for outcome in outcomes[1:])


async def test_a_follower_that_is_cancelled_disturbs_nobody():
    oracle = Oracle()
    together = Together(oracle)
    await started(together.ask("a", "a"))
    tasks = await started(*[together.ask("a", "a") for _ in range(5)])
    tasks[3].cancel()
    oracle.free.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(outcome, int) for outcome in outcomes] == [True, True, True, False, True]


async def test_who_comes_later_in_the_same_turn_is_given_what_was_asked_after_he_came():
    """Where code blocks the loop, much may have happened elsewhere between two callers of one turn."""
    elsewhere, free = ["old"], asyncio.Event()

    async def ask(_question):
        found = elsewhere[-1]
        await free.wait()
        return found

    async def blocks_and_asks():
        elsewhere.append("new")
        return await together.ask("a", "a")

    together = Together(ask)
    before = await started(together.ask("b", "b"))
    tasks = await started(together.ask("a", "a"), blocks_and_asks(), together.ask("a", "a"))
    free.set()
    assert await asyncio.gather(*tasks) == ["old", "new", "new"]
    await asyncio.gather(*before)
