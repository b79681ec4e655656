"""Who visits the application and what they do there, as plain values.

Everything is fixed before the first request is sent: it depends on the arguments alone, never on timing or on
an answer, so that on fresh copies of one seeded database all runs send the same requests.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from dataset import PASSWORD, Account, Dataset

POPULARITY_EXPONENT = 0.7
TASK_POPULARITY_EXPONENT = 1.0
SECOND_SESSIONS = 6  # every sixth virtual user is a second session of somebody's account
MEAN_THINK_SECONDS = 0.04
MOST_THINK_SECONDS = 0.5
SECONDS_BETWEEN_ARRIVALS = 0.15  # all at once, the first worker to wake would accept every connection
REQUESTS_PER_BULK_UPDATE = 3000
FIRST_PAGE = 20
DELETABLE_FROM = 60

LOGIN = "POST /auth/login"
LIST = "GET /api/tasks"
SEARCH = "GET /api/tasks/search"
OPEN = "GET /api/tasks/{task_id}"
CREATE = "POST /api/tasks"
EDIT = "PATCH /api/tasks/{task_id}"
COMPLETE = "POST /api/tasks/{task_id}/complete"
DELETE = "DELETE /api/tasks/{task_id}"
SUMMARY = "GET /api/stats/summary"
TEAM = "GET /api/stats/team"
PROFILE = "GET /api/profile"
PUT_PROFILE = "PUT /api/profile"
SETTINGS = "GET /api/tenant/settings"
PUT_SETTINGS = "PUT /api/tenant/settings"
PROJECTS = "GET /api/projects"
BULK_COMPLETE = "POST /api/admin/tasks/bulk-complete"
NOW = "GET /api/now"
HEALTH = "GET /health"

EXPECTED_STATUS = {CREATE: 201, DELETE: 204}

FILTERS: tuple[Mapping[str, str], ...] = (
    {"status": "todo", "sort": "due", "direction": "asc"},
    {"status": "in_progress"},
    {"priority": "urgent", "sort": "updated"},
    {"status": "blocked", "limit": "50"},
)
TERMS = ("invoice", "login", "budget", "contract", "onboarding")


@dataclass(frozen=True, slots=True)
class Step:
    """One request of a script, and the seconds to think before it."""

    route: str
    path: str
    think: float
    query: Mapping[str, str] | None = None
    body: Mapping[str, Any] | None = None

    @property
    def method(self) -> str:
        return self.route.partition(" ")[0]

    @property
    def expected(self) -> int:
        return EXPECTED_STATUS.get(self.route, 200)


@dataclass(frozen=True, slots=True)
class Visitor:
    """A virtual user: an account, which of its sessions this is (0 or 1), and how many requests it makes."""

    number: int
    account: Account
    session: int
    quota: int
    mean_think: float


def cast(data: Dataset, *, users: int, requests: int, seed: int) -> list[Visitor]:
    """Return the virtual users: daily users by popularity, an administrator, and a few second sessions."""
    rng = Random(f"cast/{seed}")
    daily = [account for account in data.accounts if account.is_daily]
    rng.shuffle(daily)
    weights = [1 / rank**POPULARITY_EXPONENT for rank in range(1, len(daily) + 1)]
    distinct = min(users - users // SECOND_SESSIONS, len(daily))
    chosen: list[Account] = []
    while len(chosen) < distinct:
        position = rng.choices(range(len(daily)), weights=weights)[0]
        chosen.append(daily.pop(position))
        weights.pop(position)
    if chosen and not any(account.is_admin for account in chosen):
        chosen[-1] = data.accounts[0]
    people = [(chosen[number % len(chosen)], number // len(chosen)) for number in range(users)]
    quotas = share(requests, [1 / (1 + number % len(chosen)) ** 0.2 for number in range(users)])
    average = requests / max(users, 1)
    return [
        Visitor(number, account, session, quota, MEAN_THINK_SECONDS * average / max(quota, 1))
        for number, ((account, session), quota) in enumerate(zip(people, quotas, strict=True))
    ]


def share(total: int, weights: Sequence[float]) -> list[int]:
    """Split `total` by `weights` into whole numbers whose sum is `total`."""
    parts = [int(total * weight / sum(weights)) for weight in weights]
    for position in range(total - sum(parts)):
        parts[position % len(parts)] += 1
    return parts


def scripts(data: Dataset, *, users: int, requests: int, seed: int) -> list[tuple[Visitor, list[Step]]]:
    """Return everybody's script."""
    tasks = data.tasks_by_owner()
    plan = [
        (visitor, ScriptWriter(data, visitor, tasks[visitor.account.id], seed).write())
        for visitor in cast(data, users=users, requests=requests, seed=seed)
    ]
    admins = [(visitor, steps) for visitor, steps in plan if visitor.account.is_admin and len(steps) > 2]
    if admins:
        visitor, steps = admins[0]
        projects = [project.id for project in data.projects_of(visitor.account.tenant_id)]
        count = max(1, requests // REQUESTS_PER_BULK_UPDATE)
        for turn in range(min(count, len(steps) - 1)):
            position = max(1, (2 * turn + 1) * len(steps) // (2 * count))
            body = {"project_id": projects[-2 - turn % (len(projects) - 1)]}
            steps[position] = Step(BULK_COMPLETE, "/api/admin/tasks/bulk-complete", 0.01, body=body)
    return plan


class ScriptWriter:
    """Writes one visitor's script, episode by episode, with dice of its own."""

    def __init__(self, data: Dataset, visitor: Visitor, tasks: Sequence[int], seed: int) -> None:
        self._rng = Random(f"visitor/{seed}/{visitor.number}")
        self._visitor = visitor
        self._steps: list[Step] = []
        habits = Random(f"account/{seed}/{visitor.account.id}")
        projects = data.projects_of(visitor.account.tenant_id)
        self._projects = [project.id for project in projects if not project.archived]
        own_project = {"project_id": str(habits.choice(self._projects))}
        self._views = [{}, *habits.sample([*FILTERS, own_project], 2)]
        self._is_writer = habits.random() < 0.65
        self._first_page = list(tasks[:FIRST_PAGE])
        self._task_weights = [
            1 / rank**TASK_POPULARITY_EXPONENT for rank in range(1, len(self._first_page) + 1)
        ]
        self._deletable = list(tasks[DELETABLE_FROM + visitor.session :: 2])

    def write(self) -> list[Step]:
        busy = 1.5 if self._is_writer else 0.1
        episodes: tuple[tuple[float, Callable[[], None]], ...] = (
            (45, self._glance),
            (25, self._work),
            (9, self._look_around),
            (4, self._look_up),
            (3.2, self._overdue),
            (2, self._odds_and_ends),
            (2.6 * busy, self._triage),
            (1.3 * busy, self._add),
        )
        weights = [weight for weight, _ in episodes]
        self._add_step(
            LOGIN, "/auth/login", body={"username": self._visitor.account.email, "password": PASSWORD}
        )
        self._steps[0] = replace(self._steps[0], think=self._visitor.number * SECONDS_BETWEEN_ARRIVALS)
        self._look_around()
        while len(self._steps) < self._visitor.quota:
            self._rng.choices(episodes, weights=weights)[0][1]()
        return self._steps[: self._visitor.quota]

    def _add_step(
        self,
        route: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> None:
        think = min(self._rng.expovariate(1 / self._visitor.mean_think), MOST_THINK_SECONDS)
        self._steps.append(Step(route, path, think, query, body))

    def _chance(self, probability: float) -> bool:
        return self._rng.random() < probability

    def _list(self) -> None:
        view = dict(self._rng.choices(self._views, weights=(74, 18, 8))[0])
        if self._chance(0.04):
            view["page"] = "2"
        self._add_step(LIST, "/api/tasks", query=view)

    def _task(self) -> int:
        return self._rng.choices(self._first_page, weights=self._task_weights)[0]

    def _open(self) -> None:
        self._add_step(OPEN, f"/api/tasks/{self._task()}")

    def _glance(self) -> None:
        self._list()
        if self._chance(0.8):
            self._add_step(SUMMARY, "/api/stats/summary")
        if self._chance(0.6):
            self._add_step(TEAM, "/api/stats/team")

    def _work(self) -> None:
        self._list()
        if self._chance(0.4):
            self._list()
        if self._chance(0.7):
            self._open()

    def _look_around(self) -> None:
        self._add_step(PROFILE, "/api/profile")
        self._add_step(SETTINGS, "/api/tenant/settings")
        if self._chance(0.6):
            self._add_step(PROJECTS, "/api/projects")
        if self._chance(0.06):
            self._put_profile()
        if self._visitor.account.is_admin and self._chance(0.1):
            self._put_settings()

    def _put_profile(self) -> None:
        body = {"display_name": f"Name {self._rng.randrange(100)}", "bio": "Out on Fridays.", "locale": "en"}
        self._add_step(PUT_PROFILE, "/api/profile", body=body)
        self._add_step(PROFILE, "/api/profile")

    def _put_settings(self) -> None:
        body = {
            "timezone": "UTC",
            "week_starts_on": self._rng.choice(("monday", "sunday")),
            "default_priority": "medium",
            "announcement": f"All hands at {self._rng.randrange(9, 18)}:00.",
        }
        self._add_step(PUT_SETTINGS, "/api/tenant/settings", body=body)
        self._add_step(SETTINGS, "/api/tenant/settings")

    def _look_up(self) -> None:
        self._add_step(SEARCH, "/api/tasks/search", query={"q": self._rng.choice(TERMS)})
        if self._chance(0.5):
            self._open()

    def _overdue(self) -> None:
        self._add_step(LIST, "/api/tasks", query={"due": self._rng.choice(("overdue", "overdue", "week"))})

    def _odds_and_ends(self) -> None:
        if self._chance(0.5):
            self._add_step(NOW, "/api/now")
        else:
            self._add_step(HEALTH, "/health")

    def _triage(self) -> None:
        """Work through a few tasks in a row, then look at the result."""
        for _ in range(self._rng.randint(3, 6)):
            task = self._task()
            if self._chance(0.5):
                self._add_step(COMPLETE, f"/api/tasks/{task}/complete")
            else:
                body = self._rng.choice(
                    (
                        {"priority": self._rng.choice(("low", "medium", "high", "urgent"))},
                        {"status": self._rng.choice(("todo", "in_progress", "blocked"))},
                        {"title": f"Renamed {self._rng.randrange(10_000)}"},
                    )
                )
                self._add_step(EDIT, f"/api/tasks/{task}", body=body)
        self._glance()

    def _add(self) -> None:
        """Write down something new, or throw something old away."""
        if self._deletable and self._chance(0.3):
            self._add_step(DELETE, f"/api/tasks/{self._deletable.pop()}")
        else:
            body = {
                "title": f"New task {self._rng.randrange(10_000)}",
                "description": "Written down before it is forgotten.",
                "project_id": self._rng.choice(self._projects),
                "priority": self._rng.choice(("low", "medium", "high")),
            }
            self._add_step(CREATE, "/api/tasks", body=body)
        self._list()
