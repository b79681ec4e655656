"""Programs that serve nothing: their writes reach the cache of those who do."""

import asyncio
import os
import sys
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from tests.apps import blog
from tests.integrations.driving import driven, get, specification
from tests.integrations.shop import Note, Shop, make_engine

import cachewright
from cachewright.errors import UsageError
from cachewright.runtime import agreement
from cachewright.runtime.agreement import Agreement, digest_of
from cachewright.runtime.engine import Engine
from cachewright.runtime.settings import Settings
from cachewright.spec.tags import NAMESPACE_TAG
from cachewright.spec.target import compile_plan

NOTES = "/users/{user_id}/notes"


def notes_app(shop):
    @shop.app.get(NOTES)
    def notes(user_id: int, session: Session = shop.given):
        return session.scalars(select(Note.title).where(Note.user_id == user_id).order_by(Note.id)).all()

    return shop.app


def notes_spec(**extra):
    # not in memory: a copy there lags by the bus, and may be read before it is told of what a script changed
    notes = get(NOTES, "shop_notes(user_id={path.user_id})", key="n:{path.user_id}", levels=["l2"])
    return specification(notes, **extra)


def retitle(engine, user=2):
    with Session(engine) as session:
        session.execute(update(Note).where(Note.user_id == user).values(title="by a script"))
        session.commit()


@pytest.mark.parametrize("known", [True, False], ids=["with its specification", "without one"])
async def test_a_script_invalidates_what_it_changes(shop, tmp_path, valkey_url, known):
    spec = notes_spec()
    app = notes_app(shop)
    async with driven(app, spec, redis_url=valkey_url) as driver:
        for user in (1, 2):
            assert await driver.caches(f"/users/{user}/notes"), driver.refused

        def script():
            told = {"spec": spec} if known else {"namespace": spec.spec.namespace}
            engine = make_engine(tmp_path / "shop.db")
            with cachewright.watch(engine, redis_url=valkey_url, **told):
                retitle(engine)
            engine.dispose()

        driver.installed._watch.close()  # the script is another process: nothing of it is seen here
        await asyncio.to_thread(script)

        assert not await driver.hit("/users/2/notes")
        assert await driver.hit("/users/1/notes") is known, "who knows no column sets spares no row"


async def test_a_script_on_an_asynchronous_engine(shop, tmp_path, valkey_url):
    spec = notes_spec()
    async with driven(notes_app(shop), spec, redis_url=valkey_url) as driver:
        assert await driver.caches("/users/2/notes")
        driver.installed._watch.close()
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'shop.db'}")
        with cachewright.watch(engine, spec, redis_url=valkey_url):
            async with AsyncSession(engine) as session:
                (await session.get_one(Note, 1)).title = "from a coroutine"
                await session.commit()
        await engine.dispose()
        assert not await driver.hit("/users/2/notes")


async def test_only_the_engine_that_was_given_is_watched(shop, tmp_path, valkey_url):
    spec, other = notes_spec(), Shop(tmp_path / "other.db")
    async with driven(notes_app(shop), spec, redis_url=valkey_url) as driver:
        assert await driver.caches("/users/2/notes")
        driver.installed._watch.close()
        with cachewright.watch(shop.engine, spec, redis_url=valkey_url):
            retitle(other.engine)
        assert await driver.hit("/users/2/notes")
    other.engine.dispose()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="workers that fork")
async def test_a_worker_that_forked_after_it_was_watched_still_invalidates(shop, tmp_path, valkey_url):
    spec = notes_spec()
    program = Path(tmp_path, "worker.py")
    program.write_text(
        f"""
import multiprocessing, sys
sys.path[:0] = {sys.path!r}
import cachewright
from tests.integrations.shop import make_engine
from tests.integrations.test_watching import retitle

engine = make_engine({str(tmp_path / "shop.db")!r})
cachewright.watch(None, namespace={spec.spec.namespace!r}, redis_url={valkey_url!r})
child = multiprocessing.get_context("fork").Process(target=retitle, args=(engine,))
child.start()
child.join()
sys.exit(child.exitcode)
"""
    )
    async with driven(notes_app(shop), spec, redis_url=valkey_url) as driver:
        assert await driver.caches("/users/2/notes")
        child = await asyncio.create_subprocess_exec(sys.executable, str(program))
        assert await child.wait() == 0
        assert not await driver.hit("/users/2/notes")


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.delenv("CACHEWRIGHT_REDIS_URL", raising=False)
    with pytest.raises(UsageError, match="no server"):
        cachewright.watch(None, namespace="shop")
    with pytest.raises(UsageError, match="neither"):
        cachewright.watch(None, redis_url="redis://localhost:1")
    with pytest.raises(UsageError, match="no engine"):
        cachewright.watch("sqlite://", namespace="shop", redis_url="redis://localhost:1")


# rolling deployments


def process(valkey_url, namespace, columns):
    digest = digest_of({"notes": frozenset(columns)}, frozenset(), frozenset())
    return Engine(
        namespace, redis_url=valkey_url, settings=Settings(workers=2, read_timeout=2), digest=digest
    )


@pytest.fixture
def quick(monkeypatch):
    """The same proportions in a hundredth of the time."""
    for name in ("PERIOD", "GOOD_FOR", "GRACE", "_LIVES"):
        monkeypatch.setattr(agreement, name, getattr(agreement, name) / 10)


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_processes_that_know_other_column_sets_notice_each_other(valkey_url, quick):
    namespace = f"roll{os.urandom(4).hex()}"
    old, same = (process(valkey_url, namespace, [("user_id",)]) for _ in range(2))
    new = process(valkey_url, namespace, [("user_id",), ("id",)])
    await old.start()
    await same.start()
    assert old.agreement.stands
    assert same.agreement.stands
    assert not old.tokens.held((NAMESPACE_TAG,))

    await new.start()
    assert not new.agreement.stands
    assert new.tokens.held((NAMESPACE_TAG,)), "it fills nothing before the others can know"
    await until(lambda: not old.agreement.stands and not same.agreement.stands)
    await until(lambda: not new.tokens.held((NAMESPACE_TAG,)))

    await new.aclose()
    await until(lambda: old.agreement.stands)
    await old.aclose()
    await same.aclose()


def test_processes_that_hash_other_columns_do_not_agree():
    """Their row tags of one value differ: neither would reach what the other has stored."""
    plain, hashed = (
        compile_plan(
            specification(
                get("/cart", f"logins(secret={value})", scope="credential", key="cart"), namespace="carts"
            )
        )
        for value in ("{*}", "{*hashed}")
    )
    assert plain.column_sets == hashed.column_sets
    assert _digest(plain) != _digest(hashed)


def _digest(plan):
    return digest_of(plan.column_sets, plan.ignored_writes, plan.hashed)


async def test_a_process_that_comes_back_after_another_specification_starts_anew(valkey_url):
    namespace = f"roll{os.urandom(4).hex()}"
    flushed = []
    for name, columns in (("old", "a"), ("old", "a"), ("new", "b"), ("new", "b"), ("old", "a")):
        engine = process(valkey_url, namespace, [(columns,)])
        watched: Agreement = engine.agreement
        watched._flush = lambda name=name: flushed.append(name)
        await engine.start()
        await engine.aclose()
    assert flushed == ["new", "old"]


async def test_what_an_old_specification_left_behind_is_not_served_once_it_is_gone(
    tmp_path, valkey_url, quick
):
    """Its learned tags are asked for by nobody, and nobody who is left would change them."""
    url = f"sqlite:///{tmp_path}/blog.db"
    blog.seed(url)
    namespace = f"roll{os.urandom(4).hex()}"
    old, new = (
        specification(
            get(
                "/articles/{slug}", "articles(slug={slug})", f"comments({column}={{*}})", key="article:{slug}"
            ),
            namespace=namespace,
        )
        for column in ("article_id", "id")
    )
    path, around = "/articles/article-1", {"redis_url": valkey_url, "workers": 2}
    async with driven(blog.build(url), new, **around) as after:
        async with driven(blog.build(url), old, **around) as before:
            standing = [driver.installed.cache for driver in (before, after)]
            await until(lambda: not any(cache.tokens.held((NAMESPACE_TAG,)) for cache in standing))
            await until(lambda: not any(cache.agreement.stands for cache in standing))
            assert await before.caches(path)
        await until(lambda: after.installed.cache.agreement.stands)
        who = {"cookie": f"sid={blog.secret_of(1)}"}
        answer = await after.send("POST", f"{path}/comments", headers=who, json={"text": "new"})
        assert answer.status_code == 201
        assert not await after.hit(path)


async def test_without_word_of_the_others_every_write_is_coarse(valkey_url, monkeypatch):
    engine = process(valkey_url, f"roll{os.urandom(4).hex()}", [("a",)])
    assert not engine.agreement.stands, "nobody has looked yet"
    await engine.start()
    assert engine.agreement.stands
    monkeypatch.setattr(agreement, "GOOD_FOR", 0.0)
    assert not engine.agreement.stands
    await engine.aclose()


async def test_a_write_while_specifications_differ_reaches_rows_of_both(shop, valkey_url):
    spec = notes_spec()
    other = specification(
        get("/notes/{note_id}", "shop_notes(id={note_id})", key="note:{note_id}"),
        namespace=spec.spec.namespace,
    )

    @shop.app.get("/notes/{note_id}")
    def note(note_id: int, session: Session = shop.given):
        return session.scalar(select(Note.title).where(Note.id == note_id))

    app = notes_app(shop)
    async with driven(app, spec, redis_url=valkey_url) as old:
        assert await old.caches("/users/2/notes")
        async with driven(app, other, redis_url=valkey_url, wait=False) as new:
            await new.get("/no/such/path")
            old.installed._watch.close()
            await asyncio.to_thread(retitle, shop.engine)
            assert not await old.hit("/users/2/notes")
