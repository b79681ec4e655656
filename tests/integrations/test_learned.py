"""Row tags that no request shows: learned from the SQL of each load."""

import asyncio

import pytest
import redis.asyncio
from sqlalchemy import create_engine, event, select
from sqlalchemy.orm import Session
from tests.apps import blog
from tests.integrations.driving import driven, get, specification

from cachewright.spec.tags import NAMESPACE_TAG

ARTICLE = ("articles(slug={slug})", "comments(article_id={*})")
CART = ("logins(secret={*hashed})", "users(id={*})", "cart_lines(user_id={*})")


def who(user):
    return {"cookie": f"sid={blog.secret_of(user)}"}


@pytest.fixture
def app(tmp_path):
    url = f"sqlite:///{tmp_path}/blog.db"
    blog.seed(url)
    return blog.build(url)


@pytest.fixture(params=["memory", "store"])
async def driver(request, app, valkey_url):
    spec = specification(
        get("/articles/{slug}", *ARTICLE, key="article:{slug}"),
        get("/cart", *CART, scope="credential", key="cart"),
    )
    around = {"redis_url": valkey_url} if request.param == "store" else {}
    async with driven(app, spec, **around) as found:
        yield found


async def comment(driver, slug, user=1):
    answer = await driver.send("POST", f"/articles/{slug}/comments", headers=who(user), json={"text": "new"})
    assert answer.status_code == 201


async def test_a_comment_on_one_article_leaves_the_others_alone(driver):
    assert await driver.caches("/articles/article-1")
    assert await driver.caches("/articles/article-2")
    await comment(driver, "article-2")
    assert await driver.hit("/articles/article-1")
    assert not await driver.hit("/articles/article-2")
    assert await driver.hit("/articles/article-2")


async def test_a_slug_that_leads_to_another_article_takes_its_rows_along(driver):
    assert await driver.caches("/articles/article-1")
    assert await driver.caches("/articles/article-2")
    for old, new in (("article-1", "aside"), ("article-2", "article-1")):
        await driver.send("PATCH", f"/articles/{old}", json={"slug": new})
    assert not await driver.hit("/articles/article-1")
    assert await driver.hit("/articles/article-1")
    await comment(driver, "aside")
    assert await driver.hit("/articles/article-1"), "the article that it was is another one now"
    await comment(driver, "article-1")
    assert not await driver.hit("/articles/article-1")


async def test_what_did_not_exist_is_answered_once_it_does(driver):
    assert (await driver.get("/articles/later")).status_code == 404
    await driver.send("PATCH", "/articles/article-3", json={"slug": "later"})
    assert (await driver.get("/articles/later")).status_code == 200
    assert not await driver.hit("/articles/article-3")


async def test_who_is_found_through_a_secret_depends_on_that_login_alone(driver):
    assert await driver.caches("/cart", headers=who(1))
    assert await driver.caches("/cart", headers=who(2))
    await driver.send("POST", "/logout", headers=who(2))
    assert await driver.hit("/cart", headers=who(1))
    assert (await driver.get("/cart", headers=who(2))).status_code == 401
    await driver.send("POST", "/login/2")
    assert (await driver.get("/cart", headers=who(2))).status_code == 200
    assert await driver.hit("/cart", headers=who(1))


async def test_one_cart_is_not_another(driver):
    assert await driver.caches("/cart", headers=who(1))
    assert await driver.caches("/cart", headers=who(2))
    await driver.send("POST", "/cart", headers=who(1), json={"article_id": 5})
    assert not await driver.hit("/cart", headers=who(1))
    assert await driver.hit("/cart", headers=who(2))


async def test_a_write_without_its_rows_ends_all_of_them(driver, app):
    assert await driver.caches("/articles/article-1")
    with app.state.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE comments SET text = 'bulk' WHERE id < 100000")
    assert not await driver.hit("/articles/article-1")


async def test_no_secret_stands_in_the_store(app, valkey_url):
    spec = specification(get("/cart", *CART, scope="credential", key="cart"))
    async with driven(app, spec, redis_url=valkey_url) as driver:
        assert await driver.caches("/cart", headers=who(7))
    client = redis.asyncio.from_url(valkey_url)
    try:
        names = [name async for name in client.scan_iter(match=f"{spec.spec.namespace}:*")]
        stored = [*names, *[await client.get(name) or b"" for name in names]]
    finally:
        await client.aclose()
    assert any(b"logins(secret=" in name for name in names)
    assert not any(blog.secret_of(7).encode() in text for text in stored)


async def test_a_write_during_a_first_load_leaves_it_unfilled(driver, app):
    """The token of its row is new then, and its answer may be old."""
    began, going = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slowly(connection, cursor, statement, parameters, context, many):
        if "FROM comments" in statement and not began.is_set():
            loop.call_soon_threadsafe(began.set)
            asyncio.run_coroutine_threadsafe(going.wait(), loop).result(20)

    with app.state.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")  # else a reader keeps the writer out
    event.listen(app.state.engine, "after_cursor_execute", slowly)
    loading = asyncio.create_task(driver.get("/articles/article-4"))
    await asyncio.wait_for(began.wait(), 20)
    await comment(driver, "article-4")
    going.set()
    await loading
    assert not await driver.hit("/articles/article-4")
    assert await driver.hit("/articles/article-4")


async def test_a_row_that_is_named_by_its_secret_is_reached_and_the_secret_is_not_told_on(
    app, valkey_url, caplog
):
    """Who invalidates by name knows the secret, not its hash; no journal, message or log may hold it."""
    spec = specification(get("/cart", *CART, scope="credential", key="cart"))
    known = {"Authorization": "Bearer a-token-of-the-administrator"}
    caplog.set_level("INFO", "cachewright.admin")
    async with driven(app, spec, redis_url=valkey_url, admin_token=known["Authorization"][7:]) as driver:
        assert await driver.caches("/cart", headers=who(1))
        assert await driver.caches("/cart", headers=who(2))
        asked = {"tags": [f"logins(secret={blog.secret_of(1)})"]}
        answer = await driver.send("POST", "/_cachewright/invalidate", headers=known, json=asked)
        assert answer.status_code == 200
        assert not await driver.hit("/cart", headers=who(1))
        assert await driver.hit("/cart", headers=who(2))
    assert "/invalidate" in caplog.text
    assert blog.secret_of(1) not in caplog.text


async def test_what_an_application_remembers_by_itself_is_depended_on_as_a_whole(app, tmp_path):
    """Its second load asks the database nothing about the comments, and shows no rows to depend on."""
    memory, engine = {}, create_engine(f"sqlite:///{tmp_path}/blog.db")

    @app.get("/remembered/{slug}")
    def remembered(slug: str) -> list[str]:
        with Session(engine) as session:
            number = session.scalar(select(blog.Article.id).where(blog.Article.slug == slug))
            if number not in memory:
                found = select(blog.Comment.text).where(blog.Comment.article_id == number)
                memory[number] = list(session.scalars(found))
        return memory[number]

    learns = ("articles(slug={*})", "comments(article_id={*})")
    spec = specification(get("/remembered/{slug}", *learns, key="remembered:{slug}"))
    async with driven(app, spec) as driver:
        assert await driver.caches("/remembered/article-1")
        await driver.installed.cache.invalidate((NAMESPACE_TAG,))
        assert await driver.caches("/remembered/article-1")  # of a load that the memory answered
        await comment(driver, "article-1")
        memory.clear()
        assert "new" in (await driver.get("/remembered/article-1")).json()
    engine.dispose()
