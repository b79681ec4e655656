"""Hits that are compared with what the application answers: in shadow all, in live mode some."""

import json
import sqlite3

import pytest
from tests.apps import blog
from tests.integrations.driving import driven, get, specification
from tests.integrations.test_learned import ARTICLE, CART, comment, who


@pytest.fixture
def database(tmp_path):
    blog.seed(f"sqlite:///{tmp_path}/blog.db")
    return tmp_path / "blog.db"


@pytest.fixture
def app(database):
    return blog.build(f"sqlite:///{database}")


def another_program_writes(database):
    """What no hook of this process sees."""
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE comments SET text = 'changed behind its back' WHERE article_id = 1")
    connection.close()


def spec(**extra):
    return specification(get("/articles/{slug}", *ARTICLE, key="article:{slug}", **extra))


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("whole", [True, False], ids=["serve --shadow", "mode: shadow"])
async def test_in_shadow_nothing_is_served_and_every_difference_is_written_down(
    app, database, tmp_path, whole
):
    found = tmp_path / "findings.jsonl"
    document = spec() if whole else spec(mode="shadow")
    around = {"mode": "shadow"} if whole else {}
    async with driven(app, document, findings=found, **around) as driver:
        before = (await driver.get("/articles/article-1")).json()
        await driver.get("/articles/article-1")
        await comment(driver, "article-2")
        another_program_writes(database)
        after = (await driver.get("/articles/article-1")).json()
        assert after != before, "the answer is the application's own"
        counted = driver.installed.figures()["compared"]["GET /articles/{slug}"]
    assert counted == {"compared": 2, "same": 1, "stale": 1}
    finding, counts = lines(found)
    assert (finding["kind"], finding["served"], finding["tables"]) == (
        "stale",
        False,
        ["articles", "comments"],
    )
    assert [write["by"] for write in finding["writes"]] == ["POST /articles/{slug}/comments"]
    assert "comments(article_id=2)" in finding["writes"][0]["tags"]
    assert counts["targets"] == {"GET /articles/{slug}": counted}


async def test_a_write_that_is_seen_is_no_difference(app, tmp_path):
    found = tmp_path / "findings.jsonl"
    async with driven(app, spec(), findings=found, mode="shadow") as driver:
        for _ in range(3):
            await driver.get("/articles/article-1")
            await comment(driver, "article-1")
        assert driver.installed.figures()["compared"] == {}
    assert not found.exists()


async def test_an_answer_that_was_somebody_elses_is_told_apart(app):
    document = specification(get("/cart", *CART, key="cart"))
    async with driven(app, document, mode="shadow", at_its_word=True) as driver:
        await driver.send("POST", "/cart", headers=who(1), json={"article_id": 5})
        await driver.get("/cart", headers=who(1))
        assert (await driver.get("/cart", headers=who(2))).json() == []
        assert driver.installed.figures()["compared"]["GET /cart"]["foreign"] == 1


async def test_the_auditor_answers_with_the_truth_and_drops_what_was_wrong(app, database, tmp_path):
    found = tmp_path / "findings.jsonl"
    async with driven(app, spec(), findings=found, audit=1.0) as driver:
        before = (await driver.get("/articles/article-1")).json()
        another_program_writes(database)
        after = (await driver.get("/articles/article-1")).json()
        assert after != before
        assert not await driver.hit("/articles/article-1"), "its entry was dropped"
        assert driver.installed.figures()["compared"]["GET /articles/{slug}"]["stale"] == 1
        assert driver.installed.figures()["cache"]["wrong"] == 1  # what the alarm stale_answers looks at
    assert lines(found)[0]["served"] is True


async def test_without_an_auditor_hits_are_served_as_they_are(app, database):
    async with driven(app, spec()) as driver:
        before = (await driver.get("/articles/article-1")).json()
        another_program_writes(database)
        assert (await driver.get("/articles/article-1")).json() == before
        assert driver.installed.figures()["compared"] == {}
