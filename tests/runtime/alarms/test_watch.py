"""What alarms do: each action of a specification acts, on a real cache."""

import asyncio
import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from tests.runtime.driving import until

from cachewright.errors import StoreUnavailableError, UsageError
from cachewright.runtime.alarms.actions import Actions
from cachewright.runtime.alarms.named import rules_of
from cachewright.runtime.alarms.sinks import SIGNATURE, Webhook, calling
from cachewright.runtime.alarms.watch import Watch
from cachewright.runtime.api import Cache
from cachewright.runtime.settings import Settings
from cachewright.runtime.switches import Switches
from cachewright.spec.observing import Alerts
from cachewright.spec.semantics import Reason


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """An engine of one worker that is watched on the test's clock; `told` holds the alarms people heard of."""

    def __init__(self, engine, alerts, directory=None, targets=("good", "bad")) -> None:
        self.clock, self.told, self.engine = Clock(), [], engine
        self.switches = Switches(engine, targets, self.clock)
        rules = rules_of(Alerts.model_validate(alerts))
        self.watch = Watch(
            engine,
            rules,
            Actions(engine, self.switches, directory),
            [calling(self.told.append)],
            clock=self.clock,
        )

    async def after(self, seconds: float) -> list[str]:
        """Look after so long; the names of the alarms that are raised then."""
        self.clock.now += seconds
        await self.watch.look()
        await self.watch.aclose(1.0)
        return [alarm["name"] for alarm in self.watch.raised]


@pytest.fixture
async def engine(make_cache):
    return await make_cache(None, workers=1)


@pytest.mark.requirement("#274", "#399")
async def test_a_target_that_does_not_pay_rests_and_comes_back(engine):
    low = {
        "low_hit_rate": {
            "enabled": True,
            "for_seconds": 10,
            "min_requests": 50,
            "action": ["disable_caching"],
        }
    }
    watched = Watched(engine, low)
    await watched.after(60)
    for _ in range(100):
        engine.stats.miss("bad", Reason.ABSENT)
    for _ in range(40):
        engine.stats.hit("good", "l1", 0.001)
    assert await watched.after(1) == []
    for _ in range(100):
        engine.stats.miss("bad", Reason.ABSENT)
    assert await watched.after(10) == ["low_hit_rate"]
    assert watched.switches.off == {"bad"}
    assert watched.told == []  # nobody asked to be told
    watched.clock.now += 299
    assert watched.switches.is_off("bad")
    watched.clock.now += 2
    assert not watched.switches.is_off("bad")


@pytest.mark.requirement("#277", "#398", "C16")
async def test_memory_comes_under_its_threshold_in_its_own_order():
    settings = Settings(l1_items=1000, l1_bytes=200_000)
    async with Cache(settings=settings) as cache:
        for number in range(100):
            await cache.set(f"entry:{number}", "x" * 1000)
        await cache.get("entry:0")
        high = {"high_memory_usage": {"enabled": True, "threshold": 0.5, "action": ["evict_oldest", "alert"]}}
        watched = Watched(cache.engine, high)
        assert await watched.after(1) == ["high_memory_usage"]
        assert cache.engine.memory.size <= 0.5 * settings.l1_bytes
        assert await cache.get("entry:0") == "x" * 1000  # the one that was used last
        assert await cache.get("entry:99") == "x" * 1000
        assert [alarm["state"] for alarm in watched.told] == ["raised"]
        assert await watched.after(1) == []
        assert [alarm["state"] for alarm in watched.told] == ["raised", "ended"]


@pytest.mark.requirement("#280")
async def test_an_investigation_leaves_a_record_of_what_was_slow(engine, tmp_path):
    slow = {"slow_operations": {"enabled": True, "threshold_ms": 10, "action": ["investigate"]}}
    watched = Watched(engine, slow, tmp_path / "records")
    engine.stats.hit("bad", "l2", 0.5)
    engine.stats.operated("set", 0.25)
    assert await watched.after(1) == ["slow_operations"]
    (path,) = (tmp_path / "records").glob("investigation-*.json")
    record = json.loads(path.read_text())
    assert record["targets"]["bad"]["hits"] == {"count": 1, "mean_ms": 500.0}
    assert record["operations"]["set"] == {"count": 1, "mean_ms": 250.0}


@pytest.mark.requirement("#139", "#282")
async def test_a_store_that_is_away_is_an_alarm_until_it_is_back(make_cache, own_server):
    server = own_server()
    engine = await make_cache(server.url, read_timeout=0.1, connect_timeout=0.1, l1_lease=0.3)
    away = {"cache_unavailable": {"enabled": True, "action": ["fallback_to_db", "alert_admin", "retry"]}}
    watched = Watched(engine, away)
    assert await watched.after(1) == []
    server.kill()
    await until(lambda: not engine.hears)
    assert await watched.after(1) == []
    assert await watched.after(5) == []
    assert await watched.after(1) == ["cache_unavailable"]
    assert [alarm["name"] for alarm in watched.told] == ["cache_unavailable"]
    assert watched.told[0]["runbook"].endswith("#cache_unavailable")
    server.start()
    await until(lambda: engine.hears)
    async with asyncio.timeout(10):
        while await watched.after(1):
            await asyncio.sleep(0.05)
    assert [alarm["state"] for alarm in watched.told] == ["raised", "ended"]


async def test_a_sink_that_fails_ends_nothing(engine, caplog):
    def broken(_alarm):
        raise ValueError("of somebody else")

    watched = Watched(engine, {})
    watched.watch._sinks = (calling(broken), calling(watched.told.append))
    engine.stats.denied()
    assert await watched.after(1) == ["isolation_violation"]
    assert [alarm["name"] for alarm in watched.told] == ["isolation_violation"]
    assert "an alarm could not be told" in caplog.text


async def test_what_an_operator_turns_off_is_off_everywhere_and_stays_off(make_cache):
    here, there = await make_cache(), await make_cache()
    one, other = Switches(here, ("tasks",), Clock()), Switches(there, ("tasks", "more"), Clock())
    await one.turn("tasks", on=False)
    assert one.off == {"tasks"}
    await other._look()
    assert other.off == {"tasks"}
    late = Switches(await make_cache(), ("tasks",), Clock())
    await late._look()
    assert late.off == {"tasks"}
    await other.turn("tasks", on=True)
    await one._look()
    assert (one.off, other.off) == (frozenset(), frozenset())


async def test_a_switch_that_could_not_be_told_is_no_switch(make_cache, own_server):
    server = own_server()
    engine = await make_cache(server.url, read_timeout=0.1, connect_timeout=0.1)
    switches = Switches(engine, ("tasks",), Clock())
    await switches.turn("tasks", on=False)
    server.kill()
    with pytest.raises(StoreUnavailableError):
        await switches.turn("tasks", on=True)
    await switches._look()
    assert switches.off == {"tasks"}


class Receiver(BaseHTTPRequestHandler):
    statuses: list[int]
    got: list[tuple[str | None, bytes]]

    def do_POST(self) -> None:
        self.got.append((self.headers.get(SIGNATURE), self.rfile.read(int(self.headers["content-length"]))))
        status = self.statuses.pop(0)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.end_headers()

    def log_message(self, *_args) -> None:
        pass


@pytest.fixture
def receiver():
    handler = type("Own", (Receiver,), {"statuses": [], "got": []})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        handler.url = f"http://127.0.0.1:{server.server_port}/hook?token=planted"
        yield handler
        server.shutdown()


ALARM = {"name": "low_hit_rate", "state": "raised"}


async def test_a_webhook_is_signed_and_repeated_until_it_is_taken(receiver):
    receiver.statuses = [500, 302, 204]
    waited = []

    async def sleep(seconds):
        waited.append(seconds)

    await Webhook(receiver.url, b"a secret", sleep=sleep)(ALARM)
    assert waited == [1.0, 5.0]
    signature, body = receiver.got[-1]
    assert json.loads(body) == ALARM
    assert signature == f"sha256={hmac.new(b'a secret', body, hashlib.sha256).hexdigest()}"


async def test_a_webhook_that_fails_for_good_is_logged_without_its_url(receiver, caplog):
    receiver.statuses = [500] * 4

    async def sleep(_seconds):
        pass

    await Webhook(receiver.url, sleep=sleep)(ALARM)
    assert "status 500" in caplog.text
    assert "planted" not in caplog.text
    assert receiver.got[0][0] is None


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ops.example", "ftp://ops.example/", "http://"])
def test_a_webhook_goes_to_http_and_nowhere_else(url):
    with pytest.raises(UsageError):
        Webhook(url)
