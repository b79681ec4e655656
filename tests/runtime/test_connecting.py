"""URLs, the line to one server, what goes out together, and servers that forget, load or are demoted."""

import asyncio
import datetime as dt
import math
import ssl
import time
from contextlib import asynccontextmanager, suppress

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.runtime.driving import answers, get, request, until
from tests.runtime.topologies import Node

from cachewright.errors import StoreUnavailableError, SurroundingsError
from cachewright.runtime import invalidation
from cachewright.runtime.settings import Settings, boottime
from cachewright.runtime.stats import Stats
from cachewright.runtime.stores.beats import Pulse
from cachewright.runtime.stores.connecting import locate, shown
from cachewright.runtime.stores.connection import Wire
from cachewright.runtime.stores.line import code_of
from cachewright.runtime.stores.redis import RedisStore
from cachewright.runtime.stores.slots import Share, SlotMap, redirection, shares_of

PATIENT = {"read_timeout": 0.25, "connect_timeout": 0.5, "topology_interval": 0.1, "replay_interval": 0.1}
HANG = 5.0


async def bounded(call):
    return await asyncio.wait_for(call, HANG)


@pytest.mark.parametrize(
    ("url", "kind", "addresses", "one"),
    [
        ("redis://h:1/2", "", (("h", 1),), "redis://h:1"),
        ("valkey://u:p@h", "", (("h", 6379),), "redis://u:p@h:6379"),
        ("redis+cluster://u:p@a:1,b:2", "cluster", (("a", 1), ("b", 2)), "redis://u:p@a:1"),
        ("rediss+cluster://[::1]:7,b", "cluster", (("::1", 7), ("b", 6379)), "rediss://[::1]:7"),
        (
            "redis+sentinel://:p@a,b:2/mine?db=3",
            "sentinel",
            (("a", 26379), ("b", 2)),
            "redis://:p@a:26379?db=3",
        ),
    ],
)
def test_urls_say_where_to_go(url, kind, addresses, one):
    place = locate(url)
    assert (place.kind, place.addresses) == (kind, addresses)
    assert place.url(*addresses[0]) == one


def test_sentinels_have_credentials_of_their_own():
    place = locate(
        "rediss+sentinel://u:p@a:1/mine?sentinel_username=s&sentinel_password=t&db=1&ssl_cert_reqs=none"
    )
    assert place.service == "mine"
    assert place.sentinel_url("a", 1) == "rediss://a:1?ssl_cert_reqs=none&username=s&password=t"
    assert place.url("a", 1) == "rediss://u:p@a:1?db=1&ssl_cert_reqs=none"


@pytest.mark.parametrize(
    "url",
    ["http://u:hunter2@h", "redis+sentinel://u:hunter2@h:1", "redis+cluster://", "redis+magic://hunter2@h",
     "redis://u:hunter2@h:port", "unix+cluster:///x", "hunter2"],
)  # fmt: skip
def test_urls_that_lead_nowhere_are_refused_without_their_secret(url):
    if url == "hunter2":
        url = "://u:hunter2@h"
    with pytest.raises(SurroundingsError) as refused:
        locate(url)
    assert "hunter2" not in str(refused.value)
    assert "redis+sentinel://" in str(refused.value)
    assert "hunter2" not in shown(url)


@pytest.mark.requirement("#410")
async def test_what_is_asked_at_the_same_moment_goes_out_together(make_cache, server):
    """Lookups, mints, fills and changes of many callers: a few writes, however many callers."""
    cache = await make_cache(l1_items=0, topology_interval=60.0)
    await cache.lookup(request("warm"))
    store = cache._core.store
    keys = [f"k{n}" for n in range(64)]

    async def reads():
        return server.info("stats")["total_reads_processed"]

    before = await reads()
    await asyncio.gather(*[store.mint([f"t(id={key})"]) for key in keys])
    await asyncio.gather(*[store.fill({f"e:{key}": (b"x", 60.0)}, [f"t(id={key})"]) for key in keys])
    changed = await asyncio.gather(*[store.change([f"t(id={key})"]) for key in keys])
    read = await asyncio.gather(*[store.read([f"e:{key}"], [f"t(id={key})"]) for key in keys])
    assert changed == [1] * 64
    assert all(answer.values[f"e:{key}"] == b"x" for key, answer in zip(keys, read, strict=True))
    assert await reads() - before < 40


async def test_a_first_miss_makes_its_tokens_on_the_way(make_cache, server):
    cache = await make_cache(topology_interval=60.0)
    before = server.info("stats")["total_reads_processed"]
    found = await cache.lookup(request("fresh"))
    assert set(found.ticket.tokens) == set(request("fresh").tags)
    assert (
        server.info("stats")["total_reads_processed"] - before <= 3
    )  # this question, HELLO of a new line, ours


@pytest.mark.requirement("#143", "#409")
async def test_a_thousand_cancellations_mix_up_no_reply_and_open_no_connection(make_cache, own_server):
    alone = own_server()
    cache = await make_cache(alone.url, l1_items=0)
    store = cache._core.store
    await store.fill({f"e:{n}": (str(n).encode(), 60.0) for n in range(100)}, [])
    server = alone.client()
    opened = server.info("stats")["total_connections_received"]
    for at in range(20):
        asking = [asyncio.ensure_future(store.read([f"e:{n % 100}"], [])) for n in range(50)]
        for _ in range(at % 4):
            await asyncio.sleep(0)
        for task in asking:
            task.cancel()
        kept = await asyncio.gather(*[store.read([f"e:{n}"], []) for n in range(20)])
        assert [answer.values[f"e:{n}"] for n, answer in enumerate(kept)] == [
            str(n).encode() for n in range(20)
        ]
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*asking, return_exceptions=True)
    assert server.info("stats")["total_connections_received"] == opened
    server.close()


async def test_an_idle_connection_that_the_server_closed_costs_nobody_an_answer(make_cache, server):
    cache = await make_cache(l1_items=0)
    store = cache._core.store
    await store.fill({"e:a": (b"x", 60.0)}, [])
    for _ in range(5):
        server.client_kill_filter(_type="normal", skipme=True)
        assert (await store.read(["e:a"], [])).values == {"e:a": b"x"}
    assert cache.stats.snapshot()["errors"] == 0


async def test_commands_of_ones_own_may_be_sent_and_errors_stay_in_their_places(make_cache, namespace):
    cache = await make_cache()
    key = f"{namespace}:1:own"
    replies = await cache._core.store.send([("SET", key, "x"), ("INCR", key), ("GET", key)])
    assert replies[0] == b"OK"
    assert code_of(replies[1]) == "ERR"
    assert replies[2] == b"x"


@pytest.fixture
def node(tmp_path):
    made = Node(tmp_path / "server")
    made.start()
    yield made
    made.kill()


@pytest.fixture
def other_node(tmp_path):
    made = Node(tmp_path / "other")
    made.start()
    yield made
    made.kill()


def url_of(node):
    return f"redis://127.0.0.1:{node.port}"


async def test_a_server_that_is_emptied_serves_nothing_old_and_goes_on(make_cache, node):
    one, two = await make_cache(url_of(node)), await make_cache(url_of(node), l1_items=0, **PATIENT)
    await get(one, request(), answers(b"old"))
    node.ask("FLUSHALL")
    assert (await get(two, request(), answers(b"new"))).payload == b"new"
    await one.invalidate(["tasks"])
    assert (await get(one, request(), answers(b"newer"))).payload == b"newer"
    assert (await get(two, request(), answers(b"no"))).payload == b"newer"


@pytest.mark.parametrize("notices", [True, False])
async def test_a_server_that_comes_back_with_an_old_file_makes_nothing_valid_again(
    make_cache, node, namespace, monkeypatch, notices
):
    """The file is older than what is invalidated again after every reconnection."""
    monkeypatch.setattr(invalidation, "_REMEMBERED_SECONDS", 0.0)
    if not notices:
        monkeypatch.setattr(RedisStore, "_beat", for_ever)
    cache = await make_cache(url_of(node), l1_items=0, **PATIENT)
    await get(cache, request(), answers(b"old"))
    if notices:
        await until(lambda: node.ask("KEYS", f"{namespace}:1:h:*"))
    node.ask("SAVE")
    await asyncio.sleep(3 * PATIENT["topology_interval"])
    await cache.invalidate(["tasks"], raise_pending=True)
    node.kill()
    await asyncio.to_thread(node.start)
    if notices:
        await until(lambda: cache.stats.snapshot()["promotions"] == 1)
        assert (await bounded(get(cache, request(), answers(b"new")))).payload == b"new"
    else:
        await until(lambda: cache.stats.snapshot()["reconnects"] == 1)
        assert (await bounded(get(cache, request(), answers(b"new")))).payload == b"old"


async def for_ever(self, home, moved):
    await asyncio.Event().wait()


async def test_a_server_that_is_demoted_is_left_and_used_again_when_it_leads(make_cache, node, other_node):
    cache = await make_cache(url_of(node), l1_items=0, **PATIENT)
    await get(cache, request(), answers(b"old"))
    node.ask("REPLICAOF", "127.0.0.1", other_node.port)
    for _ in range(1000):
        if not (await bounded(cache.lookup(request()))).available:
            break
        await asyncio.sleep(0.01)
    else:
        raise AssertionError("a replica goes on being read")
    await bounded(cache.invalidate(["tasks"]))
    assert cache.pending == 1
    node.ask("REPLICAOF", "NO", "ONE")
    await until(lambda: cache.pending == 0)
    assert (await bounded(get(cache, request(), answers(b"new")))).payload == b"new"


async def test_a_server_that_loads_its_file_is_away_until_it_has(make_cache, node):
    cache = await make_cache(url_of(node), l1_items=0, **PATIENT)
    with redis.Redis(port=node.port) as client:
        client.mset({f"filler:{n}": "x" for n in range(3000)})
    node.ask("SAVE")
    node.kill()
    with (node.directory / "server.conf").open("a") as config:
        config.write("key-load-delay 300\nloading-process-events-interval-bytes 1024\n")
    starting = asyncio.create_task(asyncio.to_thread(node.start))
    while not starting.done():
        await bounded(cache.lookup(request()))
        await bounded(cache.invalidate(["tasks"]))
        await asyncio.sleep(0.05)
    await starting
    assert cache.stats.snapshot()["errors"] > 0
    await until(lambda: cache.pending == 0)
    for _ in range(1000):
        if (await bounded(get(cache, request(), answers(b"new")))).source != "load":
            break
        await asyncio.sleep(0.02)
    else:
        raise AssertionError("it never recovered")


async def test_a_name_that_cannot_be_encoded_is_no_error_of_the_application(make_cache):
    cache = await make_cache()
    assert not (await cache.lookup(request("\ud800"))).available
    assert (await cache.lookup(request("fine"))).available


async def test_a_line_that_was_closed_answers_everybody(valkey_url):
    wire = Wire(valkey_url, Settings(read_timeout=5.0, connect_timeout=5.0), clock=boottime, stats=Stats())
    asked = [asyncio.ensure_future(wire.exchange([("PING",)])) for _ in range(10)]
    await asyncio.sleep(0)
    await wire.aclose()
    for outcome in await bounded(asyncio.gather(*asked, return_exceptions=True)):
        assert isinstance(outcome, StoreUnavailableError)
    with pytest.raises(StoreUnavailableError):
        await wire.exchange([("PING",)])


def pulse():
    now = [0.0]
    return Pulse("place", lambda: now[0]), now


def beat(made, now, reply, at):
    now[0] = at
    made.command()
    return made.forgotten(reply)


def test_a_pulse_that_finds_what_it_left_has_lost_nothing():
    made, now = pulse()
    assert beat(made, now, None, 0.0) is None
    assert beat(made, now, b"1", 1.0) is None
    assert beat(made, now, b"2", 2.0) is None


def test_a_pulse_says_how_far_back_the_memory_of_the_server_ends():
    made, now = pulse()
    for number in range(10):
        assert beat(made, now, str(number).encode() if number else None, float(number)) is None
    assert beat(made, now, b"7", 10.0) == 4.0  # the seventh beat was at 6
    assert beat(made, now, b"11", 11.0) is None
    assert beat(made, now, None, 12.0) == math.inf


def test_a_beat_without_an_answer_may_have_arrived_or_not():
    for found in (b"1", b"2"):
        made, now = pulse()
        beat(made, now, None, 0.0)
        made.command()
        assert beat(made, now, found, 2.0) is None


def test_slots_are_learnt_corrected_and_compared():
    slots = SlotMap()
    a, b = ("h", 1), ("h", 2)
    assert slots.learn([Share(0, 99, a, b"A"), Share(100, 16383, b, b"B")]) == ()
    assert (slots.owner(99), slots.owner(100)) == (a, b)
    assert slots.learn([Share(0, 99, a, b"A"), Share(100, 16383, b, b"B")]) is None
    slots.moved(99, b)
    assert slots.owner(99) == b
    assert slots.learn([Share(0, 98, a, b"A"), Share(99, 16383, b, b"B")]) == (a,)
    assert slots.learn([Share(0, 98, a, b"A"), Share(99, 16383, b, b"C")]) == (b,)
    assert len(slots.anchors()) == 2


def test_redirections_and_maps_without_a_host_mean_the_server_that_gave_them():
    assert redirection("MOVED 12 1.2.3.4:5", "h") == (12, ("1.2.3.4", 5))
    assert redirection("ASK 12 [::1]:5", "h") == (12, ("::1", 5))
    assert redirection("MOVED 12 :5", "h") == (12, ("h", 5))
    assert redirection("MOVED 99999 h:5", "h") is None
    assert redirection("MOVED", "h") is None
    told = [
        [0, 1, [b"", 7, b"id", []]],
        [2, 3, [None, 8, b"id"], [b"replica", 9, b"x"]],
        [4, 5, [b"?", 9, b"i"]],
        "junk",
    ]
    assert [(share.first, share.address) for share in shares_of(told, "h")] == [
        (0, ("h", 7)), (2, ("h", 8)), (4, ("h", 9))
    ]  # fmt: skip
    assert shares_of(None, "h") == []


@asynccontextmanager
async def speaking_tls(node, directory):
    """The server of `node` behind TLS, with a certificate that only who is told of it believes."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    today = dt.datetime.fromtimestamp(time.time(), dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = directory / "certificate.pem", directory / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)

    async def forward(reader, writer):
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", node.port)
        with suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(pump(reader, to_writer), pump(to_reader, writer))

    async def pump(reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()

    proxy = await asyncio.start_server(forward, "127.0.0.1", 0, ssl=context)
    try:
        yield f"rediss://localhost:{proxy.sockets[0].getsockname()[1]}", files[0]
    finally:
        proxy.close()
        await asyncio.sleep(0.05)


async def test_tls_is_spoken_and_a_certificate_that_nobody_vouches_for_is_refused(make_cache, node, tmp_path):
    async with speaking_tls(node, tmp_path) as (url, authority):
        trusting = await make_cache(f"{url}?ssl_ca_certs={authority}", l1_items=0)
        await get(trusting, request(), answers(b"x" * 200_000))
        assert (await get(trusting, request(), answers(b"no"))).payload == b"x" * 200_000
        assert await trusting.invalidate(["tasks"], raise_pending=True) == 1
        assert trusting.stats.snapshot()["errors"] == 0
        doubting = await make_cache(url, listening=False, **PATIENT)
        assert not (await bounded(doubting.lookup(request()))).available
        for cache in (trusting, doubting):
            await cache.aclose()
