"""Each small backend works by itself: its seeded data answer its own exerciser, over real HTTP."""

import importlib
import sqlite3
from contextlib import contextmanager
from datetime import datetime

import httpx
import pytest
from tests.servers import serve_app

NAMES = ("async_sqlmodel", "path_user", "header_lang", "roles", "traps")


@pytest.fixture(params=NAMES)
def module(request):
    return importlib.import_module(f"tests.apps.{request.param}")


@pytest.fixture
def served(module, tmp_path):
    """A client of the seeded backend, and the path of its database."""
    path = tmp_path / "app.db"
    module.seed(f"sqlite:///{path}")
    app = module.build(f"sqlite:///{path}")
    with serve_app(app) as base_url, httpx.Client(base_url=base_url, trust_env=False) as client:
        yield client, path


def dump(path):
    with sqlite3.connect(path) as connection:
        return list(connection.iterdump())


def test_the_exerciser_finds_no_surprise_and_changes_the_data(module, served):
    client, path = served
    before = dump(path)
    module.exercise(client)
    assert dump(path) != before


def test_seeding_is_deterministic(module, tmp_path):
    clock = (
        {"start": datetime.fromisoformat("2026-01-01T00:00:00")} if module.__name__.endswith("traps") else {}
    )
    for name in ("one.db", "two.db"):
        module.seed(f"sqlite:///{tmp_path / name}", **clock)
    assert dump(tmp_path / "one.db") == dump(tmp_path / "two.db")


def run(name, tmp_path):
    """Serve one backend by name; return a context manager that yields a client."""
    module = importlib.import_module(f"tests.apps.{name}")
    module.seed(f"sqlite:///{tmp_path / 'app.db'}")
    return client_of(module.build(f"sqlite:///{tmp_path / 'app.db'}"))


@contextmanager
def client_of(app):
    with serve_app(app) as base_url, httpx.Client(base_url=base_url, trust_env=False) as client:
        yield client


def test_async_sqlmodel_serves_one_router_under_two_prefixes(tmp_path):
    with run("async_sqlmodel", tmp_path) as client:
        headers = {"Authorization": "Bearer opaque-0"}
        pages = [client.get(f"/{version}/items?limit=3", headers=headers) for version in ("v1", "v2")]
        assert pages[0].content == pages[1].content
        assert [item["id"] for item in pages[0].json()["data"]] == [5, 10, 15]


def test_path_user_refuses_the_path_of_another_user(tmp_path):
    with run("path_user", tmp_path) as client:
        token = client.post("/login", json={"name": "user1"}).json()["token"]
        headers = {"Authorization": f"Bearer {token}"}
        assert client.get("/users/1/notes", headers=headers).status_code == 200
        assert client.get("/users/2/notes", headers=headers).status_code == 403


def test_header_lang_answers_in_the_language_of_the_header(tmp_path):
    with run("header_lang", tmp_path) as client:
        answers = {
            language: client.get("/products/1", headers={"Accept-Language": language}).json()["name"]
            for language in ("en", "de-DE,de;q=0.9", "xx")
        }
        assert answers == {"en": "en: thing 1", "de-DE,de;q=0.9": "de: thing 1", "xx": "en: thing 1"}


def test_header_lang_writes_a_table_by_trigger(tmp_path):
    with run("header_lang", tmp_path) as client:
        old = client.get("/products/7").json()["price"]
        client.put("/backoffice/products/7/price", json={"price": 999})
        assert client.get("/price-log").json() == [
            {"id": 1, "product_id": 7, "old_price": old, "new_price": 999}
        ]


def test_roles_shows_an_administrator_more_than_a_member(tmp_path):
    with run("roles", tmp_path) as client:
        counts = [
            client.get("/documents/count", headers={"Cookie": f"sid={sid}"}).json()["count"]
            for sid in ("sid-root", "sid-mia")
        ]
        assert counts == [90, 30]
        first = client.get("/documents", headers={"Cookie": "sid=sid-mia"})
        again = {"Cookie": "sid=sid-mia", "If-None-Match": first.headers["etag"]}
        assert client.get("/documents", headers=again).status_code == 304


def test_traps_deletes_in_cascade_what_no_statement_names(tmp_path):
    with run("traps", tmp_path) as client:
        headers = {"X-API-Key": "key-1"}
        before = client.get("/my/items", headers=headers).json()
        assert client.delete("/my/shelves/3", headers=headers).status_code == 204
        after = client.get("/my/items", headers=headers).json()
        assert [item for item in before if item["shelf_id"] != 3] == after
        assert len(after) < len(before)


def test_traps_counts_without_a_database(tmp_path):
    with run("traps", tmp_path) as client:
        assert [client.get("/counter").json()["count"] for _ in range(3)] == [1, 2, 3]
