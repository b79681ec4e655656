"""The administrator's door: shut unless opened, never open without a key, and what it does behind it."""

import json
import os
import subprocess
import sys
from collections import deque

import httpx
import pytest
import redis
from fastapi import Depends, FastAPI, HTTPException, Request
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import select
from sqlalchemy.orm import Session
from tests.integrations.driving import driven, get, specification, uninstall
from tests.integrations.shop import Note
from tests.servers import valkey

from cachewright.errors import UsageError
from cachewright.integrations.admin import admin_router
from cachewright.integrations.dashboard import runbooks
from cachewright.integrations.gathered import ahead, hot_keys
from cachewright.integrations.install import install
from cachewright.runtime.alarms.named import rules_of
from cachewright.spec.observing import Alerts

TOKEN = "a-token-of-the-administrator"
KNOWN = {"Authorization": f"Bearer {TOKEN}"}
NOTE = {**get("/notes/{note_id}", "shop_notes(id={note_id})", key="notes:note={note_id}"), "name": "note"}


@pytest.fixture
def app(shop):
    @shop.app.get("/notes/{note_id}")
    def read_note(note_id: int, session: Session = shop.given):
        found = session.scalar(select(Note.title).where(Note.id == note_id))
        if found is None:
            raise HTTPException(404, "no such note")
        return found

    return shop.app


def door(app, **around):
    return driven(
        app, specification(NOTE, metrics={"performance": {"hit_rate": 0.9}}), admin_token=TOKEN, **around
    )


PLACES = [
    ("GET", "/health"), ("GET", "/stats"), ("GET", "/metrics"), ("GET", "/targets"),
    ("POST", "/targets"), ("POST", "/invalidate"), ("GET", "/nothing"), ("GET", "//stats"), ("GET", "/dashboard.css/x"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), PLACES)
async def test_nothing_is_told_to_who_does_not_send_the_token(app, method, path):
    async with door(app) as driver:
        for headers in (
            {},
            {"Authorization": f"Bearer {TOKEN}x"},
            {"Authorization": f"Basic {TOKEN}"},
            {"Authorization": "Bearer "},
        ):
            answer = await driver.send(method, f"/_cachewright{path}", headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_without_a_token_there_is_no_door(app):
    async with driven(app, specification(NOTE)) as driver:
        answer = await driver.get("/_cachewright/stats", headers=KNOWN)
        assert answer.json() == {"detail": "Not Found"}


def test_a_token_that_could_be_guessed_is_refused(app):
    with pytest.raises(UsageError, match="16 characters"):
        install(app, specification(NOTE), admin_token="short")


async def test_the_probes_need_no_token_and_never_say_that_the_cache_is_away(app):
    async with door(app, redis_url="redis://127.0.0.1:1", wait=False) as driver:
        for path in ("live", "ready"):
            assert (await driver.get(f"/_cachewright/{path}")).json() == {"status": "alive"}
        health = (await driver.get("/_cachewright/health", headers=KNOWN)).json()
        assert health["cache_status"] == "down"
        assert (await driver.get("/notes/1")).status_code == 200


async def test_figures_are_those_of_what_was_served(app):
    async with door(app) as driver:
        await driver.get("/notes/1")
        await driver.get("/notes/1")
        answer = await driver.get("/_cachewright/stats", headers=KNOWN)
        assert answer.headers["cache-control"] == "no-store"
        stats = answer.json()
        assert stats["metrics"]["performance"]["hit_rate"] == 0.5
        assert stats["metrics"]["cache_size"]["items_count"] >= 1
        assert stats["metrics"]["health"]["cache_status"] == "healthy"
        assert stats["targets"]["note"]["endpoint"] == "GET /notes/{note_id}"
        assert stats["targets"]["note"]["hits"] == {"l1": 1}
        assert stats["forecast"] == {"hit_rate": 0.9}
        assert [worker["pid"] for worker in stats["workers"]] == [os.getpid()]
        health = (await driver.get("/_cachewright/health", headers=KNOWN)).json()
        assert (health["cache_status"], health["alarms"]) == ("healthy", [])
        (target,) = (await driver.get("/_cachewright/targets", headers=KNOWN)).json()["targets"]
        assert (target["name"], target["key"], target["switched_off"]) == (
            "note",
            "notes:note={note_id}",
            False,
        )


async def test_workers_of_one_machine_are_added_up_and_the_dead_hold_nothing(app, tmp_path):
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    async with door(app, stats_dir=tmp_path) as driver:
        await driver.get("/notes/1")
        own = driver.installed.figures()
        (tmp_path / f"{int(gone.stdout)}.json").write_text(json.dumps(own))
        (tmp_path / f"{os.getppid()}.json").write_text(json.dumps(own))
        (tmp_path / "broken.json").write_text("{")
        stats = (await driver.get("/_cachewright/stats", headers=KNOWN)).json()
        assert stats["targets"]["note"]["lookups"] == 3
        assert {worker["pid"]: worker["alive"] for worker in stats["workers"]} == {
            os.getpid(): True,
            os.getppid(): True,
            int(gone.stdout): False,
        }
        assert stats["metrics"]["cache_size"]["items_count"] == 2 * own["gauges"]["items"]


@pytest.mark.parametrize(
    "asked",
    [
        {"tags": ["shop_notes(id=1)"]},
        {"key": "notes:note=1"},
        {"target": "note"},
        {"all": True},
    ],
    ids=str,
)
@pytest.mark.requirement("#101")
async def test_what_is_invalidated_is_loaded_again_in_every_process(app, valkey_url, asked):
    async with door(app, redis_url=valkey_url) as driver:
        assert await driver.caches("/notes/1")
        answer = await driver.send("POST", "/_cachewright/invalidate", headers=KNOWN, json=asked)
        assert (answer.status_code, answer.json()["invalidated"]) == (200, 1)
        assert not await driver.hit("/notes/1")
        assert await driver.hit("/notes/1")


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({}, 422),
        ({"all": False}, 422),
        ({"all": "yes"}, 422),
        ({"tags": []}, 422),
        ({"tags": "tasks"}, 422),
        ({"tags": [1]}, 422),
        ({"key": 7}, 422),
        ({"key": ""}, 422),
        ({"pattern": "*"}, 422),
        ({"target": "no such"}, 422),
        ({"user": None}, 422),
        ({"key": "a", "tags": ["b"]}, 422),
        ({"key": "a", "physically": True}, 422),
        ({"user": "7", "physically": "yes"}, 422),
        ({"flushall": True}, 422),
        ({"user": "7"}, 200),
        ({"user": 7, "tenant": "a"}, 200),
        ({"tenant": "a", "physically": True}, 200),
        ({"pattern": "user:7:tasks:*"}, 200),
    ],
    ids=str,
)
@pytest.mark.requirement("#101")
async def test_an_invalidation_has_one_subject(app, asked, status):
    async with door(app) as driver:
        answer = await driver.send("POST", "/_cachewright/invalidate", headers=KNOWN, json=asked)
        assert answer.status_code == status, answer.text
        if status == 422:
            assert answer.json()["error"].keys() == {"code", "message", "hint"}
            assert answer.json()["error"]["hint"]


async def test_a_target_that_is_switched_off_is_left_alone_until_it_is_switched_on(app):
    async with door(app) as driver:
        assert await driver.caches("/notes/1")

        async def switch(mode):
            return await driver.send(
                "POST", "/_cachewright/targets", headers=KNOWN, json={"target": "note", "mode": mode}
            )

        assert (await switch("off")).json() == {"target": "note", "mode": "off"}
        before = len(driver.outcomes)
        await driver.get("/notes/1")
        assert len(driver.outcomes) == before
        stats = (await driver.get("/_cachewright/stats", headers=KNOWN)).json()
        assert stats["targets"]["note"]["bypassed"] == {"off": 1}
        assert (await switch("live")).status_code == 200
        assert await driver.hit("/notes/1")
        assert (await switch("maybe")).status_code == 422


async def test_on_a_full_server_nothing_is_switched_until_the_runbook_has_made_room(app):
    with valkey(maxmemory="4mb", maxmemory_policy="noeviction") as url, redis.Redis.from_url(url) as client:
        async with door(app, redis_url=url) as driver:

            async def switch():
                asked = {"target": "note", "mode": "off"}
                return await driver.send("POST", "/_cachewright/targets", headers=KNOWN, json=asked)

            async def is_off():
                (target,) = (await driver.get("/_cachewright/targets", headers=KNOWN)).json()["targets"]
                return target["switched_off"]

            assert await driver.caches("/notes/1")
            filling = (f"filling:{number}" for number in range(10_000))
            with pytest.raises(redis.exceptions.OutOfMemoryError):
                deque(client.set(name, b"x" * 1000) for name in filling)
            refused = await switch()
            assert refused.status_code == 503
            assert "OOM" in refused.json()["error"]["message"]
            assert not await is_off()
            everything = await driver.send(
                "POST", "/_cachewright/invalidate", headers=KNOWN, json={"all": True}
            )
            assert everything.status_code == 200, "an invalidation needs no room"
            client.config_set("maxmemory-policy", "allkeys-lru")
            assert (await switch()).status_code == 200
            assert await is_off()


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ({"Content-Type": "text/plain"}, b'{"all": true}'),
        ({"Content-Type": "application/json", "Sec-Fetch-Site": "cross-site"}, b'{"all": true}'),
        ({"Content-Type": "application/json"}, b"[]"),
        ({"Content-Type": "application/json"}, b"{"),
        ({"Content-Type": "application/json"}, b"[" * 50_000),
        ({"Content-Type": "application/json"}, b'{"tags": ["' + b"x" * 70_000 + b'"]}'),
    ],
)
async def test_what_another_sites_page_can_send_changes_nothing(app, headers, content):
    async with door(app) as driver:
        assert await driver.caches("/notes/1")
        answer = await driver.send(
            "POST", "/_cachewright/invalidate", headers={**KNOWN, **headers}, content=content
        )
        assert answer.status_code == 422
        assert await driver.hit("/notes/1")


async def test_prometheus_reads_what_was_counted(app):
    async with door(app) as driver:
        await driver.get("/notes/1")
        await driver.get("/notes/1")
        answer = await driver.get("/_cachewright/metrics", headers=KNOWN)
        samples = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }
        note = (("scope", "public"), ("target", "note"))
        assert samples["cachewright_hits_total", *note, ("tier", "l1")] == 1
        assert samples["cachewright_misses_total", ("reason", "absent"), *note] == 1
        assert samples["cachewright_fills_total", *note] == 1
        assert samples["cachewright_hit_seconds_count", *note] == 1
        assert samples["cachewright_invalidation_seconds_count",] == 0, "nothing has to be delivered here"
        assert samples["cachewright_status", ("status", "healthy")] == 1
        assert samples["cachewright_forecast_hit_rate",] == 0.9


async def test_in_code_the_applications_own_sign_in_decides(shop, app):
    def administrator(request: Request) -> None:
        if request.headers.get("x-role") != "admin":
            raise HTTPException(403)

    app.include_router(admin_router([Depends(administrator)]), prefix="/_cachewright")
    install(app, specification(NOTE), workers=1)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        await client.get("/notes/1")
        assert (await client.get("/_cachewright/stats")).status_code == 403
        admin = {"x-role": "admin"}
        stats = (await client.get("/_cachewright/stats", headers=admin)).json()
        assert stats["targets"]["note"]["lookups"] == 1
        answer = await client.post("/_cachewright/invalidate", headers=admin, json={"all": True})
        assert answer.status_code == 200
        assert (await client.post("/_cachewright/invalidate", json={"all": True})).status_code == 403
        assert "/_cachewright/stats" not in app.openapi()["paths"]
    await uninstall(app)


async def test_a_router_without_a_cache_says_so():
    app = FastAPI()
    app.include_router(admin_router([Depends(lambda: None)]), prefix="/admin")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answer = await client.get("/admin/stats")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "off")


def test_a_router_that_would_let_everybody_in_is_refused():
    with pytest.raises(UsageError, match="let everybody in"):
        admin_router([])


async def test_the_page_is_its_own_and_holds_nothing_before_the_token(app):
    async with door(app) as driver:
        assert (await driver.get("/_cachewright")).headers["location"] == "_cachewright/"
        page = await driver.get("/_cachewright/")
        assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        for name in ("dashboard.css", "dashboard.js"):
            assert name in page.text
            assert (await driver.get(f"/_cachewright/{name}")).status_code == 200
        assert "/notes" not in page.text
        assert "http:" not in page.text
        assert "https:" not in page.text
        assert "<script>" not in page.text
        assert "style=" not in page.text


async def test_each_alarm_has_its_runbook_where_the_alarm_is_shown(app):
    alarms = {
        rule.name
        for rule in rules_of(Alerts.model_validate({n: {"enabled": True} for n in Alerts.model_fields}))
    }
    assert runbooks().keys() == alarms
    async with door(app) as driver:
        for alarm in alarms:
            answer = await driver.get(f"/_cachewright/runbooks/{alarm}")
            assert answer.text.startswith(f"## {alarm}\n")
            assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        unknown = await driver.get("/_cachewright/runbooks/<script>")
        assert (unknown.status_code, unknown.headers["x-content-type-options"]) == (404, "nosniff")


def test_hot_keys_of_several_workers_weigh_what_was_asked_there():
    def worker(lookups, alive=True, **shares):
        hot = [{"key": key, "target": "t", "share": share} for key, share in shares.items()]
        return {"alive": alive, "hot_lookups": lookups, "hot_keys": hot, "ahead": [], "pid": 1}

    found = hot_keys(
        [worker(300, a=0.5, b=0.1), worker(100, b=0.9), worker(100, alive=False, c=1.0), {"alive": True}]
    )
    assert [(one["key"], one["share"]) for one in found] == [("a", 0.375), ("b", 0.3)]


def test_loading_ahead_is_added_up_and_what_is_unknown_stays_unknown():
    def worker(state, total, gained, name="prediction"):
        account = {
            "name": name,
            "state": state,
            "total": total,
            "refused": 1,
            "loads": total,
            "gained": gained,
        }
        return {"alive": True, "ahead": [account]}

    found = ahead(
        [worker("running", 5, None), worker("resting", 3, 2.0), worker("resting", 1, None, "refilling")]
    )
    assert [(one["name"], one["state"], one["total"], one["gained"]) for one in found] == [
        ("prediction", "running", 8, 2.0),
        ("refilling", "resting", 1, None),
    ]


async def test_servers_tell_of_themselves_and_of_what_differs(app, valkey_url):
    async with door(app, redis_url=valkey_url) as driver:
        found = (await driver.get("/_cachewright/servers", headers=KNOWN)).json()
        assert found["servers"][0]["role"] == "master"
        assert {one["field"] for one in found["drift"]} <= {
            f"configuration.redis.{name}" for name in ("maxmemory_bytes", "persistence.strategy")
        }
    async with door(app) as driver:
        assert (await driver.get("/_cachewright/servers", headers=KNOWN)).json() == {
            "servers": [],
            "drift": [],
        }
