import asyncio

from tests.runtime.driving import answers, get, request, until

from cachewright.runtime.flight import Alone, FlightTable, Follow, Lead


async def test_a_hundred_callers_load_once(make_cache):
    joined, loads = [], []

    class Counting(FlightTable):
        async def join_or_lead(self, key, **options):
            joined.append(key)
            return await super().join_or_lead(key, **options)

    async def load():
        loads.append(1)
        await until(lambda: len(joined) == 100)
        return b"x"

    cache = await make_cache()
    cache.flights = Counting()

    got = await asyncio.gather(*(get(cache, request(), load) for _ in range(100)))
    assert {each.payload for each in got} == {b"x"}
    assert len(loads) == 1
    assert len(cache.flights) == 0


async def test_callers_with_other_tokens_or_another_variant_have_their_own_flight(make_cache):
    cache = await make_cache()
    go_on = asyncio.Event()

    async def slow():
        await go_on.wait()
        return b"old"

    leading = asyncio.ensure_future(get(cache, request(), slow))
    await until(lambda: len(cache.flights))
    await cache.invalidate(["tasks"])
    assert (await get(cache, request(), answers(b"new"))).payload == b"new"
    assert (await get(cache, request("tasks", variant=b"v"), answers(b"v's"))).payload == b"v's"
    go_on.set()
    assert (await leading).payload == b"old"


async def lead(table, key="k"):
    taken = await table.join_or_lead(key)
    assert isinstance(taken, Lead)
    return taken


async def waiting(table, count, key="k", **options):
    tasks = [asyncio.ensure_future(table.join_or_lead(key, **options)) for _ in range(count)]
    await asyncio.sleep(0)  # every one of them is where it waits now
    return tasks


async def test_followers_get_what_was_filled():
    table = FlightTable()
    with await lead(table) as own:
        followers = await waiting(table, 3)
        own.land(b"x")
    assert await asyncio.gather(*followers) == [Follow(b"x")] * 3


async def test_a_load_that_was_not_filled_is_shared_with_nobody():
    table = FlightTable()
    with await lead(table) as own:
        followers = await waiting(table, 3)
        own.decline()
    assert await asyncio.gather(*followers) == [Alone()] * 3


async def test_when_a_leader_fails_or_is_cancelled_one_follower_leads_anew():
    table = FlightTable()
    reached = asyncio.Event()

    async def leader():
        with await lead(table):
            reached.set()
            await asyncio.sleep(60)

    leading = asyncio.ensure_future(leader())
    await reached.wait()
    followers = await waiting(table, 5)
    leading.cancel()
    (led,), others = await asyncio.wait(followers, return_when=asyncio.FIRST_COMPLETED)
    with led.result() as own:
        own.land(b"x")
    assert await asyncio.gather(*others) == [Follow(b"x")] * 4


async def test_a_cancelled_follower_leaves_the_flight_alone():
    table = FlightTable()
    with await lead(table) as own:
        first, second = await waiting(table, 2)
        first.cancel()
        await asyncio.sleep(0)
        own.land(b"x")
    assert await second == Follow(b"x")


async def test_who_was_not_accepted_may_lead_but_not_follow():
    table = FlightTable()
    with await lead(table) as own:
        (stranger,) = await waiting(table, 1, may_follow=False)
        assert await stranger == Alone()
        own.land(b"x")
    assert isinstance(await table.join_or_lead("k", may_follow=False), Lead)


async def test_a_follower_loses_patience():
    table = FlightTable(patience=0.02)
    with await lead(table):
        assert await table.join_or_lead("k") == Alone()


async def test_no_key_joins_nothing():
    table = FlightTable()
    assert await table.join_or_lead(None) == Alone()
    assert len(table) == 0


async def test_landing_twice_changes_nothing():
    table = FlightTable()
    with await lead(table) as own:
        own.land(b"x")
        other = await lead(table)
        own.decline()
        assert len(table) == 1
        other.land(b"y")
