import asyncio

import pytest
from tests.runtime.driving import until

from cachewright.errors import OverloadedError
from cachewright.runtime.bulkhead import Bulkhead


async def waiting_for(bulkhead: Bulkhead, count: int) -> list[asyncio.Task]:
    tasks = [asyncio.create_task(bulkhead.enter()) for _ in range(count)]
    await until(lambda: bulkhead.waiting == count)
    return tasks


async def test_places_are_given_in_the_order_of_asking():
    bulkhead, order = Bulkhead(1, queue=5, patience=60), []

    async def use(number: int) -> None:
        with await bulkhead.enter():
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(use(number) for number in range(6)))
    assert order == [0, 1, 2, 3, 4, 5]
    assert (bulkhead.used, bulkhead.waiting) == (0, 0)


async def test_whom_the_queue_does_not_hold_is_refused_at_once():
    bulkhead = Bulkhead(1, queue=1, patience=60)
    with await bulkhead.enter():
        (waiter,) = await waiting_for(bulkhead, 1)
        with pytest.raises(OverloadedError) as refused:
            await bulkhead.enter()
        assert refused.value.retry_after == 60
        waiter.cancel()


async def test_who_waits_too_long_is_refused_and_takes_no_place():
    bulkhead = Bulkhead(1, patience=0.01)
    with await bulkhead.enter():
        with pytest.raises(OverloadedError):
            await bulkhead.enter()
        assert bulkhead.waiting == 0
    assert bulkhead.used == 0


async def test_a_waiter_that_is_cancelled_leaves_no_hole():
    bulkhead = Bulkhead(1, queue=2, patience=60)
    with await bulkhead.enter():
        first, second = await waiting_for(bulkhead, 2)
        first.cancel()
        await asyncio.wait((first,))
    with await second:
        assert bulkhead.used == 1
    assert bulkhead.used == 0


async def test_a_place_that_comes_with_the_cancellation_is_handed_on():
    bulkhead = Bulkhead(1, queue=2, patience=60)
    place = await bulkhead.enter()
    first, second = await waiting_for(bulkhead, 2)
    with place:
        pass  # the place is the first waiter's now, though it has not run since
    first.cancel()
    with await second:
        assert bulkhead.used == 1
    assert first.cancelled()
    assert bulkhead.used == 0


async def test_the_background_has_its_share_and_never_goes_before_a_caller():
    bulkhead = Bulkhead(4, background=2, patience=60)
    places = [bulkhead.enter_background() for _ in range(2)]
    assert bulkhead.enter_background() is None
    held = [await bulkhead.enter() for _ in range(2)]
    (waiter,) = await waiting_for(bulkhead, 1)
    with places[0]:
        pass
    assert bulkhead.enter_background() is None
    with await waiter, held[0], held[1], places[1]:
        assert bulkhead.used == 4
    assert bulkhead.used == 0
    assert bulkhead.enter_background() is not None
