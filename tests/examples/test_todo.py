"""The example backend over real HTTP: who sees what, what changes what, and that its data are the same each time."""

import sqlite3
from datetime import date

import httpx
import pytest


@pytest.fixture
def client(todo_server):
    with httpx.Client(base_url=todo_server, trust_env=False) as client:
        yield client


@pytest.fixture
def data(todo_modules, todo_scale):
    return todo_modules["dataset"].describe(scale=todo_scale)


@pytest.fixture
def log_in(client, todo_modules):
    """Return the headers of a fresh login."""

    def headers(account):
        form = {"username": account.email, "password": todo_modules["dataset"].PASSWORD}
        token = client.post("/auth/login", data=form).raise_for_status().json()["access_token"]
        return {"Authorization": f"Bearer {token}"}

    return headers


def test_health_and_clock_need_no_login(client):
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/api/now").json() != client.get("/api/now").json()


def test_a_wrong_password_and_a_forged_token_are_refused(client, data):
    form = {"username": data.accounts[0].email, "password": "wrong"}
    assert client.post("/auth/login", data=form).status_code == 401
    assert client.get("/api/tasks", headers={"Authorization": "Bearer forged"}).status_code == 401
    assert client.get("/api/tasks").status_code == 401


def test_two_logins_of_one_user_give_two_tokens(data, log_in):
    assert log_in(data.accounts[0]) != log_in(data.accounts[0])


def test_the_list_holds_the_users_own_tasks_newest_first(client, data, log_in):
    account = next(
        account for account in data.accounts if not account.is_daily
    )  # the load leaves these alone
    page = client.get("/api/tasks", params={"limit": 5}, headers=log_in(account)).json()
    own = data.tasks_by_owner()[account.id]
    assert [task["id"] for task in page["items"]] == own[:5]
    assert (page["total"], page["page"], page["limit"]) == (len(own), 1, 5)


def test_filters_narrow_the_list(client, data, log_in):
    headers = log_in(data.accounts[3])
    project = data.projects_of(data.accounts[3].tenant_id)[1].id
    wanted = {"status": "done", "priority": "high", "project_id": project, "sort": "due", "direction": "asc"}
    items = client.get("/api/tasks", params={**wanted, "limit": 100}, headers=headers).json()["items"]
    assert {(task["status"], task["priority"], task["project"]["id"]) for task in items} == {
        ("done", "high", project)
    }
    days = [task["due_date"] or "" for task in items]
    assert days == sorted(days)
    assert client.get("/api/tasks?sort=nonsense", headers=headers).status_code == 422


def test_overdue_tasks_are_open_and_their_day_is_over(client, data, log_in):
    headers = log_in(data.accounts[3])
    today = client.get("/api/now").json()["now"][:10]
    items = client.get("/api/tasks?due=overdue&limit=100", headers=headers).json()["items"]
    assert items
    assert all(task["due_date"] < today and task["status"] != "done" for task in items)


def test_nobody_opens_edits_or_deletes_the_task_of_another(client, data, log_in):
    foreign = data.tasks_by_owner()[1][0]
    headers = log_in(data.accounts[1])
    url = f"/api/tasks/{foreign}"
    answers = [
        client.get(url, headers=headers),
        client.patch(url, json={"title": "mine"}, headers=headers),
        client.post(f"{url}/complete", headers=headers),
        client.delete(url, headers=headers),
    ]
    assert [answer.status_code for answer in answers] == [404] * 4


def test_a_task_lives_from_creation_to_deletion(client, data, log_in):
    account = data.accounts[4]
    headers = log_in(account)
    project = data.projects_of(account.tenant_id)[0].id
    before = client.get("/api/stats/summary", headers=headers).json()
    made = client.post("/api/tasks", json={"title": "Unheard of", "project_id": project}, headers=headers)
    assert made.status_code == 201
    url = f"/api/tasks/{made.json()['id']}"
    assert client.get("/api/tasks?limit=1", headers=headers).json()["items"] == [made.json()]
    edited = client.patch(url, json={"priority": "urgent"}, headers=headers).json()
    assert (edited["priority"], edited["title"]) == ("urgent", "Unheard of")
    found = client.get("/api/tasks/search", params={"q": "unheard"}, headers=headers).json()
    assert [task["id"] for task in found["items"]] == [made.json()["id"]]
    assert client.post(f"{url}/complete", headers=headers).json()["status"] == "done"
    after = client.get("/api/stats/summary", headers=headers).json()
    assert after["by_status"]["done"] == before["by_status"]["done"] + 1
    assert client.delete(url, headers=headers).status_code == 204
    assert client.get(url, headers=headers).status_code == 404
    assert client.get("/api/stats/summary", headers=headers).json() != after


def test_a_task_cannot_be_put_into_a_project_of_another_tenant(client, data, log_in):
    foreign = data.projects_of(2)[0].id
    answer = client.post(
        "/api/tasks", json={"title": "x", "project_id": foreign}, headers=log_in(data.accounts[0])
    )
    assert answer.status_code == 422


def test_team_statistics_cover_the_tenant_and_no_other(client, data, log_in):
    account = data.accounts[2]
    team = client.get("/api/stats/team", headers=log_in(account)).json()
    expected = {other.id for other in data.accounts if other.tenant_id == account.tenant_id}
    assert {member["user_id"] for member in team["members"]} == expected
    assert sum(member["total"] for member in team["members"]) == sum(p["total"] for p in team["projects"])


def test_profile_and_settings_can_be_changed_by_those_who_may(client, data, log_in):
    member = next(account for account in data.accounts if not account.is_admin)
    admin = next(account for account in data.accounts if account.is_admin)
    headers = log_in(member)
    client.put("/api/profile", json={"display_name": "Nix"}, headers=headers).raise_for_status()
    assert client.get("/api/profile", headers=headers).json()["display_name"] == "Nix"
    settings = {
        "timezone": "UTC",
        "week_starts_on": "sunday",
        "default_priority": "low",
        "announcement": "Hi",
    }
    assert client.put("/api/tenant/settings", json=settings, headers=headers).status_code == 403
    assert client.put("/api/tenant/settings", json=settings, headers=log_in(admin)).json() == settings


def test_an_administrator_completes_a_project_of_everybody(client, data, log_in):
    admin = data.accounts[6]
    assert admin.is_admin
    project = data.projects_of(admin.tenant_id)[0].id
    url, body = "/api/admin/tasks/bulk-complete", {"project_id": project}
    assert client.post(url, json=body, headers=log_in(data.accounts[14])).status_code == 403
    assert client.post(url, json=body, headers=log_in(admin)).json()["completed"] > 0
    team = client.get("/api/stats/team", headers=log_in(admin)).json()
    progress = next(row for row in team["projects"] if row["project_id"] == project)
    assert progress["done"] == progress["total"]


def test_reads_are_the_same_byte_for_byte_until_something_changes(client, data, log_in):
    headers = log_in(data.accounts[5])
    for url in ("/api/tasks", "/api/stats/summary", "/api/stats/team", "/api/profile", "/api/projects"):
        assert client.get(url, headers=headers).content == client.get(url, headers=headers).content


def test_seeding_is_deterministic(todo_modules, tmp_path):
    dumps = []
    for name in ("one.db", "two.db"):
        path = tmp_path / name
        todo_modules["seed"].seed(f"sqlite:///{path}", scale=0.01, today=date(2026, 1, 1))
        with sqlite3.connect(path) as connection:
            dumps.append(list(connection.iterdump()))
    assert dumps[0] == dumps[1]
    assert len(dumps[0]) > 1000
