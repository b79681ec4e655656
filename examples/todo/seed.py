"""Fill a database with deterministic data: `python seed.py --url sqlite:///todo.db`.

`--url postgresql+psycopg://user@host/database` fills one of PostgreSQL.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from itertools import islice
from random import Random
from typing import Any

from app.clock import today as today_utc
from app.database import build_engine
from app.models import Base, Priority, Profile, Project, Role, Status, Task, Tenant, TenantSettings, User
from app.security import hash_password
from dataset import DEFAULT_SEED, PASSWORD, Dataset, describe
from sqlalchemy import Connection, Table, insert

BATCH = 10_000
DAYS_OF_HISTORY = 240

VERBS = ("Prepare", "Review", "Fix", "Draft", "Call about", "Ship", "Plan", "Test", "Clean up", "Estimate")
THINGS = (
    "the invoice",
    "the landing page",
    "login",
    "the report",
    "the contract",
    "onboarding",
    "the budget",
)
DETAILS = (
    "Ask the customer first what they expect to see, and write it down before anything else is decided.",
    "There is a draft in the shared folder; the numbers of last quarter are not in it yet.",
    "Blocked until the new environment is there. Meanwhile collect what the others have tried.",
    "Keep it small: one page, no new dependencies, and tell support on the day before it goes out.",
)


def seed(url: str, *, seed: int = DEFAULT_SEED, scale: float = 1.0, today: date | None = None) -> Dataset:
    """Create the tables in `url` and fill them; return what was written.

    The same `seed`, `scale` and `today` always give the same rows. Due dates lie around `today` (the present
    day in UTC when not given), so that "overdue" and "this week" mean something.
    """
    data = describe(seed, scale)
    engine = build_engine(url)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        _insert(connection, Tenant, _tenants(data))
        _insert(connection, TenantSettings, _settings(data))
        _insert(connection, User, _users(data))
        _insert(connection, Profile, _profiles(data))
        _insert(connection, Project, _projects(data))
        _insert(connection, Task, _tasks(data, today or today_utc()))
        if connection.dialect.name == "postgresql":
            _continue_numbering(connection)
        connection.exec_driver_sql("ANALYZE")
    engine.dispose()
    return data


Rows = Iterator[dict[str, Any]]


def _insert(connection: Connection, model: type[Base], rows: Rows) -> None:
    table = model.__table__
    assert isinstance(table, Table)
    while batch := list(islice(rows, BATCH)):
        connection.execute(insert(table), batch)


def _continue_numbering(connection: Connection) -> None:
    """Let PostgreSQL's sequences go on after the ids that were given."""
    for table in ("tenants", "users", "projects", "tasks"):
        highest = f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table}"  # noqa: S608
        connection.exec_driver_sql(highest)


def _tenants(data: Dataset) -> Rows:
    for number, slug in enumerate(data.tenants, start=1):
        yield {"id": number, "slug": slug, "name": f"{slug.title()} Ltd"}


def _settings(data: Dataset) -> Rows:
    for number, slug in enumerate(data.tenants, start=1):
        yield {
            "tenant_id": number,
            "timezone": "UTC",
            "week_starts_on": "monday",
            "default_priority": Priority.MEDIUM,
            "announcement": f"Welcome to {slug.title()}.",
        }


def _users(data: Dataset) -> Rows:
    password_hash = hash_password(PASSWORD, f"seed-{data.seed}".encode())
    for account in data.accounts:
        yield {
            "id": account.id,
            "tenant_id": account.tenant_id,
            "email": account.email,
            "full_name": account.full_name,
            "role": Role.ADMIN if account.is_admin else Role.MEMBER,
            "is_active": True,
            "password_hash": password_hash,
        }


def _profiles(data: Dataset) -> Rows:
    for account in data.accounts:
        yield {
            "user_id": account.id,
            "display_name": account.full_name.partition(" ")[0],
            "bio": f"{account.full_name} has been here since project {account.id % 10 + 1}.",
            "locale": ("en", "de", "fr", "ja")[account.id % 4],
            "email_digest": account.id % 3 != 0,
        }


def _projects(data: Dataset) -> Rows:
    for project in data.projects:
        yield {
            "id": project.id,
            "tenant_id": project.tenant_id,
            "name": project.name,
            "color": f"#{(project.id * 2654435761) % 0xFFFFFF:06x}",
            "archived": project.archived,
        }


def _tasks(data: Dataset, today: date) -> Rows:
    rng = Random(f"tasks/{data.seed}")
    count = len(data.task_owners)
    tenant_of = [0, *(account.tenant_id for account in data.accounts)]
    statuses = rng.choices(tuple(Status), weights=(35, 15, 8, 42), k=count)
    priorities = rng.choices(tuple(Priority), weights=(25, 45, 22, 8), k=count)
    start = datetime.combine(today, time(9)) - timedelta(days=DAYS_OF_HISTORY)
    step = timedelta(days=DAYS_OF_HISTORY - 1) / count
    for position, owner in enumerate(data.task_owners):
        created = (start + position * step).replace(microsecond=0)
        updated = created + timedelta(minutes=int(rng.random() * 1400))
        done = statuses[position] is Status.DONE
        yield {
            "id": position + 1,
            "tenant_id": tenant_of[owner],
            "owner_id": owner,
            "project_id": data.task_projects[position],
            "title": f"{VERBS[position * 7 % 10]} {THINGS[position * 5 % 7]} #{position + 1}",
            "description": DETAILS[position % 4],
            "status": statuses[position],
            "priority": priorities[position],
            "due_date": created.date() + timedelta(days=int(rng.random() * 90)) if position % 4 else None,
            "created_at": created,
            "updated_at": updated,
            "completed_at": updated if done else None,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default=os.environ.get("TODO_DATABASE_URL", "sqlite:///./todo.db"))
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the number of users")
    arguments = parser.parse_args()
    data = seed(arguments.url, seed=arguments.seed, scale=arguments.scale)
    sys.stderr.write(f"{len(data.accounts)} users, {len(data.task_owners)} tasks in {arguments.url}\n")


if __name__ == "__main__":
    main()
